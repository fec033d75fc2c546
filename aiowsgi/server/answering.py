"""The end of a process's line to its supervisor: what is asked there is answered on the process's loop."""

import json
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

Reply = Callable[[object], None]  # takes a value of JSON; called once, on the loop, at once or later
Answer = Callable[[object, Reply], None]  # of a question with these details; it raises nothing

MOST_DESCRIPTORS = 8  # that may come at once


class Loop(Protocol):
    """What watches the line: an asyncio event loop, or whatever has these of its methods."""

    def add_reader(self, fd: socket.socket, callback: Callable[[], None], /) -> object: ...
    def add_writer(self, fd: socket.socket, callback: Callable[[], None], /) -> object: ...
    def remove_reader(self, fd: socket.socket, /) -> object: ...
    def remove_writer(self, fd: socket.socket, /) -> object: ...


class Answering:
    """Answers each question by what ``answers`` has for it, and one that it does not know with null.

    The lines are those of ``process/questions.py``. With a question may come a descriptor, which stands for its details
    then, and is whose answer it is to close. The supervisor is trusted: what it sends is not checked.
    """

    def __init__(self, line: socket.socket, loop: Loop, answers: Mapping[str, Answer]) -> None:
        """Answer on ``line`` from now on, until ``close``."""
        self._line = line
        self._loop = loop
        self._answers = answers
        self._unread = b""
        self._unsent = b""
        self._descriptors: deque[int] = deque()  # those that came, in the order of their questions
        self.open = True
        line.setblocking(False)
        loop.add_reader(line, self._read)

    def close(self) -> None:
        if self.open:
            self.open = False
            self._loop.remove_reader(self._line)
            if self._unsent:
                self._loop.remove_writer(self._line)
            self._line.close()

    def _read(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._line, 65536, MOST_DESCRIPTORS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)  # not for the programs that an application starts
            self._descriptors.append(descriptor)
        if not data:  # the supervisor has died
            self.close()
            return
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._answer(json.loads(line))

    def _answer(self, asked: dict[str, Any]) -> None:
        details = self._descriptors.popleft() if asked.get("descriptor") else asked["details"]
        answer = self._answers.get(asked["question"])
        if answer is not None:
            answer(details, partial(self._reply, asked["number"]))
            return
        if asked.get("descriptor"):
            os.close(details)
        self._reply(asked["number"], None)

    def _reply(self, number: int, answer: object) -> None:
        if not self.open:
            return
        if not self._unsent:
            self._loop.add_writer(self._line, self._write)
        self._unsent += json.dumps({"number": number, "answer": answer}).encode() + b"\n"

    def _write(self) -> None:
        try:
            self._unsent = self._unsent[self._line.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self._unsent:
            self._loop.remove_writer(self._line)
