"""What a client has fallen behind by: the part of its answer that waits in a temporary file."""

import logging
import os
from collections import deque
from threading import Lock

from aiowsgi.http.messages import Content, FileRange
from aiowsgi.wsgi.spool import NO_DESCRIPTOR, Spool, refusal

logger = logging.getLogger("aiowsgi.bridge")

_HAVE_PWRITE = hasattr(os, "pwrite")  # Windows has none: there a slow client keeps its thread waiting


# Guarantees:
#
# - What a range of the file covered is never written over.
# - A range that the loop has taken and settled grows no more. For that is the lock: all else are single operations.


class Backlog:
    """Writes pieces to the file, and puts ranges of it among the others of one answer.

    ``add`` is the thread's, ``settle`` and ``took`` are the loop's.
    """

    __slots__ = ("_file", "_growth", "_limit", "_made", "_offset", "_taken")

    def __init__(self, limit: int) -> None:
        """``limit`` is in bytes, of the file."""
        self._limit = limit
        self._file: Spool | None = None
        self._offset = 0
        self._growth = Lock()
        self._made = 0  # ranges
        self._taken = 0

    @property
    def is_taken(self) -> bool:
        """Whether nothing in the file is still to be sent."""
        return self._made == self._taken

    def add(self, pieces: deque[Content], data: bytes) -> bool:
        """Have ``data`` wait behind ``pieces``; False where the file has no room for it, or the disk has none.

        Raises HTTPError where no descriptor is left for the file: many clients are behind then, and each would keep
        its thread.
        """
        if self.is_taken:
            # The file is not used again: sendfile(2) lends its own pages to the socket, so what the client has not
            # received yet would change.
            self._file, self._offset = None, 0
        if not _HAVE_PWRITE or self._offset + len(data) > self._limit:
            return False
        try:
            if self._file is None:
                self._file = Spool()
            self._file.write_at(self._offset, data)
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                raise refusal(error) from error
            logger.error("the rest of an answer waits in its thread for its client: %s", error)
            self._limit = 0  # and this is told once
            return False
        with self._growth:
            try:
                last = pieces[-1]
            except IndexError:  # the loop has taken them all
                last = None
            # Small pieces join the range that still waits, so that their number has no weight.
            if isinstance(last, FileRange) and last.offset + last.count == self._offset:
                last.count += len(data)
            else:
                pieces.append(FileRange(self._file, self._offset, len(data)))
                self._made += 1
        self._offset += len(data)
        return True

    def settle(self) -> None:
        """Wait until the thread is done with a range that it may have found at the end, and be making longer."""
        with self._growth:
            pass

    def took(self) -> None:
        """Take note that a range was taken."""
        self._taken += 1
