"""Where a thread is."""

from threading import Event, Thread

from aiowsgi.wsgi.stacks import stack_of, stack_text
from tests.turned_loop import WAIT


def below(entered: Event, leave: Event) -> None:
    outer(entered, leave)


def outer(entered: Event, leave: Event) -> None:
    inner(entered, leave)


def inner(entered: Event, leave: Event) -> None:
    entered.set()
    assert leave.wait(WAIT)  # this is where it is


def test_the_stack_of_another_thread_is_told_with_its_lines_up_to_where_it_begins() -> None:
    entered, leave = Event(), Event()
    thread = Thread(target=below, args=(entered, leave))
    thread.start()
    assert entered.wait(WAIT)
    stack = stack_of(thread, below.__code__)
    leave.set()
    thread.join(WAIT)
    first, line, second, *_ = text = stack_text(stack).splitlines()
    assert first.endswith(", in outer")
    assert line.strip() == "inner(entered, leave)"
    assert second.endswith(", in inner")
    assert any("this is where it is" in line for line in text)


def test_a_thread_that_has_ended_is_nowhere() -> None:
    thread = Thread(target=lambda: None)
    assert stack_text(stack_of(thread, below.__code__)) == ""
    thread.start()
    thread.join(WAIT)
    assert stack_text(stack_of(thread, below.__code__)) == ""
