"""The bytes of a head, what never becomes a part of one, and how content ends."""

import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import time
from typing import Any, cast

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowsgi.http import framing
from aiowsgi.http.framing import (
    chunk,
    error_response,
    field_lines,
    has_no_content,
    read_head,
    render,
)
from aiowsgi.http.memo import Memo
from aiowsgi.http.messages import Field, FileRange, HTTPError, Parts, Request, Response

OWN = b"Date: NOW\r\nServer: aiowsgi\r\n"
_is_date = re.compile(rb"(?<=\r\nDate: )\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT(?=\r\n)")


def request(method: str = "GET", version: str = "HTTP/1.1") -> Request:
    request = Request()
    request.strict = b""
    request.method, request.version = method, version
    return request


def undated(head: bytes) -> bytes:
    return _is_date.sub(b"NOW", head)


def head_of(response: Response, to: Request, keep_alive: bool) -> bytes:
    data, _ = render(response, to, keep_alive)
    head, end, _ = data.partition(b"\r\n\r\n")
    return head + end


def rendered(
    *fields: Field,
    status: str = "200 OK",
    length: int | None = 5,
    keep_alive: bool = True,
    to: Request | None = None,
) -> tuple[bytes, bool, bool]:
    head, keep_alive, chunked = read_head(status, list(fields)).render(to or request(), length, keep_alive)
    return undated(head), keep_alive, chunked


# A head.


def test_a_head_is_status_fields_ours_and_length() -> None:
    assert rendered(("Content-Type", "text/plain"), ("X-A", "b"), ("X-A", "c")) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: b\r\nX-A: c\r\n"
        + OWN
        + b"Content-Length: 5\r\n\r\n",
        True,
        False,
    )


def test_the_date_is_now() -> None:
    before = int(time())
    head, _, _ = read_head("200 OK", []).render(request(), 0, True)
    match = _is_date.search(head)
    assert match is not None
    assert before <= parsedate_to_datetime(match[0].decode()).timestamp() <= time()


def test_a_head_that_is_rendered_later_is_still_the_same() -> None:
    for _ in range(3):
        head, _, _ = rendered(("X-A", "b"))
        assert head == b"HTTP/1.1 200 OK\r\nX-A: b\r\n" + OWN + b"Content-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("Date", "then")], b"Date: then\r\nServer: aiowsgi\r\n"),
        ([("server", "other")], b"server: other\r\nDate: NOW\r\n"),
        ([("DATE", "then"), ("Server", "other")], b"DATE: then\r\nServer: other\r\n"),
        ([("Server", "other"), ("Date", "then")], b"Server: other\r\nDate: then\r\n"),
    ],
)
def test_date_and_server_of_the_application_stand_in_for_ours(fields: list[Field], expected: bytes) -> None:
    assert rendered(*fields)[0] == b"HTTP/1.1 200 OK\r\n" + expected + b"Content-Length: 5\r\n\r\n"


def test_text_is_latin_1() -> None:
    head, _, _ = rendered(("X-A", "caf\xe9\t\xff"), status="200 Tr\xe8s bien")
    assert head.startswith(b"HTTP/1.1 200 Tr\xe8s bien\r\nX-A: caf\xe9\t\xff\r\n")


def test_an_empty_reason_and_an_empty_value_are_allowed() -> None:
    assert rendered(("X-A", ""), status="299 ")[0].startswith(b"HTTP/1.1 299 \r\nX-A: \r\n")


# How the content ends.

LENGTH, CHUNKED = b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"
CLOSE, KEEP = b"Connection: close\r\n", b"Connection: keep-alive\r\n"


