"""What all scripts do alike: they take turns, tell of the machine, and end in order, also when told to go."""

import os
import platform
import signal
import sys

from processes import Failed


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


def machine():
    loads = " ".join(f"{load:.2f}" for load in os.getloadavg())
    return f"{len(os.sched_getaffinity(0))} cores, Linux {platform.release()}, load average {loads}"


def at_least_one(parser, arguments):
    """Refuses rounds, seconds and counts below 1."""
    for name, value in vars(arguments).items():
        if isinstance(value, int) and value < 1:
            parser.error(f"--{name} is at least 1, not {value}")
    return arguments


def run(main):
    # Being told to go is an exception like any other, so that every server is ended on the way out.
    for told in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(told, lambda number, _: sys.exit(128 + number))
    try:
        main()
    except Failed as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
