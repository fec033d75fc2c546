"""The access log: a line for each request in the combined format, and the seconds it took."""

import logging
import os
from collections.abc import Callable
from time import gmtime, strftime, time

from aiowsgi.http.messages import Request

logger = logging.getLogger("aiowsgi.accesslog")

# Lines that may wait for a slow disk or a pipe that nobody reads; those past it are counted and left out.
MOST_WAITING = 4096
# Characters of Referer and User-Agent that are kept; a head may hold 64 KiB of either.
LONGEST_VALUE = 1024


def _quoted(text: str) -> str:
    """Return a client's text in quotes, with nothing in it that ends them or the line, or commands a terminal."""
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


class AccessLog:
    """Lines on their way to a file descriptor, which the event loop never writes to itself.

    ``write`` and ``deliver`` run on the loop, ``run`` and ``failed`` in a thread. From the submission to the delivery
    the thread has ``_batch``, ``_owed`` and ``_failing`` and may read ``_stamp``; the rest is the loop's.
    """

    def __init__(
        self,
        descriptor: int,
        submit: Callable[["AccessLog"], object],
        hand_over: Callable[["AccessLog"], object],
    ) -> None:
        """``submit`` has this object's ``run`` called in a thread, ``hand_over`` its ``deliver`` on the loop."""
        self._descriptor = descriptor
        self._submit = submit
        self._hand_over = hand_over
        self._waiting: list[str] = []
        self._batch: list[str] = []
        self._left_out = 0  # lines that nobody will see
        self._owed = 0  # how many of them the batch tells
        self._failing = False  # the last batch could not be written
        self._second = 0
        self._stamp = ""

    def write(self, client: str, request: Request, status: int, size: int, seconds: float) -> None:
        """Note one answer.

        ``size`` is bytes on the wire, head included; ``seconds`` go from the request's head to the last of them.
        """
        if len(self._waiting) >= MOST_WAITING:
            self._left_out += 1
            return
        now = int(time())
        if now != self._second:
            self._second, self._stamp = now, strftime("%d/%b/%Y:%H:%M:%S +0000", gmtime(now))
        line = _quoted(f"{request.method} {request.target} {request.version}")
        referer = _quoted(request.fields.get("HTTP_REFERER", "-")[:LONGEST_VALUE])
        agent = _quoted(request.fields.get("HTTP_USER_AGENT", "-")[:LONGEST_VALUE])
        self._waiting.append(
            f"{client or '-'} - - [{self._stamp}] {line} {status} {size} {referer} {agent} {seconds:.4f}\n"
        )
        if not self._batch:
            self._begin()

    def _take_batch(self) -> None:
        self._batch, self._waiting = self._waiting, []
        self._owed, self._left_out = self._left_out, 0

    def _begin(self) -> None:
        self._take_batch()
        self._submit(self)

    def run(self) -> None:
        """Write the batch. Raises OSError."""
        self._write_batch()
        self._failing = False
        self._hand_over(self)

    def _write_batch(self) -> None:
        text = "".join(self._batch)
        if self._owed:
            text += f"- - - [{self._stamp}] {self._owed} lines were left out\n"
        data = memoryview(text.encode("ascii", "backslashreplace"))
        while data:
            data = data[os.write(self._descriptor, data) :]

    def finish(self) -> None:
        """Write what still waits, now that the thread has ended. Raises OSError."""
        self._take_batch()
        self._write_batch()

    def failed(self, error: BaseException) -> None:
        if not self._failing:  # once, not for every batch while the disk is full
            logger.error("the access log cannot be written, and its lines are left out: %s", error)
        self._failing = True
        self._hand_over(self)

    def deliver(self) -> None:
        if self._failing:
            self._left_out += self._owed + len(self._batch)
        self._batch = []
        if self._waiting:
            self._begin()
