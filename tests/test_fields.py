"""The grammar of header fields."""

import re
from time import process_time

import pytest

from aiowsgi.http.fields import FIELD_LINE, SECRET, TOKEN, VALUE, is_host, tokens

BYTES = [chr(code) for code in range(256)]


@pytest.mark.parametrize(
    "value",
    [
        *("a", "A", "1", "example.org", "example.org.", "my_host", "a-b", "~a", "a%2D%2db", "a:"),
        *("a:0", "a:80", "a:65535"),
        *("192.0.2.1", "192.0.2.1:8080", "[::1]", "[::]:80", "[2001:db8::1]"),
        *("[1:2:3:4:5:6:7:8]:9", "[::ffff:1.2.3.4]"),
    ],
)
def test_is_host(value: str) -> None:
    assert is_host(value)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "a b", " a", "a ", "a,b", "a;b", "a/b", "a/", "a?b", "a#b", "b@a", "b:c@a"),
        *("http://a", "a\\b", '"a"', "a'b"),
        *("(a)", "a!b", "a=b", "caf\xe9", "a\0", "a\n", "a\t", "\x7f", "%", "a%", "a%4", "a%zz", "a%4g"),
        *(":", ":80", "a:b", "a:80b", "a:-1", "a:+1", "a: 80", "a:80:80", "a:65536", "a:99999"),
        *("a:000080", "a:\xb2"),
        *("::1", "[", "[]", "[::1", "::1]", "[::1]a", "a[::1]", "[[::1]]", "[::g]", "[1:2]"),
        *("[:::]", "[1:2:3:4:5:6:7:8:9]"),
        *("[::1%25eth0]", "[::1%eth0]", "[::1.2.3]", "[::1.2.3.400]", "[12345::]", "[v1.a]"),
        *("[192.0.2.1]", "[a]"),
    ],
)
def test_is_no_host(value: str) -> None:
    assert not is_host(value)


@pytest.mark.parametrize(
    "value", ["a" * 60_000, "%41" * 20_000 + "%", "[" + "1:" * 30_000 + "]", "a:" * 30_000]
)
def test_a_long_host_costs_little_time(value: str) -> None:
    began = process_time()
    is_host(value)
    assert process_time() - began < 1  # second


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", []),
        (" \t", []),
        (",", []),
        ("close", ["close"]),
        ("Keep-Alive", ["keep-alive"]),
        ("Close, X", ["close", "x"]),
        (" \tclose\t ,,x,", ["close", "x"]),
        ("a b", ["a b"]),
        ("\xa0close", ["\xa0close"]),  # not a blank, in HTTP
    ],
)
def test_tokens(value: str, expected: list[str]) -> None:
    assert tokens(value) == expected


def test_the_characters_of_a_token() -> None:
    allowed = "".join(character for character in BYTES if re.fullmatch(TOKEN, character))
    assert allowed == "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
    assert not re.fullmatch(TOKEN, "")
    assert not re.fullmatch(TOKEN, "\u0661")  # a digit, but not an ASCII one


def test_the_characters_of_a_value() -> None:
    refused = [ord(character) for character in BYTES if not re.fullmatch(VALUE, character)]
    assert refused == [*range(0x09), *range(0x0A, 0x20), 0x7F]
    assert re.fullmatch(VALUE, "")
    assert not re.fullmatch(VALUE, "\u20ac")  # no latin-1


def test_what_may_be_in_a_field_line_is_the_same() -> None:
    line = re.compile(FIELD_LINE)
    for code in range(256):
        byte, character = bytes([code]), chr(code)
        assert bool(line.fullmatch(byte + b":")) == bool(re.fullmatch(TOKEN, character))
        assert bool(line.fullmatch(b"A: b" + byte + b"c")) == bool(re.fullmatch(VALUE, character))
        assert bool(line.fullmatch(b"A:" + byte)) == bool(re.fullmatch(VALUE, character))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"A:", (b"A", b"")),
        (b"A:b", (b"A", b"b")),
        (b"A: \t b c \t", (b"A", b"b c \t")),
        (b"A: b: c", (b"A", b"b: c")),
        (b"A:\xff", (b"A", b"\xff")),
    ],
)
def test_a_field_line_is_name_and_value(data: bytes, expected: tuple[bytes, bytes]) -> None:
    match = re.fullmatch(FIELD_LINE, data)
    assert match is not None
    assert match.groups() == expected


@pytest.mark.parametrize(
    "data", [b"", b":", b": b", b"A", b" A: b", b"A : b", b"A\t: b", b"A B: c", b"A: b\r", b"A: b\n"]
)
def test_is_no_field_line(data: bytes) -> None:
    assert re.fullmatch(FIELD_LINE, data) is None


def test_a_field_line_of_blanks_costs_little_time() -> None:
    began = process_time()
    assert re.fullmatch(FIELD_LINE, b"A:" + b" " * 60_000 + b"\0") is None
    assert process_time() - began < 1  # second


@pytest.mark.parametrize(
    "name",
    [
        *("Cookie", "Referer", "set-cookie", "Authorization", "Proxy-Authorization", "X-Auth"),
        *("X-API-Key", "X-Amz-Security-Token"),
        *("X-CSRFToken", "X-XSRF", "X-Session-Id", "X-Hub-Signature", "Client-Secret", "X-Password", "X-JWT"),
    ],
)
def test_names_that_speak_of_a_secret(name: str) -> None:
    assert SECRET.search(name)


@pytest.mark.parametrize("name", ["Host", "User-Agent", "Accept-Language", "Content-Type", "X-Forwarded-For"])
def test_names_that_do_not(name: str) -> None:
    assert not SECRET.search(name)
