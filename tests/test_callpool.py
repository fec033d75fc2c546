"""The threads for applications: who is run, who is given up, and what becomes of a thread that hangs."""

import re
from collections.abc import Callable
from math import inf
from threading import Event, Thread, current_thread
from time import monotonic, sleep
from types import TracebackType

import pytest

from aiowsgi.config import Limits, Timeouts
from aiowsgi.http.messages import HTTPError
from aiowsgi.wsgi.callpool import CallPool, Work
from tests.turned_loop import WAIT, TurnedLoop


class Call(Work):
    """Does what it is told, and notes what became of it."""

    def __init__(self, name: str = "GET /", does: Callable[[], object] = lambda: None) -> None:
        self._name = name
        self._does = does
        self._progress: int | None = 0
        self._gone = False
        self._half_closed = False
        self.asked = 0  # how often somebody wanted to know whether it has gone
        self.runs = 0
        self.given_up: list[int] = []
        self.moved = False
        self.thread: Thread | None = None
        self.entered = Event()
        self.done = Event()

    def __str__(self) -> str:
        return self._name

    def run(self) -> None:
        self.runs += 1
        self.thread = current_thread()
        self.entered.set()
        self._does()
        self.done.set()

    def failed(self, error: BaseException) -> None:
        raise error

    @property
    def gone(self) -> bool:
        self.asked += 1
        return self._gone

    @property
    def half_closed(self) -> bool:
        return self._half_closed

    @property
    def progress(self) -> int | None:
        return self._progress

    def get_on(self, progress: int | None) -> None:
        self._progress = progress

    def leave(self) -> None:
        self._gone = True

    def send_no_more(self) -> None:
        self._half_closed = True

    def give_up(self, error: HTTPError) -> None:
        self.given_up.append(error.status)

    def move_on(self) -> bool:
        before, self.moved = self.moved, True
        return not before


class Held(Call):
    """A call that comes back when the test lets it."""

    def __init__(self, name: str = "GET /held") -> None:
        self.open = Event()
        super().__init__(name, self.wait_in_the_application)

    def wait_in_the_application(self) -> None:
        assert self.open.wait(WAIT)


class Turned(TurnedLoop):
    """A CallPool on a loop and with a clock that the test turns."""

    def __init__(
        self, threads: int = 1, bound: int = 1000, queue: float = 30.0, request: float = 300.0
    ) -> None:
        super().__init__(threads=0)
        self.now = 0.0
        self.calls = CallPool(
            threads,
            Limits(queue=bound),
            Timeouts(queue=queue, request=request),
            self.soon,
            self.wake,
            lambda: self.now,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, frames)
        closed = self.calls.close(WAIT if error is None else 0.0)
        assert closed or error is not None

    def submit(self, *calls: Call) -> None:
        """Submit each, and release them together."""
        for call in calls:
            assert self.calls.submit(call)
        self.turn_all()

    def turn_all(self) -> None:
        while not self.idle:
            self.turn()

    def hold(self, *calls: Call) -> None:
        """Submit each, wait until it runs, and let that be seen."""
        self.submit(*calls)
        for call in calls:
            assert call.entered.wait(WAIT)
        self.sweep(self.now)

    def sweep(self, now: float) -> bool:
        """Sweep at the time ``now``, and make the turns that this leads to."""
        self.now = now
        missing = self.calls.sweep()
        self.turn_all()
        return missing

    def finish(self, *held: Held) -> None:
        """Have calls come back, one behind the other; the last one of all that wait has been run then."""
        for call in held:
            call.open.set()
            assert call.done.wait(WAIT)
        last = Call()
        self.submit(last)
        assert last.done.wait(WAIT)
        self.turn_all()


# Who is run.


def test_a_call_that_has_waited_too_long_is_given_up_and_not_run() -> None:
    with Turned(queue=30) as loop:
        held, late, young = Held(), Call(), Call()
        loop.hold(held)
        loop.submit(late)
        loop.now = 30.5
        loop.submit(young)
        loop.finish(held)
        assert (late.runs, late.given_up) == (0, [503])
        assert (young.runs, young.given_up) == (1, [])


