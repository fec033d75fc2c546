"""A request's content on its way to an application that reads it while it arrives (``--stream-requests``)."""

from collections import deque
from io import BufferedReader, RawIOBase
from threading import Event
from typing import IO, Any, Protocol

from aiowsgi.http.messages import HTTPError
from aiowsgi.wsgi.bridge import OVERHEAD, ClientDisconnected
from aiowsgi.wsgi.pool import Delivery, WayBack

# Bytes that are read ahead for those who read lines, or a few bytes at a time.
_BUFFER = 64 * 1024


class ContentError(OSError):
    """The rest of the content cannot be had; ``answer`` is what to tell the client, if it was told nothing yet."""

    def __init__(self, answer: HTTPError) -> None:
        super().__init__(str(answer))
        self.answer = answer


class Reader(Protocol):
    """Who puts content into a StreamedInbox."""

    def stream_ready(self, stream: "StreamedInbox", /) -> None:
        """There is room again, or the thread waits for more. Called on the loop."""


# Guarantees:
#
# - Every piece reaches the thread once and in order, and behind the last one the end or an error: content that
#   breaks off never looks as if it had ended. What comes first of end and error counts.
# - The loop is told at least once after the thread has begun to wait, and after it has made room for a loop that
#   has paused: the thread changes first and looks at ``_told`` then, the loop clears ``_told`` first and looks at
#   the thread's changes then (as Pool does for its wake-up).
# - No thread waits when there is a piece, an end or an error: it shows ``_arrival`` first and looks for a reason not
#   to wait then, the loop makes the reason first and looks for an ``_arrival`` then.
# - Who pauses when ``is_full`` holds at most ``memory`` bytes and one read here.


class StreamedInbox(RawIOBase, Delivery):
    """The raw stream below ``wsgi.input``: the loop adds, a pool thread reads, and waits where nothing is there."""

    def __init__(self, pool: WayBack, reader: Reader, memory: int) -> None:
        """``memory`` is in bytes."""
        self._pool = pool
        self._reader = reader
        self._memory = memory
        self._pieces: deque[bytes] = deque()
        self._rest = memoryview(b"")  # of the piece that is being read
        self._arrival: Event | None = None
        self._told = False
        self._added = 0
        self._taken = 0
        self._over = False  # the end or an error stands behind the pieces
        self._answer: HTTPError | None = None
        self._left = False
        self.size = 0  # bytes that have come
        # The loop's own notes: it reads no more for now; it has told a client that waits to be told to go on.
        self.paused = False
        self.asked = False

    # The loop's side.

    def add(self, piece: bytes) -> None:
        """Take a piece of the content."""
        if piece:
            self._pieces.append(piece)
            self.size += len(piece)
            self._added += len(piece) + OVERHEAD
            self._wake()

    def end(self) -> None:
        """Take note that the content has come whole."""
        self._over = True
        self._wake()

    def fail(self, answer: HTTPError | None = None) -> None:
        """Take note that the rest will never come: for the reason in ``answer``, or as the client has left."""
        if not self._over:
            self._answer, self._left = answer, answer is None
            self.end()

    @property
    def failed(self) -> bool:
        return self._left or self._answer is not None

    @property
    def waits(self) -> bool:
        """Tell whether the thread waits for the client."""
        arrival = self._arrival
        return arrival is not None and not arrival.is_set()

    @property
    def progress(self) -> int | None:
        """What grows as the thread gets on; None while it waits for the client."""
        return None if self.waits else self._taken

    @property
    def is_full(self) -> bool:
        return self._added - self._taken > self._memory

    @property
    def has_room(self) -> bool:
        """Tell whether there is enough room to read on: half of it, so that not each piece is a reason to."""
        return self._added - self._taken <= self._memory // 2

    def deliver(self) -> None:
        """Tell who adds."""
        self._told = False
        self._reader.stream_ready(self)

    def _wake(self) -> None:
        arrival = self._arrival
        if arrival is not None:
            arrival.set()

    # The thread's side.

    def open(self) -> IO[bytes]:
        """Return the content as a file for an application."""
        return BufferedReader(self, _BUFFER)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read what is there; wait where there is nothing. Raises ContentError, ClientDisconnected."""
        rest = self._rest or memoryview(self._next())
        count = min(len(rest), len(buffer))
        buffer[:count] = rest[:count]
        self._rest = rest[count:]
        return count

    def readall(self) -> bytes:
        """Read to the end. Raises ContentError, ClientDisconnected."""
        pieces = [bytes(self._rest)]
        self._rest = memoryview(b"")
        while piece := self._next():
            pieces.append(piece)
        return b"".join(pieces)

    def _next(self) -> bytes:
        """Return the next piece, nothing at the end."""
        while True:
            over = self._over  # looked at before the pieces: the loop sets it behind the last one
            if self._pieces:
                piece = self._pieces.popleft()
                self._taken += len(piece) + OVERHEAD
                if self.paused and self.has_room:
                    self._tell()
                return piece
            if not over:
                self._wait()
            elif self._answer is not None:
                raise ContentError(self._answer)
            elif self._left:
                raise ClientDisconnected("the rest of the content will not come")
            else:
                return b""

    def _wait(self) -> None:
        arrival = self._arrival = Event()
        if not self._pieces and not self._over:
            self._tell()
            arrival.wait()
        self._arrival = None

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            self._pool.hand_over(self)
