"""The same two pages as the other peers have, for Gunicorn."""

import os


def app(environ, start_response):
    who = environ["PATH_INFO"] == "/whoami"
    body = b'{"pid":%d}' % os.getpid() if who else b"hello from worker 0\n"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
