"""The threads that run applications: which call is run, which is given up, and what becomes of a thread that hangs."""

import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from traceback import StackSummary

from aiowsgi.config import Limits, Timeouts
from aiowsgi.http.messages import HTTPError, overloaded
from aiowsgi.wsgi import forks
from aiowsgi.wsgi.pool import Delivery, Job, WayBack, attempt
from aiowsgi.wsgi.stacks import stack_of, stack_text

logger = logging.getLogger("aiowsgi.pool")

# A queue that has not been empty for as long as a call may wait will not be soon. What is waited then is waited by
# all, for nothing: it is cut to this part, as CoDel does with packets (RFC 8289). At twice the load that the threads
# can carry, first come, first served alone has every call that is run wait for all of the time it may; so it is
# half of the calls that are run either way, after 97 ms instead of 498 where 500 are allowed.
HURRY = 0.2

# The part of the queue in which nobody waits who may have left.
RESERVED = 0.25


class Work(Job):
    """One call of an application."""

    __slots__ = ("since",)

    since: float  # when it was queued, in seconds of the pool's clock; only the pool sets and reads it

    @property
    @abstractmethod
    def gone(self) -> bool:
        """Whether nobody waits for its answer any more."""

    @property
    @abstractmethod
    def half_closed(self) -> bool:
        """Whether its client sends no more: it may have left, or wait for the answer all the same."""

    @property
    @abstractmethod
    def progress(self) -> int | None:
        """What changes as it gets on; None while it is the client that has to get on. Read on the loop."""

    @abstractmethod
    def give_up(self, error: HTTPError) -> None:
        """Have ``error`` answered in its place, as it was not run, or hangs. Called on the loop."""

    @abstractmethod
    def move_on(self) -> bool:
        """Have its answer, if its head can still say so, end the connection; False if it does already. On the loop."""


class _GivenUp(Delivery):
    """Takes a call that is given up to the loop."""

    __slots__ = ("_call", "_error", "_pool")

    def __init__(self, pool: "CallPool", call: Work, error: HTTPError) -> None:
        self._pool = pool
        self._call = call
        self._error = error

    def deliver(self) -> None:
        self._pool.refused += self._error.status == 503
        self._call.give_up(self._error)


class _Post:
    """A thread, what it runs, and what was last seen of that."""

    __slots__ = ("call", "left", "moved", "progress", "seen", "thread")

    thread: Thread

    def __init__(self) -> None:
        self.call: Work | None = None  # that is running; set by the thread
        self.left: Work | None = None  # that it was left to itself with: behind that it goes
        # Of the last sweep, so that a call itself need not look at the clock.
        self.seen: Work | None = None  # the call that ran
        self.progress: int | None = None  # how far it had got
        self.moved = 0.0  # when it was first seen there


# Guarantees:
#
# - A call that ``submit`` accepted is run once, or given up once, and never both but for one that hangs. Calls begin
#   in the order of submission. One that is refused is neither.
# - Each call in ``_waiting`` has a token in ``_tokens``, put there behind it. A call that the loop takes out leaves
#   its token, and whoever gets that finds another call or none. So no call waits while a thread does.
# - The loop takes a call out by ``deque.remove``, or some from the right, a thread by ``popleft``: one of the two gets
#   it. What the loop puts back it has taken from the right, so it is newer than all that a thread could get meanwhile;
#   and it puts tokens there for those of threads that have found none.
# - No call is run that has waited longer than the queue timeout, by the clock as it was when a call was queued last, or
#   at the last sweep; where calls are queued behind each other, that is now. Nor does any wait on past a sweep, but for
#   the newest of a queue that has stood for long, or what a thread takes for it while the loop holds newer ones: no
#   thread idles while a call waits.
# - At most twice ``threads`` threads are alive. ``sweep`` starts one for each that hangs, and a thread that hung goes
#   when its call comes back, so that there are ``threads`` again. A thread may find out one call late that it goes.
# - A call that fails, and even one whose ``failed`` does, ends no thread.
# - A process that a call has forked ends with that call, and takes no other one.


