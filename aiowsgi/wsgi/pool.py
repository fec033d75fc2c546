"""The threads that run what may block, and the way back to the event loop."""

import logging
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Protocol

from aiowsgi.wsgi import forks

logger = logging.getLogger("aiowsgi.pool")


class Job(Protocol):
    """One piece of blocking work."""

    __slots__ = ()

    def run(self) -> None:
        """Do it. Called in a pool thread."""

    def failed(self, error: BaseException) -> None:
        """Deal with what ``run`` raised. Called in the same thread."""


class Delivery(Protocol):
    """Something a thread has for the event loop."""

    __slots__ = ()

    def deliver(self) -> None:
        """Take it. Called on the event loop."""


# Guarantees:
#
# - What a thread hands over is delivered once, on the event loop, in the order it was handed over.
# - One wake-up of the loop serves everything handed over since the last one. None is lost: a thread appends
#   first and looks at ``_woken`` then, the loop clears ``_woken`` first and takes what the deque holds then; so
#   either the thread finds the flag down and wakes the loop, or the loop has yet to count the deque. Two
#   threads may both find it down: the second wake-up may find nothing to do.
# - What comes while a batch is delivered waits for its own wake-up, so the loop has its turn between.
# - A delivery that fails is logged and does not stop those behind it.
#
# ``queue.SimpleQueue`` and ``collections.deque`` are safe between threads in their single operations.
#
# Why not run_in_executor: its futures and one wake-up a job cost 25 to 130 µs, this 4.


class WayBack:
    """The way from any thread back to the event loop."""

    def __init__(self, wake: Callable[[Callable[[], None]], object]) -> None:
        """``wake`` has the loop call a function in its next turn, from any thread: ``loop.call_soon_threadsafe``."""
        self._wake = wake
        self._woken = False
        self._done: deque[Delivery] = deque()

    def hand_over(self, delivery: Delivery) -> None:
        """Have the loop call ``delivery.deliver()`` soon. Called from any thread."""
        self._done.append(delivery)
        if not self._woken:
            self._woken = True
            try:
                self._wake(self._deliver)
            except RuntimeError:
                # The loop is closed: the worker has stopped, and there is nobody left to deliver to.
                logger.debug("an answer came after the event loop had been closed")

    def _deliver(self) -> None:
        self._woken = False
        done = self._done
        for _ in range(len(done)):
            delivery = done.popleft()
            try:
                delivery.deliver()
            except Exception:
                logger.exception("%r could not be delivered", delivery)


def attempt(job: Job, process: int) -> None:
    """Run ``job``, and tell it what that has raised; what it raises then goes no further.

    Where ``forks.depth`` is not ``process`` behind that, this is a process which the job has forked, and it ends here.
    """
    try:
        job.run()
    except BaseException as error:  # noqa: BLE001 - the edge of the thread
        if forks.depth != process:
            forks.end(error)
        try:
            job.failed(error)
        except Exception:
            logger.exception("%r could not deal with its failure", job)
    if forks.depth != process:
        forks.end()


# Guarantees:
#
# - A job is run once, by one thread, in the order of submission. Only the loop submits.
# - A job that fails, and even one whose ``failed`` does, ends no thread.
# - A process that a job has forked ends with that job, and takes no other one.


class Pool(WayBack):
    """``threads`` threads over one queue. What bounds it is that each who submits has one job at a time in it."""

    def __init__(
        self,
        threads: int,
        soon: Callable[[Callable[[], None]], object],
        wake: Callable[[Callable[[], None]], object],
    ) -> None:
        """``soon`` has the loop call a function in its next turn: ``loop.call_soon``."""
        super().__init__(wake)
        self._soon = soon
        self._submitted: list[Job] = []  # in this turn of the loop
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Daemons, so that an application that never returns cannot keep a drained process from ending.
        self._threads = [
            Thread(target=self._work, name=f"aiowsgi-{number}", daemon=True)
            for number in range(1, threads + 1)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many jobs have not begun."""
        return self._jobs.qsize() + len(self._submitted)

    def submit(self, job: Job) -> None:
        """Queue ``job``."""
        if not self._submitted:
            self._soon(self._release)
        self._submitted.append(job)

    def _release(self) -> None:
        jobs, self._submitted = self._submitted, []
        for job in jobs:
            self._jobs.put(job)

    def close(self, timeout: float) -> bool:
        """End the threads after the jobs that are queued; False if some still run after ``timeout`` seconds."""
        self._release()
        for _ in self._threads:
            self._jobs.put(None)
        end = monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        process = forks.depth
        while (job := self._jobs.get()) is not None:
            attempt(job, process)
            # A thread that waits for its next job must not keep the last one's request and answer alive.
            del job
