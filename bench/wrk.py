"""The load generator: one run of wrk against a server, and the processor time that it cost the server."""

import re
import subprocess

from installed import tool
from processes import Failed

CONNECTIONS = 64

LOADS = {"keep-alive": [], "new connections": ["-H", "Connection: close"]}


def load(server, kind, seconds):
    """One run, after a second to warm up: what wrk says, and the CPU time that each server process took."""
    url = f"http://127.0.0.1:{server.port}/"
    command = [tool("wrk"), "-t1", f"-c{CONNECTIONS}", *LOADS[kind], url]
    run_wrk([*command, "-d1s"])
    before = server.cpu_seconds()
    said = run_wrk([*command, f"-d{seconds}s"])
    after = server.cpu_seconds()
    if before.keys() != after.keys():
        raise Failed(f"{server.name}: a process ended or began under load")
    return read_wrk(said), {process: after[process] - before[process] for process in before}


def run_wrk(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Failed(f"wrk ended with {done.returncode}: {' '.join(command)}")
    return done.stdout


def read_wrk(said):
    requests, length = re.search(r"(\d+) requests in ([\d.]+)s", said).groups()
    non_2xx = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return {
        "requests": int(requests),
        "seconds": float(length),
        "non-2xx": int(non_2xx[1]) if non_2xx else 0,
        "socket errors": sum(map(int, errors.groups())) if errors else 0,
    }
