"""A worker's end of its line."""

import asyncio
import json
import os
import socket

import pytest

from aiowsgi.server.answering import Answering, Reply
from aiowsgi.server.inspection import memory


async def asked(*questions: object) -> list[object]:
    """Return what is answered to lines that come in one piece."""
    near, far = socket.socketpair()
    near.setblocking(False)

    def repeat(details: object, reply: Reply) -> None:
        reply(details)

    def later(details: object, reply: Reply) -> None:
        asyncio.get_running_loop().call_soon(reply, details)

    answering = Answering(far, asyncio.get_running_loop(), {"repeat": repeat, "later": later})
    reader, writer = await asyncio.open_connection(sock=near)
    data = b"".join(json.dumps(question).encode() + b"\n" for question in questions)
    writer.write(data[:-9])
    await asyncio.sleep(0)
    writer.write(data[-9:])
    answers = [json.loads(await reader.readline()) for _ in questions]
    answering.close()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    return answers


async def test_each_question_is_answered_with_its_number_at_once_or_later() -> None:
    assert await asked(
        {"number": 1, "question": "later", "details": {"a": "\n"}},
        {"number": 2, "question": "repeat", "details": 7},
    ) == [{"number": 2, "answer": 7}, {"number": 1, "answer": {"a": "\n"}}]


async def test_a_question_that_it_does_not_know_is_answered_with_nothing() -> None:
    assert await asked({"number": 1, "question": "why", "details": None}) == [{"number": 1, "answer": None}]


async def test_an_answer_that_comes_when_nobody_listens_any_more_is_dropped() -> None:
    near, far = socket.socketpair()
    replies: list[Reply] = []
    answers = {"how": lambda details, reply: replies.append(reply)}
    answering = Answering(far, asyncio.get_running_loop(), answers)
    near.sendall(b'{"number": 1, "question": "how", "details": null}\n')
    while not replies:
        await asyncio.sleep(0)
    near.close()
    while answering.open:
        await asyncio.sleep(0)
    replies[0]("well")
    answering.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="only Linux tells")
def test_what_a_process_alone_has_is_its_private_memory() -> None:
    before, shared = memory()
    assert before
    assert shared
    data = bytearray(os.urandom(64)) * (1 << 20)
    after, _ = memory()
    assert after
    assert 63 << 20 < after - before < 80 << 20
    del data


async def test_descriptors_that_come_belong_to_their_questions_in_order() -> None:
    near, far = socket.socketpair()
    got: list[object] = []

    def take(details: object, reply: Reply) -> None:
        got.append(details)

    answering = Answering(far, asyncio.get_running_loop(), {"take": take})
    pipes = [os.pipe() for _ in range(3)]
    for number, question in enumerate(["take", "what", "take"]):
        data = json.dumps({"number": number, "question": question, "descriptor": True}).encode() + b"\n"
        socket.send_fds(near, [data], [pipes[number][1]])
    near.sendall(b'{"number": 3, "question": "take", "details": "none"}\n')
    while len(got) < 3:
        await asyncio.sleep(0)
    first, third, none = got
    assert none == "none"
    answering.close()
    near.close()
    for (end, other), kept in zip(pipes, (first, None, third), strict=True):
        os.close(other)
        if kept is not None:
            assert isinstance(kept, int)
            assert not os.get_inheritable(kept)
            os.write(kept, b"x")
            os.close(kept)
        assert os.read(end, 2) == (b"" if kept is None else b"x")  # that of an unknown question is closed
        os.close(end)
