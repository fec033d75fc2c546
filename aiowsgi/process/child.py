"""One worker process: how its parent starts it, and how it reports to its parent."""

import contextlib
import faulthandler
import logging
import math
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Collection, Container
from functools import partial
from types import FrameType, TracebackType
from typing import NoReturn

from aiowsgi.server.life import guard
from aiowsgi.wsgi.serial import OneThread

START_FAILED = 2  # exit status

_OF_TERMINALS = (signal.SIGINT, signal.SIGHUP) if hasattr(signal, "SIGHUP") else (signal.SIGINT,)

_PIECE = 65536  # bytes of a report that are read at once
_MOST_HEARD = 1 << 20  # bytes of what a worker reports; the longest traceback is a tenth of it
_BEGINNING = 1024  # bytes that are shown of what is more

LAST_WORDS = 1.0  # seconds for somebody to read what a worker has in its buffers at its end

# What a worker reports: that it serves, once; that it should be replaced, with the reason in the rest of the line;
# and the text of a failure, which is all that begins with neither, and the last that it reports.
READY = b"\0"
REPLACE = b"\1"
_WISHES = re.compile(REPLACE.join([rb"(?:", rb"([^\n]*)\n)+"]))  # the last one counts


class Report:
    """What a worker tells its parent: that it serves, that it should not for much longer, or why it cannot.

    A context manager: an exception that leaves the block, SystemExit too, is reported with its traceback and
    goes no further, because what is above in a forked process belongs to the parent.
    """

    def __init__(
        self,
        send: Callable[[bytes], object],
        line: socket.socket | None = None,
        abandon: Callable[[], None] = lambda: None,
        descriptor: int = -1,
    ) -> None:
        """``line`` is where the parent asks and is answered, see ``Questions``; None: there is nobody to ask.

        ``abandon`` closes what ties this process to its parent, in one that it has forked itself. ``descriptor``
        is where ``send`` writes to, for a program that this process goes on as.
        """
        self._send = send
        self.line = line
        self.abandon = abandon
        self.descriptor = descriptor
        self.status = 0  # the exit status that fits what was reported

    def ready(self) -> None:
        """Tell that connections are accepted."""
        self._send(READY)

    def replace(self, reason: str) -> None:
        """Ask for another process in place of this one, which serves until that is ready and gets a SIGTERM then.

        ``reason`` is for the log, and one line: "it has answered 10000 requests". It may be asked for in any state
        and again and again; one process comes of it. From the main thread.
        """
        with contextlib.suppress(
            BrokenPipeError
        ):  # the parent has died, which this process is about to learn
            self._send(REPLACE + " ".join(reason.split()).encode(errors="backslashreplace") + b"\n")

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
# when the parent dies (None: there is no parent). The process is killed then, unless it has called ``release``.
Work = Callable[[Report, int | None], None]


