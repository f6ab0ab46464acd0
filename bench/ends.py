"""The ways to send, each as one group of processes: our app, and the peers of our bus. What is said of them here is how
they are started, what they say, and that every one of them ends with the script.
"""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from installed import BENCH, check_tools, tool
from processes import Failed, Server, free_port

TYPED, UNTYPED, RELAY, FRAMED = "typed", "untyped", "bare relay", "framed relay"
STATE, READ, OWNED = "state", "state, read", "state, owned"
NODE, REDIS, NATS = "node", "redis", "nats"

APPS = {TYPED: "typed", UNTYPED: "untyped", STATE: "state", READ: "state-read", OWNED: "state-owned"}
"""What our app is told for each of its ways."""

PATIENCE = 120
"""Seconds in which a measurement must have ended."""

START = 30
"""Seconds in which a server must have started, and all that was killed have ended."""


class Group(Server):
    """All processes of one way to send, and what they say."""

    def __init__(self, name, folder):
        super().__init__(name, folder)
        self.rest = {}

    def said(self, enough):
        """The reports of the processes, and their other lines, until these are enough."""
        reports, words = [], []
        outs = {root.stdout.fileno() for root in self.roots}
        deadline = time.monotonic() + PATIENCE
        while not enough(reports, words):
            readable = select.select(outs, [], [], max(0, deadline - time.monotonic()))[0] if outs else []
            if not readable:
                raise Failed(f"{self.name} has said too little: {str((reports, words))[-300:]} {self.complaint()}")
            for out in readable:
                part = os.read(out, 1 << 20)
                if not part:
                    # Who has said everything may be gone.
                    outs.discard(out)
                parts = self.rest.setdefault(out, [])
                *whole, rest = part.split(b"\n")
                for line in whole:
                    line = b"".join([*parts, line])
                    parts.clear()
                    if line.startswith(b"{"):
                        reports.append(json.loads(line))
                    else:
                        words.append(line.decode())
                parts.append(rest)
        return reports

    def add(self, command, **environment):
        """Starts a command that the kernel ends with this script, however that ends."""
        with open(self.folder / "stderr.txt", "ab") as errors:
            child = subprocess.Popen(
                [tool("setpriv"), "--pdeathsig", "KILL", *(str(word) for word in command)],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.roots.append(child)
        return child

    def end(self):
        """Kills all of them, the parents first: what they had to say is said, and an end in order would take its time."""
        # Who is told to go meanwhile goes when this is done.
        told = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, told)
        try:
            family = [*self.processes(), *self.session()]
            for process in family:
                process.kill()
            # Who is still dying would disturb what is measured next.
            wait_until(lambda: not any(process.lives() for process in family), self)
            for child in self.roots:
                child.wait()
                child.stdin.close()
                child.stdout.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def one(self, root):
        """The process of a command."""
        return next(process for process in self.processes() if process.pid == root.pid)


@contextmanager
def group(name):
    check_tools("setpriv")
    with tempfile.TemporaryDirectory(prefix="hatchery-bench-") as folder:
        group = Group(name, Path(folder))
        try:
            yield group
        finally:
            group.end()


def receivers_of(reports):
    return [report for report in reports if report["role"] == "receiver"]


def all_done(receivers):
    """What is enough: the reports of so many receivers, and those of the sender."""

    def enough(reports, _):
        ended = any(report["role"] == "end" for report in reports)
        return ended and len(receivers_of(reports)) >= receivers

    return enough


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
    server, place = start_nats_server(group)
    start_clients(group, programs, "nats", place, receivers, task)
    return server


def start_nats_server(group):
    port = free_port()
    config = group.folder / "nats.conf"
    config.write_text(f"port: {port}\nmax_payload: 8388608\nmax_pending: 1073741824\nwrite_deadline: \"60s\"\n")
    log = group.folder / "nats.log"
    server = group.add([tool("nats-server"), "-c", config, "-l", log])
    wait_until(lambda: log.exists() and "Server is ready" in log.read_text(errors="replace"), group)
    return server, f"127.0.0.1:{port}"


def wait_until(fact, group):
    deadline = time.monotonic() + START
    while not fact():
        if time.monotonic() > deadline:
            raise Failed(f"{group.name} takes more than {START} s: {group.complaint()}")
        time.sleep(0.002)


def start_clients(group, programs, name, place, receivers, task):
    for _ in range(receivers):
        group.add([programs / "bus-peer", f"{name}-receive", place, *task.split()])
    group.said(lambda _, words: words.count("ready") >= receivers)
    group.add([programs / "bus-peer", f"{name}-send", place, *task.split()])


def start(name, group, programs, receivers, task):
    """Starts a way to send; the process that relays."""
    if name in APPS:
        return start_app(group, programs, APPS[name], receivers, task)
    peers = {RELAY: start_relay, FRAMED: start_framed, NODE: start_node, REDIS: start_redis, NATS: start_nats}
    return peers[name](group, programs, receivers, task)


def start_questions(name, group, programs, at_once, count):
    """Starts questions of one process to another, so many at a time, and the answers."""
    task = [count, 64, 1]
    if name == TYPED:
        start_app(group, programs, "ask" if at_once == 1 else "ask-many", 1, " ".join(map(str, task)))
    elif name == FRAMED:
        group.add([programs / "bus-peer", "ask-relay", at_once, *task])
    elif name == NODE:
        group.add([tool("node"), BENCH / "node" / "questions.js", at_once, count])
    elif name == NATS:
        _, place = start_nats_server(group)
        group.add([programs / "bus-peer", "nats-answer", place, *task])
        group.said(lambda _, words: "ready" in words)
        group.add([programs / "bus-peer", f"nats-ask-{at_once}", place, *task])
