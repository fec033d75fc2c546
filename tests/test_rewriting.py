"""Answers of applications that are compressed on their way, or a file stands in for."""

import logging
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from aiowsgi.wsgi.compression import codings
from aiowsgi.wsgi.rewriting import RewritingCall, Rules
from tests.calls import Answer, Body, ask, giving, messages
from tests.server import RunningServer
from tests.test_compression import reader
from tests.thread_server import Peer, get, serving

TEXT = b"".join(b"<li>Line %d of the page, which is like any other line.</li>\n" % n for n in range(100))
COMPRESSING = partial(RewritingCall, Rules(codings()))
CODINGS = ["gzip", "br", "zstd"]
TEXT_LENGTH = ("Content-Length", str(len(TEXT)))
PLAIN = ("Content-Type", "text/plain")


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "aiowsgi")
    return caplog


def accepting(codings: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    head = [f"{method} /page HTTP/{version}", "Host: a", f"Accept-Encoding: {codings}", *lines, "", ""]
    return "\r\n".join(head).encode()


def compressed(
    application: WSGIApplication,
    codings: str = "gzip",
    *lines: str,
    method: str = "GET",
    version: str = "1.1",
) -> Answer:
    head = accepting(codings, *lines, method=method, version=version)
    return ask(application, head, make_call=COMPRESSING)


def read(answer: Answer) -> bytes:
    return reader(answer.fields["content-encoding"])(answer.content)


def typed(
    media_type: str, body: Any = (TEXT,), status: str = "200 OK", *fields: tuple[str, str]
) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", media_type), *fields])
        result: Iterable[bytes] = body
        return result

    return application


# What is compressed


@pytest.mark.parametrize("coding", CODINGS)
def test_a_text_that_is_all_there_is_compressed_as_one(coding: str) -> None:
    answer = compressed(giving([TEXT[:100], TEXT[100:]]), coding)
    assert read(answer) == TEXT
    assert answer.fields["content-encoding"] == coding
    assert answer.fields["content-length"] == str(len(answer.content))
    assert answer.fields["vary"] == "Accept-Encoding"
    assert len(answer.content) < len(TEXT) / 4
    assert answer.keep_alive


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_stream_is_compressed_piece_by_piece(coding: str, version: str) -> None:
    answer = compressed(giving(Body(b"", TEXT, b"", b"more", TEXT)), coding, version=version)
    assert read(answer) == TEXT + b"more" + TEXT
    assert "content-length" not in answer.fields
    assert len(answer.pieces) == 4, "three pieces and the end"
    assert answer.whole


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_written_is_compressed(coding: str) -> None:
    answer = compressed(giving([b"returned"], written=[TEXT, b"written"]), coding)
    assert read(answer) == TEXT + b"written" + b"returned"


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("body", [[TEXT], Body(TEXT), Body(TEXT[:50], TEXT[50:])])
def test_a_declared_length_is_not_that_of_what_is_sent(coding: str, body: Any) -> None:
    answer = compressed(giving(body, TEXT_LENGTH), coding)
    assert read(answer) == TEXT
    assert answer.fields.get("content-length", str(len(answer.content))) == str(len(answer.content))
    assert answer.whole


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Internal Server Error"])
def test_any_text_with_any_status_is_compressed(method: str, status: str) -> None:
    assert read(compressed(typed("application/json", status=status), method=method)) == TEXT


# What is not


@pytest.mark.parametrize(
    "application",
    [
        giving([TEXT], ("Content-Encoding", "deflate")),
        giving([TEXT], ("Cache-Control", "no-transform")),
        giving([TEXT], ("Content-Range", "bytes 0-9/100"), status="206 Partial Content"),
        giving([TEXT], status="206 Partial Content"),
        giving([TEXT[:1023]]),
        giving(Body(TEXT[:500], TEXT[500:1000]), ("Content-Length", "1000")),
        giving([]),
        giving(Body()),
        typed("image/png"),
        typed("application/octet-stream"),
    ],
)
def test_what_is_left_as_it_is(application: WSGIApplication) -> None:
    plain = ask(application)
    answer = compressed(application)
    assert answer.content == plain.content
    assert answer.fields.keys() == plain.fields.keys()
    assert "vary" not in answer.fields


@pytest.mark.parametrize("codings", ["identity", "deflate", "gzip;q=0", "gzip;q=0.5, identity;q=1", "", "@"])
def test_who_wants_no_coding_gets_none_and_caches_are_told(codings: str) -> None:
    for body in [TEXT], Body(TEXT[:10], TEXT[10:]):
        answer = compressed(giving(body, TEXT_LENGTH, ("ETag", '"a"')), codings)
        assert answer.content == TEXT
        assert answer.fields["vary"] == "Accept-Encoding"
        assert answer.fields["etag"] == '"a"'
        assert answer.fields["content-length"] == TEXT_LENGTH[1]
        assert "content-encoding" not in answer.fields


def test_no_accept_encoding_no_coding() -> None:
    answer = ask(giving([TEXT]), make_call=COMPRESSING)
    assert answer.content == TEXT
    assert answer.fields["vary"] == "Accept-Encoding"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_content_is_left_as_it_is(status: str) -> None:
    for body in [TEXT], [], Body(TEXT), Body():
        answer = compressed(giving(body, status=status))
        assert answer.content == b""
        assert "content-encoding" not in answer.fields


def test_a_file_is_sent_as_it_is(tmp_path: Any) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [PLAIN])
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))
        return wrapped

    for size in 1, 100:
        (tmp_path / "file").write_bytes(TEXT * size)
        answer = compressed(application)
        assert answer.content == TEXT * size
        assert "vary" not in answer.fields