@pytest.mark.parametrize(
    ("method", "version", "status", "length", "expected"),
    [
        ("GET", "HTTP/1.1", "200 OK", 5, (LENGTH, True, False)),
        ("GET", "HTTP/1.1", "200 OK", None, (CHUNKED, True, True)),
        ("GET", "HTTP/1.0", "200 OK", 5, (LENGTH + KEEP, True, False)),
        ("GET", "HTTP/1.0", "200 OK", None, (CLOSE, False, False)),
        ("HEAD", "HTTP/1.1", "200 OK", 5, (LENGTH, True, False)),
        ("HEAD", "HTTP/1.1", "200 OK", None, (b"", True, False)),
        ("HEAD", "HTTP/1.0", "200 OK", None, (KEEP, True, False)),
        ("GET", "HTTP/1.1", "204 No Content", 5, (b"", True, False)),
        ("GET", "HTTP/1.1", "204 No Content", None, (b"", True, False)),
        ("GET", "HTTP/1.1", "304 Not Modified", 5, (b"", True, False)),
        ("GET", "HTTP/1.1", "304 Not Modified", None, (b"", True, False)),
        ("GET", "HTTP/1.0", "304 Not Modified", None, (KEEP, True, False)),
        ("POST", "HTTP/1.1", "404 Not Found", 0, (b"Content-Length: 0\r\n", True, False)),
    ],
)
@pytest.mark.parametrize("keep_alive", [True, False])
def test_how_the_content_ends(
    method: str,
    version: str,
    status: str,
    length: int | None,
    expected: tuple[bytes, bool, bool],
    keep_alive: bool,
) -> None:
    lines, kept, chunked = expected
    if not keep_alive:
        lines, kept = lines.replace(KEEP, b"").replace(CLOSE, b"") + CLOSE, False
    assert rendered(status=status, length=length, keep_alive=keep_alive, to=request(method, version)) == (
        b"HTTP/1.1 " + status.encode() + b"\r\n" + OWN + lines + b"\r\n",
        kept,
        chunked,
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("code", [200, 204, 205, 304, 404])
def test_which_answers_have_no_content(method: str, code: int) -> None:
    assert has_no_content(request(method), code) == (method == "HEAD" or code in (204, 304))


def test_a_chunk() -> None:
    assert chunk(b"a") == b"1\r\na\r\n"
    assert chunk(b"b" * 0xABC) == b"abc\r\n" + b"b" * 0xABC + b"\r\n"


# The connection is ours.


@pytest.mark.parametrize("value", ["close", "Close", " close\t", "close, X-A", "x,CLOSE,"])
def test_an_application_may_close_the_connection(value: str) -> None:
    head, keep_alive, _ = rendered(("Connection", value))
    assert head == b"HTTP/1.1 200 OK\r\n" + OWN + LENGTH + CLOSE + b"\r\n"
    assert not keep_alive


@pytest.mark.parametrize("value", ["keep-alive", "closed", "Upgrade", ""])
def test_an_application_may_say_nothing_else_of_it(value: str) -> None:
    head, keep_alive, _ = rendered(("connection", value))
    assert head == b"HTTP/1.1 200 OK\r\n" + OWN + LENGTH + b"\r\n"
    assert keep_alive


@pytest.mark.parametrize(
    "name",
    [
        *("Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE"),
        *("Trailer", "Trailers", "Transfer-Encoding", "transfer-encoding", "UPGRADE"),
    ],
)
def test_hop_by_hop_fields_are_dropped_and_told(name: str) -> None:
    head = read_head("200 OK", [("X-A", "b"), (name, "chunked"), ("X-C", "d")])
    assert list(head.dropped) == [name]
    assert undated(head.render(request(), 5, True)[0]) == (
        b"HTTP/1.1 200 OK\r\nX-A: b\r\nX-C: d\r\n" + OWN + LENGTH + b"\r\n"
    )


@pytest.mark.parametrize(
    ("value", "dropped"),
    [("close", []), ("Keep-Alive", []), ("close, Upgrade", ["Connection"]), ("", ["Connection"])],
)
def test_nothing_is_told_of_a_connection_field_that_was_obeyed(value: str, dropped: list[str]) -> None:
    assert list(read_head("200 OK", [("Connection", value)]).dropped) == dropped


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("5", 5), ("0005", 5), ("9" * 18, 10**18 - 1)])
def test_a_declared_length_is_taken_out_and_told(value: str, length: int) -> None:
    head = read_head("200 OK", [("content-length", value)])
    assert head.content_length == length
    assert (
        undated(head.render(request(), 7, True)[0])
        == b"HTTP/1.1 200 OK\r\n" + OWN + b"Content-Length: 7\r\n\r\n"
    )


def test_no_length_is_declared_where_none_is() -> None:
    assert read_head("200 OK", [("X-Content-Length", "5")]).content_length is None


# What must not reach the wire.


@pytest.mark.parametrize(
    "value",
    [
        *("-5", "+5", " 5", "5 ", "5, 5", "0x5", "5.0", "1_0", "", "five", "\xb2", "\u0665", "9" * 19),
    ],
)
def test_a_length_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="PEP 3333"):
        read_head("200 OK", [("Content-Length", value)])


@pytest.mark.parametrize("second", ["5", "6"])
def test_a_second_length_is_refused(second: str) -> None:
    with pytest.raises(ValueError, match="one Content-Length"):
        read_head("200 OK", [("Content-Length", "5"), ("content-length", second)])


