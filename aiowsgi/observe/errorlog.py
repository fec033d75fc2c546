"""The error log: what ``logging`` has for standard error, where nobody who logs waits long for its reader."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

from aiowsgi.observe.writing import WaitingLines, write_lines

# Seconds for a reader that takes nothing, where whoever has something to say writes it by itself.
PATIENCE = 1.0


def has_descriptor(stream: TextIO | None) -> bool:
    """Tell whether ``stream`` is an open file; a program may have put anything in the place of standard error."""
    try:
        return stream is not None and stream.fileno() >= 0
    except (AttributeError, OSError, ValueError):
        return False


def write_in_time(stream: TextIO, lines: Sequence[bytes], patience: float = PATIENCE) -> None:
    """Write ``lines`` past the stream's own buffer, but do not wait for ever. Raises OSError and ValueError."""
    write_lines(stream.fileno(), lines, patience)


def tell(text: str) -> None:
    """Show ``text`` on standard error; standard output is the access log's."""
    line = text.rstrip("\n") + "\n"
    # There is none, it has been closed, nobody reads it any more, or the disk is full.
    with suppress(AttributeError, OSError, ValueError):
        if has_descriptor(sys.stderr):
            write_in_time(sys.stderr, [line.encode(sys.stderr.encoding, "backslashreplace")])
        else:
            sys.stderr.write(line)
            sys.stderr.flush()


class _Heard(logging.Logger):
    """A logger that is silenced by its level, its filters and its handlers, and not by being disabled."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None: ...


def keep_heard() -> None:
    """Have no configuration disable the loggers that the server has by now.

    ``logging.config`` does that, unless it is told otherwise, to all that exist and that it is told nothing of.
    """
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("aiowsgi.") and type(logger) is logging.Logger:
            logger.__class__ = _Heard


# Guarantees:
#
# - Between ``begin`` and ``end`` nobody who logs waits for the stream, and records are written in the order in which
#   they were logged.
# - Before, behind, and in a process that an application has forked, where that thread does not exist, who logs
#   writes. It waits no longer than PATIENCE, and not at all again while nothing is taken.
# - A record is written or counted, and with one that is written comes how many were not.
# - Nobody waits for another one's record to be formatted.
#
# All that threads share is guarded by the handler's own lock, which ``logging`` makes anew in a forked process. The
# thread does not hold it while it writes.


class ErrorLog(logging.Handler):
    """Writes to the file of ``descriptor``, which stays the caller's: to that one, or to none.

    It goes on after ``close``: a program that configures ``logging`` has every handler closed, and may keep this one.
    """

    def __init__(self, descriptor: int, encoding: str) -> None:
        """Raises OSError where ``descriptor`` is not open."""
        super().__init__()
        self._descriptor = descriptor
        self._file = os.fstat(descriptor)
        self._encoding = encoding
        self._submit: Callable[[Callable[[], None]], object] | None = None
        self._process = 0  # the one that has the thread
        self._waiting = WaitingLines()
        self._writing = False  # the thread has been told, and looks once more before it has done

    def begin(self, submit: Callable[[Callable[[], None]], object]) -> None:
        """Have records written in a thread from here on; ``submit`` has it call a function, in order."""
        with self._alone():
            self._submit, self._process = submit, os.getpid()
            self._waiting, self._writing = WaitingLines(), False  # what the parent has left out, it will tell

    def end(self) -> None:
        """Submit nothing more: once the thread has done what it was told, all that waited is written."""
        with self._alone():
            self._submit = None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def handle(self, record: logging.LogRecord) -> bool:
        # The one of ``logging`` has the lock while a record is formatted. That calls code of the application, which
        # may take its time, but not that of the event loop, which has something to log, too.
        passed = self.filter(record)
        if passed:
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)  # Python 3.12: another one
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        line = self._line(record)
        with self._alone():
            submit = self._submit
            if submit is None or self._process != os.getpid():
                self._write_directly(line)
            elif self._waiting.has_room():
                self._waiting.add(line)
                if not self._writing:
                    submit(self._write_waiting)
                    self._writing = True

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - it calls whatever was to be logged
            failure = traceback.format_exc().rstrip()
            text = f"{record.pathname}:{record.lineno}: a record that cannot be formatted\n{failure}"
        return f"{text}\n".encode(self._encoding, "backslashreplace")

    def _told(self, left_out: int) -> list[bytes]:
        """Return the line, if any, that tells how many records nobody will see."""
        words = "%d records were left out"
        record = logging.LogRecord("aiowsgi.errorlog", logging.WARNING, __file__, 0, words, (left_out,), None)
        return [self._line(record)] if left_out else []

    def _write_directly(self, line: bytes) -> None:
        left_out, self._waiting.left_out = self._waiting.left_out, 0
        try:
            self._write([*self._told(left_out), line], 0.0 if left_out else PATIENCE)
        except OSError:  # nobody reads it, the disk is full, or it has been closed
            self._waiting.left_out = left_out + 1

    def _write(self, lines: Sequence[bytes], patience: float | None = None) -> None:
        """Raises OSError."""
        # Who becomes a daemon closes all descriptors, and the number may be that of some other file by now.
        if not os.path.samestat(os.fstat(self._descriptor), self._file):
            raise OSError("it has been closed")
        write_lines(self._descriptor, lines, patience)

    def _write_waiting(self) -> None:
        """Write until nothing waits. In the thread."""
        lost = 0
        while True:
            with self._alone():
                self._waiting.left_out += lost
                self._writing = bool(self._waiting)
                if not self._writing:
                    return
                lines, left_out = self._waiting.take()
            lost = 0
            try:
                self._write(lines + self._told(left_out))
            except Exception:  # noqa: BLE001 - who could be told?
                lost = len(lines) + left_out