# What goes with it


def test_the_quickest_coding_wins_where_the_client_does_not_mind() -> None:
    fields = [
        compressed(giving([TEXT]), value).fields for value in ("gzip, deflate, br, zstd", "br, gzip", "*")
    ]
    assert [field["content-encoding"] for field in fields] == ["zstd", "br", "zstd"]


@pytest.mark.parametrize(("etag", "sent"), [('"a"', 'W/"a"'), ('W/"a"', 'W/"a"')])
def test_a_strong_etag_becomes_weak(etag: str, sent: str) -> None:
    assert compressed(giving([TEXT], ("ETag", etag))).fields["etag"] == sent


def test_a_304_has_the_tag_that_the_client_knows() -> None:
    for body in [], [b""], Body():
        application = giving(body, ("ETag", '"a"'), status="304 Not Modified")
        assert compressed(application, "gzip", 'If-None-Match: W/"a"').fields["etag"] == 'W/"a"'
        assert compressed(application, "gzip", 'If-None-Match: "a"').fields["etag"] == '"a"'
        assert compressed(application, "gzip", 'If-None-Match: W/"aa"').fields["etag"] == '"a"'


@pytest.mark.parametrize("body", [[TEXT], [], Body(TEXT[:9], TEXT[9:]), Body()])
def test_head_has_the_fields_of_get_as_far_as_they_are_known(body: Any) -> None:
    head = compressed(giving(body, TEXT_LENGTH, ("ETag", '"a"')), method="HEAD")
    assert head.content == b""
    assert "content-length" not in head.fields
    assert head.fields["content-encoding"] == "gzip"
    assert head.fields["vary"] == "Accept-Encoding"
    assert head.fields["etag"] == 'W/"a"'
    assert head.keep_alive


def test_head_of_a_short_text_is_left_as_it_is() -> None:
    assert compressed(giving([b"short"]), method="HEAD").fields["content-length"] == "5"


# PEP 3333 holds still


@pytest.mark.parametrize(
    "body", [Body(TEXT, b"x" * 7), Body(TEXT[:5], TEXT[5:] + b"x" * 7), [TEXT, b"x" * 7]]
)
def test_more_than_declared_is_cut_and_told(body: Any, log: pytest.LogCaptureFixture) -> None:
    answer = compressed(giving(body, TEXT_LENGTH))
    assert read(answer) == TEXT
    assert answer.whole
    assert "7 are left out" in messages(log)[0]


@pytest.mark.parametrize("body", [Body(TEXT[:-7]), [TEXT[:-7]], Body(TEXT[:5], TEXT[5:-7])])
def test_fewer_than_declared_cut_the_answer(body: Any, log: pytest.LogCaptureFixture) -> None:
    answer = compressed(giving(body, TEXT_LENGTH))
    assert not answer.whole
    assert answer.cut
    assert "7 are missing" in messages(log)[0]


def test_an_exception_behind_the_first_piece_cuts_the_answer() -> None:
    body = Body(TEXT, RuntimeError("later"))
    answer = compressed(giving(body))
    assert not answer.whole
    assert body.closed == 1


