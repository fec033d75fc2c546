"""A client of many connections that each read one large file at a pace of its own."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.servers import HOST, Failed
from bench.turns import Turns, take_turns

ANSWER_SECONDS = 10.0  # until the last of all answers has begun
_LONGEST_HEAD = 4096
_VERSION = "HTTP/1.0"  # in 1.1 granian sends a file in chunks
_SEGMENT = 1448  # what an Ethernet frame holds: with the loopback's 64 KiB a socket takes megabytes at once


@dataclass(frozen=True, slots=True)
class Pace:
    """``size`` bytes every ``interval`` seconds."""

    size: int
    interval: float


@dataclass(slots=True)
class Reader:
    """One connection whose answer has begun: ``size`` bytes a turn of ``body``, how many it has taken, and wanted."""

    connection: socket.socket
    body: bytes
    size: int
    taken: int = 0
    wanted: int = 0

    def turn(self) -> None:
        """Take what is there of ``size`` bytes more, and of what was not there before.

        Raises Failed when they are not those of ``body``, or no more will come.
        """
        self.wanted = min(self.wanted + self.size, len(self.body))
        if self.taken == self.wanted:
            return
        try:
            piece = self.connection.recv(self.wanted - self.taken)
        except BlockingIOError:
            return
        except OSError as error:
            raise Failed(f"a reader at byte {self.taken:,}: {error!r}") from None
        if not piece:
            raise Failed(f"a reader at byte {self.taken:,}: the connection was closed")
        self.take(piece)

    def take(self, piece: bytes) -> None:
        """Count a piece. Raises Failed when it is not what comes next in ``body``."""
        if self.body[self.taken : self.taken + len(piece)] != piece:
            raise Failed(f"a reader at byte {self.taken:,}: other bytes than the file's")
        self.taken += len(piece)


class Readers:
    """All the readers, and their turns."""

    def __init__(self, connections: list[socket.socket], body: bytes, pace: Pace) -> None:
        """``body`` is the content each of them has to get."""
        self.readers = [Reader(connection, body, pace.size) for connection in connections]
        self.turns = Turns(self.readers, pace.interval)

    def receive_heads(self, seconds: float) -> None:
        """Wait until each has the head of its answer; then their turns begin.

        Raises Failed when one has not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        for number, reader in enumerate(self.readers, 1):
            try:
                reader.take(_read_head(reader.connection, deadline))
            except TimeoutError:
                waited = f"no answer within {seconds:.0f} seconds"
                raise Failed(f"reader {number:,} of {len(self.readers):,}: {waited}") from None
            except OSError as error:
                raise Failed(f"reader {number:,} of {len(self.readers):,}: {error!r}") from None
            reader.wanted = reader.taken
            reader.connection.setblocking(False)
        self.turns.begin()

    def go_on_until(self, ended: Callable[[], bool]) -> None:
        """Read until ``ended()``. Raises Failed at the first reader that gets no more, or wrong bytes."""
        take_turns([self.turns], ended)

    def check(self) -> None:
        """Raise Failed when any got less than half of what it wanted: it starves while others are served."""
        starved = sum(reader.taken < reader.wanted / 2 for reader in self.readers)
        if starved:
            raise Failed(f"{starved:,} of {len(self.readers):,} readers got less than half of their pace")


@contextmanager
def reading(
    port: int, path: str, body: bytes, count: int, pace: Pace, seconds: float = ANSWER_SECONDS
) -> Iterator[Readers]:
    """Hold ``count`` connections that have all asked for ``path`` and whose answers have begun.

    Raises Failed when one has not within ``seconds``, or is not ``body``'s.
    """
    with ExitStack() as opened:
        connections: list[socket.socket] = []
        try:
            for _ in range(count):
                connections.append(opened.enter_context(_connect(port, pace)))
                connections[-1].sendall(f"GET {path} {_VERSION}\r\nHost: {HOST}\r\n\r\n".encode())
        except OSError as error:
            raise Failed(f"connection {len(connections):,} of {count:,}: {error!r}") from None
        readers = Readers(connections, body, pace)
        readers.receive_heads(seconds)
        yield readers


def _connect(port: int, pace: Pace) -> socket.socket:
    connection = socket.socket()
    try:
        connection.settimeout(ANSWER_SECONDS)
        # Both before connecting, so that the server's system knows: it holds back what does not fit here.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * pace.size)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        connection.connect((HOST, port))
    except OSError:
        connection.close()
        raise
    return connection


def _read_head(connection: socket.socket, deadline: float) -> bytes:
    """Read the head of an answer, and return what came of the content with it.

    Raises OSError, TimeoutError among them, and Failed when it is no success.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = connection.recv(_LONGEST_HEAD)
        if not piece or len(received) > _LONGEST_HEAD:
            raise ConnectionError("no head came")
        received += piece
    head, _, content = received.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
        raise Failed(f"a reader was answered {head[:80]!r}")
    return content
