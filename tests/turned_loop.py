"""An event loop that a test turns by hand, and the connection's side of an Outbox on it."""

import os
from collections.abc import Callable
from queue import SimpleQueue
from threading import get_ident
from types import TracebackType
from typing import Self

from aiowsgi.http.messages import FileRange, HTTPError
from aiowsgi.wsgi.bridge import Outbox
from aiowsgi.wsgi.pool import Pool

WAIT = 30.0  # seconds; only a test that fails waits so long


class TurnedLoop:
    """Calls what it was given, one call a turn, in the test's own thread; with a Pool that it closes."""

    def __init__(self, threads: int = 1) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._wakes: list[int] = []  # a list, because += on a number is not one step
        self.thread = get_ident()
        self.pool = Pool(threads, self.soon, self.wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        closed = self.pool.close(WAIT if error is None else 0.0)
        assert closed or error is not None

    def soon(self, call: Callable[[], None]) -> None:
        self._calls.put(call)

    def wake(self, call: Callable[[], None]) -> None:
        self._wakes.append(1)
        self._calls.put(call)

    @property
    def wakes(self) -> int:
        """How often a thread has woken the loop."""
        return len(self._wakes)

    @property
    def idle(self) -> bool:
        return self._calls.empty()

    def turn(self) -> None:
        """Wait for a call, and make it."""
        self._calls.get(timeout=WAIT)()

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until something that a turn does makes ``condition`` true."""
        while not condition():
            self.turn()


class Receiver:
    """Takes an answer as a connection does, and keeps it."""

    def __init__(self, pool: Pool, memory: int = 1 << 20, file: int = 1 << 30) -> None:
        self.outbox = Outbox(pool, self, memory, file)
        self.pieces: list[bytes] = []  # the content of each piece that was taken
        self.ranges = 0  # how many of them were in a file
        self.told = 0
        self.blocked = False  # the client takes nothing
        self.ended = False

    def outbox_given_up(self, outbox: Outbox, error: HTTPError) -> None:
        raise error

    def outbox_ready(self, outbox: Outbox) -> None:
        assert outbox is self.outbox
        self.told += 1
        if not self.blocked:
            self.take_all()

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    def take_all(self) -> None:
        while True:
            ended = self.outbox.ended  # looked at before the pieces, as a connection does
            piece = self.outbox.take()
            if piece is None:
                self.ended = ended
                return
            self.keep(piece)
            self.outbox.took(piece)

    def keep(self, piece: bytes | FileRange) -> None:
        if isinstance(piece, FileRange):
            self.ranges += 1
            piece = read(piece)
        self.pieces.append(piece)


def read(file_range: FileRange) -> bytes:
    """Return the part of the file."""
    return os.pread(file_range.file.fileno(), file_range.count, file_range.offset)