def test_a_call_does_not_wait_longer_for_threads_that_are_all_held() -> None:
    with Turned(queue=30) as loop:
        held, first, second = Held(), Call(), Call()
        loop.hold(held)
        loop.submit(first)
        loop.now = 1
        loop.submit(second)
        loop.sweep(29.5)
        assert first.given_up == second.given_up == []
        loop.sweep(30.5)
        assert (first.given_up, second.given_up) == ([503], [])
        loop.sweep(31.5)
        assert second.given_up == [503]
        loop.finish(held)
        assert first.runs == second.runs == 0


def test_where_the_queue_is_never_empty_patience_is_short() -> None:
    with Turned(queue=30) as loop:
        held = Held()
        calls = [Call() for _ in range(4)]
        loop.hold(held)
        for now, call in zip((0, 20, 28.5, 30.5), calls, strict=True):
            loop.now = now
            loop.submit(call)
        loop.now = 31
        loop.finish(held)
        assert [call.runs for call in calls] == [0, 0, 1, 1]
        assert [call.given_up for call in calls] == [[503], [503], [], []]


def test_the_newest_call_is_run_however_short_the_patience_is() -> None:
    with Turned(queue=30) as loop:
        held, old, newest = Held(), Call(), Call()
        loop.hold(held)
        loop.submit(old)
        loop.now = 31
        loop.submit(newest)
        loop.now = 60
        held.open.set()
        assert newest.done.wait(WAIT)
        assert (old.runs, newest.runs) == (0, 1)


def test_patience_is_whole_again_when_the_queue_has_been_empty() -> None:
    with Turned(queue=30) as loop:
        held, old = Held(), Call()
        loop.hold(held)
        loop.submit(old)
        loop.now = 31
        loop.submit(Call())
        loop.finish(held)
        held, first, second = Held(), Call(), Call()
        loop.hold(held)
        loop.submit(first, second)
        loop.now = 60
        loop.finish(held)
        assert first.runs == second.runs == 1


def test_refusals_are_told_once_a_second_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    with Turned(bound=2) as loop:
        held = Held()
        loop.hold(held)
        loop.submit(Call(), Call())
        assert not loop.calls.submit(Call())
        assert not loop.calls.submit(Call())
        loop.sweep(1)
        loop.sweep(31)
        loop.sweep(32)
        loop.sweep(33)
        held.open.set()
    assert caplog.messages == [
        "2 requests were answered 503: no thread had time for them",
        "2 requests were answered 503: no thread had time for them",
    ]


def test_whoever_leaves_takes_no_room_from_others() -> None:
    with Turned(bound=3) as loop:
        held, stays = Held(), Call()
        leaving = [Call(), Call()]
        loop.hold(held)
        loop.submit(leaving[0], stays, leaving[1])
        assert not loop.calls.submit(Call())
        for call in leaving:
            call.leave()
        loop.calls.look_through()
        loop.turn_all()
        assert loop.calls.waiting == 1
        loop.submit(Call(), Call())
        assert not loop.calls.submit(Call())
        held.open.set()
    assert stays.runs == 1
    assert [call.runs for call in leaving] == [0, 0]


def test_of_a_queue_that_fills_up_those_are_given_up_first_who_may_have_left() -> None:
    with Turned(bound=8) as loop:
        held = Held()
        here = [Call() for _ in range(5)]
        half_closed = [Call() for _ in range(3)]
        loop.hold(held)
        for call in half_closed:
            loop.submit(call)
            call.send_no_more()
            loop.calls.look_through()
        loop.submit(*here[:3])
        assert loop.calls.waiting == 6
        loop.submit(*here[3:])
        assert [call.given_up for call in half_closed] == [[503], [503], []]
        assert loop.calls.waiting == 6
        loop.submit(Call(), Call())
        assert [call.given_up for call in half_closed] == [[503], [503], [503]]
        loop.submit(Call())
        assert not loop.calls.submit(Call())
        held.open.set()
    assert [call.runs for call in half_closed] == [0, 0, 0]
    assert [call.runs for call in here] == [1] * 5


