"""What the bus is to achieve, row by row, and whether it does."""

from statistics import median

from ends import FRAMED, NODE, READ, REDIS, RELAY, STATE, TYPED, UNTYPED
from held import LOOKED_AT, MIB, NOTHING, SHARED
from table import figure, ratios, spread, verdict

RECEIVERS = 8
"""To so many, as all aims are told."""

SMALL, LARGE = 64, 1 << 20

AT_LEAST, AT_MOST = "≥", "≤"

FAST = [
    (TYPED, SMALL, [(REDIS, 1.0), (NODE, 30.0)]),
    (UNTYPED, SMALL, [(RELAY, 0.8), (FRAMED, 0.8)]),
    (STATE, LARGE, [(None, 8000.0), (RELAY, 1.0), (FRAMED, 1.0), (REDIS, 1.4)]),
    (READ, LARGE, [(None, 8000.0), (RELAY, 1.0), (FRAMED, 1.0), (REDIS, 1.4)]),
]
"""Deliveries per second, or their ratio to those of a peer: at least so many."""

SOON = [("p50", [(None, 60.0), (FRAMED, 1.1)]), ("p99", [(None, 120.0)])]
"""Microseconds of one message at a time, or their ratio: at most so many."""

ANSWERED = [
    (1, "p50", AT_MOST, [(None, 75.0), (FRAMED, 1.06)]),
    (1, "p99", AT_MOST, [(None, 110.0), (FRAMED, 1.12)]),
    (64, "per second", AT_LEAST, [(None, 4e5), (FRAMED, 0.63)]),
]
"""Of questions, so many at a time."""

COPIES = 1.05
"""Of a state that all workers hold, at most so many in all of them together."""


def achieved(messages, asks, held):
    """For each aim: what, the aim, the median, the range, and whether it is met."""
    for name, size, aims in FAST:
        samples = messages.get((size, RECEIVERS, False), {})
        what = f"{name}, {size} B to {RECEIVERS}, deliveries/s"
        yield from compared(what, samples, name, "per second", AT_LEAST, aims)
    for key, aims in SOON:
        samples = messages.get((SMALL, RECEIVERS, True), {})
        what = f"{TYPED}, {SMALL} B to {RECEIVERS}, one at a time, {key} µs"
        yield from compared(what, samples, TYPED, key, AT_MOST, aims)
    for at_once, key, sign, aims in ANSWERED:
        what = f"questions, {at_once} at a time, {'answers/s' if key == 'per second' else key + ' µs'}"
        yield from compared(what, asks.get(at_once, {}), TYPED, key, sign, aims)
    for name in [SHARED, LOOKED_AT]:
        pairs = zip(held.get(name, []), held.get(NOTHING, []))
        # None is told as 0.00, also where the difference is a page below it.
        copies = [max(0, one["workers"] - nothing["workers"]) / MIB for one, nothing in pairs]
        yield row(f"copies of a state in {RECEIVERS} workers, {name}", AT_MOST, COPIES, copies)


def compared(what, samples, name, key, sign, aims):
    ours = [sample[key] for sample in samples.get(name, [])]
    for peer, aim in aims:
        if peer is None:
            yield row(what, sign, aim, ours)
        else:
            theirs = [sample[key] for sample in samples.get(peer, [])]
            yield row(f"{what}, of {peer}", sign, aim, ratios(ours, theirs))


def row(what, sign, aim, values):
    goal = f"{sign} {figure(aim)}"
    if not values:
        return [what, goal, "", "", "not measured"]
    middle = median(values)
    return [what, goal, figure(middle), spread(values), verdict(middle >= aim if sign == AT_LEAST else middle <= aim)]
