"""A network between a client and a real server, on which things go wrong on demand.

`Proxy` listens on a TCP port and passes bytes on. Once a connection's requests hold what its `fault` waits for, the
fault decides about everything that goes over that connection. It knows no HTTP and no PostgreSQL: what to wait for,
and what to answer instead of the server, are bytes.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = [
    "Address",
    "AnswerLost",
    "Answered",
    "BlackHole",
    "Fault",
    "Flipped",
    "FlippedRequest",
    "Proxy",
    "Recorded",
    "Reset",
    "Slow",
    "Truncated",
]

Address = tuple[str, int] | str
"""A host and a port, or the path of a socket."""

_PIECE = 65536


@dataclass
class Fault:
    """No fault, and what all of them have in common.

    when: a regular expression; the fault strikes once a connection's requests hold it.  times: how often it strikes
    before the network is well again.  struck: how often it did.
    """

    when: bytes = b"(?s)."
    times: int = 10**9
    struck: int = 0

    def strikes(self, requests: bytes) -> bool:
        """Whether these requests are what it waits for; counts."""
        if self.struck >= self.times or not re.search(self.when, requests):
            return False
        self.struck += 1
        return True

    def request(self, data: bytes, line: Line) -> bytes:
        """What of the requests is passed on, from the piece that was struck on."""
        return data

    def answer(self, data: bytes, line: Line) -> bytes:
        """What of the server's answers is passed on after that."""
        return data


@dataclass
class BlackHole(Fault):
    """The connection stays open and nothing comes through any more; after: so many bytes of the answer still do."""

    after: int = 0

    def request(self, data: bytes, line: Line) -> bytes:
        return data if self.after else b""

    def answer(self, data: bytes, line: Line) -> bytes:
        return line.allowed(data, self.after)


@dataclass
class Reset(Fault):
    """The connection breaks off; after: so many bytes of the answer come through, 0 and the server hears nothing."""

    after: int = 0

    def request(self, data: bytes, line: Line) -> bytes:
        if self.after:
            return data
        line.reset()
        return b""

    def answer(self, data: bytes, line: Line) -> bytes:
        allowed = line.allowed(data, self.after)
        if allowed != data:
            line.send(allowed)
            line.reset()
            return b""
        return data


@dataclass
class Truncated(Fault):
    """The answer ends too early, in good order, before the bytes that `before` matches."""

    before: bytes = b""

    def answer(self, data: bytes, line: Line) -> bytes:
        read = re.search(self.before, data)
        if read is None:
            return data
        line.send(data[: read.start()])
        line.close()
        return b""


@dataclass
class Slow(Fault):
    """The answer trickles: one byte, then `pause_s` of nothing."""

    pause_s: float = 0.1

    def answer(self, data: bytes, line: Line) -> bytes:
        for byte in data:
            line.send(bytes([byte]))
            time.sleep(self.pause_s)
        return b""


@dataclass
class Flipped(Fault):
    """One bit of the answer is another one, in what `part` matches."""

    part: bytes = b""

    def answer(self, data: bytes, line: Line) -> bytes:
        return _flip(data, self.part, line)


@dataclass
class FlippedRequest(Fault):
    """One bit of the request is another one, in what `part` matches."""

    part: bytes = b""

    def request(self, data: bytes, line: Line) -> bytes:
        return _flip(data, self.part, line)


@dataclass
class Answered(Fault):
    """Somebody else answers, and the request never reaches the server."""

    instead: bytes = b""

    def request(self, data: bytes, line: Line) -> bytes:
        line.send(self.instead)
        line.close()
        return b""


@dataclass
class AnswerLost(Fault):
    """The server does what it was asked; the connection breaks when it says so, which `lost` recognises."""

    lost: bytes = b""

    def answer(self, data: bytes, line: Line) -> bytes:
        if re.search(self.lost, data):
            line.reset()
            return b""
        return data


@dataclass
class Recorded(Fault):
    """Nothing goes wrong; what the server answers is kept, to be sent again when it is no longer true."""

    answers: bytes = b""

    def answer(self, data: bytes, line: Line) -> bytes:
        self.answers += data
        return data


def _flip(data: bytes, part: bytes, line: Line) -> bytes:
    read = re.search(part, data)
    if read is None:
        return data
    line.fault = None
    index = read.end() - 1
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


class Line:
    """One client's connection to the server; fault: what has struck it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client, self._server = client, server
        self._farewell = socket.SHUT_RDWR
        self.fault: Fault | None = None
        self._asked = b""
        self._answered = 0

    def carry(self, proxy: Proxy) -> None:
        """Passes everything on until either side leaves."""
        answers = threading.Thread(target=self._carry_answers)
        with self._client, self._server:
            answers.start()
            self._carry_requests(proxy)
            answers.join()

    def send(self, data: bytes) -> None:
        """Sends bytes to the client."""
        self._client.sendall(data)

    def allowed(self, data: bytes, limit: int) -> bytes:
        """As many of the bytes as make `limit` since the fault struck."""
        left = max(0, limit - self._answered)
        self._answered += len(data)
        return data[:left]

    def reset(self) -> None:
        """Breaks the connection: the client sees a reset, not of an end."""
        # With a linger of 0 seconds a close resets. A shutdown of both ways would have said farewell by then; one of
        # reading alone only wakes the thread that waits for the client.
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._farewell = socket.SHUT_RD
        self.close()

    def close(self) -> None:
        """Ends the connection on both sides."""
        for end, farewell in ((self._client, self._farewell), (self._server, socket.SHUT_RDWR)):
            with contextlib.suppress(OSError):
                end.shutdown(farewell)

    def _carry_requests(self, proxy: Proxy) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(_PIECE):
                self._asked = (self._asked + data)[-_PIECE:]
                if self.fault is None and proxy.fault.strikes(self._asked):
                    self.fault, self._asked = proxy.fault, b""
                self._server.sendall(data if self.fault is None else self.fault.request(data, self))
        self.close()

    def _carry_answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(_PIECE):
                self._client.sendall(data if self.fault is None else self.fault.answer(data, self))
        self.close()


class Proxy:
    """Listens on a port and passes everything on to a server, except for what its `fault` does to it."""

    def __init__(self, server: Address) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.fault = Fault(times=0)
        self._lines: list[Line] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept, self._listener)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        for thread in self._threads:
            thread.join(10)

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """While the block runs the fault lasts; it must come about. Afterwards every connection is a new one."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = Fault(times=0)
            self._cut()
        assert fault.struck, "the fault never came about"

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """While the block runs nobody listens on the port."""
        self._close()
        try:
            yield
        finally:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._begin(self._accept, self._listener)

    def _close(self) -> None:
        # Closing a socket does not wake a thread that waits in accept; a shutdown does.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()

    def _cut(self) -> None:
        for line in self._lines:
            line.close()
        self._lines.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            line = Line(client, _connected(self._server))
            self._lines.append(line)
            self._begin(line.carry, self)

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)


def _connected(server: Address) -> socket.socket:
    if isinstance(server, tuple):
        return socket.create_connection(server)
    link = socket.socket(socket.AF_UNIX)
    link.connect(server)
    return link
