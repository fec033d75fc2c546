"""An event loop and pools without threads of their own: everything happens when the input says so, in one thread."""

import asyncio
from asyncio import Handle
from asyncio.events import _set_running_loop
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import TypeVarTuple

from aiowsgi.config import Limits, Timeouts
from aiowsgi.wsgi.callpool import CallPool
from aiowsgi.wsgi.pool import Job, Pool

Arguments = TypeVarTuple("Arguments")


class CrankedLoop(asyncio.BaseEventLoop):
    """As much of a loop as a connection needs on a transport in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: deque[Callable[[], object]] = deque()

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> Handle:
        self._calls.append(partial(callback, *args))
        return Handle(callback, args, self)  # which nobody cancels

    def call_soon_threadsafe(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> Handle:
        return self.call_soon(callback, *args)

    def turn(self) -> bool:
        """Call what is due now, and not what that makes due; False where nothing was."""
        count = len(self._calls)
        for _ in range(count):
            self._calls.popleft()()
        return count > 0


@contextmanager
def cranked() -> Iterator[CrankedLoop]:
    """Let a loop that the block turns be the running one."""
    loop = CrankedLoop()
    _set_running_loop(loop)
    try:
        yield loop
    finally:
        _set_running_loop(None)
        loop.close()


class CrankedPool(Pool):
    """Does a job when it is told to."""

    def __init__(
        self,
        threads: int,
        soon: Callable[[Callable[[], None]], object],
        wake: Callable[[Callable[[], None]], object],
    ) -> None:
        super().__init__(0, soon, wake)
        self._queue: deque[Job] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def submit(self, job: Job) -> None:
        self._queue.append(job)

    def work(self) -> bool:
        """Do the next job; False where there is none."""
        if not self._queue:
            return False
        _do(self._queue.popleft())
        return True


class CrankedCallPool(CallPool):
    """Makes a call when it is told to, in the place of a thread."""

    def __init__(
        self,
        threads: int,
        limits: Limits,
        timeouts: Timeouts,
        soon: Callable[[Callable[[], None]], object],
        wake: Callable[[Callable[[], None]], object],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(0, limits, timeouts, soon, wake, clock)

    def work(self) -> bool:
        """Make the next call; False where there is none."""
        if not self._waiting:
            return False
        _do(self._waiting.popleft())
        return True


def _do(job: Job) -> None:
    try:
        job.run()
    except Exception as error:  # noqa: BLE001 - as in a thread of a pool
        job.failed(error)
