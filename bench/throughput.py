#!/usr/bin/env python3
"""What a request costs: requests per server CPU-second with connections that are kept and with new ones, for each
policy of ours and for the servers beside us, and how evenly the work is spread. README.md tells how to read the figures.
"""

import argparse
import re
import socket
import sys
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from installed import CACHE, available, build, check_tools
from peers import GUNICORN, HYPER, NEEDS, NGINX, NODE, PUMA, TEMPLATE, started
from processes import Failed
from script import at_least_one, machine, rotated, run
from table import figure, ratio, render, spread
from wrk import CONNECTIONS, LOADS, load

WORKERS = 2

POLICIES = ["round-robin", "shared", "least-busy", "ip-hash", "weighted"]
DEFAULT_POLICIES = 2

PEERS = [NGINX, HYPER, NODE, PUMA, GUNICORN]

FLOORS = [NGINX, HYPER]
"""Whom all others are compared with."""

ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

PATIENCE = 10
"""Seconds that opening a connection, or its answer, may take."""


def ours(policy):
    return f"{TEMPLATE}, {policy}"


def crew(server):
    """Who answers requests: all but the process that was started, and our agent."""
    family = server.processes()
    if server.name == HYPER:
        return family
    return [process for process in family[1:] if not process.title().endswith(": agent")]


def sockets(process):
    """The inodes of a process's sockets."""
    found = set()
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            found.update(re.findall(r"^socket:\[(\d+)\]$", str(link.readlink())))
        except OSError:
            pass  # It was closed meanwhile.
    return found


def established(port):
    """The inodes of the server's ends of all connections to a port."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {words[9] for words in lines if words[3] == "01" and int(words[1].rsplit(":", 1)[1], 16) == port}


def held(server):
    """How many of the connections that are opened at once, and have been answered, each worker holds."""
    with ExitStack() as opened:
        address = ("127.0.0.1", server.port)
        try:
            # All are opened before the first one asks, as a load generator does it.
            kept = [opened.enter_context(socket.create_connection(address, PATIENCE)) for _ in range(CONNECTIONS)]
            for connection in kept:
                connection.sendall(ASK)
            for connection in kept:
                connection.recv(4096)
        except OSError as error:
            raise Failed(f"{server.name}: {CONNECTIONS} connections at once: {error}") from error
        alive = established(server.port)
        return sorted(len(alive & sockets(process)) for process in crew(server))


def measure_load(server, kind, seconds, note):
    workers = crew(server)
    said, cpu = load(server, kind, seconds)
    each = [cpu[process] for process in workers]
    note["per CPU-second"].append(said["requests"] / sum(cpu.values()))
    note["per second"].append(said["requests"] / said["seconds"])
    note["least to most"].append(min(each) / max(each))
    note["of workers"].append(sum(each) / sum(cpu.values()))
    note["errors"].append(said["non-2xx"] + said["socket errors"])


def measure(programs, servers, arguments):
    notes = {kind: defaultdict(lambda: defaultdict(list)) for kind in LOADS}
    for nth in range(arguments.rounds):
        for name in rotated(list(servers), nth):
            print(f"round {nth + 1} of {arguments.rounds}: {name}", file=sys.stderr)
            base, options = servers[name]
            with started(base, programs, WORKERS, *options) as (server, _):
                notes["keep-alive"][name]["held"].append(held(server))
                for kind in LOADS:
                    measure_load(server, kind, arguments.seconds, notes[kind][name])
    return notes


def row(name, of_kind):
    note = of_kind[name]
    rate = note["per CPU-second"]
    compared = [ratio(rate, of_kind[floor]["per CPU-second"]) if floor in of_kind else "" for floor in FLOORS]
    least = note["least to most"]
    together = Counter(" + ".join(map(str, each)) for each in note["held"])
    return [
        name,
        figure(median(rate)),
        spread(rate),
        *compared,
        figure(median(note["per second"])),
        f"{median(note['of workers']):.0%}",
        f"{median(least):.2f} ({min(least):.2f} – {max(least):.2f})",
        sum(note["errors"]),
        *([", ".join(together)] if together else []),
    ]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, with a new server each (default 5)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds under load each time (default 5)")
    some = POLICIES[:DEFAULT_POLICIES]
    text = f"of `http.policy` (default {' '.join(some)})"
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=some, help=text)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="which (default all)")
    return at_least_one(parser, parser.parse_args())


def chosen(arguments):
    """For each server its start's name and options."""
    found = available({peer: NEEDS[peer] for peer in arguments.peers}, CACHE)
    own = {ours(policy): (TEMPLATE, ["--set", f"http.policy={policy}"]) for policy in arguments.policies}
    return own | {peer: (peer, options) for peer, options in found.items()}


def main():
    arguments = parse_arguments()
    check_tools("wrk")
    servers = chosen(arguments)
    programs = build()
    before = machine()
    notes = measure(programs, servers, arguments)
    print(f"before: {before}\nafter:  {machine()}\n{arguments.rounds} rounds, {arguments.seconds} s under load\n")
    to_floors = [f"this / {floor}" for floor in FLOORS]
    header = ["server", "req/CPU-s", "range", *to_floors, "req/s", "of workers", "least / most CPU", "errors"]
    for kind, of_kind in notes.items():
        title = f"HTTP, {kind}: requests per server CPU-second, {CONNECTIONS} connections at a time"
        rows = [row(name, of_kind) for name in servers]
        print(render(title, [*header, "held"][: len(rows[0])], rows))


if __name__ == "__main__":
    run(main)
