"""Processes under test: starting them, what the kernel tells of them, and ending every one of them."""

import http.client
import os
import re
import select
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 30.0
"""Seconds that a start or a stop may take on a busy machine."""

TICKS = os.sysconf("SC_CLK_TCK")

GREETING = re.compile(rb"hello from worker \d+\n")


class Failed(Exception):
    """A measurement cannot be made; the text says why."""


def free_port():
    """A port of the loopback interface that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port):
    """The status and the body of `GET /`; OSError if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


def stat(pid):
    """The fields of /proc/PID/stat from the state on: [1] parent, [3] session, [11] utime, [12] stime, [19] start."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def stats_of_all():
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = stat(entry)
            except OSError:
                pass  # It has ended meanwhile.
    return found


@dataclass(frozen=True)
class Process:
    """One process; its start time tells it from a later one with the same pid."""

    pid: int
    born: str

    def lives(self):
        try:
            fields = stat(self.pid)
        except OSError:
            return False
        return fields[19] == self.born and fields[0] not in "ZX"

    def kill(self):
        if self.lives():
            os.kill(self.pid, signal.SIGKILL)

    def cpu_seconds(self):
        fields = stat(self.pid)
        return (int(fields[11]) + int(fields[12])) / TICKS

    def fine_cpu_seconds(self):
        """To the nanosecond, but only of those threads that still live: for a process at rest."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def children_cpu_seconds(self):
        """Of those children only that have ended and been waited for."""
        fields = stat(self.pid)
        return (int(fields[13]) + int(fields[14])) / TICKS

    def memory_kib(self):
        """Resident and proportional size."""
        sizes = {}
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()[1:]:
            key, value, *_ = line.split()
            sizes[key] = int(value)
        return {"rss": sizes["Rss:"], "pss": sizes["Pss:"]}

    def title(self):
        return Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")[0].decode()


class Server:
    """What was started as one server: the commands, and all processes that came of them."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = folder
        self.port = None
        self.roots = []
        self.began = None
        self.ends_with_input = False

    def spawn(self, command):
        """Starts a command in a session of its own; its stderr goes to a file in the server's folder."""
        with open(self.folder / "stderr.txt", "ab") as errors:
            self.began = time.monotonic()
            child = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.roots.append(child)

    def wait_for_line(self, word):
        """Seconds from the spawn to a line on stdout with `word`, and the line; other lines are passed over."""
        out = self.roots[0].stdout.fileno()
        said = b""
        while True:
            left = self.began + PATIENCE - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                raise Failed(f"{self.name} was not ready in {PATIENCE:.0f} s: {self.complaint()}")
            part = os.read(out, 65536)
            took = time.monotonic() - self.began
            if not part:
                raise Failed(f"{self.name} said {said[-200:]!r} instead of being ready: {self.complaint()}")
            said += part
            for line in said.decode(errors="replace").splitlines(keepends=True):
                if word in line and line.endswith("\n"):
                    return took, line

    def wait_for_answer(self):
        """Seconds from the spawn to the first answered request."""
        while True:
            try:
                get(self.port)
                return time.monotonic() - self.began
            except OSError as error:
                if self.roots[0].poll() is not None or time.monotonic() - self.began > PATIENCE:
                    raise Failed(f"{self.name} does not answer: {error}; {self.complaint()}") from error
                time.sleep(0.0002)

    def check(self):
        """One request must be answered as all of them answer: equal work for all."""
        status, body = get(self.port)
        if status != 200 or not GREETING.fullmatch(body):
            raise Failed(f"{self.name} answered {status} {body!r}, want 200 and {GREETING.pattern!r}")

    def complaint(self):
        return (self.folder / "stderr.txt").read_text(errors="replace").strip()[-500:] or "nothing on stderr"

    def processes(self):
        """The commands' own processes first, then their descendants, by pid."""
        everything = stats_of_all()
        family = [child.pid for child in self.roots if child.pid in everything]
        for pid in family:
            family.extend(sorted(p for p, fields in everything.items() if int(fields[1]) == pid))
        return [Process(pid, everything[pid][19]) for pid in family if everything[pid][0] not in "ZX"]

    def session(self):
        """Who is in the sessions of the commands: also those whose parent has gone, so that nobody leads to them."""
        leaders = {str(child.pid) for child in self.roots}
        return [Process(pid, fields[19]) for pid, fields in stats_of_all().items() if fields[3] in leaders]

    def cpu_seconds(self):
        return {process: process.cpu_seconds() for process in self.processes()}

    def end(self):
        """Asks the commands to end, then kills what is left of them and of all that they started."""
        family = self.processes()
        for child in self.roots:
            child.stdin.close()
            if child.poll() is None and not self.ends_with_input:
                child.terminate()
        deadline = time.monotonic() + PATIENCE / 3
        while any(process.lives() for process in family) and time.monotonic() < deadline:
            time.sleep(0.005)
        for process in [*family, *self.session()]:
            process.kill()
        for child in self.roots:
            child.kill()
            child.wait()
            child.stdout.close()
