"""HTTP on the sockets of a running server, as httpx, curl and a client that sees every byte take it."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx
import pytest

from tests.authority import Authority
from tests.server import PATIENCE, RunningServer
from tests.test_listeners import needs_ipv6
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, answering, echo

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")

POST = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"


class Stream:
    """An application that gives its next piece when it is asked to by another request, and a last one at its end."""

    def __init__(self) -> None:
        self.next = Event()
        self.closed = Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/next":
            self.next.set()
            return echo(environ, start_response)
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/endless":
            return self.pieces(1 << 60)
        return self.pieces(3)

    def pieces(self, count: int) -> Iterator[bytes]:
        try:
            yield b"first"
            for number in range(count):
                if count < 10:
                    assert self.next.wait(WAIT)
                    self.next.clear()
                yield b"piece %d" % number
            yield b""
        finally:
            self.closed.set()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Echo; or give pieces whose number nobody knows before."""
    if environ["PATH_INFO"] != "/streamed":
        return echo(environ, start_response)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return iter([b"a", b"", b"bc", b"d" * 1000])


@contextmanager
def connected(loop: str) -> Iterator[Peer]:
    with serving(application, loop=loop) as server, Peer(server.server_address) as peer:
        yield peer


@pytest.fixture(params=LOOPS)
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """A client connected to ``application``, on each loop."""
    with connected(request.param) as peer:
        yield peer


# The life of a connection.


def test_one_connection_serves_many_requests(peer: Peer) -> None:
    for number in range(3):
        answer = peer.get(f"/{number}")
        assert answer.content == f"GET /{number} .".encode()
        assert "connection" not in answer.fields


def test_pipelined_requests_are_answered_in_order(peer: Peer) -> None:
    for _ in range(2):
        peer.send(
            get("/1")
            + POST % (b"2", 3, b"abc")
            + b"HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n"
            + OPTIONS
            + get("/streamed")
            + b"POST /6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            + get("/7")
        )
        assert peer.answer().content == b"GET /1 ."
        assert peer.answer().content == b"POST /2 abc."
        assert peer.answer("HEAD").fields["content-length"] == "9"
        assert "allow" in peer.answer().fields
        assert peer.answer().content == b"abc" + b"d" * 1000
        assert peer.answer().content == b"POST /6 abc."
        assert peer.answer().content == b"GET /7 ."


@pytest.mark.parametrize("request_", [OPTIONS, get("/")], ids=["ready", "by a thread"])
def test_a_client_that_sends_no_more_gets_every_answer(peer: Peer, request_: bytes) -> None:
    peer.send(request_ * 200)
    peer.send_eof()
    assert peer.rest().count(b"HTTP/1.1 200 OK\r\n") == 200


@pytest.mark.parametrize(
    "option", ["close", "Close", "x, close", "keep-alive,close", ",, close ,", "x," * 31 + "close"]
)
def test_a_client_that_wants_to_close_has_its_answer_and_the_end(peer: Peer, option: str) -> None:
    peer.send(get("/last", f"Connection: {option}") + get("/never"))
    answer = peer.answer()
    assert answer.content == b"GET /last ."
    assert answer.fields["connection"] == "close"
    assert peer.rest() == b""


def test_an_http_1_0_client_reads_until_the_end(peer: Peer) -> None:
    peer.send(b"GET /streamed HTTP/1.0\r\n\r\n")
    head, _, content = peer.rest().partition(b"\r\n\r\n")
    assert content == b"abc" + b"d" * 1000
    assert b"Transfer-Encoding" not in head
    assert b"\r\nConnection: close" in head


def test_an_http_1_0_client_may_keep_the_connection(peer: Peer) -> None:
    keep_alive = b"POST /kept HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"
    for _ in range(2):
        peer.send(keep_alive)
        answer = peer.answer()
        assert answer.content == b"POST /kept abc."
        assert answer.fields["connection"] == "keep-alive"
    peer.send(b"GET /last HTTP/1.0\r\n\r\n")
    assert peer.answer().fields["connection"] == "close"
    assert peer.rest() == b""


# Heads and contents.


def test_every_answer_has_one_date_and_one_server(peer: Peer) -> None:
    for request in (get("/"), get("/streamed"), OPTIONS, b"bad\r\n\r\n"):
        peer.send(request)
        fields = peer.answer().fields  # which holds each to have come once
        assert fields["server"] == "aiowsgi"
        assert fields["date"].endswith(" GMT")
        assert parsedate_to_datetime(fields["date"])


