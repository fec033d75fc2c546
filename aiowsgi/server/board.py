"""What the supervisor tells all of its workers without a word: a page of memory that they share."""

import mmap

_LEAVING = 0  # the number of its byte


class Board:
    """Made before the fork; a byte is written by one process and read by others, and needs no lock."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE)

    @property
    def leaving(self) -> bool:
        """Whether the server is on its way to its end: nobody new should be sent to it."""
        return self._page[_LEAVING] != 0

    def leave(self) -> None:
        self._page[_LEAVING] = 1
