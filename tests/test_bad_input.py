"""Bad input on the sockets of a running server, line by line, and what an application sees of it."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import httpx
import pytest

from tests.server import PATIENCE, ROOT
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, Gate, echo

MOST_CONTENT = 100_000  # bytes, in a request to ``site``
NEVER = get("/never")  # stands behind what ends a connection


class Site:
    """An application that notes who called it, and does what the path says."""

    def __init__(self) -> None:
        self.seen: list[WSGIEnvironment] = []
        self.address = ("", 0)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.seen.append(environ)
        name = environ["PATH_INFO"].strip("/")
        return PAGES.get(name, echo)(environ, start_response)

    def connect(self) -> Peer:
        return Peer(self.address)


@contextmanager
def site_on(**settings: Any) -> Iterator[Site]:
    site = Site()
    with serving(site, max_body=MOST_CONTENT, **settings) as server:
        site.address = server.server_address
        yield site


@pytest.fixture(
    scope="module", params=[("uvloop", "auto"), ("asyncio", "auto"), ("uvloop", "h11")], ids="-".join
)
def _parsing_site(request: pytest.FixtureRequest) -> Iterator[Site]:
    loop, parser = request.param
    with site_on(loop=loop, parser=parser) as site:
        yield site


@pytest.fixture
def parsing_site(_parsing_site: Site) -> Site:
    """A site on each loop, and with h11 alone."""
    _parsing_site.seen.clear()
    return _parsing_site


@pytest.fixture(scope="module", params=LOOPS)
def _site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with site_on(loop=request.param) as site:
        yield site


@pytest.fixture
def site(_site: Site) -> Site:
    """A site on each loop."""
    _site.seen.clear()
    return _site


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")


def post(*lines: str, path: str = "/bad") -> bytes:
    return head(f"POST {path} HTTP/1.1", "Host: a", *lines)


def chunked(content: bytes) -> bytes:
    return post("Transfer-Encoding: chunked") + content


# Bad input that is refused before an application could see it.

REFUSED: dict[str, tuple[int, bytes]] = {
    # Not HTTP; a bad method, target, version, field name or value; bare LF, folding, space before the colon.
    "TLS": (400, bytes.fromhex("16030100c6010000c20303")),
    "another protocol": (400, b"EHLO me.example\r\n"),
    "a line of its own": (400, b"\r\n\r\n\r\n"),
    "the preface of HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "method: no token": (400, head("G@T /bad HTTP/1.1", "Host: a")),
    "method: empty": (400, head(" /bad HTTP/1.1", "Host: a")),
    "method: CONNECT": (501, head("CONNECT a:443 HTTP/1.1", "Host: a:443")),
    "target: no slash": (400, head("GET bad HTTP/1.1", "Host: a")),
    "target: missing": (400, head("GET HTTP/1.1", "Host: a")),
    "target: two": (400, head("GET /bad /bad HTTP/1.1", "Host: a")),
    "target: tab": (400, head("GET /bad\tbad HTTP/1.1", "Host: a")),
    "target: control": (400, head("GET /bad\x00 HTTP/1.1", "Host: a")),
    "target: beyond ASCII": (400, head("GET /b\xe4d HTTP/1.1", "Host: a")),
    "target: broken percent-encoding": (400, head("GET /bad%2 HTTP/1.1", "Host: a")),
    "target: asterisk": (400, head("GET * HTTP/1.1", "Host: a")),
    "target: another scheme": (400, head("GET ftp://a/bad HTTP/1.1", "Host: a")),
    "target: userinfo": (400, head("GET http://me@a/bad HTTP/1.1", "Host: a")),
    "version: missing": (400, head("GET /bad", "Host: a")),
    "version: lower case": (400, head("GET /bad http/1.1", "Host: a")),
    "version: no number": (400, head("GET /bad HTTP/1.x", "Host: a")),
    "version: two digits": (400, head("GET /bad HTTP/1.10", "Host: a")),
    "version: 0.9": (505, head("GET /bad HTTP/0.9", "Host: a")),
    "version: 2.0": (505, head("GET /bad HTTP/2.0", "Host: a")),
    "Connection: too many options": (400, get("/bad", "Connection: " + "x," * 32 + "close")),
    "field name: empty": (400, get("/bad", ": x")),
    "field name: space": (400, get("/bad", "X Y: z")),
    "field name: no token": (400, get("/bad", "X(Y): z")),
    "field name: beyond ASCII": (400, get("/bad", "X\xe4: z")),
    "field name: space before the colon": (400, get("/bad", "X : y")),
    "field name: tab before the colon": (400, get("/bad", "X\t: y")),
    "field without a colon": (400, get("/bad", "X")),
    "field value: NUL": (400, get("/bad", "X: a\x00b")),
    "field value: control": (400, get("/bad", "X: a\x1bb")),
    "field value: DEL": (400, get("/bad", "X: a\x7fb")),
    "field value: bare CR": (400, get("/bad", "X: a\rTransfer-Encoding: chunked")),
    "bare LF behind the request line": (400, b"GET /bad HTTP/1.1\nHost: a\r\n\r\n"),
    "bare LF behind a field": (400, b"GET /bad HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    "bare LF everywhere": (400, b"GET /bad HTTP/1.1\nHost: a\n\n"),
    "folding": (400, get("/bad", "X: a", " b")),
    "folding by a tab": (400, get("/bad", "X: a", "\tTransfer-Encoding: chunked")),
    "folding before the first field": (400, b"GET /bad HTTP/1.1\r\n Host: a\r\n\r\n"),
    # Host.
    "no Host": (400, head("GET /bad HTTP/1.1")),
    "no Host, in a version to come": (400, head("GET /bad HTTP/1.2")),
    "two Hosts": (400, get("/bad", "Host: b")),
    "the same Host twice": (400, get("/bad", "Host: a")),
    "two Hosts in 1.0": (400, head("GET /bad HTTP/1.0", "Host: a", "Host: b")),
    "Host: empty": (400, head("GET /bad HTTP/1.1", "Host: ")),
    "Host: a URI": (400, head("GET /bad HTTP/1.1", "Host: http://a/")),
    "Host: a path": (400, head("GET /bad HTTP/1.1", "Host: a/b")),
    "Host: a list": (400, head("GET /bad HTTP/1.1", "Host: a, b")),
    "Host: userinfo": (400, head("GET /bad HTTP/1.1", "Host: me@a")),
    "Host: no port": (400, head("GET /bad HTTP/1.1", "Host: a:b")),
    "Host: port out of range": (400, head("GET /bad HTTP/1.1", "Host: a:65536")),
    "Host: broken brackets": (400, head("GET /bad HTTP/1.1", "Host: [::1")),
    # Where the content ends.
    "two Content-Lengths": (400, post("Content-Length: 3", "Content-Length: 4") + b"abcd"),
    "the same Content-Length twice": (400, post("Content-Length: 3", "Content-Length: 3") + b"abc"),
    "a list of Content-Lengths": (400, post("Content-Length: 3, 3") + b"abc"),
    "Content-Length with Transfer-Encoding": (
        400,
        post("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ),
    "Transfer-Encoding with Content-Length": (
        400,
        post("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
    ),
    "Transfer-Encoding in 1.0": (
        400,
        head("POST /bad HTTP/1.0", "Host: a", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ),
    "another coding": (501, post("Transfer-Encoding: gzip") + b"abc"),
    "another coding before chunked": (501, post("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    "another coding behind chunked": (501, post("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n"),
    "chunked twice": (501, post("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n"),
    "chunked in two fields": (
        501,
        post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ),
    "chunked, nearly": (501, post("Transfer-Encoding: xchunked") + b"0\r\n\r\n"),
    "Content-Length: plus": (400, post("Content-Length: +3") + b"abc"),
    "Content-Length: minus": (400, post("Content-Length: -3") + b"abc"),
    "Content-Length: hex": (400, post("Content-Length: 0x3") + b"abc"),
    "Content-Length: hex digits": (400, post("Content-Length: a") + b"0123456789"),
    "Content-Length: space": (400, post("Content-Length: 3 3") + b"abc"),
    "Content-Length: underscore": (400, post("Content-Length: 1_0") + b"0123456789"),
    "Content-Length: digits beyond ASCII": (400, post("Content-Length: \xb3") + b"abc"),
    "Content-Length: empty": (400, post("Content-Length:") + b"abc"),
    "Content-Length: endless": (400, post("Content-Length: " + "9" * 30) + b"abc"),
    # Limits.
    "request line over 8 KiB": (414, get("/" + "x" * 8192)),
    "request line without an end": (414, b"GET /" + b"x" * 8192),
    "head over 64 KiB": (431, get("/bad", *(f"X-{number}: {'y' * 1000}" for number in range(66)))),
    "head without an end": (431, b"GET /bad HTTP/1.1\r\nX: " + b"y" * 65536),
    "101 fields": (431, get("/bad", *(f"X-{number}: y" for number in range(100)))),
    "content over the limit": (413, post(f"Content-Length: {MOST_CONTENT + 1}")),
    "content over the limit, and a wait": (
        413,
        post(f"Content-Length: {MOST_CONTENT + 1}", "Expect: 100-continue"),
    ),
    "chunks over the limit": (413, chunked((b"4000\r\n" + bytes(0x4000) + b"\r\n") * 7 + b"0\r\n\r\n")),
    "an expectation that nobody meets": (417, post("Expect: 200-ok", "Content-Length: 3") + b"abc"),
    # Chunked content.
    "chunk size: no number": (400, chunked(b"xyz\r\nabc\r\n0\r\n\r\n")),
    "chunk size: empty": (400, chunked(b"\r\nabc\r\n0\r\n\r\n")),
    "chunk size: 0x": (400, chunked(b"0x3\r\nabc\r\n0\r\n\r\n")),
    "chunk size: plus": (400, chunked(b"+3\r\nabc\r\n0\r\n\r\n")),
    "chunk size: minus": (400, chunked(b"-3\r\nabc\r\n0\r\n\r\n")),
    "chunk size: space before": (400, chunked(b" 3\r\nabc\r\n0\r\n\r\n")),
    "chunk size: 17 digits": (400, chunked(b"0" * 16 + b"3\r\nabc\r\n0\r\n\r\n")),
    "chunk size: bare LF": (400, chunked(b"3\nabc\r\n0\r\n\r\n")),
    "chunk size: too large to be had": (413, chunked(b"f" * 16 + b"\r\n" + bytes(2 * MOST_CONTENT))),
    "chunk data without CRLF": (400, chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    "chunk data with bare LF": (400, chunked(b"3\r\nabc\n0\r\n\r\n")),
    "chunk extension: bare CR": (400, chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n")),
    "chunk extension: bare LF": (400, chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n")),
    "chunk extension without an end": (400, chunked(b"3;" + b"x" * 20_000)),
    "chunk extensions without an end": (400, chunked(b"1;%b\r\na\r\n" % (b"x" * 1000) * 40)),
    "trailer without an end": (400, chunked(b"0\r\nX: " + b"y" * 70_000)),
    "trailers without an end": (400, chunked(b"0\r\n" + b"X: yyyyyyyyyyyyyyyy\r\n" * 4000)),
    "trailer: bad name": (400, chunked(b"0\r\nX Y: z\r\n\r\n")),
    "trailer: bare LF": (400, chunked(b"0\r\nX: y\n\r\n")),
    "trailer: folded": (400, chunked(b"0\r\nX: y\r\n z\r\n\r\n")),
}


@pytest.mark.parametrize(("status", "data"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_and_ends_the_connection(parsing_site: Site, status: int, data: bytes) -> None:
    with parsing_site.connect() as peer:
        peer.send(data + NEVER)
        answer = peer.answer()
        assert answer.status == status
        assert answer.fields["connection"] == "close"
        assert answer.content.startswith(b"<!doctype html>")
        assert peer.rest() == b""
    assert parsing_site.seen == []


@pytest.mark.parametrize("name", ["TLS", "request line without an end", "head without an end"])
def test_no_end_is_waited_for(parsing_site: Site, name: str) -> None:
    status, data = REFUSED[name]
    with parsing_site.connect() as peer:
        peer.send(data)
        assert peer.answer().status == status


def test_a_request_behind_the_same_bytes_is_read_where_they_are_good(parsing_site: Site) -> None:
    with parsing_site.connect() as peer:
        peer.send(
            post("Content-Length: 3") + b"abc" + chunked(b"003;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n") + NEVER
        )
        assert peer.answer().content == b"POST /bad abc."
        assert peer.answer().content == b"POST /bad abc."
        assert peer.answer().content == b"GET /never ."
    assert len(parsing_site.seen) == 3


@pytest.mark.parametrize("end", ["eof", "reset"])
@pytest.mark.parametrize(
    "upload",
    [
        post("Content-Length: 100", path="/upload") + b"x" * 99,
        post("Content-Length: 1", path="/upload"),
        post("Transfer-Encoding: chunked", path="/upload") + b"3\r\nabc\r\n",
        post("Transfer-Encoding: chunked", path="/upload") + b"3\r\nabc\r\n0\r\n",
    ],
    ids=["counted", "counted and nothing came", "chunked", "chunked but for the last line"],
)
def test_an_upload_that_breaks_off_is_logged_and_never_handed_over(
    upload: bytes, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for loop in LOOPS:
        with site_on(loop=loop) as site, site.connect() as peer:
            # Behind an answer, so that it is surely being read when it breaks off.
            peer.send(get("/before") + upload)
            assert peer.answer().content == b"GET /before ."
            if end == "eof":
                peer.send_eof()
                assert peer.rest() == b""
            else:
                peer.reset()
        assert [environ["PATH_INFO"] for environ in site.seen] == ["/before"]
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["POST /upload: the client left in the middle of its content"] * len(LOOPS)


# What an application sees, and what it does not.


def environ_of(site: Site, *requests: bytes) -> WSGIEnvironment:
    with site.connect() as peer:
        for request in requests:
            peer.send(request)
            assert peer.answer().status == 200
    return site.seen[-1]


def test_an_absolute_target_wins_over_host(parsing_site: Site) -> None:
    environ = environ_of(parsing_site, head("GET http://b.example:81/c?d=e HTTP/1.1", "Host: a.example"))
    assert environ["HTTP_HOST"] == "b.example:81"
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/c", "d=e")
    assert "a.example" not in str(environ)


def test_an_absolute_target_without_a_path_is_the_root(parsing_site: Site) -> None:
    environ = environ_of(parsing_site, head("GET http://b?d HTTP/1.1", "Host: b"))
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/", "d")


def test_proxy_is_never_http_proxy(parsing_site: Site) -> None:
    environ = environ_of(parsing_site, get("/", "Proxy: http://evil", "proxy: http://evil", "PROXY: evil"))
    assert "HTTP_PROXY" not in environ
    assert "evil" not in str(environ)


def test_a_name_with_an_underscore_is_dropped_and_never_merged(parsing_site: Site) -> None:
    for lines in (
        ("X-User-Name: good", "X_User_Name: evil"),
        ("X_User_Name: evil", "X-User-Name: good"),
        ("X_User-Name: evil", "X-User-Name: good", "X-User_Name: evil"),
        ("X-User-Name: good", "Content_Length: 5", "Transfer_Encoding: chunked", "evil_: x"),
    ):
        environ = environ_of(parsing_site, get("/", *lines))
        assert environ["HTTP_X_USER_NAME"] == "good"
        assert "evil" not in str(environ)
        assert "CONTENT_LENGTH" not in environ


# Applications that go wrong.


def raises(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise RuntimeError("secret")


def raises_before_its_first_byte(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("X-Secret", "secret")])
    yield b""
    raise RuntimeError("secret")


def raises_later(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    raise RuntimeError("secret")


def streams_too_little(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"sh"
    yield b"ort"


def gives(status: Any = "200 OK", fields: Any = (), result: Any = (b"secret",)) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response(status, list(fields) if isinstance(fields, tuple) else fields)
        return result

    return application


def forgets_start_response(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return [b"secret"]


def starts_twice(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"secret"]


# name -> the application, and what the log says
MISTAKES: dict[str, tuple[Callable[..., Any], str]] = {
    "returns-none": (gives(result=None), "an iterable of bytes as the result, not NoneType"),
    "returns-str": (gives(result="secret"), "bytes as the body, not str"),
    "returns-strs": (gives(result=["secret"]), "bytes as the body, not str"),
    "returns-int": (gives(result=5), "an iterable of bytes as the result, not int"),
    "forgets-start-response": (forgets_start_response, "start_response to be called before"),
    "starts-twice": (starts_twice, "exc_info when start_response is called a second time"),
    "status-without-reason": (gives("200"), "a status like '200 OK'"),
    "status-no-number": (gives("OK"), "a status like '200 OK'"),
    "status-int": (gives(200), "a status like '200 OK'"),
    "status-1xx": (gives("100 Continue"), "a status like '200 OK'"),
    "status-injection": (gives("200 OK\r\nX-Secret: secret"), "a status like '200 OK'"),
    "fields-dict": (gives(fields={}), "header fields as a list"),
    "field-no-pair": (gives(fields=[("secret",)]), "as (name, value) tuples"),
    "field-bytes": (gives(fields=[(b"X", b"secret")]), "str names and values of header fields"),
    "name-injection": (gives(fields=[("X\r\nY", "secret")]), "field names"),
    "name-space": (gives(fields=[("X ", "secret")]), "field names"),
    "value-line-break": (gives(fields=[("X", "a\r\nX-Secret: secret")]), "without control characters"),
    "value-bare-lf": (gives(fields=[("X", "a\nX-Secret: secret")]), "without control characters"),
    "value-nul": (gives(fields=[("X", "secret\0")]), "without control characters"),
    "value-beyond-latin-1": (gives(fields=[("X", "secret\u20ac")]), "latin-1"),
    "length-negative": (gives(fields=[("Content-Length", "-1")]), "Content-Length of digits only"),
    "length-no-number": (gives(fields=[("Content-Length", "six")]), "Content-Length of digits only"),
    "length-twice": (gives(fields=[("Content-Length", "6"), ("content-length", "6")]), "one Content-Length"),
}

PAGES: dict[str, WSGIApplication] = {
    "raises": raises,
    "raises-before-its-first-byte": raises_before_its_first_byte,
    "raises-later": raises_later,
    "short": gives(fields=[("Content-Length", "10")], result=[b"short"]),
    "short-streamed": streams_too_little,
    **{name: cast(WSGIApplication, application) for name, (application, _) in MISTAKES.items()},
}


@pytest.mark.parametrize("name", ["raises", "raises-before-its-first-byte"])
def test_an_application_that_raises_is_an_error_and_the_connection_kept(
    site: Site, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with site.connect() as peer:
        answer = peer.get(f"/{name}?x")
        assert answer.status == 500
        assert b"secret" not in answer.head + answer.content
        assert peer.get("/after").content == b"GET /after ."
    (record,) = caplog.records
    assert record.getMessage() == f"GET /{name}?x: RuntimeError"
    assert "Traceback" in caplog.text
    assert "RuntimeError: secret" in caplog.text


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, (_, words) in MISTAKES.items()])
def test_nothing_of_what_pep_3333_does_not_allow_reaches_the_wire(
    site: Site, name: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with site.connect() as peer:
        answer = peer.get(f"/{name}")
        assert answer.status == 500
        assert b"secret" not in (answer.head + answer.content).lower()
        assert peer.get("/after").content == b"GET /after ."
    (record,) = caplog.records
    assert record.getMessage().startswith(f"GET /{name}: PEP 3333 asks for ")
    assert words in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("name", "begun", "words"),
    [
        ("raises-later", b"5\r\nbegun\r\n", "RuntimeError"),
        ("short", b"short", "5 are missing"),
        ("short-streamed", b"short", "5 are missing"),
    ],
)
def test_an_answer_that_cannot_be_completed_is_cut(
    site: Site, name: str, begun: bytes, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with site.connect() as peer:
        peer.send(get(f"/{name}") + NEVER)
        peer.until(b"\r\n\r\n")
        assert peer.rest() == begun
    (record,) = caplog.records
    assert record.getMessage().startswith(f"GET /{name}: ")
    assert words in record.getMessage()
    assert [environ["PATH_INFO"] for environ in site.seen] == [f"/{name}"]


def test_httpx_sees_that_an_answer_was_cut(site: Site) -> None:
    host, port = site.address
    for name in ("raises-later", "short"):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://{host}:{port}/{name}")


def test_an_answer_that_only_the_close_ends_is_cut_by_a_reset(site: Site) -> None:
    with site.connect() as peer:
        peer.send(head("GET /raises-later HTTP/1.0"))
        with pytest.raises(ConnectionResetError):
            peer.rest()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_full_queue_is_told_at_once_and_the_connection_kept(loop: str) -> None:
    gate = Gate()
    with (
        serving(gate, loop=loop, threads=1, max_queue=1) as server,
        Peer(server.server_address) as running,
        Peer(server.server_address) as one,
        Peer(server.server_address) as other,
    ):
        running.send(get("/running"))
        assert gate.entered.wait(WAIT)
        one.send(get("/waiting"))
        other.send(get("/waiting"))
        ready, _, _ = select([one.socket, other.socket], [], [], WAIT)
        refused, waiting = (one, other) if one.socket in ready else (other, one)
        answer = refused.answer()
        assert (answer.status, answer.fields["retry-after"]) == (503, "1")
        assert "connection" not in answer.fields
        gate.open.set()
        assert waiting.answer().content == b"GET /waiting ."
        assert refused.get("/again").content == b"GET /again ."


# What cannot be started.


def test_what_cannot_be_served_is_one_line_and_status_2(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("def application(environ, start_response): ...\n")
    (tmp_path / "broken.py").write_text("import good\n\n1 / 0\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases: list[tuple[list[str], str]] = [
            (
                ["good:application", "--bind", f"127.0.0.1:{port}"],
                f"127.0.0.1:{port} is taken by another process",
            ),
            (["good:application", "--static", "/x=none"], "--static: expected a folder that exists, got"),
            (["none:application"], "'none'"),
            (["good:none"], "none"),
            (["broken:application"], "ZeroDivisionError"),
        ]
        # All at once, as a start takes its time.
        started = [refused_start(tmp_path, *arguments) for arguments, _ in cases]
        for process, (arguments, words) in zip(started, cases, strict=True):
            out, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 2
            assert out == ""
            *traceback, line = err.splitlines()
            assert line.startswith("aiowsgi: ")
            assert words in line
            if arguments[0] == "broken:application":
                assert traceback[0] == "Traceback (most recent call last):"
            else:
                assert traceback == []
            with pytest.raises(ProcessLookupError):  # nothing is left of its group
                os.killpg(process.pid, 0)


def refused_start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    bind = [] if "--bind" in arguments else ["--bind", "127.0.0.1:0"]
    return subprocess.Popen(
        [sys.executable, "-m", "aiowsgi", "serve", *arguments, *bind, "--workers", "2"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
