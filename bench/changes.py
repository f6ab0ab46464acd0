#!/usr/bin/env python3
"""How long a change takes: an edited greeting until every worker says it, and a killed worker until its
replacement answers. Only the template app is measured; README.md tells how to read the figures.
"""

import argparse
import http.client
import json
import os
import signal
import time
from statistics import median

from installed import build
from peers import TEMPLATE, started
from processes import Failed
from script import at_least_one, run
from table import figure, render, spread

WORKERS = 2
PATIENCE = 30


def ask(server, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def wait(server, path, enough):
    """Asks on new connections until the answers are enough; which worker answers is the kernel's choice."""
    deadline = time.monotonic() + PATIENCE
    answers = []
    while not enough(answers):
        if time.monotonic() > deadline:
            raise Failed(f"{path}: waited {PATIENCE} s in vain")
        answers.append(ask(server, path))


def all_say(greeting):
    said = {f"{greeting} from worker {index}\n" for index in range(WORKERS)}
    return lambda answers: said <= set(answers)


def change_greeting(server, nth):
    """Milliseconds from the rename of the new file to the last worker's first new answer."""
    config = server.folder / "config"
    greeting = f"greeting number {nth}"
    draft = config / "draft"
    draft.write_text(f'greeting = "{greeting}"\n')
    began = time.monotonic()
    draft.rename(config / "default.toml")
    wait(server, "/", all_say(greeting))
    return (time.monotonic() - began) * 1000


def kill_worker(server):
    """Milliseconds from SIGKILL to the first answer of the replacement."""
    victim = json.loads(ask(server, "/whoami"))

    def replaced(answers):
        return any(is_replacement(json.loads(answer), victim) for answer in answers[-1:])

    began = time.monotonic()
    os.kill(victim["pid"], signal.SIGKILL)
    wait(server, "/whoami", replaced)
    return (time.monotonic() - began) * 1000


def kill_one_in_a_new_cluster(programs):
    """Only the first death of a slot is repaired at once; later ones wait on purpose."""
    with started(TEMPLATE, programs, WORKERS) as (server, _):
        return kill_worker(server)


def is_replacement(who, victim):
    return who["index"] == victim["index"] and who["pid"] != victim["pid"]


def row(name, samples, goal):
    return [name, figure(median(samples)), spread(samples), goal]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="changes, and kills (default 20)")
    rounds = at_least_one(parser, parser.parse_args()).rounds
    programs = build()
    with started(TEMPLATE, programs, WORKERS) as (server, _):
        changes = [change_greeting(server, nth) for nth in range(rounds)]
    kills = [kill_one_in_a_new_cluster(programs) for _ in range(rounds)]
    header = ["what, ms", "median", "range", "goal"]
    rows = [
        row("greeting on disk, live in every worker", changes, "≤ 1050: poll interval and 50 ms"),
        row("SIGKILL of a worker, replacement answers", kills, "≤ 12 and the app's own start"),
    ]
    print(render("Changes, the template with 2 workers, polled each second", header, rows))


if __name__ == "__main__":
    run(main)
