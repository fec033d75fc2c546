"""The loads of many readers of one large file: the server's memory, and how long another client waits."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from bench.load import run_wrk, wrk_command
from bench.loads import RATE, TRANSFER, WARM_UP_SECONDS, Load, Plan
from bench.measure import private_bytes
from bench.readers import Pace, reading
from bench.report import Column, Figures
from bench.running import Running
from bench.servers import SHOWN_PORT, Site, as_typed, file_site, url

_MOST_SECONDS = 20  # of reading, however long other loads are
_SAMPLE_SECONDS = 0.2  # between two looks at the memory


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


class Readers(Load):
    """The most memory that readers of a large file cost, all at once in the middle of it."""

    compared = Column("growth", "MiB more", ",.2f")
    columns = (compared, Column("before", "MiB before", ",.1f"), TRANSFER)

    _count = 100
    _pace = Pace(size=128 * 1024, interval=0.125)

    def connections(self, plan: Plan) -> int:
        """Return 100."""
        return self._count

    def command(self, site: Site, plan: Plan) -> str:
        """Return a comment: the client is a part of this program."""
        seconds = min(plan.seconds, _MOST_SECONDS)
        return f"# {self._count} connections each read 1 MiB/s of {site.path} for {seconds} s; memory is read meanwhile"

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Read the private memory before, then again and again while all read. Raises Failed."""
        port, path, body = started.port, started.site.path, started.site.expected()
        with reading(port, path, body, 1, self._pace) as readers:  # for what the first of them all costs
            readers.read_until(_after(WARM_UP_SECONDS))
        before = most = private_bytes(started.process.pid)
        with reading(port, path, body, self._count, self._pace) as readers:
            begun = time.monotonic()
            ended = _after(min(plan.seconds, _MOST_SECONDS))
            while not ended():
                readers.read_until(_after(_SAMPLE_SECONDS))
                most = max(most, private_bytes(started.process.pid))
            readers.check()
            taken = sum(reader.taken for reader in readers.readers)
            seconds = time.monotonic() - begun
        return {
            "growth": (most - before) / 1024**2,
            "before": before / 1024**2,
            "transfer": taken / seconds / 1e6,
        }


class SlowReaders(Load):
    """How much longer another client waits for its file while many take a large one slowly."""

    compared = Column("growth", "p99 with / without", ",.2f")
    columns = (
        compared,
        Column("without", "p99 µs without"),
        Column("with", "p99 µs with"),
        Column("rate-without", "requests/s without"),
        Column("rate", "requests/s with"),
    )

    _count = 500
    _pace = Pace(size=10 * 1024, interval=1.0)
    _path = file_site("100m.bin").path
    _wrk_connections = 4
    _most_seconds = 6  # of each of the two runs of wrk: with what stands around them they take 15

    def connections(self, plan: Plan) -> int:
        """Return 500; wrk's few are another process'."""
        return self._count

    def _wrk(self, site: Site, plan: Plan, port: int) -> list[str]:
        return wrk_command(url(site, port), self._wrk_connections, self._seconds(plan), plan.load_core)

    def _seconds(self, plan: Plan) -> int:
        return min(plan.seconds, self._most_seconds)

    def command(self, site: Site, plan: Plan) -> str:
        """Return wrk's command, and a comment, as the other client is a part of this program."""
        wrk = as_typed(self._wrk(site, plan, SHOWN_PORT))
        return f"{wrk}\n# the same again while {self._count} connections each read 10 KiB/s of {self._path}"

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Load the server without the slow readers, then with them. Raises Failed."""
        address, seconds = url(started.site, started.port), self._seconds(plan)
        command = self._wrk(started.site, plan, started.port)
        warm_up = wrk_command(address, self._wrk_connections, WARM_UP_SECONDS, plan.load_core)
        body = replace(started.site, path=self._path).expected()

        run_wrk(warm_up, WARM_UP_SECONDS)
        alone = run_wrk(command, seconds)
        with reading(started.port, self._path, body, self._count, self._pace) as readers:
            readers.read_until(_after(WARM_UP_SECONDS))
            with ThreadPoolExecutor(1) as thread:
                running = thread.submit(run_wrk, command, seconds)
                readers.read_until(running.done)
            readers.check()
        among = running.result()
        return {
            "growth": among.p99 / alone.p99,
            "without": alone.p99,
            "with": among.p99,
            "rate-without": alone.requests_per_second,
            RATE.key: among.requests_per_second,
        }
