"""When a worker has served for long enough, and another process should take its place."""

import os
import random
from collections.abc import Callable

from aiowsgi.config import Lifetime
from aiowsgi.server.shared import Shared

SPREAD = 0.1  # by how much of it a bound is put off at most, by chance, so that workers do not end together


class Recycling:
    """Asks ``replace`` for it once, with the reason. It looks in the sweep, so a bound may be passed by a second."""

    def __init__(self, lifetime: Lifetime, shared: Shared, replace: Callable[[str], None]) -> None:
        most = lifetime.requests
        jitter = int(most * SPREAD) if lifetime.jitter is None else lifetime.jitter
        self._shared = shared
        self._replace = replace
        self._most = most + random.randint(0, jitter) if most else 0
        self._end = shared.now + lifetime.age * (1 + random.uniform(0, SPREAD)) if lifetime.age else 0.0
        self._rss = lifetime.rss
        self._asked = False

    def look(self) -> None:
        """Look at the pool's threads, too, once a second."""
        hangs = self._shared.pool.sweep()
        if not self._asked and (reason := "too many of its threads hang" if hangs else self._reason()):
            self._asked = True
            self._replace(reason)

    def _reason(self) -> str:
        if self._most and (count := self._shared.requests) >= self._most:
            return f"it has had {count} requests"
        if self._end and self._shared.now >= self._end:
            return "it has reached its age"
        if self._rss and (size := resident()) > self._rss:
            return f"it has {size >> 20} MiB of memory"
        return ""


def resident() -> int:
    """Return how much memory of this process is in use, in bytes; 0 where the system does not tell (macOS)."""
    try:
        with open("/proc/self/statm", "rb", 0) as file:  # of the kernel, not of a disk
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
