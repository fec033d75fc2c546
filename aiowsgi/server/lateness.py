"""How far behind each worker is with its work: a page of memory that all of them write and read."""

import math
import mmap
import os
from collections.abc import Iterator
from itertools import chain
from time import monotonic

_SIZE = 4096  # bytes

# Each worker has a line of three words: its process id, how many seconds it is behind, and until when that counts.
_PID, _BEHIND, _UNTIL = range(3)
_LENGTH = 3

# Seconds that what a worker says counts; it says so anew each second, unless it hangs or was stopped.
FRESH = 2.5


class Lateness:
    """Made before the fork.

    Guarantees:
    - A word has eight bytes and is written at once, by one process, and read by others.
    - What a worker has said is not believed once it has ended, however it did, nor when it has not said so anew.
    - Two workers that take the same line at once find out when they next write there, and one takes another. A worker
      for whom there is none, as there are 170, is not seen by the others.
    """

    def __init__(self) -> None:
        self._words = memoryview(mmap.mmap(-1, _SIZE)).cast("d")
        self._lines = range(0, len(self._words) - _LENGTH + 1, _LENGTH)

    def tell(self, pid: int, behind: float) -> None:
        """Say that the worker ``pid``, who calls this, is so many seconds behind with what it has to do.

        0 is said by one with a free thread, infinity by one that accepts nobody.
        """
        line = self._line(pid)
        if line is not None:
            self._words[line + _BEHIND] = behind
            self._words[line + _UNTIL] = monotonic() + FRESH

    def others(self, pid: int) -> Iterator[float]:
        """Yield how many seconds each worker but ``pid`` is behind."""
        said, now = self._words.tolist(), monotonic()
        for other, behind, until in zip(*(said[word::_LENGTH] for word in range(_LENGTH)), strict=False):
            if other and other != pid and until > now and lives(int(other)):
                yield behind

    def leave(self, pid: int) -> None:
        """Say that the worker ``pid``, who calls this, accepts nobody any more, and will say nothing else."""
        line = self._line(pid)
        if line is not None:
            self._words[line + _BEHIND] = self._words[line + _UNTIL] = math.inf

    def is_silent(self, pid: int) -> bool:
        """Return whether the worker ``pid`` should have said something by now; not of one that never has."""
        said, now = self._words.tolist(), monotonic()
        pids, untils = said[_PID::_LENGTH], said[_UNTIL::_LENGTH]
        return any(other == pid and until <= now for other, until in zip(pids, untils, strict=False))

    def _line(self, pid: int) -> int | None:
        """Return where the words of a process are; where it has no line it takes that of one that has ended."""
        words, lines = self._words, self._lines
        start = pid % len(lines)  # so that workers that are started together take different ones
        free = None
        for line in chain(lines[start:], lines[:start]):
            found = int(words[line + _PID])
            if found == pid:
                return line
            if free is None and not (found and lives(found)):
                free = line
            if not found:  # none was ever taken behind it
                break
        if free is not None:
            words[free + _BEHIND] = math.inf
            words[free + _PID] = pid
        return free


def lives(pid: int) -> bool:
    """Return whether there is such a process, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True
