"""A worker that does wrong when it is asked to. `proper` is the one of the example."""

import os
import pathlib
import subprocess
import sys
import time

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
        if question == "close the link when told":
            self.close_the_link()
        return super().answer(question)

    def take(self, frame):
        if frame.kind == proper.MESSAGE:
            with open("heard", "a") as file:
                file.write(f"{os.getpid()} {proper.unpack(frame.payload)['text'][:2]}\n")
        super().take(frame)

    def close_the_link(self):
        """Reads nothing until it is told, then is deaf and lives on until the test ends."""
        pathlib.Path("deaf").write_text(str(os.getpid()))
        while not os.path.exists("told"):
            time.sleep(0.01)
        self.link.socket.close()
        time.sleep(60)


sys.exit(Improper().run())
