#!/usr/bin/env python3
"""The first benchmark: start, memory, and HTTP, side by side with nginx and with bare prototypes.

Every round measures every server, in an order that moves on from round to round, and each ratio is taken
within a round. README.md tells how to read the figures.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from statistics import median

from installed import build, check_tools
from peers import HYPER, NGINX, REEXEC, TEMPLATE, started
from processes import Failed
from script import at_least_one, machine, rotated, run
from table import figure, ratio, ratios, render, spread, verdict
from wrk import CONNECTIONS, LOADS, load

WORKERS = 2
MANY = 64
STARTS_A_ROUND = 4
WEB = [TEMPLATE, NGINX, HYPER]

# What we promise: see the tables' last column.
START_MS, START_TO_FLOOR, START_MANY_MS = 15, 3, 300
PSS_MIB, MASTER_PSS_MIB = 12, 2.5
PER_CPU = {"keep-alive": {NGINX: 1.00, HYPER: 0.97}, "new connections": {NGINX: 0.85}}


def measure_starts(programs, order, samples):
    for name, workers in order:
        with started(name, programs, workers) as (_, took):
            samples[f"{name}, {workers}"].append(took * 1000)


def measure_load(server, kind, seconds, samples):
    said, cpu_of = load(server, kind, seconds)
    cpu = list(cpu_of.values())
    note = samples[kind][server.name]
    note["per CPU-second"].append(said["requests"] / sum(cpu))
    note["per second"].append(said["requests"] / said["seconds"])
    note["busiest"].append(max(cpu) / sum(cpu))
    note["non-2xx"].append(said["non-2xx"])
    note["socket errors"].append(said["socket errors"])


def role(server, position, process):
    """What a process is, in words; the first is the one that was started."""
    if server.name == HYPER:
        return f"process {position}"
    if position == 0:
        return "master"
    title = process.title()
    if server.name == NGINX:
        return f"worker {position - 1}"
    return title.rpartition(": ")[2]


def measure_memory(server, when, samples):
    total = 0
    for position, process in enumerate(server.processes()):
        sizes = process.memory_kib()
        total += sizes["pss"]
        for size, kib in sizes.items():
            samples[server.name][role(server, position, process)][f"{size} {when}"].append(kib / 1024)
    samples[server.name]["sum"][f"pss {when}"].append(total / 1024)


def measure_web(programs, order, seconds, memory, loads):
    for name in order:
        with started(name, programs, WORKERS) as (server, _):
            time.sleep(1)
            measure_memory(server, "at rest", memory)
            for kind in LOADS:
                measure_load(server, kind, seconds, loads)
            measure_memory(server, "after load", memory)


def print_starts(samples):
    ours, many = samples[f"{TEMPLATE}, {WORKERS}"], samples[f"{TEMPLATE}, {MANY}"]
    to_floor = median(ratios(ours, samples[f"{REEXEC}, {WORKERS}"]))
    goals = {
        f"{TEMPLATE}, {WORKERS}": f"≤ {START_MS} ms: {verdict(median(ours) <= START_MS)}",
        f"{TEMPLATE}, {MANY}": f"≤ {START_MANY_MS} ms: {verdict(median(many) <= START_MANY_MS)}",
        f"{REEXEC}, {WORKERS}": f"ratio ≤ {START_TO_FLOOR}: {verdict(to_floor <= START_TO_FLOOR)}",
    }
    rows = []
    for name, each in samples.items():
        ours_here = many if name.endswith(f", {MANY}") else ours
        rows.append([name, figure(median(each)), spread(each), ratio(ours_here, each), goals.get(name, "")])
    title = f"a. Start: spawn to ready, ms (name, workers; {len(ours)} starts each)"
    print(render(title, ["server", "median", "range", f"{TEMPLATE} / this", "goal"], rows))


def print_memory(samples):
    rows = []
    for name, roles in samples.items():
        for which, sizes in roles.items():
            row = [f"{name}: {which}"]
            for key in ["rss at rest", "rss after load", "pss at rest", "pss after load"]:
                row.append(figure(median(sizes[key])) if key in sizes else "")
            goal = {(TEMPLATE, "sum"): PSS_MIB, (TEMPLATE, "master"): MASTER_PSS_MIB}.get((name, which))
            after = sizes["pss after load"]
            rows.append([*row, spread(after), f"≤ {goal}: {verdict(median(after) <= goal)}" if goal else ""])
    head = ["process", "RSS rest", "RSS load", "PSS rest", "PSS load", "range", "goal (PSS load)"]
    print(render("b. Memory at rest and after both loads, MiB (medians; range of PSS after load)", head, rows))


def print_load(part, kind, samples):
    ours = samples[TEMPLATE]
    rows = []
    for name, note in samples.items():
        rate = note["per CPU-second"]
        goal = PER_CPU[kind].get(name)
        met = goal and median(ratios(ours["per CPU-second"], rate)) >= goal
        rows.append(
            [
                name,
                figure(median(rate)),
                spread(rate),
                ratio(ours["per CPU-second"], rate),
                figure(median(note["per second"])),
                f"{median(note['busiest']):.0%}",
                sum(note["non-2xx"]),
                sum(note["socket errors"]),
                f"ratio ≥ {goal:.2f}: {verdict(met)}" if goal else "",
            ]
        )
    head = ["server", "req/CPU-s", "range", f"{TEMPLATE} / this", "req/s", "busiest", "non-2xx", "errors", "goal"]
    title = f"{part}. HTTP, {kind}: requests per server CPU-second, {CONNECTIONS} connections at a time"
    print(render(title, head, rows))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds under load each time (default 5)")
    parser.add_argument("--json", metavar="FILE", help="write every sample there, too")
    return at_least_one(parser, parser.parse_args())


def measure(programs, rounds, seconds):
    starts = defaultdict(list)
    memory = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    loads = {kind: {name: defaultdict(list) for name in WEB} for kind in LOADS}
    crews = [(TEMPLATE, WORKERS), (REEXEC, WORKERS), (NGINX, WORKERS), (TEMPLATE, MANY), (REEXEC, MANY)]
    for nth in range(rounds):
        print(f"round {nth + 1} of {rounds}", file=sys.stderr)
        for again in range(STARTS_A_ROUND):
            measure_starts(programs, rotated(crews, nth + again), starts)
        measure_web(programs, rotated(WEB, nth), seconds, memory, loads)
    return {"starts": dict(starts), "memory": memory, "loads": loads}


def main():
    arguments = parse_arguments()
    check_tools("wrk", "nginx")
    programs = build()
    before = machine()
    found = measure(programs, arguments.rounds, arguments.seconds)
    after = machine()
    print(f"before: {before}\nafter:  {after}\n{arguments.rounds} rounds, {arguments.seconds} s under load\n")
    print_starts(found["starts"])
    print_memory(found["memory"])
    for part, kind in zip("cd", LOADS):
        print_load(part, kind, found["loads"][kind])
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({"machine": [before, after], "samples": found}, file, indent=1)


if __name__ == "__main__":
    run(main)
