"""TLS between a socket's transport and a Connection, which takes it for the transport.

It is ssl.SSLObject over two memory BIOs, and not the event loop's own TLS: handshakes take turns, whoever speaks plain
HTTP is answered, and an idle connection keeps no buffers. What a client can have it hold is bounded: its records are
read one at a time, those without content are counted, and an answer becomes records only as the client takes them.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from enum import Enum
from time import monotonic
from typing import Any, cast

from aiowsgi.server.sockets import go_on_writing

logger = logging.getLogger("aiowsgi.tls")

# The most content of a record (RFC 8446 section 5.1), and so how much is encrypted and decrypted at once. A memory BIO
# never gives back memory, so this also bounds what an idle connection keeps of busy times.
RECORD = 16 * 1024

# Bytes of an answer that are encrypted in one turn of the loop: 0.2 ms.
TURN = 256 * 1024

# Bytes that the socket's transport gets ahead of what the client takes.
ROOM = 64 * 1024

# Records without content that a client may send at once, and one more for each second. Such a one renews keys (RFC 8446
# section 4.6.3), which takes 27 µs and perhaps an answer; clients have millions of records between two.
MOST_SILENT = 32

# Records that are read in one turn of the loop: 0.5 ms where they hold a byte each. In 256 KiB, which is read from a
# socket at once, are 16 of the largest.
RECORDS = 256

HEADER = 5  # bytes of a record; the last two count those behind it (RFC 8446 section 5.1)


class Ending(Enum):
    """How far the server's side is on its way to the end; the client's side is for Connection to see."""

    OPEN = 0
    HALF = 1  # nothing more is sent, and what comes is thrown away
    WHOLE = 2  # closed behind what waits
    BROKEN = 3  # the same, without TLS's word that this was the end


# Names of their own, because to look one up in its Enum takes a while.
OPEN, HALF, WHOLE, BROKEN = Ending


class SecureTransport(asyncio.Protocol):
    """A socket's protocol behind the handshake, and the transport of a Connection."""

    __slots__ = (
        "_connection",
        "_ended",
        "_ending",
        "_header",
        "_incoming",
        "_left",
        "_loop",
        "_missing",
        "_outgoing",
        "_paused",
        "_queue",
        "_raw",
        "_raw_paused",
        "_reading",
        "_secure",
        "_silent",
        "_unread",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        raw: asyncio.Transport,
        secure: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
    ) -> None:
        """``raw`` is the socket's transport; ``secure`` has done its handshake over the other two."""
        self._loop = loop
        self._raw = raw
        self._secure = secure
        self._incoming = incoming
        self._outgoing = outgoing
        self._connection: asyncio.Protocol | None = None  # until it is lost
        self._ending = OPEN
        self._ended = False  # the client has said that it sends no more
        self._header = b""  # what has come of a record's, if it is not whole
        self._missing = 0  # bytes that are to come of a record whose header is
        self._unread = b""  # records that wait for their turn; nothing is read meanwhile
        self._reading = True  # as the Connection wants it
        self._silent = 0.0  # seconds of the clock: when records without content are made up for
        self._queue: deque[memoryview] | None = None  # what is not encrypted yet
        self._left = TURN  # bytes that may still be encrypted in this turn, but for small ones
        self._raw_paused = False  # the socket's transport holds as much as it should
        self._paused = False  # the Connection was told so

    def carry(self, connection: asyncio.Protocol) -> None:
        """Be the transport of ``connection`` from now on, and read for it."""
        self._connection = connection
        self._raw.set_protocol(self)
        connection.connection_made(cast(asyncio.Transport, self))

    # What the socket's transport tells.

    def data_received(self, data: bytes) -> None:
        if self._unread:
            self._unread += data
        else:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        connection = self._connection
        if connection is None or self._ended or self._ending is not OPEN:
            return
        try:
            content = self._decrypt(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        if self._outgoing.pending:
            self._flush()
        if content:
            connection.data_received(content)
        if self._ended:
            self._end_received()

    def eof_received(self) -> bool:
        """The client's end, whether TLS says so or not: requests tell by themselves whether they are whole."""
        self._end_received()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        connection, self._connection, self._queue = self._connection, None, None
        self._ending = BROKEN
        self._unread = b""
        if connection is not None:
            connection.connection_lost(error)

    def pause_writing(self) -> None:
        self._raw_paused = True

    def resume_writing(self) -> None:
        self._raw_paused = False
        go_on_writing(self._loop, self._send_on)

    # What a Connection asks of its transport.

    def write(self, data: bytes) -> None:
        if self._ending is not OPEN or not data:
            return
        if self._queue is None and not self._raw_paused and len(data) <= RECORD:
            sent = self._secure.write(data)
            self._raw.write(self._outgoing.read())
            if sent < len(data):  # the client has asked for small records (RFC 6066 section 4)
                self._enqueue(memoryview(data)[sent:])
        else:
            self._enqueue(memoryview(data))
        if self._raw_paused or self._queue is not None:
            self._pause()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def write_eof(self) -> None:
        """Send nothing behind what waits, and throw away what comes."""
        if self._ending is OPEN:
            self._ending = HALF
            if self._queue is None:
                self._end()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        """Close behind what waits, and say that this is the end."""
        self._close(WHOLE)

    def break_off(self) -> None:
        """Close behind what waits, and do not say that this is the end."""
        self._close(BROKEN)

    def abort(self) -> None:
        self._queue = None
        self._raw.abort()

    def is_closing(self) -> bool:
        ending = self._ending
        return ending is WHOLE or ending is BROKEN or self._raw.is_closing()

    def get_write_buffer_size(self) -> int:
        waiting = sum(map(len, self._queue)) if self._queue is not None else 0
        return waiting + self._raw.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)
        if self._raw_paused:
            self._pause()

    def pause_reading(self) -> None:
        self._reading = False
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._reading = True
        if self._unread:
            self._loop.call_soon(self._read_on)
        else:
            self._raw.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._secure.context
        return self._raw.get_extra_info(name, default)

    # Reading.

    def _decrypt(self, data: bytes) -> bytes:
        """Return what ``data`` says, together with what came before it. Raises SSLError."""
        if self._header:
            data, self._header = self._header + data, b""
        size, missing = len(data), self._missing
        if not missing and size > HEADER and size == HEADER + (data[3] << 8 | data[4]):  # as most often
            self._incoming.write(data)
            return self._read(True)
        pieces: list[bytes] = []
        position = 0
        while position < size and not self._ended:
            if len(pieces) == RECORDS:
                self._put_off(data[position:])
                break
            if not missing:
                if size < position + HEADER:
                    self._header = data[position:]
                    break
                missing = HEADER + (data[position + 3] << 8 | data[position + 4])
            part = data[position : position + missing]
            self._incoming.write(part)
            position += len(part)
            missing -= len(part)
            pieces.append(self._read(not missing))
        self._missing = missing
        return b"".join(pieces)

    def _put_off(self, data: bytes) -> None:
        """Have others their turn before what ``data`` says."""
        self._unread = data
        self._raw.pause_reading()
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Go on with the records that wait, if the Connection reads."""
        if self._reading and self._unread:
            data, self._unread = self._unread, b""
            self._receive(data)
            if self._reading and not self._unread and not self._raw.is_closing():
                self._raw.resume_reading()

    def _read(self, whole: bool) -> bytes:
        """Return the content of a record that has come, or of the part of one. Raises SSLError."""
        try:
            content = self._secure.read(RECORD)
        except ssl.SSLWantReadError:
            if whole:
                self._note_silent()
            return b""
        if not content:
            self._ended = True
        return content

    def _note_silent(self) -> None:
        """Take note of a record without content. Raises SSLError where there are too many."""
        now = monotonic()
        self._silent = max(self._silent, now) + 1
        if self._silent > now + MOST_SILENT:
            error = ssl.SSLError()
            error.reason = "TOO_MANY_RECORDS_WITHOUT_CONTENT"
            raise error

    def _end_received(self) -> None:
        connection = self._connection
        if connection is not None and not self.is_closing() and not connection.eof_received():
            self.close()

    def _fail(self, error: ssl.SSLError) -> None:
        """Cut the connection: what came is no TLS, or not what the client has sent."""
        logger.debug("TLS with %s has failed: %s", self._raw.get_extra_info("peername"), error.reason)
        self._ending = BROKEN
        self._queue = None
        self._flush()  # what is wrong
        self._loop.call_soon(self._raw.abort)

    def _flush(self) -> None:
        """Send what TLS itself has to say."""
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    # Writing.

    def _enqueue(self, data: memoryview) -> None:
        if self._queue is None:
            self._queue = deque((data,))
            self._encrypt()
        else:
            self._queue.append(data)

    def _encrypt(self) -> None:
        """Make records of what waits, as many as the socket's transport has room for and this turn has time for."""
        queue, raw, write = self._queue, self._raw, self._secure.write
        while queue and self._left > 0 and (not self._raw_paused or raw.get_write_buffer_size() < ROOM):
            if raw.is_closing():  # the client is gone, which asyncio would log again with each record
                return
            data = queue[0]
            sent = write(data[:RECORD])
            raw.write(self._outgoing.read())
            if self._left == TURN:
                self._loop.call_soon(self._begin_turn)
            self._left -= sent
            if sent < len(data):
                queue[0] = data[sent:]
            else:
                queue.popleft()
        if not queue:
            self._queue = None

    def _begin_turn(self) -> None:
        self._left = TURN
        self._send_on()

    def _send_on(self) -> None:
        if self._queue is not None:
            self._encrypt()
            if self._queue is None and self._ending is not OPEN:
                self._end()
        if self._paused and self._queue is None and not self._raw_paused and self._connection is not None:
            self._paused = False
            self._connection.resume_writing()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            if self._connection is not None:
                self._connection.pause_writing()

    # The end.

    def _close(self, ending: Ending) -> None:
        if self._ending is OPEN:
            self._ending = ending
            if self._queue is None:
                self._end()
        elif self._ending is HALF:
            if self._queue is None:
                self._raw.close()  # the end has been said
            else:
                self._ending = ending

    def _end(self) -> None:
        """Behind the last byte, say that it was, and end the socket's side."""
        if self._ending is not BROKEN:
            with suppress(
                ssl.SSLError
            ):  # the client has not said so yet, and need not (RFC 8446 section 6.1)
                self._secure.unwrap()
            self._flush()
        if self._ending is HALF:
            with suppress(OSError):  # the client is gone, which what is read next tells, too
                self._raw.write_eof()
        else:
            self._raw.close()
