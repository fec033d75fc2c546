"""A part of a file onto a transport: sendfile(2) where it can be had, reads in the pool elsewhere.

uvloop's ``loop.sendfile`` raises NotImplementedError and a transport's own descriptor cannot be watched, but a
``dup`` of it can. The caller sees to it that the transport's buffer is empty first, so the order is kept.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from aiowsgi.http.messages import FileRange
from aiowsgi.wsgi.pool import Delivery, Job, Pool

HAVE_SENDFILE = hasattr(os, "sendfile")

# While it is set the kernel sends whole segments only, so a head goes with the beginning of its file.
_CORK = getattr(socket, "TCP_CORK", None)

# Bytes that one reader gets in a turn of the loop, so that many share it fairly: at first few, then as many as it has
# had, up to a fifth of a millisecond. What a socket takes beyond the client's window is sent when the client has
# read, and at its cost: 16 readers of 1 MiB take 5.3 GB/s in slices that grow, 2.6 in whole ones; and four of 100 MiB
# take 2.4 GB/s in slices of 1 MiB, 1.6 where they stay at 256 KiB.
FIRST = 128 * 1024
SLICE = 1024 * 1024

# Bytes read at once where there is no sendfile: each client that does not keep up has so many in memory.
BLOCK = 128 * 1024

Done = Callable[[BaseException | None], None]  # told why the range could not be sent whole, None if it was


class FileShrunkError(Exception):
    """The file ends before the range does."""

    def __str__(self) -> str:
        return "it has become shorter"


class FileSender:
    """Sends one range by sendfile(2), each time the socket has room."""

    __slots__ = ("_done", "_loop", "_progress", "_range", "_sent", "_transport", "_watched")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        file_range: FileRange,
        progress: Callable[[int], None],
        done: Done,
    ) -> None:
        """``progress`` is told the bytes that the socket took, ``done`` is called once, after ``start`` returned."""
        self._loop = loop
        self._transport = transport
        self._range = file_range
        self._progress = progress
        self._done = done
        self._sent = 0
        self._watched = -1
        # Before the head is written: a transport writes at the end of the loop's turn.
        self._cork(1)

    def start(self) -> None:
        """Begin, now that the transport's buffer is empty."""
        self._progress(0)
        self._send(self._transport.get_extra_info("socket").fileno())

    def cancel(self) -> None:
        """Stop."""
        if self._watched >= 0:
            self._loop.remove_writer(self._watched)
            os.close(self._watched)
            self._watched = -1

    def _send(self, descriptor: int) -> None:
        source = self._range
        try:
            count = min(max(FIRST, self._sent), SLICE, source.count - self._sent)
            sent = os.sendfile(descriptor, source.file.fileno(), source.offset + self._sent, count)
        except (BlockingIOError, InterruptedError):
            self._watch(descriptor)
            return
        except OSError as error:
            self._end(error)
            return
        if self._sent == 0:
            self._cork(0)  # a head that got no byte to go with it is sent by the close
        self._sent += sent
        self._progress(sent)
        if sent == 0:
            self._end(FileShrunkError())
        elif self._sent == source.count:
            self._end(None)
        else:
            self._watch(descriptor)

    def _watch(self, descriptor: int) -> None:
        if self._watched < 0:
            try:
                self._watched = os.dup(descriptor)
            except OSError as error:  # none is left
                self._end(error)
                return
            self._loop.add_writer(self._watched, self._send, self._watched)

    def _cork(self, value: int) -> None:
        if _CORK is not None:
            with suppress(OSError):  # no TCP, or the client is gone
                self._transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _CORK, value)

    def _end(self, error: BaseException | None) -> None:
        self.cancel()
        # Soon, not now: a chain of ranges that the socket takes at once must not nest.
        self._loop.call_soon(self._done, error)


class FileReader(Job, Delivery):
    """Sends one range by reading it in the pool, a slice at a time, each when the one before has been taken."""

    __slots__ = ("_data", "_done", "_error", "_pool", "_progress", "_range", "_read", "_transport")

    def __init__(
        self,
        pool: Pool,
        transport: asyncio.Transport,
        file_range: FileRange,
        progress: Callable[[int], None],
        done: Done,
    ) -> None:
        """``progress`` is told the bytes that the transport was given, and ``done`` is called with the last of them.

        The client has not taken these then. It is called once, unless this is cancelled.
        """
        self._pool = pool
        self._transport = transport
        self._range: FileRange | None = file_range
        self._progress = progress
        self._done = done
        self._read = 0
        self._data = b""
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin, or go on, now that the transport's buffer is empty."""
        self._pool.submit(self)

    def cancel(self) -> None:
        """Stop."""
        self._range = None

    def run(self) -> None:
        source = self._range
        if source is not None:
            # Windows has no os.pread: there no file can be sent yet.
            count = min(BLOCK, source.count - self._read)
            self._data = os.pread(source.file.fileno(), count, source.offset + self._read)
            if not self._data:
                raise FileShrunkError
        self._pool.hand_over(self)

    def failed(self, error: BaseException) -> None:
        self._error = error
        self._pool.hand_over(self)

    def deliver(self) -> None:
        source, data = self._range, self._data
        if source is None:
            return
        if self._error is not None:
            # Its traceback knows this very reader: no circle is left behind.
            error, self._error = self._error, None
            self._done(error)
            return
        self._data = b""
        self._read += len(data)
        self._progress(len(data))
        self._transport.write(data)
        if self._read == source.count:
            self._done(None)
        elif not self._transport.get_write_buffer_size():
            self.start()