def test_the_queue_is_looked_through_once_for_all_who_leave_in_a_turn() -> None:
    with Turned() as loop:
        held = Held()
        calls = [Call() for _ in range(100)]
        loop.hold(held)
        loop.submit(*calls)
        for call in calls[::2]:
            call.leave()
            loop.calls.look_through()
        loop.turn_all()
        assert loop.calls.waiting == 50
        assert sum(call.asked for call in calls) == 100
        held.open.set()
    assert [call.runs for call in calls] == [0, 1] * 50


def test_a_call_that_is_looked_at_while_a_thread_finds_none_is_run() -> None:
    class Looked(Call):
        @property
        def gone(self) -> bool:
            held.open.set()
            while not loop.calls._tokens.empty():
                assert monotonic() < end
                sleep(0.001)
            return False

    end = monotonic() + WAIT
    with Turned() as loop:
        held = Held()
        calls = [Looked() for _ in range(3)]
        loop.hold(held)
        loop.submit(*calls)
        loop.calls.look_through()
        loop.turn_all()
        assert all(call.done.wait(WAIT) for call in calls)
    assert [call.runs for call in calls] == [1, 1, 1]


def test_calls_that_were_taken_out_leave_no_others_behind() -> None:
    with Turned(threads=2, queue=30) as loop:
        holding = [Held(), Held()]
        loop.hold(*holding)
        loop.submit(*(Call() for _ in range(50)))
        loop.sweep(31)
        assert loop.calls.waiting == 0
        calls = [Call() for _ in range(50)]
        loop.submit(*calls)
        for held in holding:
            held.open.set()
    assert all(call.runs == 1 for call in calls)


# A call that hangs.


def test_a_call_that_hangs_is_given_up_and_its_stack_logged(caplog: pytest.LogCaptureFixture) -> None:
    with Turned(request=300) as loop:
        held = Held("GET /report?year=all")
        loop.hold(held)
        loop.sweep(299)
        assert held.given_up == []
        assert not loop.sweep(301)
        assert held.given_up == [504]
        loop.sweep(1000)
        assert held.given_up == [504]
        held.open.set()
    told, back = sorted(caplog.messages, key=len, reverse=True)
    first, *stack = told.splitlines()
    assert first == (
        "GET /report?year=all has got no further for 301 s and is given up; "
        "its thread, aiowsgi-call-1, is left to itself in"
    )
    assert any(re.search(r"test_callpool.py.*in wait_in_the_application", line) for line in stack)
    assert back == "GET /report?year=all has come back; nobody waits for it any more"


def test_another_thread_stands_in_until_it_comes_back() -> None:
    with Turned(threads=1, request=300, queue=1000) as loop:
        hung = Held()
        loop.hold(hung)
        waiting = Call()
        loop.submit(waiting)
        loop.sweep(300)
        assert waiting.done.wait(WAIT)
        assert hung.thread is not None
        assert waiting.thread is not hung.thread
        hung.open.set()
        hung.thread.join(WAIT)
        assert not hung.thread.is_alive()
        loop.sweep(301)
        held, other = Held(), Held()
        loop.hold(held)
        assert held.thread is waiting.thread
        loop.submit(other)
        loop.sweep(302)
        assert loop.calls.waiting == 1
        loop.finish(held, other)


@pytest.mark.parametrize("progress", [[1, 2, 3, 4], [None, None, None, None], [None, 1, None, 2]])
def test_a_call_that_gets_on_or_waits_for_its_client_does_not_hang(progress: list[int | None]) -> None:
    with Turned(request=300) as loop:
        held = Held()
        loop.hold(held)
        for second, number in enumerate(progress, 1):
            held.get_on(number)
            loop.sweep(second * 299)
        assert held.given_up == []
        held.get_on(5)
        loop.sweep(2000)
        loop.sweep(2299)
        assert held.given_up == []
        loop.sweep(2300)
        assert held.given_up == [504]
        held.open.set()


def test_each_call_of_a_thread_has_its_own_time() -> None:
    with Turned(request=300) as loop:
        for second in range(0, 1000, 200):
            loop.now = second
            held = Held()
            loop.hold(held)
            loop.sweep(second + 199)
            held.open.set()
            assert held.done.wait(WAIT)
            assert held.given_up == []


