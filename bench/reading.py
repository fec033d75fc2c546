"""The load of many readers of one large file: the server's memory."""

import time

from bench.loads import TRANSFER, WARM_UP_SECONDS, Load, Plan
from bench.measure import private_bytes
from bench.readers import Pace, reading
from bench.report import Column, Figures
from bench.running import Running
from bench.servers import Site
from bench.turns import after

_MOST_SECONDS = 20  # of reading, however long other loads are
_SAMPLE_SECONDS = 0.2  # between two looks at the memory


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
            readers.go_on_until(after(WARM_UP_SECONDS))
        before = most = private_bytes(started.process.pid)
        with reading(port, path, body, self._count, self._pace) as readers:
            begun = time.monotonic()
            ended = after(min(plan.seconds, _MOST_SECONDS))
            while not ended():
                readers.go_on_until(after(_SAMPLE_SECONDS))
                most = max(most, private_bytes(started.process.pid))
            readers.check()
            taken = sum(reader.taken for reader in readers.readers)
            seconds = time.monotonic() - begun
        return {
            "growth": (most - before) / 1024**2,
            "before": before / 1024**2,
            "transfer": taken / seconds / 1e6,
        }
