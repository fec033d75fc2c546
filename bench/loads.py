"""The ways to load a server, and the figures that each gives.

A new kind of load is a class like ``Wrk``.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import ask_again, idle_connections, run_wrk, wrk_command
from bench.measure import cpu_seconds, private_bytes
from bench.report import Column, Figures
from bench.running import Running
from bench.servers import SHOWN_PORT, Site, as_typed, url

RATE = Column("rate", "requests/s")
TRANSFER = Column("transfer", "MB/s", ",.1f")  # a million bytes, heads and all
P50 = Column("p50", "p50 µs")
P99 = Column("p99", "p99 µs")
CPU = Column("cpu", "CPU µs/request", ",.1f")
CPU_TRANSFER = Column("cpu-transfer", "CPU µs/MB", ",.1f")

WARM_UP_SECONDS = 1
_SETTLE_SECONDS = 1.0  # for a server to close what a client has left, before its memory is read


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for: how often, how long, how many, on which cores; and where the files are."""

    rounds: int
    seconds: int
    connections: int | None  # None: as many as the scenario says
    server_core: int
    load_core: int
    folder: Path  # that of a site without an application


class Load(ABC):
    """One way to load a server, and the figures it gives; ``compared`` is the one for the ratio."""

    columns: Sequence[Column]
    compared: Column

    @abstractmethod
    def connections(self, plan: Plan) -> int:
        """Return how many connections there are at once."""

    @abstractmethod
    def command(self, site: Site, plan: Plan) -> str:
        """Return what is done to the server, as a line of a shell, for whoever wants to repeat it."""

    @abstractmethod
    def measure(self, started: Running, plan: Plan) -> Figures:
        """Load the server once and return a figure for each column. Raises Failed."""


class Wrk(Load):
    """As many requests a second as the server answers, by wrk on keep-alive connections."""

    compared = RATE
    columns: Sequence[Column] = (RATE, P50, P99, CPU)

    def __init__(self, connections: int | None = None, options: Sequence[str] = ()) -> None:
        """``connections``: None takes the command line's number; ``options`` are further ones of wrk's."""
        self._connections = connections
        self._options = options

    def connections(self, plan: Plan) -> int:
        """Return the scenario's own number, or the command line's, or 64."""
        return self._connections or plan.connections or 64

    def _wrk(self, site: Site, plan: Plan, port: int, seconds: int) -> list[str]:
        return wrk_command(url(site, port), self.connections(plan), seconds, plan.load_core, self._options)

    def command(self, site: Site, plan: Plan) -> str:
        """Return wrk's command."""
        return as_typed(self._wrk(site, plan, SHOWN_PORT, plan.seconds))

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Warm the server up, then load it. Raises Failed."""
        run_wrk(self._wrk(started.site, plan, started.port, WARM_UP_SECONDS), WARM_UP_SECONDS)
        before = cpu_seconds(started.process.pid)
        result = run_wrk(self._wrk(started.site, plan, started.port, plan.seconds), plan.seconds)
        cpu = cpu_seconds(started.process.pid) - before
        megabytes = result.bytes_per_second / 1e6
        return {
            "rate": result.requests_per_second,
            "p50": result.p50,
            "p99": result.p99,
            "cpu": cpu * 1e6 / result.requests,
            "transfer": megabytes,
            "cpu-transfer": cpu * 1e6 / (megabytes * plan.seconds),
        }


class SmallFile(Wrk):
    """The same, of a file."""

    columns = (RATE, TRANSFER, P50, P99, CPU)


class LargeFile(Wrk):
    """The same, of a file whose bytes cost more than its requests."""

    compared = TRANSFER
    columns = (TRANSFER, RATE, P50, P99, CPU_TRANSFER)

    def __init__(self, connections: int) -> None:
        """wrk counts an answer that takes two seconds as a fault, unless it is told otherwise."""
        super().__init__(connections, ("--timeout", "20s"))


class Idle(Load):
    """The memory of idle connections, and whether they all still answer."""

    compared = Column("connection", "KiB/connection", ",.2f")
    columns = (
        compared,
        Column("before", "MiB before", ",.1f"),
        Column("answering", "still answering"),
    )

    def connections(self, plan: Plan) -> int:
        """Return the command line's number, or 10,000."""
        return plan.connections or 10_000

    def command(self, site: Site, plan: Plan) -> str:
        """Return a comment: the client is a part of this program."""
        return f"# {self.connections(plan):,} connections, a request on each, then memory is read"

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Read the private memory before and after the connections came. Raises Failed."""
        # The first requests make threads, caches and buffers that are no connection's.
        address = url(started.site, started.port)
        run_wrk(wrk_command(address, 64, WARM_UP_SECONDS, plan.load_core), WARM_UP_SECONDS)
        count = self.connections(plan)
        time.sleep(_SETTLE_SECONDS)
        before = private_bytes(started.process.pid)
        body = started.site.expected()
        with idle_connections(started.port, count, body) as connections:
            time.sleep(_SETTLE_SECONDS)
            growth = private_bytes(started.process.pid) - before
            ask_again(connections, body)
        return {"connection": growth / count / 1024, "before": before / 1024**2, "answering": count}
