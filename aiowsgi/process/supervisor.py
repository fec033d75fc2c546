"""The parent process: it has the workers started, replaced and stopped, as signals and time ask for it.

It serves nothing and imports no application, so nothing that an application does can take it down.
"""

import contextlib
import logging
import math
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from aiowsgi.observe.errorlog import has_descriptor, write_in_time
from aiowsgi.process.child import START_FAILED, Child, Work, fork, reap_orphans
from aiowsgi.process.commands import Commands
from aiowsgi.process.control import Control, Reply
from aiowsgi.process.helper import Helper
from aiowsgi.process.places import Done, Places
from aiowsgi.process.questions import Answers, Questions
from aiowsgi.process.selecting import Selecting
from aiowsgi.process.service import Service
from aiowsgi.process.silence import Silence
from aiowsgi.process.upgrade import Upgrade
from aiowsgi.server.answering import Answer, Answering
from aiowsgi.server.life import release
from aiowsgi.server.listeners import Listener, address_of, close_listeners, leave_listeners

# Seconds until the loop looks at its clock again where nothing happens: epoll has no number for more than 24 days.
LONGEST_WAIT = 3600.0

logger = logging.getLogger("aiowsgi.supervisor")


class _Phase(IntEnum):
    SERVING = 0
    DRAINING = 1  # it serves, and says that nobody should be sent to it any more
    RELIEVED = 2  # it ends, as another server serves on the same sockets; nobody has asked for that
    STOPPING = 3  # nobody is accepted any more


@dataclass(frozen=True, slots=True)
class _Above:
    """What ties a preloader to its supervisor."""

    answering: Answering
    life: int
    orphaned: Callable[[], None]


