"""The parent process: it has the workers started, replaced and stopped, as signals and time ask for it.

It serves nothing and imports no application, so nothing that an application does can take it down.
"""

import logging
import os
import signal
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial

from aiowsgi.process.child import START_FAILED, Child, Work, fork, reap_orphans
from aiowsgi.process.commands import Commands
from aiowsgi.process.control import Control, Reply
from aiowsgi.process.helper import Helper
from aiowsgi.process.loop import Loop, Part
from aiowsgi.process.phases import Phase, Phases
from aiowsgi.process.places import Done, Places
from aiowsgi.process.questions import Answers, Questions
from aiowsgi.process.service import Service
from aiowsgi.process.silence import Silence
from aiowsgi.process.upgrade import Upgrade
from aiowsgi.server.listeners import Listener, address_of, close_listeners, leave_listeners

logger = logging.getLogger("aiowsgi.supervisor")


class Supervisor:
    """Keeps N worker processes alive until it is asked to stop.

    Guarantees:
    - A worker is started, and replaced, in one way only, whatever the reason: see ``Places``.
    - Nothing happens in a signal handler, and nothing is polled: see ``Loop``.
    - A supervisor that dies, by SIGKILL even, is noticed by its workers: a pipe that it alone holds ends.
    - As the first process of a container it buries whom others have left behind: nobody else would.
    - When ``run`` returns or raises, no worker, zombie or socket file is left; but for the workers of a preloader that
      was killed, who are nobody's children: they finish what they have begun, and end.
    """

    def __init__(
        self,
        listeners: Collection[socket.socket],
        service: Service,
        workers: int,
        graceful: float,
        delay: float = 0.0,
        control: Listener | None = None,
    ) -> None:
        """Prepare ``workers`` processes that each do the work of ``service``.

        ``listeners`` are closed when it stops, ``delay`` seconds after it was asked to by SIGTERM. A worker that is
        asked to stop has ``graceful`` seconds until it is killed. ``control`` is a listening socket for commands, which
        is closed when it has stopped.
        """
        self._listeners = listeners
        self._service = service
        self._workers = workers
        self._status = 0
        self._loop = Loop()
        self._life, self._life_end = os.pipe()  # carries nothing
        spawn = partial(self._fork, service.work, service.preloads)
        count, selector = 1 if service.preloads else workers, self._loop.selector
        self._places = Places(count, spawn, selector, graceful, self._start, self._fail)
        self._questions = Questions(selector)
        self._upgrade = Upgrade(
            *(service, partial(self._fork, service.start_anew, leave=self._close_loop), selector, graceful),
            self._give_way,
        )
        self._phases = Phases(service, delay, self._upgrade.stop, self._stop, self._kill)
        self._helper: Helper | None = None
        self._commands = Commands(self, self._questions, os.getpid(), [*map(address_of, listeners)])
        self._control = Control(control, selector, self.do) if control is not None else None
        silence = Silence(service.is_silent, self._questions, self._places.children)
        self._parts: list[Part] = [self._phases, self._places, silence, self._questions, self._upgrade]
        self._parts += [] if self._control is None else [self._control]
        self._loop.signals = {
            signal.SIGCHLD: self._reap,
            signal.SIGTERM: self._phases.terminate,
            signal.SIGINT: self._phases.stop,
            signal.SIGHUP: self.reload,
            signal.SIGUSR1: self._reopen,
            signal.SIGUSR2: lambda: self._upgrade.begin(self.phase),
            signal.SIGTTIN: partial(self.change, 1),
            signal.SIGTTOU: partial(self.change, -1),
        }

    def run(self, early: Callable[[], bytes] = bytes) -> int:
        """Work until asked to stop and return the exit status; in the main thread, and once.

        ``early`` returns the numbers of signals that have come before those that come now are heard.
        """
        try:
            with self._loop.hearing(early):
                try:
                    self._work()
                finally:
                    self._end()
        finally:
            self._close_own()
            os.close(self._life)
        return self._status

    def _work(self) -> None:
        if self._service.helper is not None:
            self._helper = Helper(self._fork(self._service.helper))
        self._places.act()
        while self._places.children or self._upgrade.child or self._phases.current < Phase.RELIEVED:
            self._loop.turn(self._parts, self._service.look(self._places))

    def _fork(self, work: Work, leads: bool = False, leave: Callable[[], None] | None = None) -> Child:
        return fork(work, self._life, self._loop.signals, leave or self._close_own, leads)

    # What signals and commands ask for.

    def do(self, command: dict[str, object], reply: Reply) -> None:
        """Carry out a command, see ``Commands``, and give ``reply`` its answer."""
        self._commands.do(command, reply)

    @property
    def phase(self) -> str:
        starting = self._phases.current is Phase.SERVING and self._places.starting
        return "starting" if starting else str(self._phases)

    @property
    def children(self) -> Collection[Child]:
        return self._places.children

    @property
    def workers(self) -> int:
        return self._workers

    def change(self, count: int) -> str:
        """Have ``count`` workers more, or fewer, and at least one; return why that cannot be, or nothing."""
        if refusal := self._refusal():
            logger.warning("the number of workers stays: %s", refusal)
        else:
            self.resize(max(1, self._workers + count))
        return refusal

    def _refusal(self) -> str:
        """Return why nothing that is done to the workers would last, or nothing."""
        if self._phases.current is not Phase.SERVING:
            return "the server is about to stop"
        return "an upgrade is going on" if self._upgrade.child is not None else ""

    def reload(self, done: Done = lambda outcome: None) -> None:
        """Replace all workers; ``done`` is told how that has ended."""

        def ended(outcome: str) -> None:
            self._service.reloaded(outcome)
            done(outcome)

        if refusal := self._refusal() or self._service.reload():
            logger.error("no reload: %s", refusal)
            done(refusal)
        else:
            logger.info("reloading")
            self._places.reload(ended)

    def drain(self) -> None:
        """Serve on, and say that nobody should be sent here any more, until asked to stop."""
        self._phases.drain()

    def stop(self) -> None:
        """Do what SIGTERM asks for, once."""
        self._phases.terminate_once()

    def _reap(self) -> None:
        self._places.reap()
        self._upgrade.reap()
        if self._helper is not None:
            self._helper.reap()
        if os.getpid() == 1:
            own = {child.pid for child in self._places.children}  # and there is no upgrade
            reap_orphans(own if self._helper is None else {*own, self._helper.pid})

    def _reopen(self) -> None:
        self._upgrade.reopen()
        log = self._service.reopen()
        if log is not None:
            asked = [child for child in self._places.children if child.ready]  # who starts has it in its line
            self.hand_on(log, partial(self._reopened, asked))

    def hand_on(self, log: int, done: Callable[[Answers], object]) -> None:
        """Have the workers go on in the log file that is open as ``log``."""
        self._questions.hand(self._places.children, "reopen", log, done)

    def _reopened(self, asked: Iterable[Child], answers: Answers) -> None:
        logger.info("the log file is open anew")
        for child in asked:
            if child not in answers and child in self._places.children:
                logger.warning("%s does not answer, and may write to the log file before it", child)

    def resize(self, workers: int) -> None:
        """Have so many workers from now on."""
        self._workers = workers
        self._service.resized(workers)
        if self._service.preloads:
            # One that still loads finds it in its line.
            self._questions.ask(self._places.children, "workers", details=workers)
        else:
            self._places.resize(workers)
        logger.log(self._level(), "workers: %d", workers)

    def _give_way(self, pid: int) -> None:
        """Drain, because another process serves on the same sockets."""
        self._phases.relieve()
        self._service.upgraded(pid)
        leave_listeners(self._listeners)
        if self._control is not None:
            self._control.leave()
        self._places.stop()
        logger.info("upgraded: process %d serves, and this one ends", pid)

    def _start(self) -> None:
        self._service.started()
        if self._control is not None:
            self._control.open()  # it may have been another server's until now

    def _fail(self, words: str) -> None:
        """Stop, because one of the first workers could not start; its ``words`` say why."""
        self._service.failed(words)
        self._status = START_FAILED
        self._phases.stop()

    def _stop(self) -> None:
        close_listeners(self._listeners)  # who comes now is refused as soon as the workers have closed
        self._places.stop()
        logger.log(self._level(), "stopping")

    def _kill(self) -> None:
        self._places.kill()
        self._upgrade.kill()

    def _level(self) -> int:
        """Return the severity of what people may know already, by the words of a failure."""
        return logging.DEBUG if self._status else logging.INFO

    def _end(self) -> None:
        # Nobody, unless the supervisor itself has failed.
        self._kill()
        for child in self._places.children:
            os.waitpid(child.pid, 0)
        if self._upgrade.child is not None:
            os.waitpid(self._upgrade.child.pid, 0)
        if self._helper is not None:
            self._helper.end()
        self._commands.end()
        if self._control is not None:
            self._control.close()
        close_listeners(self._listeners)

    def _close_own(self) -> None:
        """Close the descriptors that a worker has no use for."""
        self._close_loop()
        if self._control is not None:
            self._control.abandon()

    def _close_loop(self) -> None:
        """Close all of them but the control socket, which a server of a new version takes over."""
        self._loop.close()
        for child in self._places.children:
            child.close()
        self._upgrade.close()
        if self._helper is not None:
            self._helper.close()
        os.close(self._life_end)