@pytest.mark.parametrize(
    "status",
    [
        *("", "200", "20 OK", "2000 OK", "OK", "OK 200", " 200 OK", "200\tOK", "HTTP/1.1 200 OK"),
        *("-20 OK", "2x0 OK"),
        *("100 Continue", "101 Switching Protocols", "199 A", "600 A", "000 A", "\u0662\u0660\u0660 OK"),
        *("200 OK\r\nX-A: b", "200 OK\n", "200 OK\r", "200 O\0K", "200 \x1b[0m", "200 \x7f", "200 \u20ac"),
        *(b"200 OK", 200, None, HTTPStatus.OK),
    ],
)
def test_a_bad_status_is_refused(status: Any) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="PEP 3333 asks for a status"):
            read_head(status, [])


BAD_FIELDS: list[Any] = [
    *(("", "b"), ("X A", "b"), (" X", "b"), ("X ", "b"), ("X:", "b"), ("X\r\nY", "b")),
    *(("X\n", "b"), ("X\0", "b")),
    *(("caf\xe9", "b"), ("X\u20ac", "b"), ("(X)", "b"), ("X/Y", "b"), ('"X"', "b")),
    *(("X\x7f", "b"), ("X\t", "b")),
    *(("X", "b\r\nY: c"), ("X", "b\nY: c"), ("X", "b\rY: c"), ("X", "b\r\n c")),
    *(("X", "\r\n\r\n<html>"), ("X", "b\n")),
    *(("X", "b\0"), ("X", "\x01"), ("X", "\x0b"), ("X", "\x1f"), ("X", "\x7f")),
    *(("X", "\u20ac"), ("X", "\u2028")),
    *((b"X", b"b"), ("X", b"b"), (b"X", "b"), ("X", 5), ("X", None), (None, "b")),
    *(("X", ["b"]), ("X", {"b": "c"})),
    *((), ("X",), ("X", "b", "c"), "Xb", "X: b", ["X", "b"], None, 5, {"X": "b"}, {"X", "b"}),
    *(("Content-Length\r\n", "5"), ("Transfer-Encoding", "chunked\r\nX: b"), ("Connection", "close\r\n")),
]


@pytest.mark.parametrize("field", BAD_FIELDS, ids=repr)
def test_a_bad_field_is_refused(field: Any) -> None:
    for _ in range(3):
        with pytest.raises(ValueError, match="PEP 3333 asks for"):
            read_head("200 OK", [("X-A", "b"), field])


@pytest.mark.parametrize("fields", [(), (("X", "b"),), {"X": "b"}, {"X": "b"}.items(), iter([]), "", None])
def test_fields_that_are_no_list_are_refused(fields: Any) -> None:
    with pytest.raises(ValueError, match="PEP 3333 asks for header fields as a list"):
        read_head("200 OK", fields)


