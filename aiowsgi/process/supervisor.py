"""The parent process: it forks the workers, replaces each that dies, and stops them all.

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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from aiowsgi.observe.errorlog import has_descriptor, write_in_time
from aiowsgi.process.child import START_FAILED, Child, Work, fork
from aiowsgi.server.listeners import close_listeners

STEADY = 10.0  # seconds; a worker that dies sooner after it became ready counts as dying at its start
FIRST_PAUSE = 0.1  # seconds from such a death to the next start; each one more in a row doubles it
LONGEST_PAUSE = 10.0  # seconds

logger = logging.getLogger("aiowsgi.supervisor")


@dataclass(eq=False, slots=True)
class _Place:
    """One of the N workers that there should be, whichever process it is at the moment."""

    due: float = -math.inf  # when to start its next process; infinity while it has one
    pause: float = 0.0  # seconds; how long it was left empty the last time


class Supervisor:
    """Keeps N worker processes alive until it is asked to stop.

    Guarantees:
    - A place is filled in one way only, whatever emptied it: it becomes due, a process is forked, and that
      process counts from when it reports ready.
    - Nothing happens in a signal handler: its number comes through a pipe and is acted on in the loop.
    - Nothing is polled: a worker's death is a SIGCHLD, and the clock is asked only for what is due.
    - A supervisor that dies, by SIGKILL even, is noticed by its workers: a pipe that it alone holds ends.
    - When ``run`` returns or raises, no worker, zombie or socket file is left.
    """

    def __init__(
        self,
        listeners: Iterable[socket.socket],
        work: Work,
        workers: int,
        graceful: float,
        started: Callable[[], None],
    ) -> None:
        """Prepare ``workers`` processes that each do ``work``.

        ``listeners`` are closed when it stops. A worker that is asked to stop has ``graceful`` seconds until
        it is killed. ``started`` is called once, as soon as all workers are ready.
        """
        self._listeners = listeners
        self._work = work
        self._graceful = graceful
        self._started = started
        self._starting = True  # until all of the first generation are ready
        self._status = 0
        self._deadline: float | None = None  # when to kill who still drains; None: nobody asked to stop
        self._places = [_Place() for _ in range(workers)]
        self._children: dict[Child, _Place] = {}  # until they are reaped
        self._signals = {
            signal.SIGCHLD: self._reap,
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
        }
        self._selector = selectors.DefaultSelector()
        self._queue, self._queue_end = os.pipe()  # numbers of signals
        self._life, self._life_end = os.pipe()  # carries nothing
        os.set_blocking(self._queue, False)
        os.set_blocking(self._queue_end, False)
        self._selector.register(self._queue, selectors.EVENT_READ, self._act_on_signals)

    def run(self) -> int:
        """Work until asked to stop and return the exit status; in the main thread, and once."""
        try:
            with self._queued_signals():
                self._act_on_time()
                while self._children or self._deadline is None:
                    for key, _ in self._selector.select(self._seconds_until_due()):
                        key.data()
                    self._act_on_time()
        finally:
            self._end()
        return self._status

    @contextlib.contextmanager
    def _queued_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, lambda *_: None) for number in self._signals}
        wakeup = signal.set_wakeup_fd(self._queue_end)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _act_on_signals(self) -> None:
        for number in os.read(self._queue, 4096):
            if number in self._signals:  # whoever called ``run`` may have handlers of their own
                self._signals[signal.Signals(number)]()

    def _act_on_time(self) -> None:
        now = time.monotonic()
        for place in self._places:
            if place.due <= now and self._deadline is None:  # a start that fails may stop all
                self._start(place)
        if self._deadline is not None and self._deadline <= now:
            for child in self._children:
                logger.warning("worker %d has not stopped in time and is killed", child.pid)
            self._kill()

    def _seconds_until_due(self) -> float | None:
        due = min(place.due for place in self._places) if self._deadline is None else self._deadline
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _start(self, place: _Place) -> None:
        place.due = math.inf
        try:
            child = fork(self._work, self._life, self._signals, self._close_own)
        except OSError as error:  # no more processes, descriptors or memory for now
            self._lost(place, f"no worker can be started: {error.strerror}")
            return
        self._children[child] = place
        self._selector.register(child.pipe, selectors.EVENT_READ, partial(self._hear, child))

    def _hear(self, child: Child) -> None:
        if child not in self._children:  # reaped in this very turn of the loop
            return
        was_ready = child.ready
        if not child.hear():  # it may live on, but the end of file would be reported again and again
            self._selector.unregister(child.pipe)
        if child.ready and not was_ready:
            logger.log(logging.DEBUG if self._starting else logging.INFO, "worker %d is ready", child.pid)
        ready = sum(other.ready for other in self._children)
        if self._starting and self._deadline is None and ready == len(self._places):
            self._starting = False
            self._started()

    def _reap(self) -> None:
        for child in list(self._children):  # by their ids: this process may have children that are not ours
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            place = self._children.pop(child)
            child.hear()
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.pipe)
            os.close(child.pipe)
            self._lost(place, f"worker {pid} {_ending(status)}", child)

    def _lost(self, place: _Place, line: str, child: Child | None = None) -> None:
        """See to a place that has become empty: ``line`` says how, and the ``child``'s words may say why."""
        words = child.words if child else ""
        if self._deadline is not None:
            # Others that cannot start have nothing to add to the first; one that cannot drain has.
            level = logging.ERROR if words and child and child.ready else logging.DEBUG
            logger.log(level, "%s", _lines(line, words))
        elif self._starting and not (child and child.ready):
            tell(words or f"aiowsgi: {line}{' before it was ready' if child else ''}")
            self._status = START_FAILED
            self._stop()
        else:
            now = time.monotonic()
            early = child is None or now - child.ready_at < STEADY
            place.pause = min(max(FIRST_PAUSE, 2 * place.pause), LONGEST_PAUSE) if early else 0.0
            place.due = now + place.pause
            logger.error("%s", _lines(f"{line}; the next one starts in {place.pause:g} s", words))

    def _stop(self) -> None:
        """Ask all workers to drain; asked a second time, kill them."""
        if self._deadline is not None:
            self._kill()
            return
        self._deadline = time.monotonic() + self._graceful
        close_listeners(self._listeners)  # who comes now is refused as soon as the workers have closed
        for child in self._children:
            os.kill(child.pid, signal.SIGTERM)
        logger.log(logging.DEBUG if self._status else logging.INFO, "stopping")

    def _kill(self) -> None:
        self._deadline = math.inf
        for child in self._children:
            os.kill(child.pid, signal.SIGKILL)

    def _end(self) -> None:
        self._kill()  # nobody, unless the supervisor itself has failed
        for child in self._children:
            os.waitpid(child.pid, 0)
        self._close_own()
        os.close(self._life)
        close_listeners(self._listeners)

    def _close_own(self) -> None:
        """Close the descriptors that a worker has no use for."""
        self._selector.close()
        for child in self._children:
            os.close(child.pipe)
        for descriptor in (self._queue, self._queue_end, self._life_end):
            os.close(descriptor)


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


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"exited with status {code}"


def _lines(line: str, words: str) -> str:
    return f"{line}\n{words}".rstrip("\n")