def test_no_timeout_is_for_ever() -> None:
    with Turned(request=float("inf")) as loop:
        held = Held()
        loop.hold(held)
        loop.sweep(1e9)
        assert held.given_up == []
        held.open.set()


def test_past_twice_its_threads_it_asks_for_help_until_one_comes_back() -> None:
    with Turned(threads=2, request=300) as loop:
        hung = [Held() for _ in range(3)]
        loop.hold(hung[0], hung[1])
        assert not loop.sweep(300)
        loop.hold(hung[2])
        assert loop.sweep(600)
        other = Held()
        loop.hold(other)  # the last one that works
        assert not loop.sweep(601)  # it has asked
        waiting = Call()
        loop.submit(waiting)
        assert hung[0].thread is not None
        hung[0].open.set()
        hung[0].thread.join(WAIT)
        assert not loop.sweep(602)
        assert waiting.done.wait(WAIT)
        again = Held()
        loop.hold(again)
        assert loop.sweep(902)
        again.open.set()
        for held in (*hung, other):
            held.open.set()


def test_it_tells_what_runs_and_where() -> None:
    with Turned(threads=3) as loop:
        held = Held("GET /slow")
        loop.hold(held)
        loop.now = 12
        [told] = loop.calls.running()
        assert told.startswith("GET /slow has got no further for 12 s, in aiowsgi-call-")
        assert "in wait_in_the_application" in told
        held.open.set()


# The end.


def test_closing_waits_no_longer_than_it_may() -> None:
    with Turned(request=300) as loop:
        hung = Held()
        loop.hold(hung)
        loop.sweep(300)
        assert not loop.calls.close(0.0)
        hung.open.set()
        assert loop.calls.close(WAIT)


# Where no thread is free.


def test_a_pool_is_behind_for_as_long_as_the_newest_call_that_runs_was_queued() -> None:
    with Turned(threads=2) as turned:
        assert turned.calls.behind() == 0
        first, second = Held(), Held()
        turned.hold(first)
        turned.now = 5.0
        assert turned.calls.behind() == 0  # one is free
        turned.hold(second)
        turned.now = 7.0
        assert turned.calls.behind() == 2
        turned.finish(first)
        assert turned.calls.behind() == 0
        turned.finish(second)


def test_a_queue_that_stands_is_behind_by_what_calls_have_waited() -> None:
    with Turned() as turned:
        first, second = Held(), Held()
        turned.hold(first)
        turned.submit(second)
        turned.now = 3.0
        first.open.set()
        assert second.entered.wait(WAIT)
        assert turned.calls.behind() == 3
        turned.finish(second)


def test_where_all_threads_hang_it_is_behind_for_ever() -> None:
    with Turned(request=1.0) as turned:
        first, second = Held(), Held()
        turned.hold(first)
        turned.sweep(2.0)  # one stands in
        assert turned.calls.behind() == 0
        turned.hold(second)
        turned.sweep(4.0)
        assert turned.calls.behind() == inf
        first.open.set()
        second.open.set()


def test_those_who_have_waited_longest_are_told_to_move_on_and_once() -> None:
    with Turned() as turned:
        held = Held()
        turned.hold(held)
        calls = [Call() for _ in range(4)]
        for turned.now, call in enumerate(calls, 1):
            turned.submit(call)
        assert turned.calls.move_on(2, 0.5) == 2
        assert [call.moved for call in calls] == [True, True, False, False]
        assert turned.calls.move_on(2, 0.5) == 1  # the newest has just come
        assert turned.calls.move_on(2, 0.5) == 0
        assert [call.moved for call in calls] == [True, True, True, False]
        turned.finish(held)


def test_whoever_watches_is_called_once_for_the_calls_of_a_turn() -> None:
    watched = []
    with Turned() as turned:
        turned.calls.watch = lambda: watched.append(turned.calls.waiting)
        held = Held()
        turned.submit(held)
        assert held.entered.wait(WAIT)
        turned.submit(Call(), Call(), Call())
        turned.finish(held)
    assert watched[1] == 3
