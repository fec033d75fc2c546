"""What single lines of a head say, and which of them the fast road leaves to h11."""

import pytest

from aiowsgi.http.lines import (
    Dropped,
    FieldLines,
    NotFast,
    RequestLines,
    cgi_name,
    decode_path,
    is_dropped,
    is_dropped_of_clients,
)
from aiowsgi.http.messages import HTTPError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Host", "HTTP_HOST"),
        ("x-Forwarded-FOR", "HTTP_X_FORWARDED_FOR"),
        ("content-type", "CONTENT_TYPE"),
        ("Content-Length", "CONTENT_LENGTH"),
        ("X-Content-Length", "HTTP_X_CONTENT_LENGTH"),
    ],
)
def test_cgi_names(name: str, expected: str) -> None:
    assert cgi_name(name) == expected


def test_which_fields_of_clients_are_dropped() -> None:
    names = ("X_A", "proxy", "Forwarded", "X-Forwarded-For", "x-forwarded-user", "X-REAL-IP")
    assert [name for name in names if not is_dropped_of_clients(name)] == []
    others = ("X-A", "Forwarded-For", "X-Forwarded", "X-Real-IP-2")
    assert [name for name in others if is_dropped_of_clients(name)] == []


@pytest.mark.parametrize("line", [b"Forwarded: for=a", b"X-Forwarded-For:", b"X_A: b", b"Content_Length: x"])
def test_a_line_to_drop_is_checked_and_forgotten(line: bytes) -> None:
    lines = FieldLines()
    for _ in range(3):
        with pytest.raises(Dropped):
            lines[line + b"\r"]
        assert lines.drops(line + b"\r")
        with pytest.raises(NotFast):
            lines.drops(line + b"\0\r")
    assert not lines.drops(b"X-A: b\r")
    assert len(lines) == 0


def test_which_fields_are_dropped() -> None:
    assert [name for name in ("X_A", "_", "proxy", "PROXY") if not is_dropped(name)] == []
    assert [name for name in ("X-A", "Proxy-Connection", "X-Proxy") if is_dropped(name)] == []


@pytest.mark.parametrize(
    ("raw_path", "path"), [("/a", "/a"), ("/%41%2f%e4%00", "/A/\xe4\0"), ("/%2541", "/%41"), ("*", "*")]
)
def test_a_path_is_decoded_once(raw_path: str, path: str) -> None:
    assert decode_path(raw_path) == path


@pytest.mark.parametrize("raw_path", ["/%", "/%4", "/%zz", "/%4g", "/%%41", "/%41%"])
def test_a_broken_path_is_refused(raw_path: str) -> None:
    with pytest.raises(HTTPError, match="400"):
        decode_path(raw_path)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Host: a", ("HTTP_HOST", "a")),
        (b"X-A:\t b\tc \t", ("HTTP_X_A", "b\tc")),
        (b"X-A:", ("HTTP_X_A", "")),
        (b"X-A: \xe9\xa0\x85", ("HTTP_X_A", "\xe9\xa0\x85")),
        (b"content-length: 007", ("CONTENT_LENGTH", "007")),
    ],
)
def test_a_field_line_is_the_same_each_time(line: bytes, expected: tuple[str, str]) -> None:
    lines, line = FieldLines(), line + b"\r"
    assert [lines[line], lines[line], lines[line]] == [expected] * 3
    assert list(lines) == [line]


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"X-A", b": b", b" X-A: b", b"X-A : b", b"X-A: b\rc", b"X-A: b\nc", b"X-A: \0", b"X-A: b\x0b"),
        *(b"X-A: \x7f", b"X\xe9: b", b"X_A: b", b"Proxy: b", b"Expect: 100-continue", b"Upgrade: b"),
        *(
            b"Transfer-Encoding: chunked",
            b"Host:",
            b"Host: a b",
            b"Content-Length: +5",
            b"Content-Length: \xb2",
        ),
    ],
)
def test_a_line_that_is_not_known_never_is(line: bytes) -> None:
    lines = FieldLines()
    for _ in range(3):
        with pytest.raises(NotFast):
            lines[line + b"\r"]
    assert len(lines) == 0


@pytest.mark.parametrize(
    "line", [b"X-A: b", b"X-A:", b"X-A", b"", b"X-A: b\r\r", b"X-A: b\r ", b"X-A:\rb\r", b"\r\r"]
)
def test_a_field_line_ends_with_one_cr(line: bytes) -> None:
    with pytest.raises(NotFast):
        FieldLines()[line]


def test_a_request_line_is_its_parts() -> None:
    lines = RequestLines()
    expected = ("GET", "/%41?b?c", "/%41", "/A", "b?c", "HTTP/1.1")
    assert [lines[b"GET /%41?b?c HTTP/1.1\r"] for _ in range(3)] == [expected] * 3
    assert len(lines) == 0  # the query may hold a secret
    assert [lines[b"PUT / HTTP/1.0\r"] for _ in range(3)] == [("PUT", "/", "/", "/", "", "HTTP/1.0")] * 3
    assert list(lines) == [b"PUT / HTTP/1.0\r"]


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"",
            b"GET",
            b"GET /",
            b"GET  / HTTP/1.1",
            b"get / HTTP/1.1",
            b"CONNECT / HTTP/1.1",
            b"GET * HTTP/1.1",
        ),
        *(b"GET a HTTP/1.1", b"GET http://a/ HTTP/1.1", b"GET /#a HTTP/1.1", b"GET /\xe9 HTTP/1.1"),
        *(b"GET /%zz HTTP/1.1", b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / http/1.1", b"GET / HTTP/1.1\r"),
    ],
)
def test_a_request_line_that_is_not_common_is_left_to_h11(line: bytes) -> None:
    with pytest.raises(NotFast):
        RequestLines()[line + b"\r"]


def test_a_request_line_ends_with_cr() -> None:
    with pytest.raises(NotFast):
        RequestLines()[b"GET / HTTP/1.1"]
