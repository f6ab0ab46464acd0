"""The clients that never pause: starting them beside a server, and reading what became of their requests."""

import json
import subprocess
import threading
from collections import Counter

from processes import PATIENCE, Failed

CLIENTS = 64

MODES = {"keep-alive": "keep-alive", "new connections": "new"}
"""How the clients treat their connections, and the word for it on their command line."""

KINDS = [
    "refused",
    "reset-unanswered",
    "closed-unanswered",
    "reset-amid",
    "truncated",
    "timed-out",
    "wrong",
    "other",
]


class Insisting:
    """Clients that ask the server until `finish`; leaving it as a context ends them in any case."""

    def __init__(self, programs, server, mode):
        command = [programs / "insist", server.port, MODES[mode], CLIENTS]
        pipe = subprocess.PIPE
        self.clients = subprocess.Popen([str(word) for word in command], stdin=pipe, stdout=pipe, text=True)
        self.pids, self.tally = set(), None
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        """Each process that answers is told of by its pid; the last line is what was counted."""
        for line in self.clients.stdout:
            said = json.loads(line)
            if isinstance(said, int):
                self.pids.add(said)
            else:
                self.tally = said

    def answered(self):
        """The pids of all processes that have answered so far."""
        return self.pids.copy()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clients.kill()
        self.clients.wait()
        self.clients.stdin.close()
        self.listener.join()
        self.clients.stdout.close()

    def finish(self):
        self.clients.stdin.close()
        try:
            code = self.clients.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"the clients have not ended {PATIENCE:.0f} s after they were told to") from error
        self.listener.join()
        if code != 0 or self.tally is None:
            raise Failed(f"the clients ended with {code}")
        return self.tally


class Tallies:
    """What several runs have counted, summed up."""

    def __init__(self):
        self.requests, self.slowest_ms, self.failures = 0, 0.0, Counter()

    def add(self, tally):
        self.requests += tally["requests"]
        self.slowest_ms = max(self.slowest_ms, tally["slowest_ms"])
        self.failures.update(tally["failures"])

    def cells(self):
        """Requests, the failed ones, these by kind, and the slowest answer in milliseconds."""
        kinds = [self.failures[kind] for kind in KINDS]
        return [f"{self.requests:,}", sum(kinds), *kinds, f"{self.slowest_ms:,.0f}"]