def read_answer(data: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """Return status, fields, and the rest, as a client reads them."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers.raw_items()]
    return f"{answer.status_code} {bytes(answer.reason).decode('latin-1')}", fields, client.trailing_data[0]


text = st.text("aB1-:\r\n\t \0\x7f\xe9\u20ac", max_size=6)


@given(
    st.one_of(st.just("200 OK"), text.map("200 ".__add__), text),
    st.lists(st.tuples(st.one_of(st.just("X-A"), text), text), max_size=3),
)
def test_a_client_reads_what_the_application_said_or_nothing_is_sent(
    status: str, fields: list[Field]
) -> None:
    try:
        head, _, _ = read_head(status, fields).render(request(), 0, True)
    except ValueError:
        return
    assert head.count(b"\r\n\r\n") == 1
    read_status, read_fields, rest = read_answer(head)
    assert read_status.rstrip() == status.rstrip()
    assert read_fields[: len(fields)] == [(name, value.strip(" \t")) for name, value in fields]
    assert [name for name, _ in read_fields[len(fields) :]] == ["Date", "Server", "Content-Length"]
    assert rest == b""


# What is remembered.


def _remembered() -> str:
    return repr([list(memo.items()) for memo in vars(framing).values() if isinstance(memo, Memo)])


@pytest.mark.parametrize(
    "field",
    [
        ("Set-Cookie", "a=SECRET"),
        ("X-Auth-Token", "SECRET"),
        ("X-API-Key", "SECRET"),
        ("X-A", "SECRET" + "b" * 256),
    ],
)
def test_secrets_and_long_lines_are_not_remembered(field: Field) -> None:
    for _ in range(4):
        read_head("200 Remembered", [("X-Remembered", "b"), field])
        field_lines([("X-Remembered-Too", "b"), field])
    assert "200 Remembered" in _remembered()
    assert "X-Remembered" in _remembered()
    assert "X-Remembered-Too" in _remembered()
    assert "SECRET" not in _remembered()


def test_a_long_status_is_not_remembered() -> None:
    for _ in range(4):
        read_head("200 SECRET" + "a" * 64, [])
    assert "SECRET" not in _remembered()


# Ready responses.


@pytest.mark.parametrize(
    ("response", "to", "keep_alive", "expected"),
    [
        (Response(200, b"X: y\r\n", b"hello"), request(), True, b"200 OK\r\nX: y\r\n" + LENGTH + OWN),
        (Response(200, b"", b"hello"), request("HEAD"), True, b"200 OK\r\n" + LENGTH + OWN),
        (Response(200, b"", b"hello"), request(), False, b"200 OK\r\n" + LENGTH + OWN + CLOSE),
        (Response(404), request(), True, b"404 Not Found\r\nContent-Length: 0\r\n" + OWN),
        (Response(204), request(), True, b"204 No Content\r\n" + OWN),
        (Response(304, b"ETag: x\r\n"), request(), True, b"304 Not Modified\r\nETag: x\r\n" + OWN),
        (
            Response(200, b"", b"hello"),
            request(version="HTTP/1.0"),
            True,
            b"200 OK\r\n" + LENGTH + OWN + KEEP,
        ),
        (
            Response(200, b"", b"hello"),
            request(version="HTTP/1.0"),
            False,
            b"200 OK\r\n" + LENGTH + OWN + CLOSE,
        ),
    ],
)
def test_the_head_of_a_ready_response(
    response: Response, to: Request, keep_alive: bool, expected: bytes
) -> None:
    assert undated(head_of(response, to, keep_alive)) == b"HTTP/1.1 " + expected + b"\r\n"


@pytest.mark.parametrize(
    ("status", "method", "content"),
    [
        (200, "GET", b"hello"),
        (404, "POST", b"hello"),
        (200, "HEAD", b""),
        (204, "GET", b""),
        (304, "GET", b""),
    ],
)
def test_a_ready_response_has_its_content_where_there_may_be_one(
    status: int, method: str, content: bytes
) -> None:
    data, rest = render(Response(status, b"X-A: b\r\n", b"hello"), request(method), True)
    assert data.partition(b"\r\n\r\n")[2] == content
    assert rest == ()


def test_a_file_goes_behind_its_head_where_there_may_be_content() -> None:
    part = FileRange(cast(Any, None), 10, 12345)
    for method, behind in (("GET", (part,)), ("HEAD", ())):
        data, rest = render(Response(200, b"", part), request(method), True)
        assert b"\r\nContent-Length: 12345\r\n" in data
        assert data.endswith(b"\r\n\r\n")
        assert rest == behind


def test_parts_go_behind_their_head_in_their_order() -> None:
    part = FileRange(cast(Any, None), 10, 100)
    for method, behind in (("GET", (b"one", part, b"two")), ("HEAD", ())):
        data, rest = render(Response(206, b"", Parts((b"one", part, b"two"))), request(method), True)
        assert b"\r\nContent-Length: 106\r\n" in data
        assert data.endswith(b"\r\n\r\n")
        assert rest == behind


def test_field_lines() -> None:
    assert field_lines([]) == b""
    assert field_lines([("X-A", "b"), ("x-a", "caf\xe9")]) == b"X-A: b\r\nx-a: caf\xe9\r\n"


@pytest.mark.parametrize("field", [("X", "b\r\nY: c"), ("X\n", "b"), ("", "b"), ("X", "\u20ac"), ("X", "\0")])
def test_field_lines_refuse_injection(field: Field) -> None:
    with pytest.raises(ValueError, match="PEP 3333"):
        field_lines([("X-A", "b"), field])


# Errors.


def test_an_error_is_a_page() -> None:
    response = error_response(HTTPError(405, "Not so.", fields=[("Allow", "GET")]))
    assert response.status == 405
    assert response.fields == b"Content-Type: text/html; charset=utf-8\r\nAllow: GET\r\n"
    assert isinstance(response.content, bytes)
    assert b"<title>405 Method Not Allowed</title>" in response.content
    assert b"<h1>405 Method Not Allowed</h1>\n<p>Not so.</p>\n</html>\n" in response.content


def test_nothing_of_an_error_is_markup() -> None:
    response = error_response(HTTPError(400, '<b a="c">&'))
    assert isinstance(response.content, bytes)
    assert b"<p>&lt;b a=&quot;c&quot;&gt;&amp;</p>\n" in response.content


def test_the_fields_of_an_error_are_checked() -> None:
    with pytest.raises(ValueError, match="PEP 3333"):
        error_response(HTTPError(302, fields=[("Location", "/\r\nSet-Cookie: a")]))


@pytest.mark.parametrize("status", [status for status in HTTPStatus if status >= 300])
def test_every_error_has_its_page(status: HTTPStatus) -> None:
    response = error_response(HTTPError(status))
    head = head_of(response, request(), False)
    assert head.startswith(f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode())
    assert head.endswith(CLOSE + b"\r\n")
