"""What an application and the access log learn behind a trusted proxy, and from everybody else."""

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aiowsgi.config import Config, Limits
from aiowsgi.server.connection import Connection
from aiowsgi.server.proxied import ProxiedConnection
from tests.authority import Authority
from tests.server import RunningServer
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import Applied, Gate, Server, echo, tells

PROXY, CLIENT, STRANGER = "10.0.0.1", "192.0.2.9", "198.51.100.1"
CONFIG = Config(trusted_proxies=("10.0.0.0/8",))
NAMES = (
    *("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME"),
    *("PATH_INFO", "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP"),
)  # fmt: skip
X_FORWARDED = (
    "X-Forwarded-For: 192.0.2.9:4712",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: site.test",
    "X-Forwarded-Port: 8443",
    "X-Forwarded-Prefix: /shop",
    "X-Real-IP: 192.0.2.9",
)
TOLD = b"192.0.2.9 4712 https site.test:8443 site.test 8443 /shop /x 192.0.2.9:4712 - 192.0.2.9."
FORWARDED = ('Forwarded: for="192.0.2.9:4712";proto=https;host="site.test:8443"',)


async def told(config: Config, peer: str, *requests: bytes) -> list[bytes]:
    """Return the contents of the answers to ``requests`` over one connection of ``peer``."""
    with Server(Applied(tells(*NAMES)), config=config) as server:
        client = server.connect(peer)
        answers = []
        for request in requests:
            client.send(request)
            answers.append((await client.receive(b".")).partition(b"\r\n\r\n")[2])
        return answers


async def test_a_trusted_proxy_is_believed() -> None:
    assert await told(CONFIG, PROXY, get("/x", *X_FORWARDED)) == [TOLD]
    assert await told(CONFIG, PROXY, get("/x", *FORWARDED)) == [
        b"192.0.2.9 4712 https site.test:8443 site.test 8443  /x - %b -." % FORWARDED[0][11:].encode()
    ]


async def test_one_connection_of_a_proxy_is_that_of_many_clients() -> None:
    clients = ["192.0.2.9", "2001:db8::9", "192.0.2.10"]
    requests = [get("/x", f"X-Forwarded-For: {client}") for client in clients] + [get("/x")]
    answers = await told(CONFIG, PROXY, *requests)
    assert [answer.split()[0].decode() for answer in answers] == [*clients, PROXY]
    answers = await told(CONFIG, PROXY, get("/x", *X_FORWARDED), get("/x"))
    assert answers[1] == b"10.0.0.1 4711 http a testserver 80  /x - - -."  # nothing is left of the first


@pytest.mark.parametrize(
    ("config", "peer"),
    [(Config(), PROXY), (Config(), ""), (CONFIG, STRANGER), (CONFIG, "::ffff:192.0.2.1"), (CONFIG, "")],
    ids=["nobody is trusted", "nor a Unix socket", "another is", "another is, of IPv4", "nor a Unix socket there"],
)  # fmt: skip
async def test_nobody_else_is(config: Config, peer: str) -> None:
    for fields in (X_FORWARDED, FORWARDED, X_FORWARDED + FORWARDED):
        address, port = (peer.removeprefix("::ffff:"), "4711") if peer else ("", "")
        nothing = f"{address} {port} http a testserver 80  /x - - -.".encode()
        assert await told(config, peer, get("/x", *fields), get("/x", *fields)) == [nothing] * 2
        with_content = get("/x", "Transfer-Encoding: chunked", *fields) + b"0\r\n\r\n"  # which is h11's
        assert await told(config, peer, with_content) == [nothing]


async def test_whoever_connects_to_a_unix_socket_may_be_trusted() -> None:
    assert await told(Config(trusted_proxies=("unix",)), "", get("/x", *X_FORWARDED)) == [TOLD]


async def test_a_field_that_the_proxies_do_not_set_is_dropped() -> None:
    config = Config(trusted_proxies=(PROXY,), forwarded_fields=("x-forwarded-for",))
    assert await told(config, PROXY, get("/x", *X_FORWARDED, *FORWARDED)) == [
        b"192.0.2.9 4712 http a testserver 80  /x 192.0.2.9:4712 - 192.0.2.9."
    ]
    config = Config(trusted_proxies=(PROXY,), forwarded_fields=("forwarded",))
    (answer,) = await told(config, PROXY, get("/x", *X_FORWARDED, *FORWARDED))
    assert answer.startswith(b"192.0.2.9 4712 https site.test:8443 site.test 8443  /x - for=")


async def test_what_is_malformed_leaves_the_proxy_as_the_client() -> None:
    fields = ("X-Forwarded-For: unknown", "X-Forwarded-Host: a b", "X-Forwarded-Prefix: //evil.test")
    assert await told(CONFIG, PROXY, get("/x", *fields)) == [b"10.0.0.1 4711 http a testserver 80  /x - - -."]


async def test_several_lines_are_one_list() -> None:
    lines = ("X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 10.0.0.2")
    (answer,) = await told(CONFIG, PROXY, get("/x", *lines))
    assert answer.startswith(b"192.0.2.9  http ")
    assert b" 192.0.2.9, 10.0.0.2 " in answer


async def test_it_costs_others_nothing() -> None:
    for config, kind in ((Config(), Connection), (CONFIG, ProxiedConnection)):
        with Server(Applied(echo), config=config) as server:
            assert type(server.connect(PROXY).connection) is kind


