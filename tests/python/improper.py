"""A worker that does wrong when it is asked to. `proper` is the one of the example."""

import subprocess
import sys

import proper


class Improper(proper.Worker):
    def answer(self, question):
        if question == "garbage":
            self.link.socket.sendall(b"\xff" * 64)
        if question == "wrong kind":
            self.link.send(proper.WELCOME)
        if question == "leave something behind":
            return str(subprocess.Popen(["sleep", "60"]).pid)
        if question == "fail":
            raise OSError("the disk is full")
        return super().answer(question)


sys.exit(Improper().run())
