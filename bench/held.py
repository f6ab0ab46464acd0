#!/usr/bin/env python3
"""The memory of a state that all workers hold: as slices of the memory in which it came, looked at or not, or as a copy of
their own.
"""

from ends import OWNED, READ, STATE, all_done, group, start
from installed import build
from script import machine, run
from table import figure, render

WORKERS, MIB = 8, 64

NOTHING, SHARED, LOOKED_AT, COPIED = "none", "shared", "shared, every page read", "owned"

HELD_BY = {
    NOTHING: (STATE, 64),
    SHARED: (STATE, MIB << 20),
    LOOKED_AT: (READ, MIB << 20),
    COPIED: (OWNED, MIB << 20),
}
"""What each way to hold a state is in the words of the bus, and the bytes of the state."""


def held(name, programs):
    """PSS of the workers and of all processes, in MiB, when every worker has said that it has the state."""
    way, size = HELD_BY[name]
    with group(name) as ours:
        start(way, ours, programs, WORKERS, f"1 {size} 0")
        ours.said(all_done(WORKERS))
        # The master comes first, and starts the agent before any worker.
        sizes = [process.memory_kib()["pss"] / 1024 for process in ours.processes()]
    return {"workers": sum(sizes[-WORKERS:]), "all": sum(sizes)}


def main():
    programs = build()
    rows = []
    for name in HELD_BY:
        sizes = held(name, programs)
        rows.append([name, figure(sizes["workers"]), figure(sizes["all"])])
    title = f"PSS while {WORKERS} workers hold a state of {MIB} MiB; {machine()}"
    print(render(title, ["", "workers' MiB", "all processes' MiB"], rows))


if __name__ == "__main__":
    run(main)
