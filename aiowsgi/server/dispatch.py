"""Fair dispatch: a worker whose threads are all busy leaves whoever comes to one that has a free thread.

All workers accept from the same sockets, and a connection is whose it once is. So one that is accepted by a worker
with no free thread may wait for as long as the requests there take, beside others with nothing to do.
"""

import asyncio
import logging
import math
import os

from aiowsgi.server.doors import Doors, Why
from aiowsgi.server.lateness import Lateness
from aiowsgi.server.shared import Shared

logger = logging.getLogger("aiowsgi.worker")

# Seconds without a free thread before somebody else is to accept, and between two looks meanwhile. Where calls are
# short all threads are busy thousands of times a second, and to close the doors and open them costs 58 µs.
PATIENCE = 0.01

# Seconds behind that a worker may be and still be taken for one that soon has a free thread: a crowd that comes at
# once is behind for a moment, and is not to be sent to where threads are taken for long.
SOON = 0.1


# Guarantees:
#
# - A worker accepts nobody only while another one accepts that is less than half as far behind. So the one that is
#   least behind accepts always, and where all threads are taken all workers accept. Two that see each other at the
#   same time may both be wrong, for one PATIENCE.
# - Nobody looks for long while a thread is free: the first look follows a call that was queued. What a worker has said
#   last counts until it says something else, or has ended: see Lateness.
# - Of those who wait, one for each such other worker is told at each look to come back on a new connection, and only
#   if it has waited for PATIENCE. So clients move one by one, and stop once both workers have as much to do.


class Dispatch:
    """The part of one worker."""

    def __init__(self, shared: Shared, doors: Doors, lateness: Lateness) -> None:
        self._shared = shared
        self._doors = doors
        self._lateness = lateness
        self._pid = os.getpid()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Take part: connections are accepted."""
        self._shared.pool.watch = self._note_call
        self.sweep()

    def sweep(self) -> None:
        """Tell the others anew. Once a second."""
        self._tell(self._shared.pool.behind())

    def end(self) -> None:
        """Take part no more: the worker drains."""
        self._shared.pool.watch = None
        if self._timer is not None:
            self._timer.cancel()
        self._lateness.leave(self._pid)

    def _note_call(self) -> None:
        self._shared.pool.watch = None
        if self._timer is None:
            self._wait()

    def _wait(self) -> None:
        self._timer = self._shared.loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        pool = self._shared.pool
        self._timer = None
        behind = pool.behind()
        self._tell(behind)  # before the others are looked at, so that one of two sees the other
        ahead = self._count_ahead(behind) if behind >= PATIENCE else 0
        if ahead:
            self._leave_to_others(ahead)
        elif Why.NO_THREAD in self._doors.reasons:
            logger.debug("accepting again")
            self._doors.open_again(Why.NO_THREAD)
        # A thread that is free now may be about to take what was queued since the last look, or waits still.
        if behind or pool.watch is None or pool.waiting:
            self._wait()
        pool.watch = self._note_call

    def _tell(self, behind: float) -> None:
        accepts = not self._shared.draining and Why.NO_ROOM not in self._doors.reasons
        self._lateness.tell(self._pid, behind if accepts else math.inf)

    def _count_ahead(self, behind: float) -> int:
        """Return how many others somebody new is served by sooner."""
        bound = min(behind / 2, SOON)
        return sum(other < bound for other in self._lateness.others(self._pid))

    def _leave_to_others(self, ahead: int) -> None:
        if Why.NO_THREAD not in self._doors.reasons:
            logger.debug("no thread is free: whoever comes is left to other workers")
            self._doors.close_for_now(Why.NO_THREAD)
        told = self._shared.pool.move_on(ahead, PATIENCE)
        if told:
            logger.debug("%d clients that wait are told to come back elsewhere", told)
