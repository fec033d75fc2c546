"""Several threads at one function: everything once, and an end when nobody waits any more."""

from collections.abc import Callable
from contextlib import closing
from threading import Barrier, Event, active_count

import pytest

from aiowsgi.wsgi.parallel import in_threads


def test_each_item_is_worked_on_once() -> None:
    def double(item: int, stopped: Callable[[], bool]) -> int:
        return 2 * item

    assert sorted(in_threads(double, range(1000), 3)) == list(range(0, 2000, 2))
    assert list(in_threads(double, [], 3)) == []


def test_they_are_begun_in_order() -> None:
    begun: list[int] = []

    def note(item: int, stopped: Callable[[], bool]) -> None:
        begun.append(item)

    list(in_threads(note, range(100), 1))
    assert begun == list(range(100))


def test_as_many_at_a_time_as_there_are_threads() -> None:
    together = Barrier(3)

    def meet(item: int, stopped: Callable[[], bool]) -> int:
        return together.wait(30)

    assert sorted(in_threads(meet, range(6), 3)) == [0, 0, 1, 1, 2, 2]


def test_whoever_closes_it_stops_what_runs_and_begins_nothing_more() -> None:
    begun: list[int] = []
    ended: list[int] = []
    running = Event()

    def work(item: int, stopped: Callable[[], bool]) -> int:
        begun.append(item)
        if item == 1:
            running.set()
            while not stopped():
                pass
        ended.append(item)
        return item

    threads = active_count()
    with closing(in_threads(work, range(100), 1)) as results:
        assert next(results) == 0
        assert running.wait(30)
    assert begun == ended == [0, 1]
    assert active_count() == threads


def test_what_one_raises_ends_all() -> None:
    begun: list[int] = []

    def work(item: int, stopped: Callable[[], bool]) -> None:
        begun.append(item)
        if item == 1:
            raise LookupError(item)
        while item > 1 and not stopped():
            pass

    with pytest.raises(LookupError):
        list(in_threads(work, range(100), 1))
    assert len(begun) <= 3
