"""What the kernel knows of a client, on real connections."""

import asyncio
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from aiowsgi.server.sockets import has_left, unacknowledged
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, Gate


class Transport(asyncio.Transport):
    """A transport over ``client`` that does nothing."""

    def __init__(self, client: socket.socket | None) -> None:
        super().__init__({"socket": client})


@contextmanager
def connected() -> Iterator[tuple[Transport, Peer]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, Peer(listener.getsockname()) as peer:
        client = listener.accept()[0]
        client.settimeout(WAIT)
        with client:
            yield Transport(client), peer


def test_what_the_client_has_not_acknowledged_is_counted() -> None:
    with connected() as (transport, peer):
        assert unacknowledged(transport) == 0
        client = transport.get_extra_info("socket")
        client.setblocking(False)
        sent = 0
        with suppress(BlockingIOError):
            while True:
                sent += client.send(bytes(1 << 16))
        held = unacknowledged(transport)
        assert 0 < held < sent  # for the peer's buffer has some
        peer.read(sent)
        assert unacknowledged(transport) < held


def test_who_has_reset_the_connection_has_left_and_who_sends_no_more_has_not() -> None:
    with connected() as (transport, peer):
        peer.send(b"what nobody reads")
        assert not has_left(transport)
        peer.send_eof()
        assert not has_left(transport)
        peer.reset()
        assert has_left(transport)


def test_where_there_is_no_socket_nothing_is_known() -> None:
    for transport in (Transport(None), Transport(socket.socket(fileno=None))):
        client = transport.get_extra_info("socket")
        if client is not None:
            client.close()
        assert unacknowledged(transport) == 0
        assert not has_left(transport)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_pipelines_more_than_is_read_and_leaves_is_noticed(loop: str, tmp_path: Path) -> None:
    gate, log = Gate(), tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    with (
        serving(gate, loop=loop, max_pipelined=1000, access_log=str(log)) as server,
        Peer(server.server_address) as peer,
    ):
        peer.send(get("/busy"))
        assert gate.entered.wait(WAIT)
        peer.send(get("/behind/" + "x" * 2000))
        peer.reset()
        assert select.select([reader], [], [], WAIT)[0]
        assert b'"GET /busy HTTP/1.1" 499 ' in os.read(reader, 1000)
        gate.open.set()
    os.close(reader)
