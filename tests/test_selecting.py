"""A supervisor's loop for its end of a line: real sockets."""

import json
import selectors
import socket
from collections.abc import Iterator

import pytest

from aiowsgi.process.selecting import Selecting
from aiowsgi.server.answering import Answering, Reply

LONG = "x" * 3_000_000  # more than a socket takes at once


def long(details: object, reply: Reply) -> None:
    reply([details, LONG])


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        yield near, far


def test_a_long_answer_goes_out_as_it_is_taken_and_nothing_spins_behind_it(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    near, far = ends
    with selectors.DefaultSelector() as selector:
        answering = Answering(far, Selecting(selector), {"long": long})
        near.sendall(b'{"number": 1, "question": "long", "details": 1}\n')
        data = b""
        while not data.endswith(b"\n"):
            for key, _ in selector.select():
                key.data()
            try:
                data += near.recv(1 << 20)
            except BlockingIOError:
                continue
        assert json.loads(data) == {"number": 1, "answer": [1, LONG]}
        assert selector.select(0) == []
        answering.close()
        assert not selector.get_map()


def test_one_whose_supervisor_has_gone_closes(ends: tuple[socket.socket, socket.socket]) -> None:
    near, far = ends
    with selectors.DefaultSelector() as selector:
        answering = Answering(far, Selecting(selector), {"long": long})
        near.sendall(b'{"number": 1, "question": "long", "details": 1}\n')
        for key, _ in selector.select():
            key.data()
        near.close()
        while answering.open:
            for key, _ in selector.select():
                key.data()
        assert not selector.get_map()
