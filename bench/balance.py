#!/usr/bin/env python3
"""How connections are spread over the workers, per policy: evenness, wake-ups, delay beside a stopped worker, throughput.

    python3 bench/balance.py                        # about a minute
    python3 bench/balance.py PROGRAM [POLICY…]      # another build of the template app; `-` is its own default

Prints one line for each policy. Needs Linux, wrk, and a machine with little else to do.
"""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLICIES = ["shared", "round-robin", "least-busy", "ip-hash", "url-hash", "reuseport"]

# Every request is for another page, so that `url-hash` has something to choose by; whether there is such a page is
# all the same here.
LINE = "GET /{} HTTP/1.1\r\n"
PAGES = 'request = function() return wrk.format("GET", "/" .. math.random(1000)) end'


class Cluster:
    def __init__(self, program, policy, workers):
        self.folder = tempfile.TemporaryDirectory(prefix="hatchery-bench-")
        options = ["--workers", str(workers), "--listen", "127.0.0.1:0", "--app-dir", self.folder.name]
        if policy:
            options += ["--set", f"http.policy={policy}"]
        (Path(self.folder.name) / "config").mkdir()
        self.program = program
        self.master = subprocess.Popen([program, "start", *options], stdout=subprocess.PIPE, text=True)
        line = self.master.stdout.readline()
        host, port = re.search(r"http://([\d.]+):(\d+)", line).groups()
        self.address = (host, int(port))

    def workers(self):
        said = subprocess.check_output([self.program, "status", "--json", "--app-dir", self.folder.name])
        return json.loads(said)["workers"]

    def accepted(self):
        """How many connections each worker has accepted, by its next sign of life, which comes each second."""
        time.sleep(1.5)
        return [worker["accepted"] for worker in sorted(self.workers(), key=lambda worker: worker["index"])]

    def processes(self):
        return [self.master.pid] + [worker["pid"] for worker in self.workers()]

    def connect(self):
        return socket.create_connection(self.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.master.send_signal(signal.SIGTERM)
        self.master.wait()
        self.folder.cleanup()


def switches(pids):
    total = 0
    for pid in pids:
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            total += sum(int(n) for n in re.findall(r"^\w*voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.M))
    return total


def cpu_seconds(pids):
    fields = (Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split() for pid in pids)
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def ask(connection, page):
    connection.sendall((LINE.format(page) + "Host: bench\r\n\r\n").encode())
    connection.recv(4096)


def shares(cluster, connect):
    """How many connections each worker got of those that `connect` opens."""
    before = cluster.accepted()
    kept = connect()
    return [after - before for before, after in zip(before, cluster.accepted())], kept


def idle(program, policy):
    """The least and the largest share of 10,000 sequential connections over 8 workers, and wake-ups per accept."""
    with Cluster(program, policy, 8) as cluster:

        def one_by_one():
            for page in range(10_000):
                with cluster.connect() as connection:
                    ask(connection, page)

        got, _ = shares(cluster, one_by_one)
        pids, kept = cluster.processes(), []
        before = switches(pids)
        for page in range(800):
            kept.append(cluster.connect())
            if policy == "url-hash":
                kept[-1].sendall(LINE.format(page).encode())
            until = time.perf_counter() + 300e-6
            while time.perf_counter() < until:
                pass
        woken = (switches(pids) - before) / len(kept)
        return min(got) / 100, max(got) / 100, woken


def held(program, policy):
    """How many of 100 connections that are opened at once each of 4 workers holds."""
    with Cluster(program, policy, 4) as cluster:

        def all_at_once():
            kept = [cluster.connect() for _ in range(100)]
            for page, connection in enumerate(kept):
                ask(connection, page)
            return kept

        got, _kept = shares(cluster, all_at_once)
        return sorted(got)


def beside_stopped(program, policy):
    """The slowest of 200 requests on new connections while one of 4 workers is stopped, in milliseconds. With
    `reuseport` that is how long it takes until the worker counts as hung: its queue waits for it."""
    with Cluster(program, policy, 4) as cluster:
        pid = cluster.workers()[0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        slowest = 0.0
        for page in range(200):
            began = time.perf_counter()
            with cluster.connect() as connection:
                ask(connection, page)
            slowest = max(slowest, time.perf_counter() - began)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        return slowest * 1000


def throughput(program, policy):
    """New connections per second, and per CPU-second of the server, with 2 workers under wrk."""
    with Cluster(program, policy, 2) as cluster, tempfile.NamedTemporaryFile("w", suffix=".lua") as pages:
        pages.write(PAGES)
        pages.flush()
        url = "http://{}:{}/".format(*cluster.address)
        pids = cluster.processes()
        before = cpu_seconds(pids)
        command = ["wrk", "-t1", "-c64", "-d4s", "-s", pages.name, "-H", "Connection: close", url]
        said = subprocess.check_output(command, text=True)
        requests = int(re.search(r"(\d+) requests in", said).group(1))
        return requests / 4, requests / (cpu_seconds(pids) - before)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/app-template")
    policies = POLICIES if len(sys.argv) < 3 else [None if word == "-" else word for word in sys.argv[2:]]
    print("policy | share of each of 8 idle workers | wake-ups per accept | held by 4 | beside a stopped one | new/s | new/CPU-s")
    for policy in policies:
        least, most, woken = idle(program, policy)
        per_second, per_cpu = throughput(program, policy)
        print(
            f"{policy} | {least:.1f}-{most:.1f} % | {woken:.2f} | {held(program, policy)}"
            f" | {beside_stopped(program, policy):.1f} ms | {per_second:.0f} | {per_cpu:.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
