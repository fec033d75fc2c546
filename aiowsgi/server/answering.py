"""The end of a worker's line to its supervisor: what is asked there is answered on the event loop."""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

Reply = Callable[[object], None]  # takes a value of JSON; called once, on the loop, at once or later
Answer = Callable[[object, Reply], None]  # of a question with these details; it raises nothing


class Answering(asyncio.Protocol):
    """Answers each question by what ``answers`` has for it, and one that it does not know with null.

    The lines are those of ``process/questions.py``. The supervisor is trusted: what it sends is not checked.
    """

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers
        self._unread = b""
        self._transport: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            reply = partial(self._reply, asked["number"])
            answer = self._answers.get(asked["question"])
            if answer is None:
                reply(None)
            else:
                answer(asked["details"], reply)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _reply(self, number: int, answer: object) -> None:
        if self._transport is not None:
            self._transport.write(json.dumps({"number": number, "answer": answer}).encode() + b"\n")


async def answer_on(
    line: socket.socket, loop: asyncio.AbstractEventLoop, answers: Mapping[str, Answer]
) -> Answering:
    """Answer on ``line``, until what this returns is closed."""
    line.setblocking(False)
    answering = Answering(answers)
    await loop.connect_accepted_socket(lambda: answering, line)
    return answering
