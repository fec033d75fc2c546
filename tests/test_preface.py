"""Connections that begin with the PROXY protocol: whose is believed, what is refused, and how long it may take."""

import logging
import os
import ssl
from pathlib import Path
from typing import Any

import pytest

from aiowsgi.config import Config, Timeouts
from aiowsgi.http.proxyprotocol import LONGEST_V2
from aiowsgi.http.states import State
from aiowsgi.server.draining import GRACE, begin_to_drain
from tests.authority import Authority
from tests.server import RunningServer
from tests.test_proxyprotocol import HEADERS, REFUSED, tcp4, v2
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import Applied, Server, answering, echo, tells

CONFIG = Config(trusted_proxies=("10.0.0.0/8", "unix"), proxy_protocol=True)
V1 = b"PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n"
V2 = v2(0x11, tcp4("192.0.2.9", 4711))
GET = get("/x")


@pytest.mark.parametrize(("data", "client"), HEADERS.values(), ids=HEADERS)
async def test_the_client_is_who_the_proxy_says(data: bytes, client: tuple[str, str] | None) -> None:
    address, port = client or ("10.0.0.1", "4711")  # the proxy's own
    answers = []
    with Server(Applied(tells("REMOTE_ADDR", "REMOTE_PORT")), config=CONFIG) as server:
        for pieces in ([data + GET], [data, GET], [data[:5], data[5:] + GET[:9], GET[9:]]):
            proxy = server.connect("10.0.0.1")
            for piece in pieces:
                proxy.send(piece)
            answers.append(await proxy.receive(b"."))
            proxy.send(GET)  # and stays it
            answers.append(await proxy.receive(b"."))
            server.shared.connections.pop(proxy.connection)
            assert not server.shared.connections  # the preface is none of them any more
    for answer in answers:
        assert answer.endswith(f"\r\n\r\n{address} {port}.".encode())


async def test_a_header_may_come_byte_by_byte() -> None:
    with Server(Applied(tells("REMOTE_ADDR")), config=CONFIG) as server:
        for header in (V1, V2):
            proxy = server.connect("10.0.0.1")
            for byte in header + GET:
                proxy.send(bytes([byte]))
            assert (await proxy.receive(b".")).endswith(b"192.0.2.9.")