class Supervisor:
    """Keeps N worker processes alive until it is asked to stop.

    Guarantees:
    - A worker is started, and replaced, in one way only, whatever the reason: see ``Places``.
    - Nothing happens in a signal handler: its number comes through a pipe and is acted on in the loop.
    - Nothing is polled: a worker's death is a SIGCHLD, and the clock is asked only for what is due.
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
        self._delay = delay
        self._status = 0
        self._phase = _Phase.SERVING
        self._stops_at = math.inf  # on the monotonic clock
        self._signals: dict[int, Callable[[], object]] = {
            signal.SIGCHLD: self._reap,
            signal.SIGTERM: self._terminate,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self.reload,
            signal.SIGUSR1: self._reopen,
            signal.SIGUSR2: self._begin_upgrade,
            signal.SIGTTIN: partial(self.change, 1),
            signal.SIGTTOU: partial(self.change, -1),
        }
        self._selector = selectors.DefaultSelector()
        self._queue, self._queue_end = os.pipe()  # numbers of signals
        self._life, self._life_end = os.pipe()  # carries nothing
        os.set_blocking(self._queue, False)
        os.set_blocking(self._queue_end, False)
        self._selector.register(self._queue, selectors.EVENT_READ, self._act_on_signals)
        spawn = partial(self._fork, service.work, service.preloads)
        count = 1 if service.preloads else workers
        self._places = Places(count, spawn, self._selector, graceful, self._start, self._fail)
        self._questions = Questions(self._selector)
        self._silence = Silence(service.is_silent, self._questions)
        self._upgrade = Upgrade(
            *(partial(self._fork, service.start_anew, leave=self._close_loop), self._selector, graceful),
            *(self._give_way, partial(service.upgraded, 0)),
        )
        self._helper: Helper | None = None
        self._commands = Commands(self, self._questions, os.getpid(), [*map(address_of, listeners)])
        self._control = Control(control, self._selector, self.do) if control is not None else None
        self._above: _Above | None = None

    def obey(
        self, line: socket.socket, life: int, answers: Mapping[str, Answer], orphaned: Callable[[], None]
    ) -> None:
        """Be the supervisor of a preloader's workers, which has a supervisor above it: that is signalled by people.

        It asks on ``line``, where ``answers`` answer. The end of file of ``life`` is its death: ``orphaned`` is called
        and all drain.
        """
        self._signals = {signal.SIGCHLD: self._reap, signal.SIGTERM: self._stop}
        self._above = _Above(Answering(line, Selecting(self._selector), answers), life, orphaned)
        self._selector.register(life, selectors.EVENT_READ, self._lose_above)
        release(life)

    def _lose_above(self) -> None:
        assert self._above is not None
        self._selector.unregister(self._above.life)
        self._above.orphaned()
        self._stop()

    def run(self, early: Callable[[], bytes] = bytes) -> int:
        """Work until asked to stop and return the exit status; in the main thread, and once.

        ``early`` returns the numbers of signals that have come before those that come now are heard.
        """
        try:
            with self._queued_signals():
                os.write(self._queue_end, early())
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
        while self._places.children or self._upgrade.child or self._phase < _Phase.RELIEVED:
            for key, _ in self._selector.select(self._seconds_until_due()):
                # One before it may have let go of it, or closed it, in this very turn.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            if self._stops_at <= time.monotonic():
                self._stop()
            self._places.act()
            self._silence.act(self._places.children)
            self._questions.act()
            self._upgrade.act()
            if self._control is not None:
                self._control.act()

    def _fork(self, work: Work, leads: bool = False, leave: Callable[[], None] | None = None) -> Child:
        return fork(work, self._life, self._signals, leave or self._close_own, leads)

    @contextlib.contextmanager
    def _queued_signals(self) -> Iterator[None]:
        before = {}
        # Before the handlers and behind them, or what comes in between would be nobody's.
        wakeup = signal.set_wakeup_fd(self._queue_end)
        try:
            for number in self._signals:
                before[number] = signal.signal(number, lambda *_: None)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.set_wakeup_fd(wakeup)

    def _act_on_signals(self) -> None:
        for number in os.read(self._queue, 4096):
            if number in self._signals:  # whoever called ``run`` may have handlers of their own
                self._signals[number]()

    def _seconds_until_due(self) -> float | None:
        look = self._service.look(self._places)
        asked = min(self._questions.due(), self._silence.due())
        due = min(self._places.due(), asked, self._upgrade.due(), self._stops_at, look)
        if self._control is not None:
            due = min(due, self._control.due())
        return None if due == math.inf else min(max(0.0, due - time.monotonic()), LONGEST_WAIT)

    # What signals and commands ask for.

    def do(self, command: dict[str, object], reply: Reply) -> None:
        """Carry out a command, see ``Commands``, and give ``reply`` its answer."""
        self._commands.do(command, reply)

    @property
    def phase(self) -> str:
        if self._phase is _Phase.SERVING and self._places.starting:
            return "starting"
        return "stopping" if self._stops_at < math.inf else self._phase.name.lower()

    @property
    def children(self) -> Collection[Child]:
        return self._places.children

    @property
    def workers(self) -> int:
        return self._workers

    def change(self, count: int) -> None:
        """Have ``count`` workers more, or fewer, and at least one."""
        self.resize(max(1, self._workers + count))

    def reload(self, done: Done = lambda outcome: None) -> None:
        """Replace all workers; ``done`` is told how that has ended."""

        def ended(outcome: str) -> None:
            self._service.reloaded(outcome)
            done(outcome)

        if self._phase is not _Phase.SERVING:
            done("the server is about to stop")
        elif refusal := self._service.reload():
            logger.error("no reload: %s", refusal)
            done(refusal)
        else:
            logger.info("reloading")
            self._places.reload(ended)

    def drain(self) -> None:
        """Serve on, and say that nobody should be sent here any more, until asked to stop."""
        if self._phase is _Phase.SERVING:
            self._phase = _Phase.DRAINING
            self._service.leave(stopping=False)
            self._upgrade.stop()  # or the new server would say that all may come
            logger.info("draining: the health path says so, and all is served until the server is stopped")

    def stop(self) -> None:
        """Do what SIGTERM asks for, once."""
        if self._phase is _Phase.SERVING or (self._phase is _Phase.DRAINING and self._stops_at == math.inf):
            self._terminate()

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

    def _begin_upgrade(self) -> None:
        if self._upgrade.child is not None:
            logger.warning("no upgrade: one is going on already")
        elif self.phase != "serving":
            logger.warning("no upgrade: the server is %s", self.phase)
        elif os.getpid() == 1:
            logger.warning(
                "no upgrade: the first process of a container is its life; start another container"
            )
        else:
            self._service.upgrade()
            self._upgrade.begin()

    def _give_way(self, pid: int) -> None:
        """Drain, because another process serves on the same sockets."""
        self._phase, self._stops_at = _Phase.RELIEVED, math.inf
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
        self._stop()

    def _terminate(self) -> None:
        """Stop, but serve on for a while first, so that whoever sends the requests can take note."""
        if self._delay and self._phase is _Phase.SERVING and not self._service.obeys:
            self._phase = _Phase.DRAINING
            self._stops_at = time.monotonic() + self._delay
            self._service.leave(stopping=True)
            self._upgrade.stop()
            logger.info("stopping in %g s", self._delay)
        else:
            self._stop()

    def _stop(self) -> None:
        """Ask all workers to drain; asked a second time, kill them.

        Who obeys another process leaves that to it: whoever sends a signal to all processes, as systemd does by
        default and a terminal does, sends one beside that process's own.
        """
        self._stops_at = math.inf
        if self._phase is _Phase.STOPPING:
            if not self._service.obeys:
                self._places.kill()
                self._upgrade.kill()
            return
        self._phase = _Phase.STOPPING
        self._service.leave(stopping=True)
        close_listeners(self._listeners)  # who comes now is refused as soon as the workers have closed
        self._places.stop()
        self._upgrade.stop()
        logger.log(self._level(), "stopping")

    def _level(self) -> int:
        """Return the severity of what people know already: by the words of a failure, or from the supervisor above."""
        return logging.DEBUG if self._status or self._above else logging.INFO

    def _end(self) -> None:
        # Nobody, unless the supervisor itself has failed.
        self._places.kill()
        self._upgrade.kill()
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
        self._selector.close()
        for child in self._places.children:
            child.close()
        self._upgrade.close()
        if self._helper is not None:
            self._helper.close()
        for descriptor in (self._queue, self._queue_end, self._life_end):
            os.close(descriptor)
        if self._above is not None:
            os.close(self._above.life)


def tell(text: str) -> None:
    """Show ``text`` on standard error; standard output is the access log's."""
    line = text.rstrip("\n") + "\n"
    # There is none, it has been closed, nobody reads it any more, or the disk is full.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        if has_descriptor(sys.stderr):
            write_in_time(sys.stderr, [line.encode(sys.stderr.encoding, "backslashreplace")])
        else:
            sys.stderr.write(line)
            sys.stderr.flush()
