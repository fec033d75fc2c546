"""The access log: a line for each request in the combined format, and the seconds it took."""

import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from time import gmtime, strftime, time

from aiowsgi.http.messages import Request, printable
from aiowsgi.observe.writing import WaitingLines, own_descriptor, write_lines

logger = logging.getLogger("aiowsgi.accesslog")

# Characters of Referer and User-Agent that are kept; a head may hold 64 KiB of either.
LONGEST_VALUE = 1024


def _quoted(text: str) -> str:
    """Return a client's text in quotes, with nothing in it that ends them."""
    return '"' + printable(text).replace('"', '\\"') + '"'


def open_log(path: str, own: Callable[[int], None] | None = None) -> int:
    """Return a descriptor that lines can be written to, its caller's to close; ``path`` may be "-", standard output.

    ``own`` gets the descriptor of a file that was not there before. Raises OSError, and at once where a FIFO would have
    to be waited for: one line says what cannot be opened and why.
    """
    if path == "-":
        return own_descriptor(sys.stdout.fileno())
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        try:
            descriptor = os.open(path, flags | os.O_EXCL, 0o644)
        except FileExistsError:
            descriptor = os.open(path, flags, 0o644)
        else:
            if own is not None:
                own(descriptor)
    except OSError as error:
        unread = "it is a FIFO that nobody reads, or a socket"
        reason = unread if error.errno == errno.ENXIO else error.strerror
        raise OSError(f"access log {path} cannot be opened: {reason}") from None
    os.set_blocking(descriptor, True)
    return descriptor


def replace_log(descriptor: int, next: int) -> None:
    """Let the number ``descriptor`` stand for the file of ``next``, which is closed. Raises OSError."""
    try:
        os.dup2(next, descriptor, inheritable=False)
    finally:
        os.close(next)


class AccessLog:
    """Lines on their way to a file descriptor, which the event loop never writes to itself.

    Its methods are for the loop. A thread gets a `Batch`, one at a time but for the last.
    """

    def __init__(
        self,
        descriptor: int,
        submit: Callable[["Batch | Change"], object],
        hand_over: Callable[["Batch | Change"], object],
    ) -> None:
        """``submit`` has a batch's ``run`` called in a thread, ``hand_over`` its ``deliver`` on the loop."""
        self._descriptor = descriptor
        self._submit = submit
        self._hand_over = hand_over
        self._waiting = WaitingLines()
        self._writing = False  # a batch is on its way
        self._failing = False  # the latest batch could not be written; the thread's
        self._second = 0
        self._stamp = ""

    def write(self, client: str, request: Request, status: int, size: int, seconds: float) -> None:
        """Note one answer: see `Log`."""
        if not self._waiting.has_room():
            return
        now = int(time())
        if now != self._second:
            self._second, self._stamp = now, strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(now))
        line = _quoted(f"{request.method} {request.target} {request.version}")
        referer = _quoted(request.fields.get("HTTP_REFERER", "-")[:LONGEST_VALUE])
        agent = _quoted(request.fields.get("HTTP_USER_AGENT", "-")[:LONGEST_VALUE])
        text = f"{client or '-'} - - [{self._stamp}] {line} {status} {size} {referer} {agent} {seconds:.4f}\n"
        self._waiting.add(text.encode("ascii", "backslashreplace"))
        if not self._writing:
            self._begin()

    def _begin(self) -> None:
        self._writing = True
        lines, left_out = self._waiting.take()
        count = len(lines) + left_out
        if left_out:
            lines.append(f"- - - [{self._stamp}] {left_out} lines were left out\n".encode())
        self._submit(Batch(self, lines, count))

    def finish(self) -> None:
        """Submit what still waits, behind the batch that is on its way; nothing may be noted any more."""
        if self._waiting:
            self._begin()

    def go_on(self, descriptor: int, done: Callable[[], object]) -> None:
        """Write to the file of ``descriptor`` from now on, and close that number; ``done`` is called then.

        Batches that are on their way still go to the file so far, so that no line is lost, and none is in both.
        """
        self._submit(Change(self._descriptor, descriptor, done, self._hand_over))

    # What a batch tells.

    def write_batch(self, batch: "Batch") -> None:
        """Write it; in the thread. Raises OSError."""
        write_lines(self._descriptor, batch.lines)
        self._failing = False
        self._hand_over(batch)

    def batch_failed(self, batch: "Batch", error: BaseException) -> None:
        """Tell of it once, not for every batch while the disk is full; in the thread."""
        if not self._failing:
            logger.error("the access log cannot be written, and its lines are left out: %s", error)
        self._failing = True
        self._hand_over(batch)

    def batch_done(self, lost: int) -> None:
        self._waiting.left_out += lost
        self._writing = False
        if self._waiting:
            self._begin()


class Batch:
    """Lines that a thread writes; as a `Job` and a `Delivery` of `wsgi/pool.py`."""

    __slots__ = ("_count", "_log", "_lost", "lines")

    def __init__(self, log: AccessLog, lines: Sequence[bytes], count: int) -> None:
        """``count`` is how many answers nobody will see in the log if ``lines`` cannot be written."""
        self.lines = lines
        self._log = log
        self._count = count
        self._lost = 0

    def run(self) -> None:
        self._log.write_batch(self)

    def failed(self, error: BaseException) -> None:
        self._lost = self._count
        self._log.batch_failed(self, error)

    def deliver(self) -> None:
        self._log.batch_done(self._lost)


class Change:
    """From one file to the next, behind the batches for the one before; as a `Job` and a `Delivery`, too."""

    __slots__ = ("_before", "_done", "_hand_over", "_next")

    def __init__(
        self, before: int, next: int, done: Callable[[], object], hand_over: Callable[["Change"], object]
    ) -> None:
        self._before = before
        self._next = next
        self._done = done
        self._hand_over = hand_over

    def run(self) -> None:
        replace_log(self._before, self._next)
        self._hand_over(self)

    def failed(self, error: BaseException) -> None:
        logger.error("the access log goes on in the file so far: %s", error)
        self._hand_over(self)

    def deliver(self) -> None:
        self._done()