async def test_the_access_log_names_the_client() -> None:
    read, write = os.pipe()
    with open(read, "rb") as lines, Server(Applied(echo), config=CONFIG, log=write) as server:
        proxy = server.connect(PROXY)
        for request in (get("/1", f"X-Forwarded-For: {CLIENT}"), get("/2")):
            proxy.send(request)
            await proxy.receive(b".")
        proxy.send(get("/3", f"X-Forwarded-For: {CLIENT}"))
        await proxy.receive(b".")
        proxy.send(b"broken\r\n\r\n")  # nobody knows for whom it asks
        await proxy.closed()
        told = [(await asyncio.to_thread(lines.readline)).split()[0].decode() for _ in range(4)]
        os.close(write)
    assert told == [CLIENT, PROXY, CLIENT, PROXY]


async def test_a_client_that_leaves_is_logged_by_its_address() -> None:
    read, write = os.pipe()
    gate = Gate()
    with open(read, "rb") as lines, Server(Applied(gate), config=CONFIG, log=write) as server:
        proxy = server.connect(PROXY)
        proxy.send(get("/1", f"X-Forwarded-For: {CLIENT}"))
        proxy.lose()
        gate.open.set()
        line = await asyncio.to_thread(lines.readline)
        os.close(write)
    assert line.startswith(CLIENT.encode())
    assert b'" 499 ' in line


# On sockets, with mounts, files and a prefix.


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("parser", ["auto", "h11"])
def test_it_holds_on_each_loop_and_road(loop: str, parser: str) -> None:
    settings: dict[str, Any] = {"loop": loop, "parser": parser}
    with (
        serving(tells(*NAMES), trusted_proxies=["127.0.0.1"], **settings) as server,
        Peer(server.server_address) as peer,
    ):
        for _ in range(3):
            peer.send(get("/x", *X_FORWARDED))
            assert peer.answer().content == TOLD
    with (
        serving(tells(*NAMES), trusted_proxies=["127.0.0.2"], **settings) as server,
        Peer(server.server_address) as peer,
    ):
        for _ in range(3):
            peer.send(get("/x", *X_FORWARDED))
            assert peer.answer().content.startswith(b"127.0.0.1 ")


def test_the_prefix_stands_before_that_of_a_mount_and_in_redirects(tmp_path: Path) -> None:
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "sub" / "index.html").write_text("<p>sub")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "told.py").write_text(
        "from tests.wire_client import tells\napplication = tells('SCRIPT_NAME', 'PATH_INFO')\n"
    )
    mounts: dict[str, Any] = {
        "static": [f"/files={tmp_path / 'files'}"],
        "scripts": [f"/scripts={tmp_path / 'scripts'}"],
    }
    prefixed = "X-Forwarded-Prefix: /sh%6fp/"
    ask: Callable[[str], bytes] = lambda path: get(path, prefixed)  # noqa: E731
    with (
        serving(tells("SCRIPT_NAME", "PATH_INFO"), trusted_proxies=["127.0.0.1"], **mounts) as server,
        Peer(server.server_address) as peer,
    ):
        for _ in range(2):  # the second time the script is known
            peer.send(ask("/scripts/told.py/more"))
            assert peer.answer().content == b"/shop/scripts/told.py /more."
        peer.send(ask("/a"))
        assert peer.answer().content == b"/shop /a."
        peer.send(ask("/files/sub?q"))
        assert peer.answer().fields["location"] == "/sh%6fp/files/sub/?q"
        peer.send(get("/files/sub", "X-Forwarded-Prefix: //evil.test"))
        assert peer.answer().fields["location"] == "/files/sub/"
    with serving(tells("SCRIPT_NAME"), **mounts) as server, Peer(server.server_address) as peer:
        peer.send(ask("/files/sub"))
        assert peer.answer().fields["location"] == "/files/sub/"


# With other settings.


@pytest.mark.parametrize("loop", LOOPS)
def test_a_proxy_may_have_as_many_connections_as_it_likes(loop: str) -> None:
    settings: dict[str, Any] = {
        "loop": loop,
        "max_connections_per_client": 2,
        "trusted_proxies": ["127.0.0.1"],
    }
    with serving(echo, **settings) as server, ExitStack() as stack:
        for _ in range(5):
            assert stack.enter_context(Peer(server.server_address)).get("/x").status == 200
        for _ in range(2):
            other = stack.enter_context(Peer(server.server_address, source="127.0.0.2"))
            assert other.get("/x").status == 200
        with Peer(server.server_address, source="127.0.0.2") as refused, pytest.raises(ConnectionError):
            refused.get("/x")


async def test_the_bound_of_requests_holds_for_proxies_too() -> None:
    with Server(Applied(echo), config=CONFIG, limits=Limits(requests=2)) as server:
        for peer in (PROXY, STRANGER):
            client = server.connect(peer)
            client.send(get("/1") + get("/2") + get("/3"))
            answers = await client.closed()
            assert answers.count(b"HTTP/1.1 200 ") == 2
            assert answers.count(b"Connection: close") == 1


def test_who_came_to_the_proxy_by_https_is_not_led_there_again(tmp_path: Path) -> None:
    pair = Authority(tmp_path / "authority").issue("server", "localhost")
    command = [
        *("tests.wire_client:echo", "--bind", "127.0.0.1:0", "--bind", "tls:127.0.0.1:0", "--redirect-https"),
        *("--hsts", "60", "--certificate", str(pair.certificate), "--key", str(pair.key)),
        *("--trusted-proxies", "127.0.0.1"),
    ]
    with RunningServer(*command) as server, Peer(("127.0.0.1", server.port)) as peer:
        peer.send(get("/x", "X-Forwarded-Proto: https"))
        answer = peer.answer()
        assert (answer.status, answer.fields["strict-transport-security"]) == (200, "max-age=60")
        peer.send(get("/x?y", "X-Forwarded-Proto: http", "X-Forwarded-Prefix: /shop"))
        answer = peer.answer()
        assert answer.status == 301
        assert answer.fields["location"].startswith("https://a")
        assert answer.fields["location"].endswith("/shop/x?y")
