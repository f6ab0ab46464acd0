"""A worker that serves whoever comes by the descriptors of its welcome. `proper` is the one of the example."""

import os
import select
import socket
import sys
import threading

import proper


class Hospitable(proper.Worker):
    def join(self):
        self.link.receive, receive = self.keep_doors, self.link.receive
        self.receive = receive
        super().join()

    def keep_doors(self, until):
        frame = self.receive(until)
        if frame and frame.kind == proper.WELCOME:
            for descriptor in frame.descriptors:
                threading.Thread(target=serve, args=[os.dup(descriptor)], daemon=True).start()
        return frame


def serve(descriptor):
    try:
        door = socket.socket(fileno=descriptor)
    except OSError:
        return  # the bell
    while True:
        select.select([door], [], [])
        if door.type == socket.SOCK_SEQPACKET:
            label, descriptors, _, _ = socket.recv_fds(door, 64, 1)
            if not label or label[0] == 255:
                continue
            welcome(socket.socket(fileno=descriptors[0]), "handed over")
        else:
            welcome(door.accept()[0], "accepted")


def welcome(client, how):
    client.setblocking(True)
    client.recv(4096)
    client.sendall(f"HTTP/1.0 200 OK\r\ncontent-length: {len(how)}\r\n\r\n{how}".encode())
    client.close()


sys.exit(Hospitable().run())
