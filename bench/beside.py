"""The loads that ask how much longer a quick client waits while many slow ones are served beside it."""

from abc import abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Event
from typing import Protocol

from bench.crowd import HEADS, PACE, READERS, UPLOADS, crowd
from bench.load import run_wrk, wrk_command
from bench.loads import RATE, WARM_UP_SECONDS, Load, Plan
from bench.measure import private_bytes
from bench.readers import Pace, reading
from bench.report import Column, Figures
from bench.running import Running
from bench.servers import SHOWN_PORT, Site, as_typed, file_site, url
from bench.turns import after, give_way

_MOST_SECONDS = 6  # of each of the two runs of wrk: with what stands around them they take 15


class Slow(Protocol):
    """The slow clients, whose answers have begun or never will."""

    def go_on_until(self, ended: Callable[[], bool]) -> None:
        """Have them be slow until ``ended()``. Raises Failed."""

    def check(self) -> None:
        """Raise Failed when any was not served at its own pace."""


class Beside(Load):
    """How much longer a client waits for its answers beside slow ones than without them."""

    compared = Column("growth", "p99 with / without", ",.2f")
    columns = (
        compared,
        Column("without", "p99 µs without"),
        Column("with", "p99 µs with"),
        Column("rate-without", "requests/s without"),
        Column("rate", "requests/s with"),
        Column("memory", "MiB more with", ",.1f"),
    )

    _wrk_connections: int
    _told: str  # what the slow ones do

    @abstractmethod
    def slow(self, started: Running) -> AbstractContextManager[Slow]:
        """Connect the slow clients. Raises Failed."""

    def _wrk(self, site: Site, plan: Plan, port: int, seconds: int) -> list[str]:
        return wrk_command(url(site, port), self._wrk_connections, seconds, plan.load_core)

    def command(self, site: Site, plan: Plan) -> str:
        """Return wrk's command, and a comment, as the other client is a part of this program."""
        wrk = as_typed(self._wrk(site, plan, SHOWN_PORT, min(plan.seconds, _MOST_SECONDS)))
        return f"{wrk}\n# the same again while {self._told}"

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Load the server without the slow clients, then with them. Raises Failed."""
        seconds = min(plan.seconds, _MOST_SECONDS)
        command = self._wrk(started.site, plan, started.port, seconds)
        run_wrk(self._wrk(started.site, plan, started.port, WARM_UP_SECONDS), WARM_UP_SECONDS)
        alone = run_wrk(command, seconds)
        before = private_bytes(started.process.pid)
        with self.slow(started) as slow:
            ended = Event()
            # They share a core with wrk: what wrk would wait for them there is no answer's latency.
            with ThreadPoolExecutor(1, initializer=give_way) as thread:
                thread.submit(slow.go_on_until, after(WARM_UP_SECONDS)).result()
                going_on = thread.submit(slow.go_on_until, ended.is_set)
                try:
                    among = run_wrk(command, seconds)
                finally:
                    ended.set()
                going_on.result()
            memory = private_bytes(started.process.pid) - before
            slow.check()
        return {
            "growth": among.p99 / alone.p99,
            "without": alone.p99,
            "with": among.p99,
            "rate-without": alone.requests_per_second,
            RATE.key: among.requests_per_second,
            "memory": memory / 1024**2,
        }


class SlowReaders(Beside):
    """Beside many who take a large file slowly."""

    _path = file_site("100m.bin").path
    _count = 500
    _pace = Pace(size=10 * 1024, interval=1.0)
    _wrk_connections = 4
    _told = f"{_count} connections each read 10 KiB/s of {_path}"

    def connections(self, plan: Plan) -> int:
        """Return 500; wrk's few are another process'."""
        return self._count

    def slow(self, started: Running) -> AbstractContextManager[Slow]:
        """Connect the readers. Raises Failed."""
        body = replace(started.site, path=self._path).expected()
        return reading(started.port, self._path, body, self._count, self._pace)


class SlowCrowd(Beside):
    """Beside thousands who are slow in each way there is."""

    _count = READERS + UPLOADS.count + HEADS.count
    _wrk_connections = 16

    def __init__(self, path: str, body: bytes) -> None:
        """``path`` is the large answer that the readers ask for, ``body`` what they have to get."""
        self._path = path
        self._body = body
        self._told = (
            f"{self._count:,} others are slow: {HEADS.count:,} send a field of a head each {HEADS.interval:.0f} s, "
            f"{UPLOADS.count} upload 1 KiB/s, {READERS} read {PACE.size // 1024} KiB/s of {path}"
        )

    def connections(self, plan: Plan) -> int:
        """Return the number of the slow ones; wrk's few are another process'."""
        return self._count

    def slow(self, started: Running) -> AbstractContextManager[Slow]:
        """Connect them all. Raises Failed."""
        return crowd(started.port, self._path, self._body)
