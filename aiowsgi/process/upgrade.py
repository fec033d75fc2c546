"""An upgrade: a server of the new version starts on the same sockets, and this one gives way to it, or serves on."""

import contextlib
import logging
import math
import os
import selectors
import signal
import time
from collections.abc import Callable

from aiowsgi.process.child import Child, ending, lines
from aiowsgi.process.service import Service

PATIENCE = 300.0  # seconds for the new server to be ready: some load models for minutes, but not for ever

logger = logging.getLogger("aiowsgi.supervisor")


class Upgrade:
    """The new server, as long as there is one that is not ready.

    Guarantees:
    - There is no more than one.
    - Either ``ready`` is called, and the new one is on its own then, or it has failed, and has been reaped.
    """

    def __init__(
        self,
        service: Service,
        spawn: Callable[[], Child],
        selector: selectors.BaseSelector,
        graceful: float,
        ready: Callable[[int], None],
    ) -> None:
        """``spawn`` starts a new server, or raises OSError; asked to stop, it has ``graceful`` seconds until it is
        killed. ``ready`` is told its process, and ``service`` of all else.
        """
        self.child: Child | None = None
        self._service = service
        self._spawn = spawn
        self._selector = selector
        self._graceful = graceful
        self._ready = ready
        self._patience_ends = math.inf  # on the monotonic clock
        self._stopping = False
        self._reopens = False
        self._successor: int | None = None  # who is ready; its number stays its own, as nobody reaps it here

    def begin(self, phase: str) -> None:
        """Start the new server, where there is none and nothing in the way; ``phase`` is this one's, in a word."""
        if self.child is not None:
            logger.warning("no upgrade: one is going on already")
        elif phase != "serving":
            logger.warning("no upgrade: the server is %s", phase)
        elif os.getpid() == 1:
            logger.warning(
                "no upgrade: the first process of a container is its life; start another container"
            )
        else:
            self._service.upgrade()
            self._begin()

    def _begin(self) -> None:
        try:
            child = self.child = self._spawn()
        except OSError as error:  # no more processes, descriptors or memory for now
            logger.error("the new server cannot be started: %s; this one serves on", error.strerror)
            self._service.upgraded(0)
            return
        self._patience_ends, self._stopping = time.monotonic() + PATIENCE, False
        self._reopens = False
        self._selector.register(child.pipe, selectors.EVENT_READ, self._hear)
        logger.info("upgrading: process %d starts", child.pid)

    def stop(self) -> None:
        """Ask the new server to stop, if there is one: it will not take over."""
        if self.child is not None and not self._stopping:
            self._patience_ends, self._stopping = math.inf, True
            self.child.stop(self._graceful)

    def reopen(self) -> None:
        """Have the new server, if there is one, open its log file anew: it may have opened the one before.

        It hears of it when it is ready. Before that it might die of the signal.
        """
        self._reopens = True
        if self._successor is not None:
            os.kill(self._successor, signal.SIGUSR1)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()

    def act(self) -> None:
        """Do what is due by now."""
        now = time.monotonic()
        if self.child is not None and self._patience_ends <= now:
            line = "process %d is not ready after %g s and is stopped; this one serves on"
            logger.error(line, self.child.pid, PATIENCE)
            self.stop()
        if self.child is not None and self.child.deadline <= now:
            logger.warning("process %d has not stopped in time and is killed", self.child.pid)
            self.child.kill()

    def due(self) -> float:
        """Return when there will be something to do, on the monotonic clock; infinity if nothing is known of."""
        return math.inf if self.child is None else min(self._patience_ends, self.child.deadline)

    def reap(self) -> None:
        """See to the new server if it has ended."""
        child = self.child
        if child is None:
            return
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return
        child.hear_rest()
        self._heed(child)
        if self.child is child:  # else it has died when all was done
            self.close()
            line = f"process {pid} {ending(status)}{'' if self._stopping else '; this one serves on'}"
            logger.log(logging.DEBUG if self._stopping else logging.ERROR, "%s", lines(line, child.words))
            self._service.upgraded(0)

    def close(self) -> None:
        """Let go of the new server."""
        if self.child is not None:
            self._unregister()
            self.child.close()
            self.child = None

    def _hear(self) -> None:
        if self.child is not None:
            if not self.child.hear():
                self._unregister()
            self._heed(self.child)

    def _heed(self, child: Child) -> None:
        """Give way to it if it says that it is ready."""
        if child.ready and not self._stopping:
            self._ready(child.pid)
            self._successor = child.pid
            if self._reopens:
                self.reopen()
            self.close()

    def _unregister(self) -> None:
        if self.child is not None:
            with contextlib.suppress(KeyError, ValueError):  # it is not there, or the selector is closed
                self._selector.unregister(self.child.pipe)
