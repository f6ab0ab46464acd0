#!/usr/bin/env python3
"""What messages cost: from one process to many, by our bus and by its peers, as fast as possible and one at a time; and
questions with answers. README.md tells how to read the figures.
"""

import argparse
import json
import os
import select
import subprocess
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from installed import build, tool
from peers import BENCH
from processes import Failed, Server, free_port
from script import at_least_one, machine, rotated, run
from table import figure, ratio, render, spread

TYPED, UNTYPED, RELAY, FRAMED = "typed", "untyped", "bare relay", "framed relay"
STATE, READ, OWNED = "state", "state, read", "state, owned"
NODE, REDIS, NATS = "node", "redis", "nats"

SIZES = {64: 400_000, 1024: 200_000, 65536: 8_000, 1 << 20: 400}
"""Bytes of a message, and how many deliveries are measured with it in all."""

SINGLES, PAUSE_US = 500, 1000
"""Messages one at a time, and the pause between two."""

STATES_FROM = 1 << 20
"""From so many bytes on, a state is measured, too."""

ASKS = {"ask": 5_000, "ask-many": 100_000}

SLOW = {NODE: 20}
"""Who gets fewer messages, and by how much, so that a round ends."""

PATIENCE = 120


class Group(Server):
    """All processes of one way to send, and what they say."""

    def said(self, wanted):
        """The lines of JSON that the processes say, until `wanted` says that they are enough."""
        lines, rest = [], {}
        outs = {root.stdout.fileno() for root in self.roots}
        deadline = time.monotonic() + PATIENCE
        while not wanted(lines):
            readable = select.select(outs, [], [], max(0, deadline - time.monotonic()))[0] if outs else []
            if not readable:
                raise Failed(f"{self.name} has said too little: {lines[-3:]} {self.complaint()}")
            for out in readable:
                part = os.read(out, 65536)
                if not part:
                    # Who has said everything may be gone.
                    outs.discard(out)
                whole = (rest.pop(out, b"") + part).split(b"\n")
                rest[out] = whole.pop()
                lines += [line.decode() for line in whole]
        return lines

    def start(self, command, *wait_for):
        """Starts a command, and waits until it has said what there is to wait for."""
        root = self.add(command)
        for word in wait_for:
            self.said(lambda lines, word=word: any(word in line for line in lines))
        return root

    def add(self, command, **environment):
        with open(self.folder / "stderr.txt", "ab") as errors:
            child = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.roots.append(child)
        return child


@contextmanager
def group(name):
    with tempfile.TemporaryDirectory(prefix="hatchery-bench-") as folder:
        group = Group(name, Path(folder))
        try:
            yield group
        finally:
            group.end()


def reports(lines):
    return [json.loads(line) for line in lines if line.startswith("{")]


def all_done(receivers):
    return lambda lines: sum(report["role"] == "receiver" for report in reports(lines)) >= receivers


def start_app(group, programs, kind, receivers, task):
    (group.folder / "config").mkdir()
    (group.folder / "config" / "default.toml").write_text("")
    command = [programs / "bus-app", "start", "--listen", f"unix:{group.folder}/http.sock", "--workers", receivers]
    return group.add([*command, "--app-dir", group.folder], BUS_TASK=f"{kind} {task}")


def start_relay(group, programs, receivers, task):
    return group.add([programs / "bus-peer", "relay", receivers, *task.split()])


def start_framed(group, programs, receivers, task):
    return group.add([programs / "bus-peer", "framed-relay", receivers, *task.split()])


def start_node(group, _, receivers, task):
    return group.add([tool("node"), BENCH / "node" / "relay.js", receivers, *task.split()])


def start_redis(group, programs, receivers, task):
    path = group.folder / "redis.sock"
    options = ["--port", 0, "--unixsocket", path, "--save", "", "--daemonize", "no", "--loglevel", "warning"]
    limits = ["--client-output-buffer-limit", "pubsub 0 0 0"]
    server = group.add([tool("redis-server"), *options, *limits])
    wait_until(path.exists, group)
    start_clients(group, programs, "redis", path, receivers, task)
    return server


def start_nats(group, programs, receivers, task):
    port = free_port()
    config = group.folder / "nats.conf"
    config.write_text(f"port: {port}\nmax_payload: 8388608\nmax_pending: 1073741824\nwrite_deadline: \"60s\"\n")
    server = group.add([tool("nats-server"), "-c", config, "-l", group.folder / "nats.log"])
    wait_until(lambda: "Server is ready" in read(group.folder / "nats.log"), group)
    start_clients(group, programs, "nats", f"127.0.0.1:{port}", receivers, task)
    return server


def read(path):
    return path.read_text(errors="replace") if path.exists() else ""


def wait_until(fact, group):
    deadline = time.monotonic() + 30
    while not fact():
        if time.monotonic() > deadline:
            raise Failed(f"{group.name} does not start: {group.complaint()}")
        time.sleep(0.005)


def start_clients(group, programs, name, place, receivers, task):
    for _ in range(receivers):
        group.add([programs / "bus-peer", f"{name}-receive", place, *task.split()])
    group.said(lambda lines: lines.count("ready") >= receivers)
    group.add([programs / "bus-peer", f"{name}-send", place, *task.split()])


