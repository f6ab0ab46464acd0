#!/usr/bin/env python3
"""What messages cost: from one process to many, by our bus and by its peers, as fast as possible and one at a time;
questions with answers; and the memory of a state that all hold. At the end, how all of it compares with what is aimed at.
README.md tells how to read the figures.
"""

import argparse
import sys
import time
from collections import defaultdict
from statistics import median

from aims import achieved
from ends import FRAMED, NATS, NODE, OWNED, READ, REDIS, RELAY, STATE, TYPED, UNTYPED
from ends import all_done, group, receivers_of, start, start_questions
from held import HELD_BY, held
from installed import build, tool
from processes import Failed
from script import at_least_one, machine, rotated, run
from table import figure, ratio, render, spread

SIZES = [64, 1024, 65536, 1 << 20]

PACE = {
    TYPED: (2e6, 12e6, 4e9), UNTYPED: (2e6, 16e6, 4e9), RELAY: (3e6, 24e6, 6e9), FRAMED: (3e6, 16e6, 6e9),
    STATE: (2e3, 10e3, 10e9), READ: (2e3, 10e3, 10e9), OWNED: (1e3, 10e3, 2e9),
    NODE: (1e5, 2e5, 3e8), REDIS: (1e6, 4e6, 6e9), NATS: (2e6, 6e6, 2e9),
}
"""Messages that are sent, deliveries, and delivered bytes in a second, roughly: how many a first round has. What is
measured tells how many the next has.
"""

LEAST, MOST_SINGLES, PAUSE = 5, 400, 0.001
"""Messages of a measurement at least; messages one at a time at most, and the seconds between two at least."""

STATES_FROM = 1 << 20
"""From so many bytes on, a state is measured, too."""

AT_ONCE = [1, 64]
ANSWERS = {(TYPED, 1): 1e4, (FRAMED, 1): 1e4, (NODE, 1): 5e3, (NATS, 1): 5e3,
           (TYPED, 64): 3e5, (FRAMED, 64): 5e5, (NODE, 64): 5e4, (NATS, 64): 2e5}
"""Answers in a second, as PACE."""


class Progress:
    """Says on stderr what is being measured, and when that will end."""

    def __init__(self, steps):
        self.steps, self.done, self.began = steps, 0, time.monotonic()

    def begin(self, what):
        passed = time.monotonic() - self.began
        left = f", {passed / self.done * (self.steps - self.done) / 60:.1f} min left" if self.done else ""
        self.done += 1
        print(f"[{self.done} of {self.steps}{left}] {what}", file=sys.stderr)


class Measurement:
    """All samples, and what they tell of how many messages the next should have."""

    def __init__(self, names, programs, arguments):
        self.names, self.programs, self.arguments = names, programs, arguments
        self.messages = defaultdict(lambda: defaultdict(list))
        self.asks = defaultdict(lambda: defaultdict(list))
        self.held = defaultdict(list)
        each = sum(2 * len(able(names, size)) for size in arguments.sizes) * len(arguments.receivers)
        asks, held = len(AT_ONCE) * len(self.asking()), len(self.holding())
        self.progress = Progress((each + asks + held) * arguments.rounds)

    def asking(self):
        return [name for name in [TYPED, FRAMED, NODE, NATS] if name in self.names]

    def holding(self):
        return [name for name in HELD_BY if HELD_BY[name][0] in self.names]

    def rounds(self):
        for number in range(self.arguments.rounds):
            for receivers in self.arguments.receivers:
                for size in self.arguments.sizes:
                    self.round_of_messages(number, size, receivers)
            for at_once in AT_ONCE:
                for name in rotated(self.asking(), number):
                    self.progress.begin(f"{name}, {at_once} questions at a time")
                    samples = self.asks[at_once][name]
                    rate = samples[-1]["per second"] if samples else ANSWERS[name, at_once]
                    count = max(LEAST * at_once, int(rate * self.arguments.seconds))
                    samples.append(asks(name, self.programs, at_once, count))
            for name in self.holding():
                self.progress.begin(f"memory of a state, {name}")
                self.held[name].append(held(name, self.programs))

    def round_of_messages(self, number, size, receivers):
        for single in [False, True]:
            for name in rotated(able(self.names, size), number):
                self.progress.begin(f"{name}, {size} B, {receivers} receivers{', one at a time' * single}")
                sample = messages(name, self.programs, receivers, self.task(name, size, receivers, single))
                self.messages[size, receivers, single][name].append(sample)

    def rate(self, name, size, receivers):
        """Messages per second, as the round before tells, or roughly."""
        samples = self.messages[size, receivers, False][name]
        sent, delivered, delivered_bytes = PACE[name]
        pace = min(sent * receivers, 1 / (1 / delivered + size / delivered_bytes))
        return (samples[-1]["per second"] if samples else pace) / receivers

    def task(self, name, size, receivers, single):
        """What takes as long as it should."""
        rate, seconds = self.rate(name, size, receivers), self.arguments.seconds
        if not single:
            return f"{max(LEAST, int(rate * seconds))} {size} 0"
        # The one before must have arrived everywhere.
        pause = max(PAUSE, 2 / rate)
        count = max(LEAST, min(MOST_SINGLES, int(seconds / pause)))
        return f"{count} {size} {int(pause * 1e6)}"


