#!/usr/bin/env python3
"""What a reload costs the clients: failed requests while a server is reloaded again and again under load, side by
side with nginx, HAProxy, Puma, Gunicorn and PM2. README.md tells how to read the figures.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Callable

from asking import Asker
from insisting import CLIENTS, KINDS, MODES, Insisting, Tallies
from installed import CACHE, available, build
from peers import GUNICORN, HAPROXY, NEEDS, NGINX, PM2, PUMA, TEMPLATE, pm2_command, started
from processes import Failed
from script import at_least_one, machine, rotated, run
from table import figure, render, spread

WORKERS = 2

PACE_SECONDS = 0.005
"""Who answers is asked when the last question has been answered, or so long after it."""

RELOAD_SECONDS = 90
"""A reload that takes longer is not waited for."""

ENOUGH_SECONDS = 60
"""No reload is begun so long after the first one, so that a slow server gets fewer of them."""

CALM_SECONDS = 0.5
"""The clients ask for so long before the first reload and after each."""


def template(server, programs):
    command([programs / "app-template", "reload", "--app-dir", server.folder])


def pm2(server, _, modules):
    command([*pm2_command(server, modules, "pm2"), "reload", "pages"])


def command(words):
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=RELOAD_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{words[-1]}: not reloaded in {RELOAD_SECONDS} s") from error
    if done.returncode != 0:
        raise Failed(f"the reload ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")


def sending(number):
    def send(server, *_):
        os.kill(server.roots[0].pid, number)

    return send


@dataclass(frozen=True)
class Way:
    """A server, what it is started with, how it is told to reload, and how many of its processes then are new."""

    server: str
    tell: Callable
    options: list = field(default_factory=list)
    crew: int = WORKERS


WAYS = {
    TEMPLATE: Way(TEMPLATE, template),
    NGINX: Way(NGINX, sending(signal.SIGHUP)),
    HAPROXY: Way(HAPROXY, sending(signal.SIGUSR2), crew=1),
    f"{PUMA}, phased": Way(PUMA, sending(signal.SIGUSR1)),
    f"{PUMA}, hot": Way(PUMA, sending(signal.SIGUSR2)),
    GUNICORN: Way(GUNICORN, sending(signal.SIGHUP)),
    f"{GUNICORN}, threads": Way(GUNICORN, sending(signal.SIGHUP), ["--threads", "5"]),
    PM2: Way(PM2, pm2),
}


def reload(way, server, programs, known, clients):
    """Seconds from telling the server to the moment in which all of its new processes have answered: the clients, or
    one who asks on new connections, because clients that keep theirs may never come to some of them.
    """
    old = {process.pid for process in server.processes()} | clients.answered()
    began = time.monotonic()
    way.tell(server, programs, *known)
    new = set()
    with Asker(server.port) as asker:
        while len(new) < way.crew:
            if time.monotonic() - began > RELOAD_SECONDS:
                raise Failed(f"{len(new)} of {way.crew} new processes have answered in {RELOAD_SECONDS} s")
            asker.ask()
            new.update(asker.answers(PACE_SECONDS), clients.answered())
            new -= old
    return time.monotonic() - began


def reload_often(reloads, once):
    """The seconds of each; what does not get done is the last one, because the server is still busy with it."""
    began = time.monotonic()
    for _ in range(reloads):
        if time.monotonic() - began > ENOUGH_SECONDS:
            break
        yield once()
        time.sleep(CALM_SECONDS)


@dataclass
class Note:
    """What became of the requests, and of the reloads, in all rounds."""

    tallies: Tallies = field(default_factory=Tallies)
    seconds: list = field(default_factory=list)

    def row(self, name, wanted):
        times = [figure(median(self.seconds)), spread(self.seconds)] if self.seconds else ["", ""]
        return [name, *self.tallies.cells(), f"{len(self.seconds)} of {wanted}", *times]


def measure(name, mode, programs, known, reloads, note):
    way = WAYS[name]
    with started(way.server, programs, WORKERS, *known, *way.options) as (server, _):
        with Insisting(programs, server, mode) as clients:
            time.sleep(CALM_SECONDS)
            try:
                for took in reload_often(reloads, lambda: reload(way, server, programs, known, clients)):
                    note.seconds.append(took)
            except Failed as failure:
                print(f"{name}, {mode}: {failure}", file=sys.stderr)
            note.tallies.add(clients.finish())


def measure_all(programs, names, found, arguments):
    notes = {mode: defaultdict(Note) for mode in MODES}
    for nth in range(arguments.rounds):
        for name in rotated(names, nth):
            for mode in MODES:
                print(f"round {nth + 1} of {arguments.rounds}: {name}, {mode}", file=sys.stderr)
                measure(name, mode, programs, found[WAYS[name].server], arguments.reloads, notes[mode][name])
    return notes


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, with a new server each (default 3)")
    parser.add_argument("--reloads", type=int, default=20, help="reloads of each server in a round (default 20)")
    parser.add_argument("--servers", nargs="+", choices=WAYS, default=list(WAYS), help="which (default all)")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where npm installs PM2 (default {CACHE})")
    return at_least_one(parser, parser.parse_args())


def main():
    arguments = parse_arguments()
    needs = {WAYS[name].server: NEEDS[WAYS[name].server] for name in arguments.servers}
    found = available(needs, arguments.cache.resolve())
    names = [name for name in arguments.servers if WAYS[name].server in found]
    programs = build()
    before = machine()
    notes = measure_all(programs, names, found, arguments)
    print(f"before: {before}\nafter:  {machine()}\n")
    kinds = [kind.replace("-", " ") for kind in KINDS]
    header = ["server", "requests", "failed", *kinds, "slowest ms", "reloads", "s each", "range"]
    for mode, of_mode in notes.items():
        rows = [of_mode[name].row(name, arguments.rounds * arguments.reloads) for name in names]
        title = f"Reloads under load, {mode}: {CLIENTS} clients that never pause"
        print(render(f"{title} ({arguments.rounds} rounds of {arguments.reloads} reloads)", header, rows))


if __name__ == "__main__":
    run(main)