def starter(name):
    apps = {TYPED: "typed", UNTYPED: "untyped", STATE: "state", READ: "state-read", OWNED: "state-owned"}
    if name in apps:
        return lambda group, programs, *rest: start_app(group, programs, apps[name], *rest)
    peers = {RELAY: start_relay, FRAMED: start_framed, NODE: start_node, REDIS: start_redis, NATS: start_nats}
    return peers[name]


def messages(name, programs, receivers, task):
    """Deliveries per second, latencies, processor time and the relay's memory, for one way to send."""
    with group(name) as ours:
        relay = starter(name)(ours, programs, receivers, task)
        said = reports(ours.said(all_done(receivers)))
        own = next(process for process in ours.processes() if process.pid == relay.pid)
        cpu = own.fine_cpu_seconds()
        rss = own.memory_kib()["rss"] / 1024
    ends = [report for report in said if report["role"] == "receiver"]
    begin = next(report["at"] for report in said if report["role"] == "begin")
    sender = [report["cpu"] * sign for report in said for role, sign in [("begin", -1), ("end", 1)] if report["role"] == role]
    delivered = sum(report["received"] for report in ends)
    cpu += (sum(report["cpu"] for report in ends) + sum(sender)) / 1e9
    return {
        "per second": delivered / (max(report["at"] for report in ends) - begin) * 1e9,
        "p50": median(report["p50"] for report in ends) / 1000,
        "p99": max(report["p99"] for report in ends) / 1000,
        "cpu": cpu / delivered * 1e6,
        "rss": rss,
    }


def asks(kind, programs, count):
    with group(kind) as ours:
        start_app(ours, programs, kind, 1, f"{count} 64 1")
        said = reports(ours.said(all_done(1)))
    begin, end = (next(report["at"] for report in said if report["role"] == role) for role in ["begin", "end"])
    answered = next(report for report in said if report["role"] == "receiver")
    return {
        "per second": count / (end - begin) * 1e9,
        "p50": answered["p50"] / 1000,
        "p99": answered["p99"] / 1000,
    }


def present():
    for name, program, package in [(NODE, "node", "nodejs"), (REDIS, "redis-server", "redis-server"),
                                   (NATS, "nats-server", "nats-server")]:
        if tool(program):
            yield name
        else:
            print(f"{name} is left out: {program} is missing (apt-get install {package})")


def able(names, size):
    return [name for name in names if name not in [STATE, READ, OWNED] or size >= STATES_FROM]


def measure(names, programs, arguments):
    """All samples: by the size, the number of receivers and the way to send."""
    samples = defaultdict(lambda: defaultdict(list))
    for number in range(arguments.rounds):
        for receivers in arguments.receivers:
            for size in arguments.sizes:
                for name in rotated(able(names, size), number):
                    count = max(20, SIZES.get(size, 50_000) * arguments.factor // receivers // SLOW.get(name, 1))
                    sample = messages(name, programs, receivers, f"{count} {size} 0")
                    samples[size, receivers, False][name].append(sample)
                for name in rotated(able(names, size), number):
                    sample = messages(name, programs, receivers, f"{SINGLES} {size} {PAUSE_US}")
                    samples[size, receivers, True][name].append(sample)
    return samples


def column(samples, key):
    return [sample[key] for sample in samples]


def show(key, by_name):
    size, receivers, single = key
    title = f"{size} B, {receivers} receivers, {'one at a time' if single else 'as fast as it goes'}"
    rows = []
    for name, samples in by_name.items():
        rate = column(samples, "per second")
        relays = (column(by_name[relay], "per second") for relay in [RELAY, FRAMED])
        row = [name]
        if single:
            row += [figure(median(column(samples, "p50"))), figure(median(column(samples, "p99")))]
        else:
            row += [figure(median(rate)), spread(rate), *(ratio(rate, relay) for relay in relays)]
        cpu = figure(median(column(samples, "cpu")))
        rows.append([*row, cpu, figure(median(column(samples, "rss")))])
    head = ["", "p50 µs", "p99 µs"] if single else ["", "deliveries/s", "range", "of the bare relay", "of the framed"]
    print(render(title, [*head, "CPU s per million", "relay's MiB"], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--factor", type=int, default=10, help="how many times more messages than the least")
    parser.add_argument("--receivers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", nargs="+", help="measure these ways alone")
    arguments = at_least_one(parser, parser.parse_args())
    programs = build()
    names = [TYPED, UNTYPED, STATE, READ, OWNED, RELAY, FRAMED, *present()]
    names = [name for name in names if not arguments.only or name in [*arguments.only, RELAY, FRAMED]]
    print(f"{machine()}; {arguments.rounds} rounds\n")
    for key, by_name in measure(names, programs, arguments).items():
        show(key, by_name)
    rows = []
    for kind, count in ASKS.items():
        samples = [asks(kind, programs, count) for _ in range(arguments.rounds)]
        row = [figure(median(column(samples, "per second"))), spread(column(samples, "per second"))]
        rows.append([kind, *row, *(figure(median(column(samples, key))) for key in ["p50", "p99"])])
    print(render("questions of a worker to the agent", ["", "answers/s", "range", "p50 µs", "p99 µs"], rows))
    print(machine())


if __name__ == "__main__":
    run(main)
