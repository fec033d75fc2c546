"""What the connections of one worker have in common, and the errands they send to its threads."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from aiowsgi.config import Limits
from aiowsgi.http.messages import HTTPError, Request, Response
from aiowsgi.http.parser import Parser
from aiowsgi.http.states import State
from aiowsgi.observe.accesslog import AccessLog
from aiowsgi.observe.log import Log
from aiowsgi.site.https import Https
from aiowsgi.site.router import Lookup, Router
from aiowsgi.site.tracebacks import Failure
from aiowsgi.wsgi.callpool import CallPool
from aiowsgi.wsgi.pool import Delivery, Job, Pool


class Served(asyncio.Protocol, ABC):
    """A connection, as its worker sees it."""

    __slots__ = ("deadline",)

    deadline: float  # on the loop's clock, in seconds

    @abstractmethod
    def expire(self) -> None:
        """Deal with the deadline, which has passed."""

    def idles(self) -> bool:
        """Tell whether nothing is going on, so that it may be closed to make room for others."""
        return False

    def make_room(self) -> None:
        """Close at once, if it idles."""

    @abstractmethod
    def look(self) -> None:
        """Find out whether the client has left, while nothing is read that would tell."""

    @abstractmethod
    def drain(self) -> None:
        """Close soon if nothing is going on; the answer that is, will be the last if its head can still say so."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection, whatever it is doing."""


Client = tuple[str, str]  # its address and its port, both empty where it has none


class MakeServed(Protocol):
    """Makes what serves a connection."""

    def __call__(self, *, client: Client | None = None) -> Served:
        """``client`` is who is at the other end; None is the peer of the transport."""


@dataclass(slots=True, eq=False)
class Shared:
    """One for each worker."""

    loop: asyncio.AbstractEventLoop
    parser: Parser
    router: Router
    pool: CallPool  # runs applications
    disk: Pool  # reads and writes files, so that no application keeps one waiting
    limits: Limits
    deadlines: tuple[float, ...]  # seconds, by State
    seconds_per_byte: float  # by which content on its way puts off the deadline
    queue_timeout: float  # seconds that a request may wait for a thread
    log: Log | None
    debug: bool
    access_log: AccessLog | None = None  # a part of the log, if there is one
    streams: bool = False  # applications read a request's content while it arrives
    https: Https | None = None  # what differs by whether a request came by https, if anything does
    now: float = 0.0  # seconds of the loop's clock, as of the last sweep
    due: tuple[float, ...] = ()  # the deadlines that are set now, by State: one number for many connections
    requests: int = 0  # that have begun
    draining: bool = False  # answers say Connection: close
    # Set when a draining worker has lost its last connection.
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    # The keys of a dict, which takes half of a set's memory.
    connections: dict[Served, None] = field(default_factory=dict)
    # Those of them that have too much to answer to read on.
    unread: set[Served] = field(default_factory=set)
    # What is being looked at on the disk, and who is to ask again behind that.
    looks: dict[Hashable, list[Callable[[], None]]] = field(default_factory=dict)
    # What is to be called when one has ended, while nobody is accepted.
    room: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.turn(self.now)

    def turn(self, now: float) -> None:
        """Have the time be ``now``, in seconds of the loop's clock."""
        self.now = now
        self.due = tuple(now + seconds for seconds in self.deadlines)

    def forget(self, connection: Served) -> None:
        """Take note that ``connection`` has ended, or that another protocol goes on with it."""
        self.connections.pop(connection, None)
        self.unread.discard(connection)
        if self.draining and not self.connections:
            self.drained.set()
        if self.room is not None:
            self.room()

    def look_up(
        self, lookup: Lookup, done: Callable[[BaseException | None], None], again: Callable[[], None]
    ) -> bool:
        """Have a thread of the disk's run ``lookup``, and ``done`` told as by an ``Errand``; False where too many wait.

        That is where many have left whose looks wait still: of those who are here each has one at most. While somebody
        looks at the same, ``again`` is called instead, behind that: a crowd costs one look. But who may be late need
        not wait for somebody else: False for him, too.
        """
        others = self.looks.get(lookup.subject)
        if others is not None:
            if lookup.may_be_late:
                return False
            others.append(again)
            return True
        if self.disk.waiting >= len(self.connections) + self.limits.queue:
            return False
        if lookup.subject is not None:
            self.looks[lookup.subject] = []
        self.disk.submit(Errand(self.disk, lookup.run, partial(self._looked_up, lookup.subject, done)))
        return True

    def _looked_up(
        self, subject: Hashable, done: Callable[[BaseException | None], None], error: BaseException | None
    ) -> None:
        for again in self.looks.pop(subject, ()):
            self.loop.call_soon(again)
        done(error)

    def error_response(
        self, error: HTTPError, request: Request, cause: BaseException | None = None
    ) -> Response:
        """Return the answer of ``error``, with its ``cause``, of which a thread tells, where that may be shown."""
        if self.debug and cause is not None:
            response = Failure(cause).response(request)
        else:
            response = self.router.error_response(error)
        return self.router.complete(request, response)


def silent_until(shared: Shared) -> float:
    """Return the deadline of a client from which nothing has come yet: while a worker drains, it is as good as idle."""
    return shared.due[State.IDLE if shared.draining else State.HEAD]


class Errand(Job, Delivery):
    """Takes ``work``, which may block, to a thread; ``done`` is told on the loop what it raised, if anything."""

    __slots__ = ("_done", "_error", "_pool", "_work")

    def __init__(
        self, pool: Pool, work: Callable[[], None], done: Callable[[BaseException | None], None]
    ) -> None:
        self._pool = pool
        self._work = work
        self._done = done
        self._error: BaseException | None = None

    def run(self) -> None:
        self._work()
        self._pool.hand_over(self)

    def failed(self, error: BaseException) -> None:
        self._error = error
        self._pool.hand_over(self)

    def deliver(self) -> None:
        # Its traceback knows this very errand, whose work may hold a file: no circle is left behind.
        error, self._error = self._error, None
        self._done(error)
