"""All that the event loop and a pool thread share about one request: the Inbox and the Outbox."""

from collections import deque
from collections.abc import Iterable
from io import BytesIO
from threading import Event
from typing import IO, Protocol

from aiowsgi.http.messages import Content, FileRange, HTTPError
from aiowsgi.wsgi.backlog import Backlog
from aiowsgi.wsgi.pool import Delivery, WayBack
from aiowsgi.wsgi.spool import Spool

# What a piece costs in memory beyond its bytes: the object's header and its place in the deque.
OVERHEAD = 64

# Seconds that a thread waits for a client to take some of a full memory, before it goes on into a file. One that takes
# most of it sooner reads a hundred megabytes a second, and a file would cost twice what its answer does. It is not
# much for the thread: once for each time that the client has fallen behind.
PATIENCE = 0.01

# Bytes of a piece that is larger than there is memory for: in slices it goes to the disk as a stream of them does.
SLICE = 256 * 1024

# What is written by one system call: with one for each 64 KiB, a stream of 100 MiB takes a quarter longer.
RUN = 512 * 1024  # bytes
RUN_PIECES = 64

# Pieces of content that are written to a file one by one.
FEW = 8


class ClientDisconnected(ConnectionAbortedError):
    """The client left before it had its answer; the application's iterable is closed."""


# Guarantees:
#
# - The loop adds, until the content's end; ``spill`` and ``open`` run in a pool thread, and the loop does not
#   touch the Inbox from their submission to their delivery. So no step needs a lock.
# - At most the mark set by the connection plus one read is in memory; the rest is in a file without a name.


