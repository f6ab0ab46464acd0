"""The servers that are compared: the template app and its peers, each started and ready."""

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from processes import Failed, Server, free_port

REPOSITORY = Path(__file__).resolve().parent.parent

TEMPLATE, NGINX, HYPER, REEXEC = "hatchery", "nginx", "bare hyper", "bare re-exec"

PACKAGES = {"wrk": "wrk", "nginx": "nginx-light"}

NGINX_CONF = """
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "hello from worker 0\\n"; }}
    }}
}}
"""


def tool(name):
    """The path of a program; servers are often outside the PATH of a plain user."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def check_tools():
    missing = [package for name, package in PACKAGES.items() if not tool(name)]
    if missing:
        raise Failed(f"install what is missing: apt-get install {' '.join(missing)}")
    if not shutil.which("cargo"):
        raise Failed("cargo is missing: install Rust")


def build():
    """Builds the template and the small peers for release; the folder of the programs."""
    command = ["cargo", "build", "--release", "--locked", "-p", "app-template", "-p", "hatchery-bench"]
    if subprocess.run(command, cwd=REPOSITORY).returncode != 0:
        raise Failed("the build failed")
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    answer = subprocess.run(metadata, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
    return Path(json.loads(answer.stdout)["target_directory"]) / "release"


@contextmanager
def started(name, programs, workers):
    """A server that is ready and has answered, with the seconds that its start took; ended on leaving."""
    with tempfile.TemporaryDirectory(prefix="hatchery-bench-") as folder:
        server = Server(name, Path(folder))
        try:
            took = STARTS[name](server, programs, workers)
            server.check()
            yield server, took
        finally:
            server.end()


def start_template(server, programs, workers):
    shutil.copytree(REPOSITORY / "app-template" / "config", server.folder / "config")
    server.port = free_port()
    options = ["--app-dir", server.folder, "--listen", f"127.0.0.1:{server.port}", "--workers", workers]
    server.spawn([programs / "app-template", "start", *options])
    return server.wait_for_line("is ready")[0]


def start_reexec(server, programs, workers):
    server.ends_with_input = True
    server.spawn([programs / "bare-reexec", workers])
    took, line = server.wait_for_line("ready")
    server.port = int(line.rsplit(":", 1)[1])
    return took


def start_nginx(server, _, workers):
    server.port = free_port()
    # Its workers run as somebody else when we are root, and must get through to their folders.
    os.chmod(server.folder, 0o755)
    text = NGINX_CONF.format(workers=workers, folder=server.folder, port=server.port)
    (server.folder / "nginx.conf").write_text(text)
    server.spawn([tool("nginx"), "-p", server.folder, "-c", server.folder / "nginx.conf", "-e", "stderr"])
    return server.wait_for_answer()


def start_hyper(server, programs, workers):
    server.port = free_port()
    for _ in range(workers):
        server.spawn([programs / "bare-hyper", server.port])
    return server.wait_for_answer()


STARTS = {TEMPLATE: start_template, NGINX: start_nginx, HYPER: start_hyper, REEXEC: start_reexec}
