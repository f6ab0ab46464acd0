"""A worker of a cluster, in Python and with nothing but the standard library: it says hello and ready, gives signs of
life, follows the configuration, answers questions, and sends and receives messages. docs/protocol.md tells what each of
its frames means."""

import collections
import fcntl
import os
import re
import select
import signal
import socket
import struct
import sys
import time

PROTOCOL = 3
HELLO, WELCOME, READY, CLUSTER_READY, SHUTDOWN, FAILED = range(1, 7)
STATE, ACK, REOPEN, REOPENED, PULSE, RETIRE = 9, 10, 11, 12, 13, 18
MESSAGE, ASK, REPLY, REFUSAL = range(23, 27)
UNLOADED, LEAVING, FAREWELL = 40, 42, 43
IN_MEMORY = 2  # the flag of a payload that is in the frame's descriptor

SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
MISSHAPEN = KeyError, IndexError, TypeError, ValueError, struct.error  # what is not what it should be

# length, kind, length of the topic, descriptors, flags, number, to, from, time
HEAD = struct.Struct("<IBBBBQ8s8sQ")
ADDRESS = struct.Struct("<BBHI")  # form, place of the group in the roll, index, process id
WORKER = 2
NOBODY = bytes(8)

Frame = collections.namedtuple("Frame", "kind topic number sender flags payload descriptors")


# MessagePack, as much of it as the protocol needs.

STRINGS = ((0xD9, "B", 0xFF), (0xDA, "H", 0xFFFF), (0xDB, "I", 0xFFFFFFFF))
BYTES = ((0xC4, "B", 0xFF), (0xC5, "H", 0xFFFF), (0xC6, "I", 0xFFFFFFFF))
LISTS = ((0xDC, "H", 0xFFFF), (0xDD, "I", 0xFFFFFFFF))
MAPS = ((0xDE, "H", 0xFFFF), (0xDF, "I", 0xFFFFFFFF))
LENGTHS = {
    code: (kind, form)
    for kind, table in ((str, STRINGS), (bytes, BYTES), (list, LISTS), (dict, MAPS))
    for code, form, _ in table
}
NUMBERS = dict(zip(range(0xCA, 0xD4), "fdBHIQbhiq"))
SINGLES = {0xC0: None, 0xC2: False, 0xC3: True}


def length_of(count, short, most, table):
    """A length: within the first byte if it is small, behind a code otherwise."""
    if count < most:
        return bytes([short | count])
    code, form, _ = next(row for row in table if count <= row[2])
    return struct.pack(">B" + form, code, count)


def pack(value):
    if value is None or isinstance(value, bool):
        return bytes(code for code, single in SINGLES.items() if single is value)
    if isinstance(value, int):
        if -32 <= value < 128:
            return struct.pack("B", value & 0xFF)
        return struct.pack(">Bq", 0xD3, value) if value < 0 else struct.pack(">BQ", 0xCF, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        data = value.encode()
        return length_of(len(data), 0xA0, 32, STRINGS) + data
    if isinstance(value, bytes):
        return length_of(len(value), 0, 0, BYTES) + value
    if isinstance(value, (list, tuple)):
        return length_of(len(value), 0x90, 16, LISTS) + b"".join(map(pack, value))
    if isinstance(value, dict):
        pairs = (pack(key) + pack(item) for key, item in value.items())
        return length_of(len(value), 0x80, 16, MAPS) + b"".join(pairs)
    raise TypeError(f"{type(value).__name__} cannot be packed")


def unpack(data):
    value, end = unpack_at(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes are left over")
    return value


def unpack_at(data, at):
    """The value that begins at a place, and the place behind it."""
    code, at = data[at], at + 1
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 0x100), at
    if code in SINGLES:
        return SINGLES[code], at
    if code in NUMBERS:
        (number,) = struct.unpack_from(">" + NUMBERS[code], data, at)
        return number, at + struct.calcsize(NUMBERS[code])
    if code < 0xC0:
        kind = dict if code < 0x90 else list if code < 0xA0 else str
        count = code & (0x1F if kind is str else 0x0F)
    elif code in LENGTHS:
        kind, form = LENGTHS[code]
        (count,) = struct.unpack_from(">" + form, data, at)
        at += struct.calcsize(form)
    else:
        raise ValueError(f"the code {code:#x} is not in use here")
    if kind in (str, bytes):
        text = bytes(data[at : at + count])
        if len(text) < count:
            raise ValueError("a text is cut short")
        return (text.decode() if kind is str else text), at + count
    items = []
    for _ in range(count * (2 if kind is dict else 1)):
        item, at = unpack_at(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if kind is dict else items), at


class Link:
    """The link to the master, which is found on standard input."""

    def __init__(self):
        self.socket = socket.socket(fileno=os.dup(0))
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)  # nobody whom this process starts inherits the link
        self.bytes, self.descriptors = bytearray(), collections.deque()

    def send(self, kind, topic="", number=0, payload=b"", to=NOBODY, sender=NOBODY):
        topic, now = topic.encode(), time.time_ns() // 1000
        lengths = len(topic) + len(payload), kind, len(topic)
        self.socket.sendall(HEAD.pack(*lengths, 0, 0, number, to, sender, now) + topic + payload)

    def receive(self, until):
        """The next frame, or nothing if none has come by then. The end of the link is an EOFError."""
        while (frame := self.take()) is None:
            patience = max(0, until - time.monotonic())
            if not select.select([self.socket], [], [], patience)[0]:
                return None
            received = socket.recv_fds(self.socket, 1 << 16, 253, socket.MSG_CMSG_CLOEXEC)
            data, descriptors, flags, _ = received
            if not data or flags & socket.MSG_CTRUNC:
                raise EOFError
            self.bytes += data
            self.descriptors.extend(descriptors)
        return frame

    def take(self):
        """The next frame, if it is there as a whole."""
        if len(self.bytes) < HEAD.size:
            return None
        length, kind, topic, count, flags, number, _, sender, _ = HEAD.unpack_from(self.bytes)
        if len(self.bytes) < HEAD.size + length:
            return None
        content = bytes(self.bytes[HEAD.size : HEAD.size + length])
        del self.bytes[: HEAD.size + length]
        descriptors = [self.descriptors.popleft() for _ in range(count)]
        payload = content[topic:]
        return Frame(kind, content[:topic].decode(), number, sender, flags, payload, descriptors)


