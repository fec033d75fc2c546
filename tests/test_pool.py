"""The pool: each of its guarantees, with real threads and a loop that the test turns."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Event, get_ident
from weakref import finalize

import pytest

from aiowsgi.wsgi.pool import Delivery, Job, Pool
from tests.turned_loop import WAIT, TurnedLoop


class Work(Job):
    """Does what it is told, and notes what became of it."""

    def __init__(self, does: Callable[[], object], fails: Callable[[], object] | None = None) -> None:
        self._does = does
        self._fails = fails
        self.error: BaseException | None = None
        self.threads: list[int] = []
        self.done = Event()

    def run(self) -> None:
        self.threads.append(get_ident())
        self._does()
        self.done.set()

    def failed(self, error: BaseException) -> None:
        self.threads.append(get_ident())
        self.error = error
        if self._fails is not None:
            self._fails()
        self.done.set()


class Parcel(Delivery):
    """Does something when it is delivered."""

    def __init__(self, does: Callable[[], object]) -> None:
        self._does = does

    def __repr__(self) -> str:
        return "<Parcel>"

    def deliver(self) -> None:
        self._does()


class Gate:
    """Work that holds its thread until the test opens it."""

    def __init__(self) -> None:
        self.entered = Event()
        self.open = Event()

    def __call__(self) -> None:
        self.entered.set()
        assert self.open.wait(WAIT)


def throw(error: BaseException) -> None:
    raise error


# Jobs


def test_one_thread_runs_each_job_once_in_the_order_of_submission() -> None:
    order: list[int] = []
    with TurnedLoop() as loop:
        for number in range(100):
            loop.pool.submit(Work(partial(order.append, number)))
        loop.turn()
    assert order == list(range(100))


def test_several_threads_run_each_job_once_beside_each_other() -> None:
    gates = [Gate() for _ in range(4)]
    with TurnedLoop(threads=4) as loop:
        jobs = [Work(gate) for gate in gates]
        for job in jobs:
            loop.pool.submit(job)
        loop.turn()
        assert all(gate.entered.wait(WAIT) for gate in gates)  # all at once
        for gate in gates:
            gate.open.set()
    assert len({job.threads[0] for job in jobs}) == 4
    assert all(len(job.threads) == 1 for job in jobs)


def test_jobs_of_one_turn_are_released_together_in_the_next() -> None:
    order: list[int] = []
    with TurnedLoop() as loop:
        loop.pool.submit(Work(lambda: order.append(1)))
        loop.pool.submit(Work(lambda: order.append(2)))
        assert not loop.idle
        loop.turn()
        assert loop.idle
    assert order == [1, 2]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_job_is_told_of_its_error_in_the_same_thread_which_goes_on(error: BaseException) -> None:
    with TurnedLoop() as loop:
        job, other = Work(lambda: throw(error)), Work(lambda: None)
        loop.pool.submit(job)
        loop.pool.submit(other)
        loop.turn()
        assert job.done.wait(WAIT)
        assert job.error is error
        assert job.threads[0] == job.threads[1] != loop.thread
        assert other.done.wait(WAIT)
        assert other.error is None


def test_a_job_that_cannot_deal_with_its_error_ends_no_thread(caplog: pytest.LogCaptureFixture) -> None:
    with TurnedLoop() as loop:
        other = Work(lambda: None)
        loop.pool.submit(Work(lambda: throw(ValueError("no")), lambda: throw(KeyError("nor this"))))
        loop.pool.submit(other)
        loop.turn()
        assert other.done.wait(WAIT)
    assert "could not deal with its failure" in caplog.text
    assert "nor this" in caplog.text


class Failing(Job):
    """Keeps nothing of its error, whose traceback holds the job."""

    def run(self) -> None:
        raise ValueError("no")

    def failed(self, error: BaseException) -> None:
        pass


@pytest.mark.parametrize("make", [Failing, lambda: Work(lambda: None)])
def test_a_waiting_thread_does_not_keep_its_last_job_alive(make: Callable[[], Job]) -> None:
    died = Event()
    with TurnedLoop() as loop:
        job = make()
        finalize(job, died.set)
        loop.pool.submit(job)
        del job
        loop.turn()
        assert died.wait(WAIT)


# Deliveries


def test_one_wake_up_serves_all_that_was_handed_over_since_the_last_in_order() -> None:
    order: list[int] = []
    with TurnedLoop() as loop:
        for _ in range(2):
            for number in range(5):
                loop.pool.hand_over(Parcel(partial(order.append, number)))
        assert loop.wakes == 1
        loop.turn()
        assert order == [0, 1, 2, 3, 4] * 2
        loop.pool.hand_over(Parcel(lambda: order.append(9)))
        assert loop.wakes == 2
        loop.turn()
        assert order[-1] == 9
        assert loop.idle


def test_what_a_job_hands_over_is_delivered_on_the_loop() -> None:
    threads: list[int] = []
    with TurnedLoop() as loop:
        parcel = Parcel(lambda: threads.append(get_ident()))
        loop.pool.submit(Work(lambda: loop.pool.hand_over(parcel)))
        loop.until(lambda: threads)
        assert threads == [loop.thread]


def test_a_failing_delivery_is_logged_and_does_not_stop_those_behind_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order: list[str] = []
    with TurnedLoop() as loop:
        loop.pool.hand_over(Parcel(lambda: order.append("before")))
        loop.pool.hand_over(Parcel(lambda: throw(ValueError("torn"))))
        loop.pool.hand_over(Parcel(lambda: order.append("behind")))
        loop.turn()
    assert order == ["before", "behind"]
    assert "<Parcel> could not be delivered" in caplog.text
    assert "torn" in caplog.text


def test_what_comes_while_a_batch_is_delivered_leaves_the_loop_its_turn() -> None:
    rounds: list[int] = []

    def again() -> None:
        rounds.append(1)
        loop.pool.hand_over(Parcel(again))

    with TurnedLoop() as loop:
        loop.pool.hand_over(Parcel(again))
        for number in range(1, 4):
            loop.turn()
            assert len(rounds) == number
            assert not loop.idle


def test_an_answer_for_a_loop_that_is_closed_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    caplog.set_level(logging.DEBUG, "aiowsgi.pool")
    Pool(0, loop.call_soon, loop.call_soon_threadsafe).hand_over(Parcel(lambda: None))
    assert "after the event loop had been closed" in caplog.text


# The end


def test_closing_runs_what_is_queued_first() -> None:
    ran: list[int] = []
    loop = TurnedLoop(threads=3)
    for number in range(30):
        loop.pool.submit(Work(partial(ran.append, number)))
    assert loop.pool.close(WAIT)  # released or not
    assert sorted(ran) == list(range(30))


def test_closing_waits_no_longer_than_it_may() -> None:
    gate = Gate()
    loop = TurnedLoop(threads=2)
    loop.pool.submit(Work(gate))
    loop.turn()
    assert gate.entered.wait(WAIT)
    assert not loop.pool.close(0.0)
    gate.open.set()
    assert loop.pool.close(WAIT)


# Under load


async def test_no_wake_up_is_lost_on_a_real_loop() -> None:
    count, threads = 2_000, 4
    delivered: SimpleQueue[int] = SimpleQueue()
    loop = asyncio.get_running_loop()
    pool = Pool(threads, loop.call_soon, loop.call_soon_threadsafe)
    finished = asyncio.Event()

    def deliver(number: int, done: Event | None = None) -> None:
        delivered.put(number)
        if done is not None:
            done.set()
        if delivered.qsize() == threads * count:
            finished.set()

    def hand_over_many(first: int) -> None:
        for number in range(first, first + count):
            pool.hand_over(Parcel(partial(deliver, number)))

    def hand_over_slowly(first: int) -> None:
        """Each when the one before has been delivered, so that each needs a wake-up of its own."""
        for number in range(first, first + count):
            done = Event()
            pool.hand_over(Parcel(partial(deliver, number, done)))
            assert done.wait(WAIT)

    for number in range(threads):
        work = hand_over_many if number % 2 else hand_over_slowly
        pool.submit(Work(partial(work, number * count)))
    async with asyncio.timeout(WAIT):
        await finished.wait()
    assert pool.close(WAIT)
    numbers = [delivered.get() for _ in range(threads * count)]
    for number in range(threads):
        own = [n for n in numbers if n // count == number]
        assert own == list(range(number * count, (number + 1) * count)), "not in order, or not once"
