#!/usr/bin/env python3
"""What a crash storm costs the master: a group that crashes as often as it can, and the same group under the
default limits. README.md tells how to read the figures.
"""

import argparse
import json
import subprocess
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from subprocess import DEVNULL

from installed import build
from peers import STORM, started
from processes import Failed
from script import at_least_one, machine, run
from table import figure, render, spread, verdict

CREW = 4
"""Workers that crash."""

LONGER = 3
"""How many times longer the storm goes on after its first part, to see what grows."""

PATIENCE = 120
"""Seconds that a part of the storm may take, and that the default limits may take to hold."""

LOOK_SECONDS = 0.25

IDLE_PERCENT, GROWTH_MIB = 0.5, 0.5
"""What we promise."""

NO_LIMITS = {
    "restart_delay": "1ms",
    "restart_delay_max": "1ms",
    "restart_limit": "1000000",
    # The master remembers every death of this period, up to the limit: it should not look like a leak.
    "restart_period": "1s",
}


@dataclass
class Look:
    """What is known of a cluster at one moment."""

    at: float
    crashes: int
    gave_up: bool
    master_cpu: float
    children_cpu: float
    rss: float


def look(server, programs):
    master = server.processes()[0]
    status = json.loads(ask_status(server, programs))
    workers = {name: [w for w in status["workers"] if w["group"] == name] for name in ["web", "storm"]}
    if any(worker["restarts"] for worker in workers["web"]):
        raise Failed("a worker of the group web was replaced: the storm has reached it")
    return Look(
        at=time.monotonic(),
        crashes=sum(worker["restarts"] for worker in workers["storm"]),
        gave_up=any(group["gave_up"] for group in status["groups"]),
        master_cpu=master.cpu_seconds(),
        children_cpu=master.children_cpu_seconds(),
        rss=master.memory_kib()["rss"] / 1024,
    )


def command(server, programs, *words):
    return [programs / "crash-storm", *words, "--app-dir", server.folder]


def ask_status(server, programs):
    line = command(server, programs, "status", "--json")
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode != 0:
        raise Failed(f"status ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def storm(programs, limits):
    """A cluster whose storm begins now, and what it was before. A group that crashes from the start on could keep
    the cluster from ever being whole.
    """
    settings = {"groups.storm.workers": 0, **{f"cluster.{key}": value for key, value in limits.items()}}
    options = [word for key, value in settings.items() for word in ["--set", f"{key}={value}"]]
    with started(STORM, programs, 1, *options) as (server, _):
        calm = look(server, programs)
        # Its answer may never come: it waits for a group that stands, and this one does not.
        line = command(server, programs, "scale", f"storm={CREW}")
        scaling = subprocess.Popen(line, stdout=DEVNULL, stderr=DEVNULL)
        try:
            yield server, calm
            server.check()
        finally:
            scaling.kill()
            scaling.wait()


def wait(server, programs, what, enough):
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = look(server, programs)
        if enough(seen):
            return seen
        if time.monotonic() > deadline:
            raise Failed(f"waited {PATIENCE} s in vain for {what}; there were {seen.crashes} crashes")
        time.sleep(LOOK_SECONDS)


def measure_storm(programs, crashes, notes):
    with storm(programs, NO_LIMITS) as (server, calm):
        marks = [calm]
        for goal in [crashes, crashes * LONGER]:
            marks.append(wait(server, programs, f"{goal} crashes", lambda seen, goal=goal: seen.crashes >= goal))
    for name, began, ended in zip(["first", "later"], marks, marks[1:]):
        note_part(notes[name], began, ended)


def note_part(note, began, ended):
    crashes, seconds = ended.crashes - began.crashes, ended.at - began.at
    note["crashes"].append(crashes)
    note["per second"].append(crashes / seconds)
    note["master ms"].append((ended.master_cpu - began.master_cpu) * 1000 / crashes)
    note["children ms"].append((ended.children_cpu - began.children_cpu) * 1000 / crashes)
    note["percent"].append((ended.master_cpu - began.master_cpu) * 100 / seconds)
    note["rss before"].append(began.rss)
    note["rss after"].append(ended.rss)


def measure_calm(programs, seconds, note):
    """From the moment in which the group has given up."""
    with storm(programs, {}) as (server, _):
        began = wait(server, programs, "the group to give up", lambda seen: seen.gave_up)
        time.sleep(seconds)
        ended = look(server, programs)
    note["crashes"].append(ended.crashes - began.crashes)
    note["percent"].append((ended.master_cpu - began.master_cpu) * 100 / (ended.at - began.at))
    note["rss before"].append(began.rss)
    note["rss after"].append(ended.rss)


def row(name, note, goal):
    each = [f"{median(note[key]):.2f}" if note[key] else "" for key in ["master ms", "children ms", "percent"]]
    rates = [figure(median(note["per second"]))] if note["per second"] else [""]
    sizes = [figure(median(note[key])) for key in ["rss before", "rss after"]]
    return [name, sum(note["crashes"]), *rates, *each, spread(note["percent"]), *sizes, goal]


def rows(notes, crashes, seconds):
    later = notes["later"]
    growth = median(after - before for before, after in zip(later["rss before"], later["rss after"]))
    idle = median(notes["calm"]["percent"])
    return [
        row(f"no limits, to {crashes:,} crashes", notes["first"], ""),
        row(
            f"then to {crashes * LONGER:,}",
            later,
            f"RSS + ≤ {GROWTH_MIB} MiB: {verdict(growth <= GROWTH_MIB)}",
        ),
        row(
            f"default limits, {seconds} s after giving up",
            notes["calm"],
            f"CPU ≤ {IDLE_PERCENT} %: {verdict(idle <= IDLE_PERCENT)}",
        ),
    ]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="storms, each in a new cluster (default 3)")
    parser.add_argument("--crashes", type=int, default=1000, help="crashes in a storm's first part (default 1000)")
    parser.add_argument("--seconds", type=int, default=10, help="seconds under default limits (default 10)")
    return at_least_one(parser, parser.parse_args())


def main():
    arguments = parse_arguments()
    programs = build()
    before = machine()
    notes = defaultdict(lambda: defaultdict(list))
    for _ in range(arguments.rounds):
        measure_storm(programs, arguments.crashes, notes)
        measure_calm(programs, arguments.seconds, notes["calm"])
    print(f"before: {before}\nafter:  {machine()}\n")
    header = ["part", "crashes", "per s", "master ms", "child ms", "master %", "range", "RSS from", "to, MiB", "goal"]
    title = f"{CREW} workers crash: CPU time per crash, the master's share of a processor and its memory"
    found = rows(notes, arguments.crashes, arguments.seconds)
    print(render(f"{title} ({arguments.rounds} storms)", header, found))


if __name__ == "__main__":
    run(main)