class Child:
    """A worker process, or a preloader, as its parent sees it."""

    def __init__(self, pid: int, pipe: int, line: socket.socket, leads: bool = False) -> None:
        """``leads`` says that it is a preloader, and leads a process group that its workers are in."""
        self.pid = pid
        self.leads = leads
        self.pipe = pipe  # where its report is read, without blocking
        self.line = line  # where it is asked and answers, without blocking: see ``Questions``
        self.mute = False  # whether nothing can be heard on it any more
        self.started_at = time.monotonic()
        self.generation = 0  # of the code and the settings that it has loaded
        self.ready_at = math.inf  # on the monotonic clock
        self.deadline = math.inf  # when it will be killed, on the same clock; set when it is asked to stop
        self.stopping = False
        self.wish = ""  # why it has asked to be replaced, if it has
        self._heard = b""
        self._endless = False  # it has reported more than anybody listens to

    def __str__(self) -> str:
        return f"{'preloader' if self.leads else 'worker'} {self.pid}"

    @property
    def ready(self) -> bool:
        return self.ready_at < math.inf

    @property
    def state(self) -> str:
        if self.stopping:
            return "stopping"
        return "serving" if self.ready else "starting"

    @property
    def words(self) -> str:
        """The text of its failure, or nothing."""
        return self._heard.decode(errors="backslashreplace")

    def hear(self) -> bool:
        """Take a piece of what it has reported so far; return whether it may report more.

        It is killed where that has no end. A piece a call: there is always more of what has none.
        """
        try:
            data = os.read(self.pipe, _PIECE)
        except BlockingIOError:
            return True
        self._take(data)
        if len(self._heard) > _MOST_HEARD:
            self.kill()
            self._endless = True
            self._heard = b"it has reported without an end, and was killed: " + self._heard[:_BEGINNING]
            return False
        return bool(data)

    def hear_rest(self) -> None:
        """Take what it has left at its end, as far as that has one: others may hold the pipe, too."""
        with contextlib.suppress(BlockingIOError):
            while not self._endless and (data := os.read(self.pipe, _PIECE)):
                self._heard += data
                self._endless = len(self._heard) > _MOST_HEARD
        self._take(b"")

    def _take(self, data: bytes) -> None:
        self._heard += data
        if not self.ready and self._heard.startswith(READY):
            self.ready_at = time.monotonic()
            self._heard = self._heard.removeprefix(READY)
        if wishes := _WISHES.match(self._heard):
            self.wish = wishes[1].decode(errors="backslashreplace")
            self._heard = self._heard[wishes.end() :]

    def stop(self, seconds: float) -> None:
        """Ask it to finish what it does, and have it killed if it has not after so many ``seconds``."""
        self.deadline = time.monotonic() + seconds
        self.stopping = True
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        self.deadline = math.inf
        if self.leads:
            # With its workers, who would only learn that they should drain. macOS refuses where all have ended.
            with contextlib.suppress(PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        else:
            os.kill(self.pid, signal.SIGKILL)

    def show_stacks(self) -> None:
        """Have it write to its line where its threads are, whatever it is doing.

        A signal that comes too early harms nobody: by default this one is ignored.
        """
        os.kill(self.pid, signal.SIGURG)

    def close(self) -> None:
        """Close what ties this process to it."""
        os.close(self.pipe)
        self.line.close()


def fork(
    work: Work, life: int, signals: Collection[int], leave: Callable[[], None], leads: bool = False
) -> Child:
    """Start a process that does ``work`` and return it; ``leads`` as for ``Child``.

    ``signals`` are those that the parent handles. In the child they have their defaults again, but SIGINT and SIGHUP
    do nothing: a terminal sends them to the whole process group, and what they mean is the parent's to say.
    ``leave`` is called in the child, to close what is the parent's alone. Raises OSError.
    """
    _flush()  # or the child would write it once more
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        line, line_end = socket.socketpair()
        ours.callback(line.close)
        theirs.callback(line_end.close)
        pipe, pipe_end = os.pipe()
        ours.callback(os.close, pipe)
        theirs.callback(os.close, pipe_end)
        line.setblocking(False)
        os.set_blocking(pipe, False)
        # A SIGTERM for the child that comes before it has shed the parent's handlers has to wait, or it is lost.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                if leads:
                    os.setpgid(0, 0)
                report = Report(partial(_write, pipe_end), line_end, theirs.pop_all().close, pipe_end)
                _live(work, life, report, partial(_shed, signals, mask, leave))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        ours.pop_all()
    if leads:
        with contextlib.suppress(OSError):  # it has ended already
            os.setpgid(pid, pid)  # as it does by itself: whoever is first
    return Child(pid, pipe, line, leads)


def _live(work: Work, life: int, report: Report, shed: Callable[[], None]) -> NoReturn:
    """Be the child, and end without returning into what is the parent's to do on its way out."""
    try:
        with report:
            shed()
            if report.line is not None:
                # A descriptor of its own, which stays open: what is written there later must not get elsewhere.
                faulthandler.register(signal.SIGURG, os.dup(report.line.fileno()))
            work(report, guard(life))
        logging.shutdown()
        last = OneThread("aiowsgi-last")
        last.submit(_flush)
        last.close(LAST_WORDS)
    finally:
        os._exit(report.status)


def _shed(signals: Collection[int], mask: set[int], leave: Callable[[], None]) -> None:
    """Put away what came with the fork and is the parent's."""
    signal.set_wakeup_fd(-1)
    leave()
    for number in signals:
        signal.signal(number, _do_nothing if number in _OF_TERMINALS else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN this is not handed on to a program that the child starts."""


def reap_orphans(own: Container[int]) -> None:
    """Reap the children that have ended, but for those in ``own``: they are another one's to see to.

    The first process of a container becomes the parent of all whose parents have ended.
    """
    with contextlib.suppress(ChildProcessError):  # there are no children
        # One of ``own`` that has ended just now stands before the others. Its SIGCHLD is still to come.
        while (
            ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        ) and ended.si_pid not in own:
            os.waitpid(ended.si_pid, 0)


def _flush() -> None:
    for stream in filter(None, (sys.stdout, sys.stderr)):  # a program that embeds the server may have none
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def ending(status: int) -> str:
    """Say how a process has ended, from what waitpid returns."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return f"was ended by signal {-code} ({signal.strsignal(-code)})"
    return f"exited with status {code}"


def lines(line: str, words: str) -> str:
    """Put ``line`` before the words of a process, if it has left any."""
    return f"{line}\n{words}".rstrip("\n")