class Worker:
    def __init__(self):
        slot, self.generation = os.environ["HATCHERY_ROLE"].rsplit("@", 1)
        self.group, index = slot.rsplit(".", 1)
        self.index = int(index)
        self.link, self.states = Link(), {}
        self.retires = self.leaves = self.ends = False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "retires", True))

    def run(self):
        try:
            self.join()
            self.work()
            return 0
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return 1  # the master is gone
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            self.link.send(FAILED, payload=pack({"reason": reason, "detail": ""}))
            raise

    def join(self):
        """From the hello to the word that this worker is ready. The states come before the welcome."""
        place = {"worker": {"group": self.group, "index": self.index}}
        hello = {"protocol": PROTOCOL, "build": os.environ["HATCHERY_BUILD"], "slot": place}
        self.link.send(HELLO, payload=pack({**hello, "generation": int(self.generation)}))
        early, until = [], time.monotonic() + 10
        while (frame := self.link.receive(until)) and frame.kind != WELCOME:
            early.append(frame)
        if frame is None:
            raise TimeoutError("the master sent no welcome")
        self.launch = unpack(frame.payload)
        place = self.launch["roll"].index(self.group)
        self.address = ADDRESS.pack(WORKER, place, self.index, os.getpid())
        for descriptor in frame.descriptors:
            os.close(descriptor)  # the listeners of the group; this worker serves nobody
        for frame in early:
            self.take(frame)
        self.link.send(READY)

    def work(self):
        wanted = self.launch["heartbeat"]["secs"] + self.launch["heartbeat"]["nanos"] / 1e9
        period = min(1, wanted / 4) or 1
        due = time.monotonic()
        while not self.ends:
            if time.monotonic() >= due:
                self.link.send(PULSE, payload=pack({"requests": 0}))
                due = time.monotonic() + period
            if self.retires:
                self.link.send(RETIRE, payload=b"a signal asked it to leave")
                self.retires = False
            if frame := self.link.receive(due):
                self.take(frame)

    def take(self, frame):
        if frame.kind == STATE:
            why_not = b""
            try:
                self.states[frame.topic] = unpack(self.value_of(frame))
            except (*MISSHAPEN, OSError) as error:
                why_not = repr(error).encode()
            self.link.send(ACK, frame.topic, frame.number, why_not)
        elif frame.kind == ASK:
            kind, answer = self.answer_to(frame)
            self.link.send(kind, number=frame.number, payload=answer, to=frame.sender, sender=self.address)
        elif frame.kind == MESSAGE and frame.topic == "words":
            try:
                words = {"text": f"{self.group}.{self.index} has heard: {unpack(frame.payload)['text']}"}
                self.link.send(MESSAGE, "words", 0, pack(words), frame.sender, self.address)
            except MISSHAPEN as error:
                print(f"a message is passed over: {error!r}", file=sys.stderr)
        elif frame.kind == CLUSTER_READY:
            self.link.send(CLUSTER_READY)
        elif frame.kind == REOPEN:
            self.link.send(REOPENED, number=frame.number)  # it writes no log files
        elif frame.kind == SHUTDOWN and frame.payload != b"announcement":
            if not self.leaves:  # a second one only says that there is less time
                self.link.send(LEAVING)  # between two frames nothing is unfinished
            self.leaves = True
        elif frame.kind == FAREWELL:
            self.ends = True  # all that was on its way has come
        for descriptor in frame.descriptors:
            os.close(descriptor)
        if frame.kind == MESSAGE and frame.descriptors:
            self.link.send(UNLOADED, number=len(frame.descriptors))

    def value_of(self, frame):
        if not frame.flags & IN_MEMORY:
            return frame.payload
        (memory,) = frame.descriptors
        if fcntl.fcntl(memory, fcntl.F_GET_SEALS) & SEALS != SEALS:
            raise ValueError("the memory is not sealed, so that it cannot be trusted")
        return os.pread(memory, os.fstat(memory).st_size, 0)

    def answer_to(self, frame):
        if frame.topic != "questions":
            return REFUSAL, pack("nobody")
        try:
            question = str(unpack(frame.payload)["text"])
        except MISSHAPEN as error:
            return REFUSAL, pack({"codec": repr(error)})
        try:
            return REPLY, pack(self.answer(question))
        except ValueError as error:
            return REFUSAL, pack({"refused": str(error)})

    def answer(self, question):
        if question == "how do you greet":
            return self.states["config"]["greeting"]
        if factors := re.fullmatch(r"what is (\d+) times (\d+)", question):
            return str(int(factors[1]) * int(factors[2]))
        raise ValueError(f"I do not know: {question}")


if __name__ == "__main__":
    sys.exit(Worker().run())
