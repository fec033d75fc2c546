"""What the supervisor asks its workers, or tells them, and what they answer.

A question is one line of JSON on the worker's line, and so is its answer:

    {"number": 7, "question": "status", "details": null}
    {"number": 7, "answer": {"requests": 4711}}

With ``"descriptor": true`` in the place of details a descriptor comes along (unix(7), SCM_RIGHTS).

In a worker ``server/answering.py`` answers, on its event loop. Where that hangs, a signal has the worker write where
its threads are, as lines of text.
"""

import json
import math
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from aiowsgi.process.child import Child

PATIENCE = 2.0  # seconds for the answers; whoever has asked is a person, or a program that will ask again
GLANCE = 0.5  # seconds for a worker that does not answer to show its stacks, which takes it a millisecond
LONGEST = 4 << 20  # bytes of an answer

# What each of those that were asked has answered, a value of JSON; one that is not in it was silent.
Answers = dict[Child, object]


_SHOW = 0  # is no question's number


@dataclass(eq=False, slots=True)
class _Question:
    number: int
    waiting: set[Child]  # for their answers
    until: float  # on the monotonic clock
    done: Callable[[Answers], object]
    answers: Answers = field(default_factory=dict)


class Questions:
    """The questions that are not answered yet.

    Guarantees:
    - Whoever asks is told what was answered once, in ``act``, and at the latest after the time that was set.
    - Nothing waits for a worker. One whose line is full is not asked, and counts as silent.
    - What a worker sends is bounded, and is ignored if nobody has asked; one that sends nonsense is not heard any more.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._questions: list[_Question] = []
        self._number = 0
        self._unread: dict[Child, bytes] = {}  # the beginnings of lines, of those that can be heard

    def ask(
        self,
        children: Iterable[Child],
        question: str,
        done: Callable[[Answers], object] = lambda answers: None,
        details: object = None,
        seconds: float = PATIENCE,
    ) -> None:
        """Ask ``children`` the same; ``done`` is called when all have answered, or ``seconds`` from now.

        ``details`` is a value of JSON that goes with the question, where that needs any.
        """
        self._ask(children, {"question": question, "details": details}, done, seconds)

    def hand(
        self,
        children: Iterable[Child],
        question: str,
        descriptor: int,
        done: Callable[[Answers], object] = lambda answers: None,
        seconds: float = PATIENCE,
    ) -> None:
        """Ask as ``ask`` does, and let each have a descriptor of its own for what is open as ``descriptor``."""
        self._ask(children, {"question": question, "descriptor": True}, done, seconds, [descriptor])

    def _ask(
        self,
        children: Iterable[Child],
        asked: dict[str, object],
        done: Callable[[Answers], object],
        seconds: float,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._number += 1
        data = json.dumps({"number": self._number, **asked}).encode() + b"\n"
        waiting = {child for child in children if self._listen(child) and _send(child, data, descriptors)}
        self._questions.append(_Question(self._number, waiting, time.monotonic() + seconds, done))

    def show_stacks(self, children: Iterable[Child], done: Callable[[Answers], object]) -> None:
        """Have ``children`` show where their threads are; ``done`` is called with the texts GLANCE seconds from now."""
        waiting = {child for child in children if self._listen(child)}
        for child in waiting:
            child.show_stacks()
        self._questions.append(_Question(_SHOW, waiting, time.monotonic() + GLANCE, done))

    def due(self) -> float:
        """Return when there will be something to do, on the monotonic clock; infinity if nothing is known of."""
        times = (question.until if question.waiting else -math.inf for question in self._questions)
        return min(times, default=math.inf)

    def act(self) -> None:
        """Tell of what has been answered, or will not be any more."""
        for child in [child for child in self._unread if child.line.fileno() < 0]:
            self._lose(child)  # it has ended
        now = time.monotonic()
        ended = [question for question in self._questions if not question.waiting or question.until <= now]
        self._questions = [question for question in self._questions if question not in ended]
        for question in ended:
            question.done(question.answers)

    def _listen(self, child: Child) -> bool:
        """Return whether ``child`` can be heard."""
        if child.line.fileno() < 0 or child.mute:
            return False
        if child not in self._unread:
            self._unread[child] = b""
            self._selector.register(child.line, selectors.EVENT_READ, partial(self._hear, child))
        return True

    def _hear(self, child: Child) -> None:
        try:
            data = child.line.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, unread = (self._unread[child] + data).split(b"\n")
        self._unread[child] = unread
        if not data or len(unread) > LONGEST or not all(self._take(child, line) for line in lines):
            child.mute = True
            self._selector.unregister(child.line)
            self._lose(child)

    def _take(self, child: Child, line: bytes) -> bool:
        """Keep an answer; return whether it is one."""
        if not line.startswith(b"{"):
            self._keep_text(child, line.decode(errors="backslashreplace"))
            return True
        try:
            answer = json.loads(line)
            number, answer = answer["number"], answer["answer"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        for question in self._questions:
            if question.number == number and child in question.waiting:
                question.waiting.remove(child)
                question.answers[child] = answer
        return True

    def _keep_text(self, child: Child, line: str) -> None:
        for question in self._questions:
            if question.number == _SHOW and child in question.waiting:
                text = f"{question.answers.get(child, '')}{line}\n"
                question.answers[child] = text[:LONGEST]

    def _lose(self, child: Child) -> None:
        del self._unread[child]
        for question in self._questions:
            question.waiting.discard(child)


def _send(child: Child, data: bytes, descriptors: Sequence[int]) -> bool:
    try:
        return socket.send_fds(child.line, [data], descriptors) == len(data)
    except OSError:  # it is full, or the worker has ended
        return False
