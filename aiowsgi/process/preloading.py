"""The preloader: a process that imports the application once, and has the workers forked from its own memory.

It stands between the supervisor, for which it is what a worker is, and the workers, for which it is the supervisor:

    supervisor --- preloader --+-- worker
                               +-- worker

So a reload is what it always is, the replacement of one process by another that has loaded everything anew, and the
supervisor has still imported nothing of an application.
"""

import gc
import logging
import math
import os
import selectors
import signal
import socket
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from aiowsgi.observe.accesslog import replace_log
from aiowsgi.process.child import Report, Work
from aiowsgi.process.places import Places
from aiowsgi.process.selecting import Selecting
from aiowsgi.process.service import Service
from aiowsgi.process.supervisor import Supervisor
from aiowsgi.server.answering import Answer, Answering, Reply
from aiowsgi.server.board import Board
from aiowsgi.server.inspection import memory
from aiowsgi.server.lateness import Lateness
from aiowsgi.server.life import release
from aiowsgi.server.listeners import Listener
from aiowsgi.wsgi.stacks import other_threads

logger = logging.getLogger("aiowsgi.preloading")


class Preloaded:
    """The ``Service`` of a preloader's workers. What is the server's to decide is the supervisor's."""

    helper: Work | None = None
    preloads = False
    obeys = True

    def __init__(self, work: Work, report: Report, lateness: Lateness) -> None:
        """``work`` is what workers do with what is loaded; ``report`` goes to the supervisor."""
        self._work = work
        self._report = report
        self._lateness = lateness

    def work(self, report: Report, life: int | None) -> None:
        self._report.abandon()  # it is the preloader's
        self._work(report, life)

    def started(self) -> None:
        self._report.ready()

    def failed(self, words: str) -> None:
        self._report.failed(words)

    def reload(self) -> str:
        return ""

    def reloaded(self, outcome: str) -> None: ...

    def reopen(self) -> int | None:
        return None

    def resized(self, workers: int) -> None: ...

    def start_anew(self, report: Report, life: int | None) -> None: ...

    def upgrade(self) -> None: ...

    def upgraded(self, pid: int) -> None: ...

    def leave(self, stopping: bool) -> None: ...

    def is_silent(self, pid: int) -> bool:
        return self._lateness.is_silent(pid)

    def look(self, places: Places) -> float:
        return math.inf


class Subordinate(Supervisor):
    """The supervisor of a preloader's workers: people signal the one above it, whom it obeys."""

    def __init__(
        self, listeners: Sequence[Listener], service: Service, workers: int, graceful: float, life: int
    ) -> None:
        """The end of file of ``life`` is the death of the one above."""
        super().__init__(listeners, service, workers, graceful)
        self._above = life
        self._loop.signals = {signal.SIGCHLD: self._reap, signal.SIGTERM: self._phases.stop}

    def obey(self, line: socket.socket, answers: Mapping[str, Answer], orphaned: Callable[[], None]) -> None:
        """Have ``answers`` answer what is asked on ``line``; ``orphaned`` is called before all drain without any."""
        selector = self._loop.selector
        Answering(line, Selecting(selector), answers)

        def lose_above() -> None:
            selector.unregister(self._above)
            orphaned()
            self._phases.stop()

        selector.register(self._above, selectors.EVENT_READ, lose_above)
        release(self._above)

    def _level(self) -> int:
        return logging.DEBUG  # the one above has told

    def _close_loop(self) -> None:
        super()._close_loop()
        os.close(self._above)


class Preloader:
    """Forks the workers, once all is loaded, and sees to them until it is asked to stop or the supervisor dies."""

    def __init__(
        self, listeners: Sequence[Listener], work: Work, workers: int, graceful: float, log: int | None
    ) -> None:
        """``log`` is the descriptor of the access log."""
        self._listeners = listeners
        self._work = work
        self._workers = workers
        self._graceful = graceful
        self._log = log

    def run(self, report: Report, life: int, board: Board) -> None:
        _see_to_threads()
        # What is loaded lasts as long as this process. No collector, of any worker, writes to its memory from now on,
        # so that the system keeps one copy of it for all.
        gc.collect()
        gc.freeze()
        for listener in self._listeners:
            listener.file = None  # the supervisor removes it
        service = Preloaded(self._work, report, board.lateness)
        supervisor = Subordinate(self._listeners, service, self._workers, self._graceful, life)
        answers: dict[str, Answer] = {
            "workers": partial(_resize, supervisor),
            "reopen": partial(self._reopen, supervisor),
            "status": partial(_status, supervisor),
            "stacks": partial(_stacks, supervisor),
        }
        assert report.line is not None
        supervisor.obey(report.line, answers, board.leave)
        supervisor.run()

    def _reopen(self, supervisor: Supervisor, details: object, reply: Reply) -> None:
        assert isinstance(details, int)
        if self._log is None:
            os.close(details)
            reply(None)
        else:
            replace_log(self._log, details)
            supervisor.hand_on(self._log, lambda answers: reply(None))


def _resize(supervisor: Supervisor, details: object, reply: Reply) -> None:
    assert isinstance(details, int)
    supervisor.resize(details)
    reply(None)


def _status(supervisor: Supervisor, details: object, reply: Reply) -> None:
    private, shared = memory()
    figures = {"private_memory": private, "shared_memory": shared}
    supervisor.do({"command": "status"}, lambda answer: reply({**figures, "workers": answer["workers"]}))


def _stacks(supervisor: Supervisor, details: object, reply: Reply) -> None:
    supervisor.do({"command": "stacks"}, reply)


def _see_to_threads() -> None:
    """Tell of threads: the workers will not have them, nor anybody who unlocks what they have locked."""
    if names := other_threads():
        logger.warning(
            "the application has started threads while it was imported, which no worker has: %s",
            ", ".join(names),
        )
        # It has been said, better than by Python from 3.12 on, and where warnings are errors a fork would fail by it.
        warnings.filterwarnings("ignore", r"This process .*is multi-threaded", DeprecationWarning)
