"""What the connections of one worker have in common, and the errands they send to its pool."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from aiowsgi.config import Limits
from aiowsgi.http.parser import Parser
from aiowsgi.observe.accesslog import AccessLog
from aiowsgi.site.router import Lookup, Router
from aiowsgi.wsgi.bridge import Inbox
from aiowsgi.wsgi.pool import Delivery, Job, Pool

logger = logging.getLogger("aiowsgi.worker")


class Served(asyncio.Protocol):
    """A connection, as its worker sees it."""

    __slots__ = ("deadline",)

    deadline: float  # on the loop's clock, in seconds

    def expire(self) -> None:
        """Deal with the deadline, which has passed."""

    def drain(self) -> None:
        """Close if nothing is going on; the answer that is, will be the last."""

    def abort(self) -> None:
        """Cut the connection, whatever it is doing."""


@dataclass(slots=True, eq=False)
class Shared:
    """One for each worker."""

    loop: asyncio.AbstractEventLoop
    parser: Parser
    router: Router
    pool: Pool  # runs applications
    disk: Pool  # reads and writes files, so that no application keeps one waiting
    limits: Limits
    deadlines: tuple[float, ...]  # seconds, by State
    log: AccessLog | None
    debug: bool
    now: float = 0.0  # seconds of the loop's clock, as of the last sweep
    draining: bool = False
    drained: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # a draining worker lost its last connection
    connections: set[Served] = field(default_factory=set)


class Spill(Job, Delivery):
    """Moves an Inbox to disk; ``done`` is told on the loop, with what went wrong if anything did."""

    __slots__ = ("_done", "_error", "_inbox", "_pool")

    def __init__(self, pool: Pool, inbox: Inbox, done: Callable[[BaseException | None], None]) -> None:
        self._pool = pool
        self._inbox = inbox
        self._done = done
        self._error: BaseException | None = None

    def run(self) -> None:
        self._inbox.spill()
        self._pool.hand_over(self)

    def failed(self, error: BaseException) -> None:
        self._error = error
        self._pool.hand_over(self)

    def deliver(self) -> None:
        self._done(self._error)


class LookUp(Job, Delivery):
    """Takes a Lookup to the pool and back; ``done`` is told on the loop whether it failed."""

    __slots__ = ("_done", "_failed", "_lookup", "_pool")

    def __init__(self, pool: Pool, lookup: Lookup, done: Callable[[bool], None]) -> None:
        self._pool = pool
        self._lookup = lookup
        self._done = done
        self._failed = False

    def run(self) -> None:
        self._lookup.run()
        self._pool.hand_over(self)

    def failed(self, error: BaseException) -> None:
        logger.error("%r failed", self._lookup, exc_info=error)
        self._failed = True
        self._pool.hand_over(self)

    def deliver(self) -> None:
        self._done(self._failed)