def test_head_has_the_fields_of_get_and_no_content(peer: Peer) -> None:
    for path in ("/x", "/streamed"):
        peer.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = peer.answer("HEAD").fields
        fields = peer.get(path).fields
        del fields["date"], head["date"]
        fields.pop("transfer-encoding", None)  # RFC 9110 section 9.3.2: may be left out
        if "content-length" in head:
            head["content-length"] = str(int(head["content-length"]) - 1)  # echo names the method
        assert head == fields


def test_a_streamed_answer_is_chunked_piece_by_piece(peer: Peer) -> None:
    peer.send(get("/streamed"))
    assert b"\r\nTransfer-Encoding: chunked\r\n" in peer.until(b"\r\n\r\n")
    assert peer.until(b"0\r\n\r\n") == b"1\r\na\r\n2\r\nbc\r\n3e8\r\n" + b"d" * 1000 + b"\r\n0\r\n\r\n"


def test_a_client_that_waits_is_told_to_go_on(peer: Peer) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    for _ in range(2):
        peer.send(head)
        assert peer.answer().head == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"abc")
        assert peer.answer().content == b"POST /x abc."
    # Not to one that does not wait.
    peer.send(head + b"abc")
    assert peer.answer().content == b"POST /x abc."


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
def test_content_of_any_size_arrives_as_it_was_sent(peer: Peer, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    peer.send(POST % (b"counted", size, content))
    assert peer.answer().content == b"POST /counted %b." % content
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(chunk), chunk)
        for chunk in (content[start : start + 10_000] for start in range(0, size, 10_000))
    )
    peer.send(b"POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks)
    assert peer.answer().content == b"POST /chunked %b." % content


# Streams.


@pytest.mark.parametrize("loop", LOOPS)
def test_each_piece_is_on_the_wire_before_the_next_is_made(loop: str) -> None:
    stream = Stream()
    with (
        serving(stream, loop=loop) as server,
        Peer(server.server_address) as peer,
        Peer(server.server_address) as other,
    ):
        peer.send(get("/"))
        assert peer.until(b"first\r\n").endswith(b"\r\n\r\n5\r\nfirst\r\n")
        for number in range(3):
            assert other.get("/next").status == 200
            piece = b"piece %d" % number
            assert peer.until(piece + b"\r\n") == b"7\r\n%b\r\n" % piece
        assert peer.until(b"\r\n\r\n") == b"0\r\n\r\n"
        assert stream.closed.is_set()
        assert peer.get("/next").status == 200


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("end", ["close", "reset"])
def test_the_iterable_of_a_client_that_leaves_is_closed(loop: str, end: str) -> None:
    stream = Stream()
    with serving(stream, loop=loop) as server:
        with Peer(server.server_address) as peer:
            peer.send(get("/endless"))
            peer.until(b"piece 100\r\n")
            assert not stream.closed.is_set()
            if end == "reset":
                peer.reset()
        assert stream.closed.wait(WAIT)


@pytest.mark.parametrize("loop", LOOPS)
def test_httpx_reads_a_stream_as_it_comes(loop: str) -> None:
    stream = Stream()
    with serving(stream, loop=loop) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        with httpx.Client(base_url=url) as client, client.stream("GET", "/") as response:
            pieces = response.iter_raw()
            assert next(pieces) == b"first"
            for number in range(3):
                client.get("/next")
                assert next(pieces) == b"piece %d" % number
            assert list(pieces) == []


# Other people's clients.


@pytest.mark.parametrize("loop", LOOPS)
def test_httpx_is_served(loop: str) -> None:
    with (
        serving(application, loop=loop) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}") as client,
    ):
        assert client.get("/%41?q=1").text == "GET /A ."
        assert client.head("/x").headers["content-length"] == "9"
        assert client.post("/x", content=b"counted").text == "POST /x counted."
        assert client.put("/x", content=iter([b"chun", b"ked"])).text == "PUT /x chunked."
        assert client.get("/streamed").text == "abc" + "d" * 1000
        assert client.options("/x").text == "OPTIONS /x ."


