#!/usr/bin/env python3
"""How long a killed worker is missed: SIGKILL until its replacement answers, side by side with nginx, Node's
cluster module and egg. README.md tells how to read the figures.
"""

import argparse
import os
import signal
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from asking import Asker
from installed import CACHE, available, build
from peers import EGG, NEEDS, NGINX, NODE, TEMPLATE, started
from processes import PATIENCE, Failed
from script import at_least_one, machine, rotated, run
from table import figure, ratio, render, spread

WORKERS = 2
PACE_SECONDS = 0.005
"""A question is asked when the last one has been answered, or so long after it."""

LAST_CHANCE_SECONDS = 2
"""What has not been answered so long after the repair is lost."""


def victim_of(asker, family):
    asker.ask()
    pids = asker.answers(PATIENCE)
    if not pids or pids[0] not in family:
        raise Failed(f"port {asker.port}: the answer came from {pids}, which is none of the server's processes")
    return pids[0]


def kill_worker(server):
    """Milliseconds from SIGKILL to the first answer of a process that did not live before, and the questions that
    nobody answered meanwhile.
    """
    family = {process.pid for process in server.processes()}
    with Asker(server.port) as asker:
        victim = victim_of(asker, family)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        while time.monotonic() - began < PATIENCE:
            asker.ask()
            if set(asker.answers(PACE_SECONDS)) - family:
                took = time.monotonic() - began
                return took * 1000, asker.give_up_after(LAST_CHANCE_SECONDS)
    raise Failed(f"{server.name}: nobody has replaced {victim} in {PATIENCE:.0f} s")


def measure(programs, servers, rounds):
    """A new cluster for each kill: only the first death of a slot is repaired at once."""
    took, lost = defaultdict(list), defaultdict(int)
    for nth in range(rounds):
        for name in rotated(list(servers), nth):
            with started(name, programs, WORKERS, *servers[name]) as (server, _):
                milliseconds, unanswered = kill_worker(server)
                took[name].append(milliseconds)
                lost[name] += unanswered
    return took, lost


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="kills of each (default 20)")
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where npm installs egg (default {CACHE})")
    return at_least_one(parser, parser.parse_args())


def main():
    arguments = parse_arguments()
    needs = {name: NEEDS[name] for name in [TEMPLATE, NODE, EGG, NGINX]}
    servers = available(needs, arguments.cache.resolve())
    programs = build()
    before = machine()
    took, lost = measure(programs, servers, arguments.rounds)
    print(f"before: {before}\nafter:  {machine()}\n")
    rows = [
        [name, figure(median(took[name])), spread(took[name]), ratio(took[TEMPLATE], took[name]), lost[name]]
        for name in servers
    ]
    header = ["server", "median", "range", f"{TEMPLATE} / this", "lost questions"]
    title = f"Repair: SIGKILL of one of {WORKERS} workers until its replacement answers, ms"
    print(render(f"{title} ({arguments.rounds} kills each)", header, rows))


if __name__ == "__main__":
    run(main)
