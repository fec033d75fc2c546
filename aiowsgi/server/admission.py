"""Who may come in: at the bound of connections the one that is idle for longest makes room, or nobody is accepted."""

import asyncio
import logging

from aiowsgi.http.states import State
from aiowsgi.server import descriptors
from aiowsgi.server.doors import Accept, Doors, Why
from aiowsgi.server.shared import Served, Shared

logger = logging.getLogger("aiowsgi.worker")

# Seconds without a request before a connection counts as idle: its client may just be about to send the next one, and
# somebody new the first one. Two sweeps, for their clock may be one second behind.
IDLE = 2.0

# Descriptors that are kept free once they have run out: for files, for spools, and to accept again.
SPARE = 8


# Guarantees:
#
# - There are never more connections than ``most`` and one for each listening socket.
# - An idle connection is closed for a new one only, and none that was idle for less than a second.
# - Where there is no room nobody is accepted. It is looked for when a connection has ended, and at each sweep, so
#   that nothing spins and nothing waits for ever.
# - Where no descriptor is left nobody is accepted either, and from then on, until there are plenty again, each
#   newcomer has to leave SPARE of them. Before that is seen, at the next sweep, the event loop deals with it: uvloop
#   refuses who comes, or tries in vain all the time; asyncio logs it once a second.
# - One look at all connections finds all that are idle at a sweep: it is not made again before the next one.


class Admission:
    """The bound of the connections of one worker."""

    def __init__(self, shared: Shared, doors: Doors, most: int) -> None:
        self._shared = shared
        self._doors = doors
        self._most = most
        self._crowded = most - 1  # from how many connections on a newcomer is looked at
        self._idle: list[tuple[float, int, Served]] = []  # by their deadlines, the next one last
        self._looked = float("-inf")  # at the time of which sweep that was
        self._scarce = False  # no descriptor was left, and there are few now

    def guard(self, accept: Accept) -> Accept:
        """Return a protocol factory that does what ``accept`` does, and heeds the bound."""
        connections = self._shared.connections

        def come() -> asyncio.Protocol:
            if len(connections) >= self._crowded:
                self._heed_bound()
            return accept()

        return come

    def sweep(self) -> None:
        """Look what has become of the room. Once a second."""
        self._idle.clear()
        if not descriptors.are_left(SPARE if self._scarce else 1):
            if not self._scarce:
                logger.warning(
                    "no file can be opened any more: with %d connections, the limit of open files is reached",
                    len(self._shared.connections),
                )
            self._scarce, self._crowded = True, 0
            self._make_room(SPARE)
            self._close()
        elif self._scarce and descriptors.are_left(4 * SPARE):
            self._scarce, self._crowded = False, self._most - 1
        if self._doors.shut:
            self._consider()

    def _heed_bound(self) -> None:
        """Somebody comes, whom it is too late to refuse: make room, and see whether there is some for the next one."""
        count = len(self._shared.connections) + 1
        if count > self._most:
            self._make_room(count - self._most)
        if not self._has_room(count):
            # Soon, for this one's server has to be open.
            self._shared.loop.call_soon(self._close)

    def _close(self) -> None:
        self._doors.close_for_now(Why.NO_ROOM)
        self._shared.room = self._consider

    def _consider(self) -> None:
        """Accept again, if there is room."""
        shared = self._shared
        if not shared.draining and self._has_room(len(shared.connections)):
            shared.room = None
            self._doors.open_again(Why.NO_ROOM)

    def _has_room(self, count: int) -> bool:
        """Tell whether one more may come to ``count`` connections."""
        if count > self._most or (count == self._most and self._longest_idle() is None):
            return False
        return not self._scarce or descriptors.are_left(SPARE)

    def _make_room(self, count: int) -> None:
        for _ in range(count):
            connection = self._longest_idle()
            if connection is None:
                break
            self._idle.pop()
            connection.make_room()

    def _longest_idle(self) -> Served | None:
        """Return the connection that is idle for longest, if any is."""
        shared = self._shared
        if not self._idle and self._looked < shared.now:
            self._looked = shared.now
            latest = shared.now - IDLE + shared.deadlines[State.IDLE]
            self._idle = [
                (connection.deadline, id(connection), connection)
                for connection in shared.connections
                if connection.deadline <= latest and connection.idles()
            ]
            self._idle.sort(reverse=True)
        while self._idle:
            deadline, _, connection = self._idle[-1]
            if connection.deadline == deadline and connection.idles():
                return connection
            self._idle.pop()
        return None
