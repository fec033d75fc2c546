"""The ways to load a server, and the figures that each gives.

A new kind of load is a class like ``Wrk``.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import run_wrk, wrk_command
from bench.measure import cpu_seconds
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

    def descriptors(self, plan: Plan) -> int:
        """Return how many connections one process has at once, here or in the server."""
        return self.connections(plan)

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
