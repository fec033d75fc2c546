"""The phases of a supervisor, from serving to its end, and what each request to stop makes of them."""

import logging
import math
import time
from collections.abc import Callable
from enum import IntEnum

from aiowsgi.process.service import Service

logger = logging.getLogger("aiowsgi.supervisor")


class Phase(IntEnum):
    SERVING = 0
    DRAINING = 1  # it serves, and says that nobody should be sent to it any more
    RELIEVED = 2  # it ends, as another server serves on the same sockets; nobody has asked for that
    STOPPING = 3  # nobody is accepted any more


class Phases:
    """Which one it is; there is no way back. A part of the supervisor's loop, for the end of the delay."""

    def __init__(
        self,
        service: Service,
        delay: float,
        withdraw: Callable[[], None],
        stop: Callable[[], None],
        kill: Callable[[], None],
    ) -> None:
        """It stops ``delay`` seconds after SIGTERM. ``withdraw`` is called when nobody should be sent here any more,
        ``stop`` when nobody is to be accepted, and ``kill`` when what is left then has no more time.
        """
        self.current = Phase.SERVING
        self._service = service
        self._delay = delay
        self._withdraw = withdraw
        self._stop = stop
        self._kill = kill
        self._stops_at = math.inf  # on the monotonic clock

    def __str__(self) -> str:
        return "stopping" if self._stops_at < math.inf else self.current.name.lower()

    def drain(self) -> None:
        """Serve on, and say that nobody should be sent here any more, until asked to stop."""
        if self.current is Phase.SERVING:
            self._leave(stopping=False)
            logger.info("draining: the health path says so, and all is served until the server is stopped")

    def terminate(self) -> None:
        """Stop, but serve on for a while first, so that whoever sends the requests can take note."""
        if self._delay and self.current is Phase.SERVING and not self._service.obeys:
            self._stops_at = time.monotonic() + self._delay
            self._leave(stopping=True)
            logger.info("stopping in %g s", self._delay)
        else:
            self.stop()

    def terminate_once(self) -> None:
        """Do the same, unless that has been asked for before."""
        if self.current is Phase.SERVING or (self.current is Phase.DRAINING and self._stops_at == math.inf):
            self.terminate()

    def stop(self) -> None:
        """Ask all workers to drain; asked a second time, kill them.

        Who obeys another process leaves that to it: whoever sends a signal to all processes, as systemd does by
        default and a terminal does, sends one beside that process's own.
        """
        self._stops_at = math.inf
        if self.current is not Phase.STOPPING:
            self.current = Phase.STOPPING
            self._service.leave(stopping=True)
            self._withdraw()
            self._stop()
        elif not self._service.obeys:
            self._kill()

    def relieve(self) -> None:
        """Be on the way to the end without having been asked to."""
        self.current, self._stops_at = Phase.RELIEVED, math.inf

    def _leave(self, stopping: bool) -> None:
        self.current = Phase.DRAINING
        self._service.leave(stopping)
        self._withdraw()

    def due(self) -> float:
        return self._stops_at

    def act(self) -> None:
        if self._stops_at <= time.monotonic():
            self.stop()
