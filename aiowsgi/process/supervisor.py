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
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import NoReturn
from wsgiref.types import WSGIApplication

from aiowsgi.config import Config
from aiowsgi.server.listeners import ListenError, address_of, close_listeners, open_listeners
from aiowsgi.server.worker import Worker
from aiowsgi.site.applications import ApplicationError, describe
from aiowsgi.site.build import build_router, describe_mounts
from aiowsgi.version import __version__

START_FAILED = 2  # exit status
STEADY = 10.0  # seconds; a worker that dies sooner after it became ready counts as dying at its start
FIRST_PAUSE = 0.1  # seconds from such a death to the next start; each one more in a row doubles it
LONGEST_PAUSE = 10.0  # seconds
SPARE = 3.0  # seconds past the graceful timeout, for a worker to cut what is left and end by itself

_READY = b"\0"  # what a worker reports once it serves; everything else it reports is the text of a failure

logger = logging.getLogger("aiowsgi.supervisor")


class Report:
    """What a worker tells its supervisor: that it serves, or why it cannot.

    A context manager: an exception that leaves the block, SystemExit too, is reported with its traceback and
    goes no further, because what is above in a forked process belongs to the parent.
    """

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self.status = 0  # the exit status that fits what was reported

    def ready(self) -> None:
        """Tell that connections are accepted."""
        self._send(_READY)

    def failed(self, text: str) -> None:
        """Tell why the worker ends; ``text`` is shown as it is."""
        self.status = START_FAILED
        self._send(text.encode(errors="backslashreplace"))

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> bool:
        if error is not None:
            self.failed("".join(traceback.format_exception(kind, error, frames)))
        return True


# What a worker process does until it is done, given its report and a descriptor that comes to its end of file
# when the supervisor dies (None: there is no supervisor).
Work = Callable[[Report, int | None], None]


@dataclass(eq=False, slots=True)
class _Place:
    """One of the N workers that there should be, whichever process it is at the moment."""

    due: float = -math.inf  # when to start its next process; infinity while it has one
    pause: float = 0.0  # seconds; how long it was left empty the last time


@dataclass(eq=False, slots=True)
class _Child:
    """One worker process."""

    pid: int
    place: _Place
    pipe: int  # where its report is read; -1 once it is buried
    heard: bytes = b""
    ready_at: float = math.inf


