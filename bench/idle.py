"""The load of idle connections: their memory, what they cost the active ones, and whether they all still answer."""

import time

from bench.holding import CONNECTIONS_A_PROCESS, holding
from bench.load import run_wrk, wrk_command
from bench.loads import WARM_UP_SECONDS, Load, Plan
from bench.measure import private_bytes
from bench.report import Column, Figures
from bench.running import Running
from bench.servers import SHOWN_PORT, Site, as_typed, url

_SETTLE_SECONDS = 1.0  # for a server to close what a client has left, before its memory is read
_MOST_SECONDS = 6  # of each of the two runs of wrk


class Idle(Load):
    """Connections that have each made one request, and then wait."""

    compared = Column("connection", "KiB/connection", ",.2f")
    columns = (
        compared,
        Column("before", "MiB before", ",.1f"),
        Column("answering", "still answering"),
        Column("rate-without", "requests/s without"),
        Column("rate", "requests/s with"),
        Column("kept", "with / without", ",.2f"),
    )

    _active = 64

    def __init__(self, count: int) -> None:
        """``count`` idle connections."""
        self._count = count

    def connections(self, plan: Plan) -> int:
        """Return the number of the idle ones."""
        return self._count

    def descriptors(self, plan: Plan) -> int:
        """Return what one process holds: with more connections there are several, as the server has workers."""
        return min(self._count, CONNECTIONS_A_PROCESS)

    def _wrk(self, site: Site, plan: Plan, port: int, seconds: int) -> list[str]:
        return wrk_command(url(site, port), self._active, seconds, plan.load_core)

    def command(self, site: Site, plan: Plan) -> str:
        """Return wrk's command, and a comment, as the client that holds the idle ones is a part of this program."""
        wrk = as_typed(self._wrk(site, plan, SHOWN_PORT, min(plan.seconds, _MOST_SECONDS)))
        return f"{wrk}\n# {self._count:,} connections, a request on each; memory is read; the same again beside them"

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Read memory and rate without the idle connections, then with them. Raises Failed."""
        seconds = min(plan.seconds, _MOST_SECONDS)
        command = self._wrk(started.site, plan, started.port, seconds)
        # The first requests make threads, caches and buffers that are no connection's.
        run_wrk(self._wrk(started.site, plan, started.port, WARM_UP_SECONDS), WARM_UP_SECONDS)
        alone = run_wrk(command, seconds).requests_per_second
        time.sleep(_SETTLE_SECONDS)
        before = private_bytes(started.process.pid)
        with holding(started.port, self._count, started.site.expected()) as held:
            time.sleep(_SETTLE_SECONDS)
            growth = private_bytes(started.process.pid) - before
            beside = run_wrk(command, seconds).requests_per_second
            held.ask_again()
        return {
            "connection": growth / self._count / 1024,
            "before": before / 1024**2,
            "answering": self._count,
            "rate-without": alone,
            "rate": beside,
            "kept": beside / alone,
        }
