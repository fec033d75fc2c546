"""Names of servers: those that real clients ask for, and those of certificates that openssl makes."""

import ssl
from pathlib import Path

import pytest

from aiowsgi.server.servernames import (
    LONGEST_HELLO,
    MOST_EXTENSIONS,
    MOST_RECORDS,
    name_in_hello,
    names_in_certificate,
)
from tests.authority import Authority


def hello(name: str | None) -> bytes:
    """Return the first message of a client that asks for ``name``."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = name is not None
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_the_name_of_a_hello() -> None:
    assert name_in_hello(hello("Example.ORG")) == "example.org"
    assert name_in_hello(hello(None)) == ""
    assert name_in_hello(hello("192.0.2.1")) == ""


def test_a_hello_that_is_not_whole_is_waited_for() -> None:
    whole = hello("example.org")
    assert {name_in_hello(whole[:count]) for count in range(len(whole))} == {None}
    assert name_in_hello(whole + b"more") == "example.org"


def in_records(message: bytes, size: int) -> bytes:
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    return b"".join(b"\x16\3\1" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def test_a_hello_may_come_in_several_records() -> None:
    message = hello("example.org")[5:]
    records = in_records(message, len(message) // 10)
    assert name_in_hello(records) == "example.org"
    assert {name_in_hello(records[:count]) for count in range(len(records))} == {None}


@pytest.mark.parametrize("records", [b"\x16\3\1\0\0" * 3000, in_records(b"\1\0\x3f\xf0" + bytes(2000), 1)])
def test_in_many_records_no_name_is_looked_for(records: bytes) -> None:
    assert name_in_hello(records[:40]) is None
    assert name_in_hello(records[: MOST_RECORDS * 6]) == ""
    assert name_in_hello(records) == ""


@pytest.mark.parametrize(("count", "expected"), [(10, "a"), (MOST_EXTENSIONS, "")])
def test_behind_many_extensions_no_name_is_looked_for(count: int, expected: str) -> None:
    name = b"\0\0\0\6\0\4\0\0\1a"
    extensions = b"\xff\xff\0\0" * count + name
    body = bytes(2 + 32 + 1) + b"\0\2\x13\1" + b"\1\0" + len(extensions).to_bytes(2, "big") + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    assert name_in_hello(in_records(message, len(message))) == expected


def test_a_hello_without_an_end_is_not_waited_for_for_ever() -> None:
    endless = b"\x16\3\1\x40\0\1\0\x3f\xfc" + bytes(LONGEST_HELLO)
    assert name_in_hello(endless[:100]) is None
    assert name_in_hello(endless) == ""
    assert name_in_hello(b"\x16\3\1\x40\0\1\xff\xff\xff") == ""


@pytest.mark.parametrize("data", [b"\x15\3\1\0\2\1\0", b"\x16\3\1\0\4\2\0\0\0", b"\x80\x2e\1\3\1" * 9])
def test_what_is_no_hello_asks_for_nothing(data: bytes) -> None:
    assert name_in_hello(data) == ""


def test_no_change_of_a_byte_is_too_much() -> None:
    whole = hello("example.org")
    for position in range(len(whole)):
        for byte in (0, 1, 0x7F, 0xFF):
            name_in_hello(whole[:position] + bytes([byte]) + whole[position + 1 :])


def test_a_name_may_be_any_bytes() -> None:
    whole = hello("example.org").replace(b"example.org", b"\xff\n\r\0\x1b[2Jexa")
    assert name_in_hello(whole) == "\xff\n\r\0\x1b[2jexa"


def test_the_names_of_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    several = authority.issue("several", "Example.ORG", "*.example.org", "xn--bcher-kva.example")
    expected = ["example.org", "*.example.org", "xn--bcher-kva.example"]
    assert names_in_certificate(several.certificate.read_bytes()) == expected
    old = authority.issue("Old.example", subject="/C=DE/O=Example/CN=Old.example")
    assert names_in_certificate(old.certificate.read_bytes()) == ["old.example"]
    nobody = authority.issue("nobody", subject="/O=Example")
    assert names_in_certificate(nobody.certificate.read_bytes()) == []


def test_of_a_chain_the_first_certificate_counts(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("leaf", "leaf.example")
    chain = b"a comment\n" + pair.certificate.read_bytes() + authority.file.read_bytes()
    assert names_in_certificate(chain) == ["leaf.example"]