class Supervisor:
    """Keeps N worker processes alive until it is asked to stop.

    Guarantees:
    - A place is filled in one way only, whatever emptied it: it becomes due, a process is forked, and that
      process counts from when it reports ready.
    - Nothing happens in a signal handler: the signal's number comes through a pipe and is acted on in the loop.
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
        self._children: dict[int, _Child] = {}  # by process id, until they are reaped
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
                while self._children or self._deadline is None:
                    self._act_on_time()
                    for key, _ in self._selector.select(self._seconds_until_due()):
                        key.data()
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
        if self._deadline is None:
            for place in self._places:
                if place.due <= now:
                    self._start(place)
        elif self._deadline <= now:
            for pid in self._children:
                logger.warning("worker %d has not stopped in time and is killed", pid)
            self._kill()

    def _seconds_until_due(self) -> float | None:
        due = min(place.due for place in self._places) if self._deadline is None else self._deadline
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _start(self, place: _Place) -> None:
        place.due = math.inf
        try:
            child = self._fork(place)
        except OSError as error:  # no more processes, descriptors or memory for now
            self._lost(place, f"no worker can be started: {error.strerror}")
            return
        self._children[child.pid] = child
        self._selector.register(child.pipe, selectors.EVENT_READ, partial(self._hear, child))

    def _fork(self, place: _Place) -> _Child:
        _flush()  # or the worker would write it once more
        pipe, pipe_end = os.pipe()
        os.set_blocking(pipe, False)
        # A SIGTERM that comes before the worker has shed the supervisor's handlers must wait, or it is lost.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        try:
            pid = os.fork()
            if pid == 0:
                os.close(pipe)
                self._become_worker(Report(partial(_write, pipe_end)), mask)
        except OSError:
            os.close(pipe)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(pipe_end)
        return _Child(pid, place, pipe)

    def _become_worker(self, report: Report, mask: set[int]) -> NoReturn:
        """Do the work in the new process, and end it without returning into what is the parent's."""
        try:
            with report:
                signal.set_wakeup_fd(-1)
                for number in self._signals:
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the whole process group
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                self._close_own()
                self._work(report, self._life)
            logging.shutdown()
            _flush()
        finally:
            os._exit(report.status)

    def _hear(self, child: _Child) -> None:
        """Take what a worker has reported so far."""
        if child.pipe == -1:  # buried in this very turn of the loop
            return
        with contextlib.suppress(BlockingIOError):
            while data := os.read(child.pipe, 65536):
                child.heard += data
            # A worker may close its end and live on; the end of file would be reported again and again.
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.pipe)
        if child.ready_at == math.inf and child.heard.startswith(_READY):
            child.ready_at = time.monotonic()
            logger.log(logging.DEBUG if self._starting else logging.INFO, "worker %d is ready", child.pid)
        ready = [other for other in self._children.values() if other.ready_at < math.inf]
        if self._starting and self._deadline is None and len(ready) == len(self._places):
            self._starting = False
            self._started()

    def _reap(self) -> None:
        # By their ids: other children of this process are not ours to reap.
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: _Child, code: int) -> None:
        del self._children[child.pid]
        self._hear(child)  # its last words
        with contextlib.suppress(KeyError):
            self._selector.unregister(child.pipe)
        os.close(child.pipe)
        child.pipe = -1
        ending = f"exited with status {code}" if code >= 0 else f"was ended by signal {-code}"
        if code < 0:
            ending += f" ({signal.strsignal(-code)})"
        words = child.heard.removeprefix(_READY).decode(errors="backslashreplace")
        self._lost(child.place, f"worker {child.pid} {ending}", words, child.ready_at)

    def _lost(self, place: _Place, line: str, words: str = "", ready_at: float = math.inf) -> None:
        """See to a place that has become empty: ``line`` says how, ``words`` why if the worker told."""
        if self._deadline is not None:
            logger.log(logging.ERROR if words else logging.INFO, "%s", _lines(line, words))
        elif self._starting and ready_at == math.inf:
            _tell(words or f"aiowsgi: {line} before it was ready")
            self._status = START_FAILED
            self._stop()
        else:
            now = time.monotonic()
            early = now - ready_at < STEADY
            place.pause = min(max(FIRST_PAUSE, 2 * place.pause), LONGEST_PAUSE) if early else 0.0
            place.due = now + place.pause
            logger.error("%s", _lines(f"{line}; the next starts in {place.pause:g} s", words))

    def _stop(self) -> None:
        """Ask all workers to drain; asked a second time, kill them."""
        if self._deadline is not None:
            self._kill()
            return
        self._deadline = time.monotonic() + self._graceful
        logger.info("stopping")
        close_listeners(self._listeners)  # at once, so that who comes now is refused when the workers have closed
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    def _kill(self) -> None:
        self._deadline = math.inf
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _end(self) -> None:
        self._kill()  # nobody, unless the supervisor itself has failed
        for pid in self._children:
            os.waitpid(pid, 0)
        self._close_own()
        os.close(self._life)
        close_listeners(self._listeners)

    def _close_own(self) -> None:
        """Close the descriptors that a worker has no use for."""
        self._selector.close()
        for child in self._children.values():
            os.close(child.pipe)
        for descriptor in (self._queue, self._queue_end, self._life_end):
            os.close(descriptor)


def run(config: Config, application: WSGIApplication | None = None) -> int:
    """Serve as ``config`` says, ``application`` behind all that it mounts; blocks.

    Returns the exit status: 0 after SIGTERM or SIGINT, 2 if it cannot listen or the workers cannot start.
    Both have been told on standard error by then.
    """
    logging.basicConfig(
        level=config.log_level.upper(),
        format="%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s",
    )
    try:
        listeners = open_listeners(config.bind)
    except ListenError as error:
        _tell(f"aiowsgi: {error}")
        return START_FAILED
    work = partial(_serve, config, application, listeners)
    started = partial(_tell, _start_report(config, listeners))
    if hasattr(os, "fork"):
        return Supervisor(listeners, work, config.workers, config.timeouts.graceful + SPARE, started).run()
    try:
        return _run_alone(work, started)
    finally:
        close_listeners(listeners)


def _serve(
    config: Config,
    application: WSGIApplication | None,
    listeners: Sequence[socket.socket],
    report: Report,
    life: int | None,
) -> None:
    try:
        router = build_router(config, application)
    except ApplicationError as error:
        before, newline, line = describe(error).rpartition("\n")
        report.failed(f"{before}{newline}aiowsgi: {line}")
    else:
        Worker(config, listeners, router).run(report.ready, life, signals=life is not None)


def _run_alone(work: Work, started: Callable[[], None]) -> int:
    """Do the work in this process, where there is no fork (Windows); KeyboardInterrupt stops it."""
    report = Report(lambda said: started() if said == _READY else _tell(said.decode()))
    with report, contextlib.suppress(KeyboardInterrupt):
        work(report, None)
    return report.status


def _start_report(config: Config, listeners: Sequence[socket.socket]) -> str:
    return "\n".join(
        [
            f"aiowsgi {__version__}, workers: {config.workers}, threads in each: {config.threads}",
            *(f"listening on {address_of(listener)}" for listener in listeners),
            *(f"  {line}" for line in describe_mounts(config)),
        ]
    )


def _tell(text: str) -> None:
    """Show ``text`` on standard error; standard output is the access log's."""
    sys.stderr.write(text.rstrip("\n") + "\n")
    sys.stderr.flush()


def _lines(line: str, words: str) -> str:
    return f"{line}\n{words}".rstrip("\n")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