def test_an_exception_before_it_is_a_plain_500() -> None:
    answer = compressed(giving(Body(RuntimeError("at once"))))
    assert answer.status == 500
    assert "content-encoding" not in answer.fields


def test_exc_info_replaces_what_was_not_sent() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [PLAIN, ("Content-Encoding", "x")])
        try:
            raise RuntimeError("never mind")
        except RuntimeError:
            start_response("503 Busy", [PLAIN], sys.exc_info())
        return [TEXT]

    answer = compressed(application)
    assert answer.status == 503
    assert read(answer) == TEXT


@pytest.mark.parametrize("piece", ["text", None, 5])
def test_only_bytes_are_content(piece: Any, log: pytest.LogCaptureFixture) -> None:
    assert compressed(giving(Body(piece))).status == 500
    assert not compressed(giving(Body(TEXT, piece))).whole
    assert "PEP 3333 asks for bytes" in messages(log)[0]


@pytest.mark.parametrize("status", ["OK", "200 OK\r\nX: y"])
def test_what_must_not_reach_the_wire_does_not(status: str) -> None:
    assert compressed(typed("text/plain", status=status)).status == 500
    assert compressed(giving([TEXT], ("X-A", "b\r\nSet-Cookie: c"))).status == 500


# On real sockets


def endless(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [PLAIN])
    line = bytes(range(32, 127)) * 100
    try:
        while True:
            yield line
    finally:
        environ["test.closed"].set()


@pytest.mark.parametrize("coding", CODINGS)
def test_a_stream_that_never_ends_is_read_as_it_comes_and_ends_when_the_client_leaves(coding: str) -> None:
    closed = Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["test.closed"] = closed
        return endless(environ, start_response)

    with serving(application, compress=True, threads=1) as server, Peer(server.server_address) as peer:
        peer.send(get("/", f"Accept-Encoding: {coding}"))
        assert f"Content-Encoding: {coding}\r\n".encode() in peer.until(b"\r\n\r\n")
        decode, content = reader(coding), b""
        while len(content) < 1_000_000:
            size = int(peer.until(b"\r\n"), 16)
            content += decode(peer.read(size))
            assert peer.read(2) == b"\r\n"
        peer.reset()
        assert closed.wait(10)


@pytest.mark.parametrize("coding", CODINGS)
def test_each_event_comes_when_it_is_given(coding: str) -> None:
    go_on = Event()

    def events(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        for number in range(3):
            yield b"data: %d\n\n" % number
            assert go_on.wait(10)
            go_on.clear()

    with serving(events, compress=True) as server, Peer(server.server_address) as peer:
        peer.send(get("/", f"Accept-Encoding: {coding}"))
        peer.until(b"\r\n\r\n")
        decode = reader(coding)
        for number in range(3):
            assert decode(peer.read(int(peer.until(b"\r\n"), 16))) == b"data: %d\n\n" % number
            assert peer.read(2) == b"\r\n"
            go_on.set()
        peer.until(b"\r\n0\r\n\r\n")
        peer.send(get("/", "Accept-Encoding: identity"))
        assert peer.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
        for number in range(3):
            assert peer.read(int(peer.until(b"\r\n"), 16)) == b"data: %d\n\n" % number
            assert peer.read(2) == b"\r\n"
            go_on.set()
        assert peer.read(5) == b"0\r\n\r\n"


def test_nothing_is_compressed_unless_it_is_asked_for() -> None:
    with serving(giving([TEXT])) as server, Peer(server.server_address) as peer:
        peer.send(get("/", "Accept-Encoding: gzip"))
        answer = peer.answer()
        assert answer.content == TEXT
        assert "vary" not in answer.fields


SCRIPT = """
def application(environ, start_response):
    if environ["PATH_INFO"] == "/file":
        start_response("200 OK", [("X-Accel-Redirect", "/protected/data.bin")])
        return []
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"text" * 1000]
"""


def test_scripts_and_the_command_line_have_both(tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "script.py").write_text(SCRIPT)
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "data.bin").write_bytes(b"data")
    with (
        RunningServer(
            "--apps", "apps", "--compress", "--x-sendfile", "/protected=private", cwd=tmp_path
        ) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        for path in "/script.py", "/script.py":  # at first sight, and known
            peer.send(get(path, "Accept-Encoding: br"))
            assert reader("br")(peer.answer().content) == b"text" * 1000
        assert peer.get("/script.py/file").content == b"data"
        assert peer.get("/protected/data.bin").status == 404
