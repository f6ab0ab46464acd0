"""The servers that are compared: the template app and its peers, each started and ready."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from installed import BENCH, REPOSITORY, tool
from processes import Server, free_port

TEMPLATE, NGINX, HYPER, REEXEC = "hatchery", "nginx", "bare hyper", "bare re-exec"
STORM, NODE, EGG, PM2 = "crash storm", "node cluster", "egg", "PM2"
PUMA, GUNICORN, HAPROXY = "Puma", "Gunicorn", "HAProxy"

NEEDS = {
    TEMPLATE: (None, None),
    HYPER: (None, None),
    NGINX: ("nginx", None),
    HAPROXY: ("haproxy", None),
    PUMA: ("puma", None),
    GUNICORN: ("gunicorn", None),
    NODE: ("node", None),
    PM2: ("node", "pm2"),
    EGG: ("node", "egg"),
}
"""The program of each server, and the folder of its npm packages."""

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
        location /whoami {{ return 200 '{{"pid":$pid}}'; }}
    }}
}}
"""


HAPROXY_CONF = """
global
    nbthread {workers}
    stats socket {folder}/admin.sock mode 660 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend pages
    bind 127.0.0.1:{port}
    http-request return content-type application/json lf-string '{{"pid":%pid}}' if {{ path /whoami }}
    http-request return content-type text/plain string "hello from worker 0\\n"
"""


@contextmanager
def started(name, programs, workers, *options):
    """A server that is ready and has answered, with the seconds that its start took; ended on leaving. What the
    options are is the server's own affair."""
    with tempfile.TemporaryDirectory(prefix="hatchery-bench-") as folder:
        server = Server(name, Path(folder))
        try:
            took = STARTS[name](server, programs, workers, *options)
            server.check()
            yield server, took
        finally:
            server.end()


def start_template(server, programs, workers, *options):
    shutil.copytree(REPOSITORY / "app-template" / "config", server.folder / "config")
    return start_app(server, programs / "app-template", workers, *options)


def start_storm(server, programs, workers, *options):
    (server.folder / "config").mkdir()
    return start_app(server, programs / "crash-storm", workers, *options)


def start_app(server, program, workers, *options):
    """Starts an app that is made with Hatchery; the options are those of its `start`."""
    server.port = free_port()
    places = ["--app-dir", server.folder, "--listen", f"127.0.0.1:{server.port}"]
    server.spawn([program, "start", *places, "--workers", workers, *options])
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


def start_node(server, _, workers):
    server.port = free_port()
    server.spawn([tool("node"), BENCH / "node" / "cluster.js", server.port, workers])
    return server.wait_for_line("ready")[0]


def start_egg(server, _, workers, modules):
    """Egg with the packages of the folder `modules`; it writes beside its app, which therefore is a copy."""
    app = server.folder / "app"
    shutil.copytree(BENCH / "egg", app, ignore=shutil.ignore_patterns("node_modules"))
    (app / "node_modules").symlink_to(modules)
    server.port = free_port()
    server.spawn([tool("node"), app / "start.js", server.port, workers])
    return server.wait_for_line("egg is ready")[0]


def start_pm2(server, _, workers, modules):
    """PM2 as the first process of a container, which leaves no daemon behind, with a home in the server's folder."""
    server.port = free_port()
    app = [BENCH / "pm2" / "app.js", "--name", "pages", "-i", workers]
    server.spawn(["env", f"PORT={server.port}", *pm2_command(server, modules, "pm2-runtime"), "start", *app])
    return server.wait_for_answer()


def pm2_command(server, modules, name):
    return ["env", f"PM2_HOME={server.folder / 'pm2'}", tool("node"), modules / "pm2" / "bin" / name]


def start_puma(server, _, workers):
    server.port = free_port()
    shutil.copy(BENCH / "puma" / "config.ru", server.folder)
    address = f"tcp://127.0.0.1:{server.port}"
    server.spawn([tool("puma"), "--quiet", "-e", "production", "-w", workers, "-b", address, "config.ru"])
    return server.wait_for_answer()


def start_gunicorn(server, _, workers, *options):
    server.port = free_port()
    shutil.copy(BENCH / "gunicorn" / "app.py", server.folder)
    address = f"127.0.0.1:{server.port}"
    server.spawn([tool("gunicorn"), "-w", workers, "-b", address, *options, "app:app"])
    return server.wait_for_answer()


def start_haproxy(server, _, workers):
    """One process with as many threads as the others have workers: HAProxy has no more than one that serves."""
    server.port = free_port()
    text = HAPROXY_CONF.format(folder=server.folder, port=server.port, workers=workers)
    (server.folder / "haproxy.cfg").write_text(text)
    server.spawn([tool("haproxy"), "-W", "-f", server.folder / "haproxy.cfg"])
    return server.wait_for_answer()


STARTS = {
    TEMPLATE: start_template,
    STORM: start_storm,
    NGINX: start_nginx,
    NODE: start_node,
    EGG: start_egg,
    PM2: start_pm2,
    PUMA: start_puma,
    GUNICORN: start_gunicorn,
    HAPROXY: start_haproxy,
    HYPER: start_hyper,
    REEXEC: start_reexec,
}
