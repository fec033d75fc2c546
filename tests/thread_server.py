"""A server on real sockets in a thread of the test, and a client that sees every byte."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Any, Self
from wsgiref.types import WSGIApplication

from aiowsgi import make_server
from aiowsgi.process.embedded import WSGIServer
from tests.wire_client import WAIT

LOOPS = ["uvloop", "asyncio"]


@contextmanager
def serving(application: WSGIApplication, host: str = "127.0.0.1", **settings: Any) -> Iterator[WSGIServer]:
    """Serve ``application`` inside the block, and drain behind it."""
    with make_server(host, 0, application, **settings) as server, forever(server):
        yield server


@contextmanager
def forever(server: WSGIServer) -> Iterator[Thread]:
    """Have ``server.serve_forever`` run in a thread inside the block."""
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield thread
    finally:
        server.shutdown()
        thread.join(WAIT)
        assert not thread.is_alive()


@dataclass
class Answer:
    """One response, as it came; ``fields`` has names in lower case."""

    status: int
    head: bytes
    fields: dict[str, str]
    content: bytes


class Peer:
    """A client, and nothing between it and the socket. A context manager."""

    def __init__(
        self, address: tuple[str, int] | str, receive_buffer: int | None = None, source: str = ""
    ) -> None:
        """``address`` is host and port, or the path of a Unix socket; ``receive_buffer`` is SO_RCVBUF.

        ``source`` is the address to come from.
        """
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(WAIT)
        if source:
            self.socket.bind((source, 0))
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_eof(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave without a goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def until(self, end: bytes) -> bytes:
        """Return what came, up to ``end`` and with it. Raises ConnectionError."""
        start = 0
        while (position := self._received.find(end, start)) < 0:
            start = max(0, len(self._received) - len(end) + 1)
            self._receive()
        return self.read(position + len(end))

    def read(self, count: int) -> bytes:
        """Return the next ``count`` bytes. Raises ConnectionError."""
        pieces, missing = [self._received], count - len(self._received)
        while missing > 0:
            piece = self.socket.recv(min(missing, 1 << 20))
            if not piece:
                raise ConnectionAbortedError(f"the server closed after {pieces!r:.2000}")
            pieces.append(piece)
            missing -= len(piece)
        data = b"".join(pieces)
        self._received = data[count:]
        return data[:count]

    def rest(self) -> bytes:
        """Return all that comes until the server closes. Raises ConnectionResetError."""
        pieces = [self._received]
        self._received = b""
        while piece := self.socket.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def answer(self, method: str = "GET") -> Answer:
        """Return the next response, which must say where it ends; 100 Continue is one, too."""
        head = self.until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")[:-2]
        pairs = [line.split(": ", 1) for line in lines]
        fields = {name.lower(): value for name, value in pairs}
        assert len(fields) == len(pairs), head
        version, status, _ = status_line.split(" ", 2)
        assert version == "HTTP/1.1"
        content = b""
        if method != "HEAD" and status not in ("100", "204", "304"):
            content = self._content(fields)
        return Answer(int(status), head, fields, content)

    def get(self, path: str) -> Answer:
        self.send(get(path))
        return self.answer()

    def _content(self, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(self.until(b"\r\n"), 16):
                pieces.append(self.read(size))
                assert self.read(2) == b"\r\n"
            assert self.read(2) == b"\r\n"
            return b"".join(pieces)
        return self.read(int(fields["content-length"]))

    def _receive(self) -> None:
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionAbortedError(f"the server closed after {self._received!r:.2000}")
        self._received += piece


def get(path: str, *lines: str) -> bytes:
    """Return a request for ``path``, with more header lines."""
    return "".join(f"{line}\r\n" for line in [f"GET {path} HTTP/1.1", "Host: a", *lines, ""]).encode(
        "latin-1"
    )
