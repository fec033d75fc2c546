"""How many connections a client may have."""

import asyncio
from contextlib import ExitStack

import pytest

from aiowsgi.server.clients import STALE, Clients
from tests.thread_server import LOOPS, Peer, serving
from tests.wire_client import Server, echo, tells


class Transport(asyncio.Transport):
    """A transport of a client at ``address`` that does nothing."""

    def __init__(self, address: str | None) -> None:
        super().__init__({"peername": "" if address is None else (address, 4711)})
        self.protocol: asyncio.Protocol | None = asyncio.Protocol()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol  # type: ignore[return-value]


@pytest.mark.parametrize("loop", LOOPS)
def test_more_than_a_client_may_have_are_cut_and_others_are_not(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving(echo, loop=loop, max_connections_per_client=2) as server,
        ExitStack() as stack,
    ):
        address = server.server_address
        peers = [stack.enter_context(Peer(address)) for _ in range(2)]
        for peer in peers:
            assert peer.get("/").status == 200
        for _ in range(3):
            with Peer(address) as refused, pytest.raises(ConnectionError):
                refused.get("/")
        with Peer(address, source="127.0.0.2") as peer:
            assert peer.get("/").status == 200
        peers[0].send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert peers[0].answer().status == 200
        assert peers[0].rest() == b""
        with Peer(address) as peer:
            assert peer.get("/").status == 200
        assert peers[1].get("/").status == 200
    assert caplog.messages[0] == "127.0.0.1 has 2 connections, and no more are accepted from there"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%lo", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
async def test_a_client_is_an_address_or_a_network_of_64_bits(one: str, other: str, same: bool) -> None:
    with Server() as server:
        clients = Clients(server.shared, 1)
        assert clients.admit(Transport(one))
        assert clients.admit(Transport(other)) != same


async def test_proxies_and_unix_sockets_have_no_bound() -> None:
    with Server() as server:
        clients = Clients(server.shared, 1, lambda address: address == "192.0.2.1")
        for _ in range(3):
            assert clients.admit(Transport("192.0.2.1"))
            assert clients.admit(Transport(None))


@pytest.mark.parametrize("loop", LOOPS)
def test_who_a_proxy_says_it_speaks_for_is_counted_and_the_proxy_is_not(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving(
            tells("REMOTE_ADDR"),
            loop=loop,
            max_connections_per_client=2,
            trusted_proxies=["127.0.0.1"],
            proxy_protocol=True,
        ) as server,
        ExitStack() as stack,
    ):

        def connected(header: str) -> Peer:
            peer = stack.enter_context(Peer(server.server_address))
            peer.send(f"PROXY {header}\r\n".encode())
            return peer

        one, other = "TCP4 192.0.2.1 10.0.0.1 4711 80", "TCP4 192.0.2.2 10.0.0.1 4711 80"
        peers = [connected(header) for header in (one, one, other, other, *["UNKNOWN"] * 3)]
        for peer in peers:
            assert peer.get("/").status == 200
        for _ in range(2):
            with pytest.raises(ConnectionError):
                connected(one).get("/")
        peers[0].send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert peers[0].answer().status == 200
        assert peers[0].rest() == b""
        assert connected(one).get("/").content == b"192.0.2.1."
        for peer in peers[1:]:
            assert peer.get("/").status == 200
    assert caplog.messages[0] == "192.0.2.1 has 2 connections, and no more are accepted from there"


async def test_who_has_left_is_forgotten_whoever_comes_next() -> None:
    with Server() as server:
        clients = Clients(server.shared, 5)
        for number in range(3 * STALE):
            transport = Transport(f"192.0.{number // 200}.{number % 200}")
            assert clients.admit(transport)
            transport.protocol = None
        assert len(clients._transports) <= STALE + 1


async def test_a_flood_is_told_of_once_in_a_sweep(caplog: pytest.LogCaptureFixture) -> None:
    with Server() as server:
        clients = Clients(server.shared, 1)
        transport = Transport("192.0.2.1")
        assert clients.admit(transport)
        for _ in range(2):
            server.pass_time(1)
            for _ in range(100):
                assert not clients.admit(Transport("192.0.2.1"))
        assert len(caplog.messages) == 2
