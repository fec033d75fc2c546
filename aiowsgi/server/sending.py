"""The way out of a connection: an answer's bytes in their order, as fast as the client takes them."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence

from aiowsgi.http.messages import Content, FileRange, HTTPError
from aiowsgi.http.states import State
from aiowsgi.server.sendfile import HAVE_SENDFILE, FileReader, FileSender
from aiowsgi.server.shared import Served, Shared
from aiowsgi.server.sockets import unacknowledged
from aiowsgi.wsgi.bridge import Outbox

NEVER = float("inf")

# How often a connection writes to its transport in one turn of the loop.
_WRITES = range(64)


class Sending(Served):
    """The half of a connection that writes; the other half, Connection, says what comes behind an answer."""

    __slots__ = (
        "_file",
        "_outbox",
        "_patience",
        "_sent",
        "_shared",
        "_transport",
        "_unsent",
        "_write_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._write_paused = False  # the transport holds as much as it should
        self._outbox: Outbox | None = None  # of the answer, until its end
        self._file: FileSender | FileReader | None = None  # while a file is being sent
        self._sent = 0  # bytes that were given to the transport and not logged yet
        self._unsent = 0  # of them, those the client had not taken when somebody looked
        self._patience = shared.deadlines[
            State.ANSWERING
        ]  # seconds to wait for the client, when it is next waited for

    @abstractmethod
    def _answered(self, status: int, keep_alive: bool) -> None:
        """The whole answer was given to the transport."""

    @abstractmethod
    def _broken_off(self, status: int, reason: str = "") -> None:
        """No more of the answer can be given, though it is not whole; ``reason`` is what nobody has logged yet."""

    @abstractmethod
    def _go_on(self) -> None:
        """Go on behind what was sent, if that was the end of the answer."""

    @abstractmethod
    def outbox_given_up(self, outbox: Outbox, error: HTTPError) -> None:
        """Answer in the place of a thread; what has begun already can only be cut."""

    def _write(self, data: bytes) -> bool:
        """Give ``data`` to the transport; False where it is closing and nothing more can be sent."""
        if self._transport.is_closing():
            return False
        self._sent += len(data)
        self._transport.write(data)
        return True

    def _send_rest(self, rest: Sequence[Content], status: int, keep_alive: bool) -> None:
        """Send ``rest`` behind what was written, and no more: it goes the way of a thread's answer."""
        outbox = self._outbox = Outbox(self._shared.pool, self, 0, 0)
        outbox.status = status
        outbox.put(rest, keep_alive)
        self._flush()

    # How the client keeps up.

    def pause_writing(self) -> None:
        self._write_paused = True
        self._await_client()

    def _await(self) -> None:
        """Set the deadline for a client that has to send or to take content before anything goes on."""
        self.deadline = self._shared.now + self._patience

    def _earn(self, count: int) -> None:
        """Put off that deadline, for ``count`` bytes were sent or taken."""
        shared = self._shared
        latest = shared.now + shared.deadlines[State.ANSWERING]
        deadline = self.deadline + count * shared.seconds_per_byte
        self.deadline = deadline if deadline < latest else latest

    def _await_others(self) -> None:
        """Set no deadline, for the client need not do anything; what it has left of its time it will have then."""
        # A transport that is closing waits for nobody but the client.
        if self.deadline != NEVER and not self._transport.is_closing():
            self._patience = max(0.0, self.deadline - self._shared.now)
            self.deadline = NEVER

    def _forgive(self) -> None:
        """Give the client all its time again: what it will send or take next has nothing to do with the last."""
        self._patience = self._shared.deadlines[State.ANSWERING]

    def _await_client(self) -> None:
        """Set the deadline for a client that has to take bytes."""
        self._unsent = self._count_unsent()
        self._await()

    def _count_unsent(self) -> int:
        return self._transport.get_write_buffer_size() + unacknowledged(self._transport)

    def _note_taken(self, given: int = 0) -> None:
        """Put off the deadline for what the client has taken meanwhile, though it was given more."""
        unsent = self._count_unsent()
        self._earn(max(0, self._unsent + given - unsent))
        self._unsent = unsent

    def _takes(self) -> bool:
        """Tell whether a client whose deadline has passed has taken enough to get another one."""
        if self._unsent:
            self._note_taken()
        return self.deadline > self._shared.now

    def _abandon(self) -> None:
        """Stop, and let no thread wait: the client has left."""
        if self._outbox is not None:
            self._outbox.abandon()
        if self._file is not None:
            self._file.cancel()
        self._outbox = self._file = None

    # What an Outbox has.

    def outbox_ready(self, outbox: Outbox) -> None:
        if outbox is self._outbox and self._file is None:
            self._flush()
            if self._outbox is None:
                self._go_on()

    def _send_on(self) -> None:
        """Send what waits, now that the transport has room again."""
        if self._file is not None:
            self._file.start()
        elif self._outbox is not None:
            self._flush_on()
        self._go_on()

    def _flush_on(self) -> None:
        self._flush()
        if self._outbox is None:
            self._forgive()

    def _flush(self) -> None:
        """Write what the Outbox has, as long as the transport takes it."""
        outbox = self._outbox
        assert outbox is not None
        if outbox.whole is None:
            self._write_pieces(outbox)
        elif not self._write_paused and not self._transport.is_closing():
            self._write_whole(outbox.whole, outbox)

    def _write_whole(self, whole: bytes, outbox: Outbox) -> None:
        """Write an answer that is one piece, as most are."""
        outbox.whole = None
        self._sent += len(whole)
        self._transport.write(whole)
        if not self._write_paused:
            self._outbox = None
            self._answered(outbox.status, outbox.keep_alive)

    def _write_pieces(self, outbox: Outbox) -> None:
        transport = self._transport
        for _ in _WRITES:
            # Looked at each time: asyncio's transport finds out while it writes that the client is gone.
            if self._write_paused or transport.is_closing():
                return
            ended = outbox.ended  # looked at before the pieces: the thread sets it behind the last one
            piece = outbox.take()
            if piece is None:
                break
            if isinstance(piece, FileRange):
                self._send_file(piece, outbox)
                return
            if outbox.pieces:
                self._write_run(outbox.take_run(piece), outbox)
            else:
                self._sent += len(piece)
                transport.write(piece)
                if ended and not self._write_paused:
                    break  # and no thread waits to hear what was taken
                outbox.took(piece)
        else:
            # A thread may make pieces as fast as a client takes them: the others have their turn.
            self._shared.loop.call_soon(self.outbox_ready, outbox)
            return
        if ended and outbox.cut:
            self._outbox = None
            self._broken_off(outbox.status)
        elif ended:
            self._outbox = None
            self._answered(outbox.status, outbox.keep_alive)

    def _write_run(self, run: list[bytes], outbox: Outbox) -> None:
        self._sent += sum(map(len, run))
        self._transport.writelines(run)
        for piece in run:
            outbox.took(piece)

    def _send_file(self, file_range: FileRange, outbox: Outbox) -> None:
        """Send a part of a file, behind all that was written before it."""
        shared, transport = self._shared, self._transport

        def written(count: int) -> None:
            self._sent += count

        def taken(count: int) -> None:
            self._sent += count
            if count:
                self._note_taken(count)
            else:
                self._await_client()

        def done(error: BaseException | None) -> None:
            if self._file is None:
                return  # the client left meanwhile
            self._file = None
            transport.set_write_buffer_limits()
            if isinstance(error, ConnectionError | TimeoutError):
                transport.abort()
            elif error is not None:
                self._broken_off(outbox.status, f"a file could not be sent to its end: {error}")
            else:
                self._file_given(file_range, outbox)

        transport.set_write_buffer_limits(0)
        if HAVE_SENDFILE and transport.get_extra_info("sslcontext") is None:
            self._file = FileSender(shared.loop, transport, file_range, taken, done)
        else:
            self._file = FileReader(shared.disk, transport, file_range, written, done)
        if not self._write_paused:
            self._file.start()

    def _file_given(self, file_range: FileRange, outbox: Outbox) -> None:
        """Go on behind a file; the end of it may be with the transport, and still to be taken by the client."""
        if not self._write_paused:
            self._unsent = 0
            self._await_others()
        outbox.took(file_range)
        self._flush_on()
        self._go_on()
