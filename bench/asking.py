"""Asking a server which of its workers answers: on a new connection each time, and never held up by a question that
hangs, because a peer may hand one to a worker that is dead.
"""

import re
import selectors
import socket
import time

REQUEST = b"GET /whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
ANSWER = re.compile(rb'"pid":(\d+)')
CONNECT_SECONDS = 2


class Asker:
    """Questions in flight to one port; leaving it as a context closes them."""

    def __init__(self, port):
        self.port = port
        self.in_flight = selectors.DefaultSelector()
        self.unanswered = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for key in list(self.in_flight.get_map().values()):
            self.close(key.fileobj)
        self.in_flight.close()

    def ask(self):
        try:
            connection = socket.create_connection(("127.0.0.1", self.port), CONNECT_SECONDS)
            connection.sendall(REQUEST)
        except OSError:
            self.unanswered += 1
            return
        connection.setblocking(False)
        self.in_flight.register(connection, selectors.EVENT_READ, bytearray())

    def answers(self, seconds):
        """The pids of those who answer next; none if nobody does in time."""
        pids = []
        for key, _ in self.in_flight.select(seconds):
            try:
                part = key.fileobj.recv(4096)
            except OSError:
                part = b""
            key.data.extend(part)
            if found := ANSWER.search(key.data):
                pids.append(int(found[1]))
            elif part:
                continue
            else:
                self.unanswered += 1
            self.close(key.fileobj)
        return pids

    def give_up_after(self, seconds):
        """How many questions have got no answer in all, once those in flight have had their last chance."""
        deadline = time.monotonic() + seconds
        while self.in_flight.get_map() and time.monotonic() < deadline:
            self.answers(deadline - time.monotonic())
        return self.unanswered + len(self.in_flight.get_map())

    def close(self, connection):
        self.in_flight.unregister(connection)
        connection.close()
