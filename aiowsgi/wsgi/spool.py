"""Temporary files without a name, for what memory should not hold; no part of them is the event loop's work."""

import errno
import os
from collections import deque
from tempfile import TemporaryFile

from aiowsgi.http.messages import HTTPError
from aiowsgi.wsgi.descriptor import Descriptor

# Bytes of a file from which on a thread has to close it: to give back 128 MiB takes ext4 8 ms, and 4 MiB 0.2.
LARGE = 4 * 1024 * 1024

NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)  # is left, in this process or at all

# Guarantee: each is closed once, since it is taken out by a single operation of the deque.
_left_behind: deque[int] = deque()


class Spool(Descriptor):
    """It can be found by nobody, and is gone when the last who holds it lets go, or the process dies.

    Made and written in a pool thread; let go of anywhere.
    """

    __slots__ = ("size",)

    def __init__(self) -> None:
        """Raises OSError."""
        self.size = 0
        with TemporaryFile(prefix="aiowsgi-", buffering=0) as file:
            super().__init__(os.dup(file.fileno()))

    def write(self, data: bytes) -> None:
        """Append ``data``; raises OSError, with a part of it written perhaps."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._number, rest) :]
        self.size += len(data)

    def write_at(self, offset: int, data: bytes) -> None:
        """Write ``data`` at ``offset``; raises OSError, with a part of it written perhaps."""
        self.size = max(self.size, offset + len(data))
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._number, rest, offset)
            rest, offset = rest[written:], offset + written

    def detach(self) -> int:
        """Return the descriptor, which is the caller's from now on."""
        number = self._number
        del self._number
        self.size = 0
        return number

    def __del__(self) -> None:
        if getattr(self, "size", 0) < LARGE:
            super().__del__()
        else:
            _left_behind.append(self._number)


def is_possible() -> bool:
    """Tell whether there can be any: somewhere a file has to be written."""
    try:
        TemporaryFile().close()
    except OSError:
        return False
    return True


def are_left_behind() -> bool:
    """Tell whether there is something for ``close_left_behind`` to do."""
    return bool(_left_behind)


def close_left_behind() -> None:
    """Close the large files that nobody holds any more. In a pool thread."""
    while _left_behind:
        os.close(_left_behind.popleft())


def refusal(error: OSError) -> HTTPError:
    """Return the answer to a request whose content has no place: 503 where one may soon be found, else 507."""
    if error.errno in NO_DESCRIPTOR:
        return HTTPError(503, fields=[("Retry-After", "1")])
    return HTTPError(507, "The server has no room for this content.")