def curl(*arguments: str, content: bytes = b"") -> str:
    """Return what curl shows, answer and what it has to say."""
    done = subprocess.run(
        ["curl", "-sS", "--globoff", "--max-time", f"{PATIENCE}", *arguments],
        input=content,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    shown = done.stdout.decode("latin-1")
    assert done.returncode == 0, shown
    return shown


@needs_curl
@pytest.mark.parametrize("loop", LOOPS)
def test_curl_is_served(loop: str, tmp_path: Path) -> None:
    with serving(application, loop=loop) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        assert curl(f"{url}/x") == "GET /x ."
        # Over one connection, as curl says.
        shown = curl("-v", f"{url}/1", f"{url}/2", f"{url}/streamed")
        assert len(re.findall("Re-using existing connection", shown)) == 2
        assert "abcddd" in shown
        assert curl("-I", f"{url}/x").startswith("HTTP/1.1 200 OK\r\n")
        assert curl("--http1.0", f"{url}/streamed").startswith("abcddd")
        assert "\r\nAllow: GET, " in curl("-i", "-X", "OPTIONS", "--request-target", "*", url)
        # Through a proxy, as which the server is taken: an absolute-form target.
        assert curl("-x", url, "http://elsewhere.example/x") == "GET /x ."
        assert curl("-T", "-", f"{url}/chunked", content=b"as it comes") == "PUT /chunked as it comes."
        form = curl("-F", f"file=@{__file__};type=text/plain", "-F", "name=\u00e4", f"{url}/form")
        assert Path(__file__).read_bytes().decode("latin-1") in form


@needs_curl
@pytest.mark.parametrize("loop", LOOPS)
def test_curl_waits_with_a_big_body_until_it_is_told_to_go_on(loop: str, tmp_path: Path) -> None:
    content = "0123456789" * 500_000
    (tmp_path / "big").write_text(content)
    answer = tmp_path / "answer"
    upload = ["-v", "-o", str(answer), "-H", "Expect: 100-continue", "--data-binary", f"@{tmp_path / 'big'}"]
    with serving(application, loop=loop) as server:
        shown = curl(*upload, f"http://127.0.0.1:{server.server_port}/big")
        assert "< HTTP/1.1 100 Continue" in shown
        assert answer.read_text() == f"POST /big {content}."
    with serving(application, loop=loop, max_body=len(content) - 1) as server:
        shown = curl(*upload, f"http://127.0.0.1:{server.server_port}/big")
        assert "< HTTP/1.1 413 " in shown
        assert "100 Continue" not in shown


# Where it listens.

ADDRESSES = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR", "wsgi.url_scheme")
    return [" ".join(environ[name] or "-" for name in names).encode()]
"""


@needs_ipv6
@pytest.mark.parametrize("loop", LOOPS)
def test_several_addresses_at_once(loop: str, tmp_path: Path) -> None:
    (tmp_path / "addresses.py").write_text(ADDRESSES)
    path = tmp_path / "socket"
    binds = ["--bind", "127.0.0.1:0", "--bind", "[::1]:0", "--bind", f"unix:{path}"]
    with RunningServer("addresses:application", "--loop", loop, *binds, cwd=tmp_path) as server:
        assert httpx.get(server.url).text == f"127.0.0.1 {server.port} 127.0.0.1 http"
        url, port = server.until(r"^listening on (http://\[::1\]:([0-9]+))$").groups()
        assert httpx.get(url).text == f"::1 {port} ::1 http"
        server.until(rf"^listening on unix:{path}$")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            for _ in range(2):
                assert client.get("http://anybody/").text == "localhost 80 - http"
    assert not path.exists()


@needs_curl
@pytest.mark.parametrize("loop", LOOPS)
def test_curl_on_a_unix_socket(loop: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with RunningServer("tests.wire_client:echo", "--loop", loop, "--bind", f"unix:{path}") as server:
        assert server.url == f"unix:{path}"
        assert curl("--unix-socket", path, "http://anybody/x", "--data-binary", "abc") == "POST /x abc."
        with Peer(path) as peer:
            peer.send(get("/1") + get("/2"))
            assert peer.answer().content == b"GET /1 ."
            assert peer.answer().content == b"GET /2 ."


def test_nothing_is_written_to_a_client_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio's transport says so each time, and a stream has thousands of pieces."""
    gone = Event()

    def stream(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"first"
        gone.wait(WAIT)
        while True:
            yield b"more"

    with serving(stream, loop="asyncio") as server:
        with Peer(server.server_address) as peer:
            peer.send(get("/"))
            peer.until(b"first")
            peer.reset()
            gone.set()
        with Peer(server.server_address) as peer:
            peer.send(get("/"))
            peer.until(b"first")
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_large_last_answer_ends_the_connection_without_a_word(
    loop: str, tls: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """asyncio's transport closes twice where it is closed while it tells of room again."""
    size = 8_000_000
    authority = Authority(tmp_path / "authority")
    settings: dict[str, Any] = dict(authority.issue("server", "localhost").settings()) if tls else {}
    with serving(answering(b"x" * size), loop=loop, **settings) as server:
        for _ in range(3):
            with Peer(server.server_address, receive_buffer=20_000) as peer:
                if tls:
                    peer.socket = authority.trusted().wrap_socket(peer.socket, server_hostname="localhost")
                peer.send(get("/", "Connection: close"))
                assert len(peer.rest()) > size
    assert caplog.messages == []
