#!/usr/bin/env python3
"""What many workers cost: the time to ready, memory, and the master's processor time at rest. Only the template
app is measured; README.md tells how to read the figures.
"""

import argparse
import re
import time
from collections import defaultdict
from statistics import median

from installed import build
from peers import TEMPLATE, started
from script import at_least_one, machine, rotated, run
from table import figure, render, spread, verdict

FEW = 64
SETTLED_SECONDS = 2
"""What a start leaves to be done is done by then."""

MASTER_PERCENT = 0.5
"""What we promise of a master at rest."""

SILENT = ["--set", "cluster.heartbeat_timeout=0s"]


def percent_at_rest(family, seconds):
    """The processor time of the first and of all others together, in per cent of one processor."""
    before, began = [process.fine_cpu_seconds() for process in family], time.monotonic()
    time.sleep(seconds)
    after, elapsed = [process.fine_cpu_seconds() for process in family], time.monotonic() - began
    master, *others = [(late - early) * 100 / elapsed for early, late in zip(before, after)]
    return master, sum(others)


def is_worker(process):
    return re.search(r": web\.\d+$", process.title())


def measure(programs, workers, options, seconds, note):
    with started(TEMPLATE, programs, workers, *options) as (server, took):
        time.sleep(SETTLED_SECONDS)
        master, *children = server.processes()
        sizes = {process: process.memory_kib()["pss"] / 1024 for process in [master, *children]}
        note["start"].append(took * 1000)
        note["worker"].append(median(size for process, size in sizes.items() if is_worker(process)))
        note["master"].append(sizes[master])
        note["sum"].append(sum(sizes.values()))
        of_master, of_children = percent_at_rest([master, *children], seconds)
        note["master percent"].append(of_master)
        note["children percent"].append(of_children)


def row(name, note):
    rest = note["master percent"]
    return [
        name,
        figure(median(note["start"])),
        spread(note["start"]),
        *[figure(median(note[key])) for key in ["worker", "master", "sum"]],
        figure(median(rest)),
        spread(rest),
        figure(median(note["children percent"])),
        f"master ≤ {MASTER_PERCENT} %: {verdict(median(rest) <= MASTER_PERCENT)}",
    ]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="clusters of each size (default 5)")
    parser.add_argument("--workers", type=int, default=256, help=f"workers, besides {FEW} (default 256)")
    parser.add_argument("--seconds", type=int, default=10, help="seconds at rest (default 10)")
    return at_least_one(parser, parser.parse_args())


def main():
    arguments = parse_arguments()
    programs = build()
    crews = [(FEW, []), (arguments.workers, []), (arguments.workers, SILENT)]
    notes = [defaultdict(list) for _ in crews]
    before = machine()
    for nth in range(arguments.rounds):
        for (workers, options), note in rotated(list(zip(crews, notes)), nth):
            measure(programs, workers, options, arguments.seconds, note)
    print(f"before: {before}\nafter:  {machine()}\n")
    header = ["workers", "start ms", "range", "a worker", "master", "sum", "master %", "range", "others %", "goal"]
    names = [f"{workers}, {'no heartbeat' if options else 'heartbeat'}" for workers, options in crews]
    title = f"Many workers: start, PSS in MiB, CPU over {arguments.seconds} s at rest"
    rows = [row(name, note) for name, note in zip(names, notes)]
    print(render(f"{title} ({arguments.rounds} clusters each)", header, rows))


if __name__ == "__main__":
    run(main)