class Inbox:
    """A request's content on its way to ``wsgi.input``: read whole before the application is called."""

    __slots__ = ("_pieces", "_spool", "held", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._spool: Spool | None = None
        self.size = 0  # bytes that have come
        self.held = 0  # what those in memory cost, in bytes

    def add(self, piece: bytes) -> None:
        """Take a piece of the content. On the loop."""
        self._pieces.append(piece)
        self.size += len(piece)
        self.held += len(piece) + OVERHEAD

    def spill(self) -> None:
        """Move what is in memory to the temporary file. In a pool thread; raises OSError (a full disk)."""
        if self._spool is None:
            self._spool = Spool()
        # To join pieces is to copy them, which is for small ones only.
        for piece in self._pieces if len(self._pieces) <= FEW else [b"".join(self._pieces)]:
            self._spool.write(piece)
        self._pieces.clear()
        self.held = 0

    def open(self) -> IO[bytes]:
        """Return the whole content as a file at its start. In a pool thread; raises OSError (a full disk)."""
        if self._spool is None:
            return BytesIO(b"".join(self._pieces))
        self.spill()
        file = open(self._spool.detach(), "rb")
        file.seek(0)
        return file


# Guarantees:
#
# - Every piece reaches the loop once and in order; the end, or the cut, comes behind the last one.
# - The loop is told at least once after the last change: the thread changes first and looks at ``_told`` then,
#   the loop clears ``_told`` first and looks at the pieces then (as Pool does for its wake-up).
# - At most ``memory`` bytes and one piece, or one slice of it, wait in memory, and ``file`` bytes on disk; past that
#   the thread waits, and goes on when the client has taken enough, or has left. It waits for PATIENCE before it turns
#   to the disk. Where that has no room a piece waits in memory whole, for the thread would only keep it there. Where
#   no descriptor is left nothing waits, and the answer is cut.
# - After ``abandon`` no thread waits, and the next ``send`` raises ClientDisconnected.
#
# Each side uses single operations of the deque, and a room to wait in works as the wake-up does: the thread shows
# the room first and looks for a reason not to wait then, the loop makes the reason first and looks for a room then.
# What is more, a range that grows, is the Backlog's; most answers need none.


class Receiver(Protocol):
    """Who takes what an Outbox has."""

    def outbox_ready(self, outbox: "Outbox", /) -> None:
        """There is something to take. Called on the loop."""

    def outbox_given_up(self, outbox: "Outbox", error: HTTPError, /) -> None:
        """Nothing more is to be waited for; ``error`` says why. Called on the loop."""


class Outbox(Delivery):
    """An answer's bytes on their way from a pool thread to the connection."""

    __slots__ = (
        "_backlog",
        "_file_limit",
        "_memory",
        "_pool",
        "_receiver",
        "_room",
        "_sent",
        "_taken",
        "_told",
        "cut",
        "ended",
        "gone",
        "half_closed",
        "keep_alive",
        "may_persist",
        "pieces",
        "status",
        "whole",
    )

    def __init__(self, pool: WayBack, receiver: Receiver, memory: int, file: int) -> None:
        """``memory`` and ``file`` are in bytes."""
        self._pool = pool
        self._receiver = receiver
        self._memory = memory
        self._file_limit = file
        self.pieces: deque[Content] = deque()  # that wait to be taken
        self.whole: bytes | None = None  # the last piece, where none waits before it
        self._backlog: Backlog | None = None
        self._room: Event | None = None
        self._sent = 0
        self._taken = 0
        self._told = False
        self.status = 0
        self.ended = False
        self.cut = False  # the content could not be given whole, so its end must not look like one
        self.may_persist = True  # so may the connection, as far as the loop knows; the head is to say so
        self.keep_alive = True  # what the head has said; the loop looks at it behind the end
        self.gone = False
        self.half_closed = False  # the client sends no more, and may have left

    # The thread's side.

    def send(self, data: bytes) -> None:
        """Put ``data`` on its way; waits while the client is too far behind.

        Raises ClientDisconnected when there is no client any more, and HTTPError when it is too far behind and no
        descriptor is left for the file.
        """
        if self.gone:
            raise ClientDisconnected("the client has left")
        held = self._sent - self._taken
        if len(data) > SLICE and held + len(data) > self._memory:
            self._send_slices(data)
        elif held > self._memory:
            self._send_far_behind(data)
        else:
            self.pieces.append(data)
            self._sent += len(data) + OVERHEAD
        if not self._told:
            self._tell()

    def send_chunk(self, size_line: bytes, data: bytes) -> None:
        """Put a large chunk on its way without copying it, unless the client is too far behind. As ``send``."""
        if self.gone or self._sent - self._taken + len(data) > self._memory:
            self.send(size_line + data + b"\r\n")
            return
        self.pieces.extend((size_line, data, b"\r\n"))
        self._sent += len(size_line) + len(data) + 2 + 3 * OVERHEAD
        if not self._told:
            self._tell()

    def send_ready(self, pieces: Iterable[Content]) -> None:
        """Put the last pieces on their way, which wait in files or are few; ``finish`` or ``break_off`` has to follow.

        Nobody will ask what they cost. Raises ClientDisconnected, as ``send`` does.
        """
        if self.gone:
            raise ClientDisconnected("the client has left")
        self.pieces.extend(pieces)

    def finish(self, data: bytes = b"", keep_alive: bool = False) -> None:
        """Put the last of the answer on its way."""
        self.keep_alive = keep_alive
        if data:
            if len(data) > SLICE or (self._sent and self._sent - self._taken > self._memory):
                self.send(data)
            elif self._sent or self.pieces:
                self.pieces.append(data)  # and nobody will ask what it costs
            else:
                self.whole = data
        self.ended = True
        if not self._told:
            self._told = True
            self._pool.hand_over(self)

    def break_off(self) -> None:
        """End an answer that cannot be completed: the client is to see that something is missing."""
        self.cut = True
        self.finish()

    def _tell(self) -> None:
        self._told = True
        self._pool.hand_over(self)

    def _send_slices(self, data: bytes) -> None:
        view, start = memoryview(data), 0
        while start < len(data):
            if self.gone:
                raise ClientDisconnected("the client has left")
            piece = bytes(view[start : start + SLICE])
            if not self._is_far_behind() or not self._go_on_disk(piece):
                if self._is_far_behind():
                    # The disk has no room. If the thread waited here, all of it would stay in memory, too.
                    piece = bytes(view[start:])
                self.pieces.append(piece)
                self._sent += len(piece) + OVERHEAD
            start += len(piece)
            if not self._told:
                self._tell()

    def _send_far_behind(self, data: bytes) -> None:
        if not self._go_on_disk(data):
            self._wait_for_room()
            self.pieces.append(data)
            self._sent += len(data) + OVERHEAD

    def _is_far_behind(self) -> bool:
        return self._sent - self._taken > self._memory

    def _go_on_disk(self, data: bytes) -> bool:
        """Have ``data`` wait in the temporary file; False where the client soon takes enough, or there is no room."""
        backlog = self._backlog
        if (backlog is None or backlog.is_taken) and self._wait_for_room(PATIENCE):
            return False
        if backlog is None:
            backlog = self._backlog = Backlog(self._file_limit)
        if not backlog.add(self.pieces, data):
            return False
        self._sent += len(data)
        return True

    def _wait_for_room(self, seconds: float | None = None) -> bool:
        """Wait until the client has taken enough; False where it has not within so many ``seconds``."""
        room = self._room = Event()
        if self._sent - self._taken > self._memory and not self.gone:
            room.wait(seconds)
        if self.gone:
            raise ClientDisconnected("the client has left")
        return self._sent - self._taken <= self._memory

    # The loop's side.

    def deliver(self) -> None:
        """Tell the connection."""
        self._told = False
        self._receiver.outbox_ready(self)

    def take(self) -> bytes | FileRange | None:
        """Return the next piece, None when there is none now. Its cost stays counted until ``took``."""
        whole = self.whole
        if whole is not None:
            self.whole = None
            return whole
        if not self.pieces:
            return None
        piece = self.pieces.popleft()
        if self._backlog is not None:
            self._backlog.settle()
        return piece

    def take_run(self, piece: bytes) -> list[bytes]:
        """Return ``piece``, which was taken, and what can be written together with it."""
        run, size, pieces = [piece], len(piece), self.pieces
        # Only this side takes, so what is first stays first.
        while pieces and size < RUN and len(run) < RUN_PIECES and isinstance(following := pieces[0], bytes):
            pieces.popleft()
            run.append(following)
            size += len(following)
        return run

    def put(self, pieces: Iterable[bytes | FileRange], keep_alive: bool) -> None:
        """Put a whole ready answer's content on its way, from the loop itself."""
        self.pieces.extend(pieces)
        self.keep_alive = keep_alive
        self.ended = True

    def took(self, piece: bytes | FileRange) -> None:
        """Tell that the client's socket has taken ``piece``."""
        if isinstance(piece, FileRange):
            if self._backlog is not None:
                self._backlog.took()
            self._taken += piece.count
        else:
            self._taken += len(piece) + OVERHEAD
        room = self._room
        # At an eighth of it, so that the thread does not wake up for each piece; the socket holds more than that.
        if room is not None and self._sent - self._taken <= self._memory // 8:
            room.set()

    @property
    def progress(self) -> int | None:
        """What grows as the thread gets on; None while the client is too far behind to tell."""
        return None if self._sent - self._taken > self._memory else self._sent

    def give_up(self, error: HTTPError) -> None:
        """Have the receiver answer ``error``, or cut what has begun: the thread will not go on, or hangs."""
        if not (self.gone or self.ended):
            self._receiver.outbox_given_up(self, error)

    def abandon(self) -> None:
        """The client has left: the thread is to know, and not to wait."""
        self.gone = True
        room = self._room
        if room is not None:
            room.set()
