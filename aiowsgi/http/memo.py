"""A bounded memo of a pure function over text that comes again and again, as header lines do."""

from abc import abstractmethod
from array import array
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memo(dict[K, V], Generic[K, V]):
    """``memo[key]`` is what ``__missing__`` returns for ``key``, remembered for keys that were seen before.

    A subclass has ``__missing__`` compute the value, and call ``remember`` unless it must not be kept.

    Guarantees:

    - It holds at most ``size`` entries (and one more for each thread that adds at the same instant): when it is
      full, it starts anew. Whoever floods it with new keys therefore costs everybody else one more computation
      of each key, at the price of 2 * ``size`` keys of their own.
    - A key enters at its second sighting, so one that is seen once, as a request's own token is, takes no place.
    - Threads may share it. Each step is one operation of a dict or list; the worst a race does is to
      compute a value twice.
    - What ``__missing__`` raises is raised, and nothing is remembered.
    """

    __slots__ = ("_mask", "_seen", "_size")

    def __init__(self, size: int = 1024) -> None:
        """``size`` is a number of entries and a power of two."""
        super().__init__()
        self._size = size
        self._mask = 4 * size - 1
        # Hashes of keys seen lately, each in the one place its low bits name. An array, for in a list each would be an
        # object of its own: 160 KiB for each memo once it has seen enough, and not 32 from the start.
        self._seen = array("q", bytes(8 * 4 * size))

    @abstractmethod
    def __missing__(self, key: K) -> V:
        """Compute the value of ``key``."""

    def remember(self, key: K, value: V) -> None:
        """Keep the value of ``key`` if this is not the first time; not for secrets, nor for long keys."""
        mark = hash(key)
        place = mark & self._mask
        if self._seen[place] != mark:
            self._seen[place] = mark
        else:
            if len(self) >= self._size:
                self.clear()
            self[key] = value