@pytest.mark.parametrize("peer", ["192.0.2.1", "::1"])
async def test_who_is_not_trusted_is_refused_before_its_first_byte(
    peer: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Server(Applied(echo), config=CONFIG) as server:
        client = server.connect(peer)
        client.send(V1 + GET)
        assert await client.closed() == b""
        assert client.transport.aborted
        assert not server.shared.connections
    assert [record.getMessage() for record in caplog.records] == [
        f"{peer} is refused: it is none of --trusted-proxies"
    ]


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
async def test_what_is_no_header_is_refused_and_nothing_behind_it_is_read(data: bytes) -> None:
    with Server(Applied(echo), config=CONFIG) as server:
        proxy = server.connect("10.0.0.1")
        proxy.send(data + b"\r\n" + V1 + GET)
        proxy.send(GET)
        assert await proxy.closed() == b""
        assert proxy.transport.aborted


async def test_a_second_header_is_no_request() -> None:
    with Server(Applied(echo), config=CONFIG) as server:
        for header in (V1, V2):
            proxy = server.connect("10.0.0.1")
            proxy.send(V1 + header + GET)
            assert (await proxy.closed()).startswith(b"HTTP/1.1 400 ")


async def test_a_header_has_to_come_in_time() -> None:
    with Server(Applied(echo), config=CONFIG, timeouts=Timeouts(head=20)) as server:
        for begun in (b"", V1[:20], V2[:27]):
            proxy = server.connect("10.0.0.1")
            for byte in begun:  # however it drips
                proxy.send(bytes([byte]))
                server.pass_time(0.5)
            server.pass_time(20)
            assert await proxy.closed() == b""
            assert proxy.transport.aborted
            assert not server.shared.connections


async def test_no_more_is_kept_than_a_header() -> None:
    with Server(Applied(echo), config=CONFIG) as server:
        proxy = server.connect("10.0.0.1")
        proxy.send(v2(0x11, bytes(LONGEST_V2 - 16))[:-1])
        assert not proxy.transport.closing
        proxy.send(b"x" * 100_000)
        assert (await proxy.closed()).startswith(b"HTTP/1.1 414 ")


async def test_a_proxy_that_leaves_or_has_nothing_to_say_is_forgotten() -> None:
    with Server(Applied(echo), config=CONFIG) as server:
        leaves, drained, cut = (server.connect("10.0.0.1") for _ in range(3))
        assert len(server.shared.connections) == 3
        leaves.send_eof()
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        server.pass_time(GRACE)
        cut.connection.abort()
        for proxy in (leaves, drained, cut):
            assert await proxy.closed() == b""
        assert server.shared.drained.is_set()


async def test_a_proxy_that_comes_while_draining_may_not_be_silent_for_long() -> None:
    with Server(Applied(echo), config=CONFIG) as server:
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        silent, speaking = (server.connect("10.0.0.1") for _ in range(2))
        speaking.send(v2(0x11, bytes(12))[:-1])
        server.pass_time(GRACE)
        assert await silent.closed() == b""
        assert not speaking.lost


async def test_who_the_header_names_may_be_a_proxy_itself() -> None:
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_X_FORWARDED_FOR")
    fields = ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https")
    with Server(Applied(tells(*names)), config=CONFIG) as server:
        for source, told in (
            ("10.9.9.9", b"198.51.100.1 https 198.51.100.1."),
            ("192.0.2.9", b"192.0.2.9 http -."),
        ):
            proxy = server.connect("10.0.0.1")
            proxy.send(v2(0x11, tcp4(source, 1)) + get("/", *fields))
            assert (await proxy.receive(b".")).endswith(told)


async def test_the_state_behind_a_header_is_that_of_any_connection() -> None:
    with Server(Applied(echo), config=CONFIG, timeouts=Timeouts(keep_alive=75)) as server:
        proxy = server.connect("10.0.0.1")
        proxy.send(V2)
        assert proxy.state == State.IDLE
        server.pass_time(74)
        assert not proxy.transport.closing
        server.pass_time(1)
        assert await proxy.closed() == b""


# On sockets.


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_it_is_read_on_each_loop(loop: str, header: bytes, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    log = tmp_path / "log"
    with serving(tells("REMOTE_ADDR", "REMOTE_PORT"), loop=loop, access_log=str(log), **settings) as server:
        with Peer(server.server_address) as peer:
            peer.send(header)
            for _ in range(2):
                assert peer.get("/x").content == b"192.0.2.9 4711."
        with Peer(server.server_address) as peer:
            peer.send(header + GET + GET)
            assert peer.answer().content == peer.answer().content == b"192.0.2.9 4711."
        with Peer(server.server_address) as peer:
            peer.send(GET)
            assert ended(peer)
    lines = log.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["192.0.2.9"] * 4


@pytest.mark.parametrize("loop", LOOPS)
def test_others_are_refused_on_each_loop(loop: str) -> None:
    settings: dict[str, Any] = {"trusted_proxies": ["192.0.2.1"], "proxy_protocol": True}
    with serving(answering(b"x"), loop=loop, **settings) as server, Peer(server.server_address) as peer:
        assert ended(peer)


def ended(peer: Peer) -> bool:
    try:
        return peer.rest() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("loop", LOOPS)
def test_a_unix_socket_is_a_proxys_if_it_is_said_so(loop: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    (tmp_path / "told.py").write_text(
        "from tests.wire_client import tells\napplication = tells('REMOTE_ADDR')\n"
    )
    with RunningServer(
        *("told:application", "--loop", loop, "--bind", f"unix:{path}"),
        *("--trusted-proxies", "unix", "--proxy-protocol"),
        cwd=tmp_path,
    ):
        with Peer(path) as peer:
            peer.send(V2)
            assert peer.get("/x").content == b"192.0.2.9."
        with Peer(path) as peer:
            peer.send(b"GET / HTTP/1.0" + os.linesep.encode() * 2)
            assert ended(peer)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_tls_comes_behind_it(loop: str, header: bytes, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    settings: dict[str, Any] = dict(authority.issue("server", "localhost").settings())
    settings |= {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    names = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme")
    with serving(tells(*names), loop=loop, **settings) as server:
        with Peer(server.server_address) as peer:
            peer.send(header)
            with authority.trusted().wrap_socket(peer.socket, server_hostname="localhost") as peer.socket:
                for _ in range(2):
                    assert peer.get("/x").content == b"192.0.2.9 4711 https."
        with Peer(server.server_address) as peer:
            peer.send(header + GET)  # without TLS
            assert peer.answer().status == 400
        with Peer(server.server_address) as peer, pytest.raises((ConnectionError, ssl.SSLError)):
            authority.trusted().wrap_socket(peer.socket, server_hostname="localhost")  # and without a header
