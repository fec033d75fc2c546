"""One thing at a time, with real threads."""

from functools import partial
from threading import Event, Thread, get_ident

from aiowsgi.wsgi.serial import OneThread, one_at_a_time
from tests.turned_loop import WAIT


def test_who_is_inside_is_alone() -> None:
    alone = one_at_a_time()
    steps: list[str] = []

    def enter() -> None:
        with alone:
            steps.append("second")

    with alone:
        second = Thread(target=enter)
        second.start()
        steps.append("first")
    second.join(WAIT)
    assert steps == ["first", "second"]


def test_jobs_run_in_one_thread_in_the_order_of_submission() -> None:
    one = OneThread("one")
    done: list[tuple[int, int]] = []

    def note(number: int) -> None:
        done.append((number, get_ident()))

    for number in range(100):
        one.submit(partial(note, number))
    assert one.close(WAIT)
    assert [number for number, _ in done] == list(range(100))
    assert {thread for _, thread in done} == {done[0][1]}
    assert done[0][1] != get_ident()


def test_jobs_of_many_threads_are_all_run() -> None:
    one = OneThread("one")
    done: list[int] = []

    def work() -> None:
        for number in range(100):
            one.submit(partial(done.append, number))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert one.close(WAIT)
    assert sorted(done) == sorted([*range(100)] * 4)


def test_a_job_that_does_not_end_holds_up_the_end_for_a_while_only() -> None:
    one = OneThread("one")
    go_on = Event()
    one.submit(go_on.wait)
    assert not one.close(0.01)
    go_on.set()
    assert one.close(WAIT)
