"""What is measured: each scenario is a site, the load on it, and the servers that can take part.

A new kind of load is a class like ``Wrk``; a new scenario is a line in ``SCENARIOS``.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.load import BROWSER, ask_again, idle_connections, run_wrk, wrk_command
from bench.measure import cpu_seconds, private_bytes
from bench.report import Column, Figures
from bench.servers import SHOWN_PORT, WSGI_SERVERS, Running, Server, Site, as_typed, url

_WARM_UP_SECONDS = 1
_SETTLE_SECONDS = 1.0  # for a server to close what a client has left, before its memory is read


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asks for: how often, how long, how many, and on which cores."""

    rounds: int
    seconds: int
    connections: int | None  # None: as many as the scenario says
    server_core: int
    load_core: int


class Load(ABC):
    """One way to load a server, and the figures it gives; ``compared`` is the one for the ratio."""

    columns: Sequence[Column]
    compared: Column

    @abstractmethod
    def connections(self, plan: Plan) -> int:
        """Return how many connections there are at once."""

    @abstractmethod
    def command(self, plan: Plan) -> str:
        """Return what is done to the server, as a line of a shell, for whoever wants to repeat it."""

    @abstractmethod
    def measure(self, started: Running, plan: Plan) -> Figures:
        """Load the server once and return a figure for each column. Raises Failed."""


class Wrk(Load):
    """As many requests a second as the server answers, by wrk on keep-alive connections."""

    compared = Column("rate", "requests/s")
    columns = (
        compared,
        Column("p50", "p50 µs"),
        Column("p99", "p99 µs"),
        Column("cpu", "CPU µs/request", ",.1f"),
    )

    def __init__(self, connections: int | None = None, script: Path | None = None) -> None:
        """``connections``: None takes the command line's number; ``script`` is wrk's, in Lua."""
        self._connections = connections
        self._script = script

    def connections(self, plan: Plan) -> int:
        """Return the scenario's own number, or the command line's, or 64."""
        return self._connections or plan.connections or 64

    def _wrk(self, plan: Plan, port: int, seconds: int) -> list[str]:
        return wrk_command(url(port), self.connections(plan), seconds, plan.load_core, self._script)

    def command(self, plan: Plan) -> str:
        """Return wrk's command."""
        return as_typed(self._wrk(plan, SHOWN_PORT, plan.seconds))

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Warm the server up, then load it. Raises Failed."""
        run_wrk(self._wrk(plan, started.port, _WARM_UP_SECONDS), _WARM_UP_SECONDS)
        before = cpu_seconds(started.process.pid)
        result = run_wrk(self._wrk(plan, started.port, plan.seconds), plan.seconds)
        cpu = cpu_seconds(started.process.pid) - before
        return {
            "rate": result.requests_per_second,
            "p50": result.p50,
            "p99": result.p99,
            "cpu": cpu * 1e6 / result.requests,
        }


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

    def command(self, plan: Plan) -> str:
        """Return a comment: the client is a part of this program."""
        return f"# {self.connections(plan):,} connections, a request on each, then memory is read"

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Read the private memory before and after the connections came. Raises Failed."""
        # The first requests make threads, caches and buffers that are no connection's.
        run_wrk(wrk_command(url(started.port), 64, _WARM_UP_SECONDS, plan.load_core), _WARM_UP_SECONDS)
        count = self.connections(plan)
        time.sleep(_SETTLE_SECONDS)
        before = private_bytes(started.process.pid)
        with idle_connections(started.port, count, started.site.body) as connections:
            time.sleep(_SETTLE_SECONDS)
            growth = private_bytes(started.process.pid) - before
            ask_again(connections, started.site.body)
        return {"connection": growth / count / 1024, "before": before / 1024**2, "answering": count}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A part of the report: a site under a load, and the servers that can serve it."""

    name: str
    title: str
    site: Site
    load: Load
    details: str = ""
    servers: tuple[Server, ...] = WSGI_SERVERS
    most_rounds: int | None = None  # for figures that hardly vary
    needs: str = ""  # the module of the site's framework

    def possible(self) -> bool:
        """Tell whether what the site needs is installed."""
        return not self.needs or find_spec(self.needs) is not None


_HELLO = Site("bench.applications:hello", b"Hello, world!")
_FLASK = Site("bench.flask_json:app", b'{"message":"Hello, world!"}\n')

SCENARIOS = (
    Scenario("hello-bare", "13 bytes of text, asked for with a Host field alone", _HELLO, Wrk()),
    Scenario(
        "hello-browser",
        "13 bytes of text, asked for with a browser's twelve fields",
        _HELLO,
        Wrk(script=BROWSER),
        "A part of Cookie, Referer and If-None-Match is new in every request; the other nine stay the same.",
    ),
    Scenario(
        "flask-json", "A Flask application that answers a small JSON object", _FLASK, Wrk(), needs="flask"
    ),
    Scenario("one-connection", "One connection, one request after another, as in hello-bare", _HELLO, Wrk(1)),
    Scenario(
        "idle",
        "Memory of keep-alive connections that have each made one request",
        _HELLO,
        Idle(),
        "It is the growth of the worker's private memory; the kernel's buffers are not in it. Afterwards "
        "every connection must answer once more. One round says it all.",
        most_rounds=1,
    ),
)
