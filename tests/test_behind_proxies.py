"""Real proxies in front: what the application learns, whether connections live, and uploads.

Those of nginx are skipped where there is no nginx, and those of HAProxy where there is no HAProxy.
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from time import monotonic
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.fronts import CLIENT, FRONTS, Connect, needing
from tests.haproxy import HAPROXY, running_haproxy
from tests.server import ROOT
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, answering, echo, tells

Front = Callable[[Path, int, int], AbstractContextManager[Connect]]
SECONDS = 20
SPOOFS = (
    "X-Forwarded-For: 192.0.2.66",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.test",
    "X-Forwarded-Port: 666",
    "X-Forwarded-Prefix: /evil",
    "Forwarded: for=192.0.2.66;proto=https;host=evil.test",
)


def digest(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the SHA-256 of the content."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()]


CONTENT = bytes(range(256)) * 4 * 1024 * 5  # 5 MiB: more than either keeps in memory
DIGEST = hashlib.sha256(CONTENT).hexdigest().encode()


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("loop", LOOPS)
def test_the_client_is_told_and_cannot_tell(front: Front, loop: str, tmp_path: Path) -> None:
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SCRIPT_NAME", "PATH_INFO")
    with (
        serving(tells(*names), loop=loop, trusted_proxies=["127.0.0.1"]) as server,
        front(tmp_path, server.server_port, SECONDS) as connect,
        connect() as peer,
    ):
        for fields in ((), SPOOFS):
            peer.send(get("/x", *fields))
            answer = peer.answer()
            assert answer.content == f"{CLIENT} http a a  /x.".encode()


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("loop", LOOPS)
def test_the_connection_to_the_server_lives(front: Front, loop: str, tmp_path: Path) -> None:
    # Not trusted, the proxy is the client, and its port that of its connection.
    with (
        serving(tells("REMOTE_PORT"), loop=loop) as server,
        front(tmp_path, server.server_port, SECONDS) as connect,
        connect() as peer,
    ):
        assert len({peer.get("/x").content for _ in range(20)}) == 1


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("loop", LOOPS)
def test_an_upload_arrives_as_it_was_sent(front: Front, loop: str, tmp_path: Path) -> None:
    with (
        serving(digest, loop=loop, trusted_proxies=["127.0.0.1"]) as server,
        front(tmp_path, server.server_port, SECONDS) as connect,
        connect() as peer,
    ):
        for _ in range(2):
            peer.send(
                b"POST /counted HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT
            )
            assert peer.answer().content == DIGEST
            chunks = b"".join(
                b"10000\r\n" + CONTENT[start : start + 0x10000] + b"\r\n"
                for start in range(0, len(CONTENT), 0x10000)
            )
            peer.send(
                b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                + chunks
                + b"0\r\n\r\n"
            )
            assert peer.answer().content == DIGEST


@pytest.mark.parametrize("front", FRONTS)
def test_an_answer_arrives_as_it_was_sent(front: Front, tmp_path: Path) -> None:
    for name, body in (("whole", CONTENT), ("stream", [CONTENT[:1000], CONTENT[1000:]])):
        folder = tmp_path / name
        folder.mkdir()
        with (
            serving(answering(body), trusted_proxies=["127.0.0.1"]) as server,
            front(folder, server.server_port, SECONDS) as connect,
            connect() as peer,
        ):
            assert peer.get("/x").content == CONTENT


@pytest.mark.parametrize("front", FRONTS)
def test_a_target_that_names_another_host_names_the_same_one_to_both(front: Front, tmp_path: Path) -> None:
    with (
        serving(tells("HTTP_HOST", "SERVER_NAME"), trusted_proxies=["127.0.0.1"]) as server,
        front(tmp_path, server.server_port, SECONDS) as connect,
        connect() as peer,
    ):
        peer.send(b"GET http://site.test/x HTTP/1.1\r\nHost: evil.test\r\n\r\n")
        answer = peer.answer()
        assert answer.status == 400 or answer.content == b"site.test site.test."


@needing("haproxy", HAPROXY)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("mode", "option"),
    [
        ("tcp", "send-proxy"),
        ("tcp", "send-proxy-v2"),
        ("http", "send-proxy-v2"),
        ("tcp", "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    ],
)
def test_the_proxy_protocol(mode: str, option: str, loop: str, tmp_path: Path) -> None:
    with (
        serving(
            tells("REMOTE_ADDR", "REMOTE_PORT"),
            loop=loop,
            trusted_proxies=["127.0.0.1"],
            proxy_protocol=True,
        ) as server,
        running_haproxy(
            tmp_path,
            f"127.0.0.1:{server.server_port} {option}",
            front=f"mode {mode}\n    unique-id-format %ci:%cp",
            back=f"mode {mode}",
        ) as front,
    ):
        for _ in range(2):
            with Peer(front, source=CLIENT) as peer:
                port = peer.socket.getsockname()[1]
                for _ in range(3):
                    assert peer.get("/x").content == f"{CLIENT} {port}.".encode()


@needing("haproxy", HAPROXY)
def test_an_upload_by_the_proxy_protocol(tmp_path: Path) -> None:
    with (
        serving(digest, trusted_proxies=["127.0.0.1"], proxy_protocol=True) as server,
        running_haproxy(
            tmp_path, f"127.0.0.1:{server.server_port} send-proxy-v2", front="mode tcp", back="mode tcp"
        ) as front,
        Peer(front, source=CLIENT) as peer,
    ):
        peer.send(b"POST /counted HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(CONTENT) + CONTENT)
        assert peer.answer().content == DIGEST


@needing("haproxy", HAPROXY)
def test_haproxys_own_check_by_the_proxy_protocol_is_answered(tmp_path: Path) -> None:
    """It is LOCAL: the proxy asks for itself."""
    with (
        serving(
            echo, trusted_proxies=["127.0.0.1"], proxy_protocol=True, access_log=str(tmp_path / "log")
        ) as s,
        running_haproxy(
            tmp_path,
            f"127.0.0.1:{s.server_port} send-proxy-v2 check inter 100ms",
            back="mode http\n    option httpchk GET /check\n    http-check expect status 200",
        ) as front,
    ):
        end = monotonic() + WAIT
        while "/check" not in (tmp_path / "log").read_text() and monotonic() < end:
            with Peer(front, source=CLIENT) as peer:
                assert peer.get("/x").status == 200
    checks = [line for line in (tmp_path / "log").read_text().splitlines() if "/check" in line]
    assert checks[0].startswith("127.0.0.1 ")


def test_the_documented_settings_are_those_that_are_tested() -> None:
    page = (ROOT / "docs" / "proxies.md").read_text("utf-8")
    fronts = (ROOT / "tests" / "fronts.py").read_text("utf-8")
    for line in page.splitlines():
        if line.strip().startswith(("proxy_set_header", "proxy_http_version", "http-request")):
            assert line.strip() in fronts
