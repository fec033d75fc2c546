"""What a supervisor asks: real sockets, with the test at the workers' ends of them."""

import json
import os
import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic

import pytest

from aiowsgi.process.child import Child
from aiowsgi.process.questions import Answers, Questions

FOR_EVER = 3600.0  # seconds


class Asker:
    """Questions with a loop around them, and ``workers`` that are this process: its ends of their lines."""

    def __init__(self, workers: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.questions = Questions(self.selector)
        self.children: list[Child] = []
        self.ends: list[socket.socket] = []
        self.told: list[Answers] = []
        for _ in range(workers):
            line, end = socket.socketpair()
            line.setblocking(False)
            self.children.append(Child(os.getpid(), os.open(os.devnull, os.O_RDONLY), line))
            self.ends.append(end)

    def ask(self, question: str = "how", seconds: float = FOR_EVER) -> None:
        self.questions.ask(self.children, question, self.told.append, "so far", seconds)

    def turn(self, seconds: float = FOR_EVER) -> None:
        for key, _ in self.selector.select(max(0.0, min(seconds, self.questions.due() - monotonic()))):
            key.data()
        self.questions.act()

    def until_told(self) -> Answers:
        while not self.told:
            self.turn()
        return self.told.pop(0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def asker(stack: ExitStack) -> Asker:
    asker = Asker(2)
    stack.enter_context(asker.selector)
    for child, end in zip(asker.children, asker.ends, strict=True):
        stack.enter_context(end)
        stack.callback(os.close, child.pipe)
        stack.enter_context(child.line)
    return asker


def answer(end: socket.socket, value: object) -> None:
    asked = json.loads(end.recv(4096))
    end.sendall(json.dumps({"number": asked["number"], "answer": value}).encode() + b"\n")


def test_all_are_asked_and_what_they_answer_is_told_once(asker: Asker) -> None:
    asker.ask()
    assert json.loads(asker.ends[0].recv(4096, socket.MSG_PEEK)) == {
        "number": 1,
        "question": "how",
        "details": "so far",
    }
    for number, end in enumerate(asker.ends):
        answer(end, ["well", number])
    assert asker.until_told() == {asker.children[0]: ["well", 0], asker.children[1]: ["well", 1]}
    asker.turn(0)
    assert asker.told == []


def test_one_that_is_silent_is_not_waited_for_and_what_it_says_late_is_nothing(asker: Asker) -> None:
    asker.ask(seconds=0.1)
    answer(asker.ends[1], "well")
    assert asker.until_told() == {asker.children[1]: "well"}
    answer(asker.ends[0], "too late")
    asker.ask()
    answer(asker.ends[0], "well again")
    answer(asker.ends[1], "well again")
    assert asker.until_told() == dict.fromkeys(asker.children, "well again")


def test_one_that_ends_is_not_waited_for(asker: Asker) -> None:
    asker.ask()
    asker.ends[0].close()
    answer(asker.ends[1], "well")
    assert asker.until_told() == {asker.children[1]: "well"}


def test_one_that_was_reaped_is_not_waited_for(asker: Asker) -> None:
    asker.ask()
    answer(asker.ends[1], "well")
    asker.selector.unregister(asker.children[0].line)
    asker.children[0].line.close()
    assert asker.until_told() == {asker.children[1]: "well"}
    asker.ask()
    answer(asker.ends[1], "still well")
    assert asker.until_told() == {asker.children[1]: "still well"}


def test_one_that_reads_nothing_stalls_nobody(asker: Asker) -> None:
    while asker.children[0].line.fileno() >= 0:
        try:
            asker.children[0].line.send(bytes(4096))
        except BlockingIOError:
            break
    asker.ask()
    answer(asker.ends[1], "well")
    assert asker.until_told() == {asker.children[1]: "well"}


@pytest.mark.parametrize(
    "nonsense",
    [b"{\n", b'{"number": 1}\n', b'{"number": "1"}\n', b'{"a":' * 100_000 + b"\n", b"{\xff}\n"],
    ids=["cut", "no answer", "no number", "deep", "no text"],
)
def test_one_that_sends_nonsense_is_not_heard_any_more(asker: Asker, nonsense: bytes) -> None:
    asker.ask()
    answer(asker.ends[1], "well")
    asker.ends[0].setblocking(False)
    sent = 0
    while not asker.told:
        if sent < len(nonsense):
            sent += asker.ends[0].send(nonsense[sent:])
        asker.turn(0)
    assert asker.told.pop() == {asker.children[1]: "well"}
    asker.ask()
    answer(asker.ends[1], "well")
    assert asker.until_told() == {asker.children[1]: "well"}


def test_a_line_without_an_end_is_cut_off(asker: Asker) -> None:
    asker.ask()
    answer(asker.ends[1], "well")
    asker.ends[0].setblocking(False)
    sent = 0
    while not asker.told:
        try:
            sent += asker.ends[0].send(b"{" * 65536)
        except BlockingIOError:
            asker.turn()
    assert asker.told.pop() == {asker.children[1]: "well"}
    assert sent < 8 << 20


def test_of_several_that_ask_each_is_told(asker: Asker) -> None:
    asker.ask()
    asker.ask()
    for end in asker.ends:
        for line in end.recv(4096).splitlines():
            number = json.loads(line)["number"]
            end.sendall(json.dumps({"number": number, "answer": number}).encode() + b"\n")
    assert asker.until_told() == dict.fromkeys(asker.children, 1)
    assert asker.until_told() == dict.fromkeys(asker.children, 2)
