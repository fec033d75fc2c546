"""What is told of each answer to a function of the operator's, in a thread of its own."""

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from aiowsgi.http.messages import Request

logger = logging.getLogger("aiowsgi.hooks")

MOST_WAITING = 4096  # answers that are to be told of; those past that are left out
LONGEST_PATH = 1024  # characters that are kept; a request line may hold 8 KiB
PAUSE = 10.0  # seconds between two lines of the log about a function that fails


class RequestEnd(NamedTuple):
    """One answer, at its end."""

    method: str  # "-", as the path, where no request could be read
    path: str  # as it was sent, percent-encoded and without the query; its first 1024 characters
    status: int  # 499 where the client has left before the end
    size: int  # bytes of the answer on the wire, its head included
    seconds: float  # from the end of the request's head to the end of the answer
    # Of them, those in which it has waited for a thread, and those in which the application has made its answer; 0 for
    # files, and where no thread has taken it.
    queue_seconds: float
    application_seconds: float


# Guarantees:
#
# - The function is called once for each answer that is not left out, in their order, by one thread.
# - The loop never waits for it, and holds no more than MOST_WAITING and what the thread has.
# - What it raises is logged and stops nothing.


class RequestEnds:
    """A `Log` for such a function. Its methods are for the loop; a thread gets a `Batch`, one at a time."""

    def __init__(
        self,
        function: Callable[[RequestEnd], object],
        submit: Callable[["Batch"], object],
        hand_over: Callable[["Batch"], object],
    ) -> None:
        """``submit`` has a batch's ``run`` called in a thread, ``hand_over`` its ``deliver`` on the loop."""
        self.function = function
        self._submit = submit
        self._hand_over = hand_over
        self._waiting: deque[RequestEnd] = deque()
        self._left_out = 0
        self._telling = False  # a batch is on its way
        self._failures = 0  # that were not logged; the thread's, as the next
        self._told = -PAUSE  # when one was

    def write(self, client: str, request: Request, status: int, size: int, seconds: float) -> None:
        if len(self._waiting) >= MOST_WAITING:
            self._left_out += 1
            return
        in_queue = in_application = 0.0
        spent = getattr(request, "spent", None)
        if spent is not None:
            in_queue, in_application = spent.queue, spent.application
            if in_application is None:  # it was not waited for any more
                in_application = max(0.0, seconds - in_queue)
        path = request.raw_path[:LONGEST_PATH]
        self._waiting.append(
            RequestEnd(request.method, path, status, size, seconds, in_queue, in_application)
        )
        if not self._telling:
            self._begin()

    def finish(self) -> None:
        """Submit what still waits, behind the batch that is on its way; nothing may be noted any more."""
        if self._waiting:
            self._begin()

    def _begin(self) -> None:
        self._telling = True
        waiting, self._waiting = self._waiting, deque()
        self._submit(Batch(self, waiting, self._hand_over))

    # What a batch tells.

    def failed(self, error: BaseException) -> None:
        """Take note of what the function has raised, and tell of it now and then; in the thread."""
        self._failures += 1
        now = monotonic()
        if now - self._told >= PAUSE:
            logger.error("on_request_end has failed %d times", self._failures, exc_info=error)
            self._told, self._failures = now, 0

    def go_on(self, rest: deque[RequestEnd]) -> None:
        """Tell of those that are left of a batch, and of what has come meanwhile."""
        if self._left_out:
            logger.warning("on_request_end is too slow: it was not told of %d answers", self._left_out)
            self._left_out = 0
        self._telling = False
        self._waiting.extendleft(reversed(rest))
        if self._waiting:
            self._begin()


class Batch:
    """Some answers, in a thread; as a `Job` and a `Delivery` of `wsgi/pool.py`."""

    __slots__ = ("_ends", "_hand_over", "_log")

    def __init__(
        self, log: RequestEnds, ends: deque[RequestEnd], hand_over: Callable[["Batch"], object]
    ) -> None:
        self._log = log
        self._ends = ends
        self._hand_over = hand_over

    def run(self) -> None:
        ends, function = self._ends, self._log.function
        while ends:
            function(ends.popleft())
        self._hand_over(self)

    def failed(self, error: BaseException) -> None:
        self._log.failed(error)
        self._hand_over(self)

    def deliver(self) -> None:
        self._log.go_on(self._ends)