class CallPool(WayBack):
    """``threads`` threads, and as many to stand in for those that hang, over one bounded queue.

    ``refused`` counts the calls that were not run since the last sweep.
    """

    def __init__(
        self,
        threads: int,
        limits: Limits,
        timeouts: Timeouts,
        soon: Callable[[Callable[[], None]], object],
        wake: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """``soon`` has the loop call a function in its next turn, ``clock`` tells seconds."""
        super().__init__(wake)
        self._soon = soon
        self._clock = clock
        self._threads = threads
        self._bound = limits.queue
        self._unreserved = limits.queue - int(limits.queue * RESERVED)
        self._longest = timeouts.queue
        self._timeout = timeouts.request
        self.refused = 0
        self.watch: Callable[[], object] | None = None  # what is to be called when calls are queued
        self._submitted: list[Work] = []  # in this turn of the loop
        self._waiting: deque[Work] = deque()
        self._looking = False  # through the queue, in the next turn
        self._doubtful = False  # some in the queue are half closed, or were
        self._tokens: SimpleQueue[bool] = SimpleQueue()  # False: there is no more to do
        self._emptied = clock()  # when the queue was last seen empty
        self._horizon = -inf  # a call that was queued before it has waited too long; moved on by the loop
        self._started = 0
        self._posts: list[_Post] = []
        self._short = False  # of threads, as of the last sweep
        self._telling: list[Thread] = []  # that log where others hang
        for _ in range(threads):
            self._start()

    @property
    def threads(self) -> int:
        """How many calls can run at once."""
        return self._threads

    @property
    def waiting(self) -> int:
        """How many calls have not begun."""
        return len(self._waiting) + len(self._submitted)

    def submit(self, call: Work) -> bool:
        """Queue ``call``; False where the queue is full."""
        submitted = self._submitted
        if len(self._waiting) + len(submitted) >= self._bound:
            self.refused += 1
            return False
        if not submitted:
            self._soon(self._release)
        submitted.append(call)
        return True

    def look_through(self) -> None:
        """Let go, in the next turn, of calls nobody waits for: who comes and leaves again takes no room from others.

        That somebody has left is not always told: where the queue is nearly full, those who may have are given up, the
        oldest first. To be called when a call becomes one of these. Many may in one turn, and the queue may be long: it
        is looked through once for all of them.
        """
        if not self._looking:
            self._looking = True
            self._soon(self._look_through)

    def behind(self) -> float:
        """Return for how many seconds no thread has been free; 0 while one is, infinity where all of them hang.

        It is the age of the newest call that runs, so about what a call that is queued now will have to wait if calls
        are short, and what it has to wait at least if a queue stands.
        """
        newest = -inf
        for post in self._posts:
            if post.left is None:
                call = post.call
                if call is None:
                    return 0.0
                newest = max(newest, call.since)
        return self._clock() - newest

    def move_on(self, count: int, seconds: float) -> int:
        """Tell the clients of up to ``count`` calls, which have waited for so many ``seconds``, to come back elsewhere.

        Returns how many were told; each is once, and the longest wait first. What is answered says so.
        """
        told, latest = 0, self._clock() - seconds
        for call in self._waiting.copy():
            if told == count or call.since > latest:
                break
            told += call.move_on()
        return told

    def sweep(self) -> bool:
        """Give up what has waited or hung too long. To be called once a second, on the loop.

        Returns whether so many hang since now that not all threads are there, though as many as may be stand in.
        """
        now = self._clock()
        self._move_horizon(now)
        self._refuse_late(now)
        for post in self._posts:
            if self._hangs(post, now):
                self._leave(post, now)
        if self.refused:
            logger.warning("%d requests were answered 503: no thread had time for them", self.refused)
            self.refused = 0
        was_short, self._short = self._short, not self._fill()
        if self._short and not was_short:
            logger.error("so many threads hang that no more can stand in for them")
        return self._short and not was_short

    def served(self) -> dict[int, tuple[Work, float]]:
        """Return the calls that run, and how many seconds ago each was queued, by the ids of their threads."""
        now = self._clock()
        calls = [(post.thread.ident or 0, post.call) for post in self._posts]
        return {ident: (call, now - call.since) for ident, call in calls if call is not None}

    def running(self) -> Iterator[str]:
        """Yield, for each call that runs, what it is, for how long it has run, and where it is. Reads source files."""
        now = self._clock()
        for post in self._posts:
            call = post.call
            if call is not None:
                seconds = now - post.moved if call is post.seen else 0.0
                stack = stack_text(self._stack(post))
                yield f"{call} has got no further for {seconds:.0f} s, in {post.thread.name}:\n{stack}"

    def close(self, timeout: float) -> bool:
        """End the threads after the calls that are queued; False if some still run after ``timeout`` seconds."""
        self._release()
        for _ in self._posts:
            self._tokens.put(False)
        end = monotonic() + timeout
        for thread in (*(post.thread for post in self._posts), *self._telling):
            thread.join(max(0.0, end - monotonic()))
        return not any(post.thread.is_alive() for post in self._posts)

    # The queue.

    def _release(self) -> None:
        calls, self._submitted = self._submitted, []
        waiting, put, now = self._waiting, self._tokens.put, self._clock()
        if not waiting:
            self._emptied = now
        self._move_horizon(now)
        for call in calls:
            call.since = now
            waiting.append(call)
            put(True)
        if self._doubtful and len(waiting) > self._unreserved:
            self.look_through()
        if self.watch is not None:
            self.watch()

    def _look_through(self) -> None:
        self._release()  # some of them may have gone, too
        self._looking = False
        waiting, stay = self._waiting, list[Work]()
        with suppress(IndexError):  # that was the oldest, but for those that threads have taken
            while True:
                call = waiting.pop()
                if not call.gone:
                    stay.append(call)
        stay.reverse()
        waiting.extend(self._without_doubtful(stay))
        for _ in range(len(waiting) - self._tokens.qsize()):
            self._tokens.put(True)

    def _without_doubtful(self, calls: list[Work]) -> list[Work]:
        """Give up those that are half closed, the oldest first, until there is room enough; return the others."""
        stay, excess = list[Work](), len(calls) - self._unreserved
        self._doubtful = False
        for call in calls:
            if call.half_closed and excess > 0:
                excess -= 1
                self.hand_over(_GivenUp(self, call, overloaded()))
            else:
                self._doubtful = self._doubtful or call.half_closed
                stay.append(call)
        return stay

    def _move_horizon(self, now: float) -> None:
        standing = now - self._emptied >= self._longest
        self._horizon = now - (self._longest * HURRY if standing else self._longest)

    def _refuse_late(self, now: float) -> None:
        """Give up calls in the place of threads that all have something else to do."""
        waiting = self._waiting
        with suppress(IndexError, ValueError):  # there is none, or a thread has taken it
            while (call := waiting[0]).since < (self._horizon if len(waiting) > 1 else now - self._longest):
                waiting.remove(call)
                self.hand_over(_GivenUp(self, call, overloaded()))

    # The threads.

    def _start(self) -> None:
        """Start one more thread. Raises RuntimeError where the system has none."""
        post = _Post()
        self._started += 1
        # A daemon, so that an application that never returns cannot keep a drained process from ending.
        post.thread = Thread(
            target=self._work, args=(post,), name=f"aiowsgi-call-{self._started}", daemon=True
        )
        post.thread.start()
        self._posts.append(post)

    def _work(self, post: _Post) -> None:
        # A thread that the application starts is a daemon if the one that starts it is, and is not meant to be. This
        # one has been started as a daemon, and so nobody waits for it whatever it says from now on.
        post.thread._daemonic = False  # type: ignore[attr-defined]
        get, waiting, process = self._tokens.get, self._waiting, forks.depth
        while get():
            try:
                call = waiting.popleft()
            except IndexError:  # the loop has taken it out
                continue
            # The newest is run however old it is, or a thread would idle; the sweep has refused it if it is too old.
            if call.since < self._horizon and waiting:
                self.hand_over(_GivenUp(self, call, overloaded()))
            else:
                post.call = call
                attempt(call, process)
                post.call = None
                if post.left is not None:
                    logger.warning("%s has come back; nobody waits for it any more", call)
                    return
            # A thread that waits for its next call must not keep the last one's request and answer alive.
            del call

    def _hangs(self, post: _Post, now: float) -> bool:
        call = post.call
        if call is None or call is post.left:
            post.seen = None
            return False
        progress = call.progress
        if call is not post.seen or progress is None or progress != post.progress:
            post.seen, post.progress, post.moved = call, progress, now
        return now - post.moved >= self._timeout

    def _leave(self, post: _Post, now: float) -> None:
        """Give up the call of a thread that hangs, and tell where it does."""
        post.left = call = post.seen
        assert call is not None
        self.hand_over(_GivenUp(self, call, HTTPError(504)))
        told = call, now - post.moved, post.thread.name, self._stack(post)
        # By a thread, since the lines of a stack are read from source files.
        thread = Thread(target=_tell, args=told, name="aiowsgi-stack", daemon=True)
        with suppress(RuntimeError):  # the system has no more threads, as ``_fill`` will tell
            thread.start()
            self._telling.append(thread)

    def _stack(self, post: _Post) -> StackSummary:
        return stack_of(post.thread, attempt.__code__)

    def _fill(self) -> bool:
        """Have as many threads at work as there should be; False where that would be too many with those that hang."""
        self._posts = [post for post in self._posts if post.thread.is_alive()]
        self._telling = [thread for thread in self._telling if thread.is_alive()]
        missing = self._threads - sum(post.left is None for post in self._posts)
        try:
            while missing > 0 and len(self._posts) < 2 * self._threads:
                self._start()
                missing -= 1
        except RuntimeError as error:
            logger.error("no thread in the place of one that hangs: %s", error)
        return missing <= 0


def _tell(call: Work, seconds: float, name: str, stack: StackSummary) -> None:
    text = "%s has got no further for %.0f s and is given up; its thread, %s, is left to itself in\n%s"
    logger.error(text, call, seconds, name, stack_text(stack))