def able(names, size):
    return [name for name in names if name not in [STATE, READ, OWNED] or size >= STATES_FROM]


def quantiles(receivers):
    """In microseconds, of what all receivers got."""
    latencies = sorted(latency for report in receivers for latency in report["latencies"])
    of = lambda share: latencies[len(latencies) * share // 100] / 1000 if latencies else 0
    return {"p50": of(50), "p99": of(99)}


def messages(name, programs, receivers, task):
    """Deliveries per second, latencies, processor time and the relay's memory, for one way to send."""
    with group(name) as ours:
        relay = start(name, ours, programs, receivers, task)
        said = ours.said(all_done(receivers))
        own = ours.one(relay)
        cpu = own.fine_cpu_seconds()
        rss = own.memory_kib()["rss"] / 1024
    ends = receivers_of(said)
    begin, end = (next(report for report in said if report["role"] == role) for role in ["begin", "end"])
    delivered = sum(report["received"] for report in ends)
    cpu += (sum(report["cpu"] for report in ends) + end["cpu"] - begin["cpu"]) / 1e9
    return {
        "per second": delivered / (max(report["at"] for report in ends) - begin["at"]) * 1e9,
        **quantiles(ends),
        "cpu": cpu / delivered * 1e6,
        "rss": rss,
    }


def asks(name, programs, at_once, count):
    """Answers per second, and how long each took."""
    with group(name) as ours:
        start_questions(name, ours, programs, at_once, count)
        said = ours.said(all_done(1))
    begin, end = (next(report["at"] for report in said if report["role"] == role) for role in ["begin", "end"])
    return {"per second": count / (end - begin) * 1e9, **quantiles(receivers_of(said))}


def present():
    for name, program, package in [(NODE, "node", "nodejs"), (REDIS, "redis-server", "redis-server"),
                                   (NATS, "nats-server", "nats-server")]:
        if tool(program):
            yield name
        else:
            print(f"{name} is left out: {program} is missing (apt-get install {package})")


def column(samples, key):
    return [sample[key] for sample in samples]


def against_peer(by_name, name, peer, key):
    return "1" if name == peer else ratio(column(by_name[name], key), column(by_name[peer], key))


def show_messages(key, by_name):
    size, receivers, single = key
    title = f"{size} B, {receivers} receivers, {'one at a time' if single else 'as fast as it goes'}"
    rows = []
    for name, samples in by_name.items():
        of_what = "p50" if single else "per second"
        against = [against_peer(by_name, name, peer, of_what) for peer in [RELAY, FRAMED]]
        rate = column(samples, "per second")
        row = [figure(median(column(samples, key))) for key in ["p50", "p99"]]
        row = row if single else [figure(median(rate)), spread(rate)]
        cpu = figure(median(column(samples, "cpu")))
        rows.append([name, *row, *against, cpu, figure(median(column(samples, "rss")))])
    head = ["", "p50 µs", "p99 µs"] if single else ["", "deliveries/s", "range"]
    print(render(title, [*head, "of the bare relay", "of the framed", "CPU s per million", "relay's MiB"], rows))


def show_asks(at_once, by_name):
    rows = []
    for name, samples in by_name.items():
        rate = column(samples, "per second")
        row = [figure(median(rate)), spread(rate), against_peer(by_name, name, FRAMED, "per second")]
        rows.append([name, *row, *(figure(median(column(samples, key))) for key in ["p50", "p99"])])
    head = ["", "answers/s", "range", "of the framed relay", "p50 µs", "p99 µs"]
    print(render(f"questions, {at_once} at a time", head, rows))


def show_held(by_name):
    rows = [[name, *(figure(median(column(samples, key))) for key in ["workers", "all"])]
            for name, samples in by_name.items()]
    print(render("PSS while 8 workers hold a state of 64 MiB", ["", "workers' MiB", "all processes' MiB"], rows))


def show(measured):
    for key, by_name in measured.messages.items():
        if all(by_name.get(relay) for relay in [RELAY, FRAMED]):
            show_messages(key, by_name)
    for at_once, by_name in measured.asks.items():
        if by_name.get(FRAMED):
            show_asks(at_once, by_name)
    if measured.held:
        show_held(measured.held)
    rows = list(achieved(measured.messages, measured.asks, measured.held))
    print(render("what is aimed at", ["", "goal", "median", "range", ""], rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="how long a measurement takes, roughly")
    parser.add_argument("--receivers", type=int, nargs="+", default=[2, 8, 32])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--only", nargs="+", choices=list(PACE), help="measure these ways, and the relays, alone")
    arguments = at_least_one(parser, parser.parse_args())
    programs = build()
    names = [TYPED, UNTYPED, STATE, READ, OWNED, RELAY, FRAMED, *present()]
    names = [name for name in names if not arguments.only or name in [*arguments.only, RELAY, FRAMED]]
    print(f"{machine()}; {arguments.rounds} rounds\n", flush=True)
    measured = Measurement(names, programs, arguments)
    try:
        measured.rounds()
    except Failed as failure:
        # What was measured so far is worth something.
        show(measured)
        raise failure
    show(measured)
    print(machine())


if __name__ == "__main__":
    run(main)
