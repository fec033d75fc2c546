"""What the processes of a server tell each other without a word: memory that they share."""

import mmap
import struct
from time import time

from aiowsgi.server.lateness import Lateness

_LEAVING = 0  # the number of its byte
_CODE, _PAGES = 8, 16  # where the stamps begin
_STAMP = struct.Struct("=Q")


class Board:
    """Made before the fork; a byte is written by one process and read by others, and needs no lock."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)
        self.lateness = Lateness()  # what the workers tell each other

    @property
    def leaving(self) -> bool:
        """Whether the server is on its way to its end: nobody new should be sent to it."""
        return self._page[_LEAVING] != 0

    def leave(self) -> None:
        self._page[_LEAVING] = 1

    # Under --reload, when what is served was changed last: two stamps, as the supervisor sets the one for code and its
    # helper the one for pages.

    def stamp_code(self) -> int:
        """Note that workers from now on load other code; return the stamp that says so."""
        return self._stamp(_CODE)

    def stamp_pages(self) -> None:
        """Note that files have changed that are read when they are asked for."""
        self._stamp(_PAGES)

    def generation(self, code: int) -> int:
        """Return what grows with each change, for a worker that has loaded the code of the stamp ``code``.

        It is 0 where that is out of date.
        """
        latest, pages = self._stamped(_CODE), self._stamped(_PAGES)
        return max(code, pages) if code == latest else 0

    def _stamp(self, place: int) -> int:
        # Of the clock, so that it goes on growing when the server is started anew.
        now = max(int(time() * 1000), self._stamped(place) + 1)
        _STAMP.pack_into(self._page, place, now)
        return now

    def _stamped(self, place: int) -> int:
        stamp: int = _STAMP.unpack_from(self._page, place)[0]
        return stamp
