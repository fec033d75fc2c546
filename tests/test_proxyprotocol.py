"""The PROXY protocol's header, byte by byte."""

import socket

import pytest

from aiowsgi.http.proxyprotocol import LONGEST_V1, LONGEST_V2, Header, NotProxyProtocol, read_header

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
REST = b"GET / HTTP/1.1\r\n"


def v2(family: int, content: bytes, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(content).to_bytes(2, "big") + content


def tcp4(source: str, port: int) -> bytes:
    return socket.inet_aton(source) + socket.inet_aton("10.0.0.1") + port.to_bytes(2, "big") + b"\0\x50"


def tcp6(source: str, port: int) -> bytes:
    pton = socket.inet_pton
    addresses = pton(socket.AF_INET6, source) + pton(socket.AF_INET6, "::1")
    return addresses + port.to_bytes(2, "big") + b"\0\x50"


TLV = b"\x03\0\x04abcd"  # a CRC32c, which is not looked at

HEADERS = {
    "v1 TCP4": (b"PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\r\n", ("192.0.2.9", "4711")),
    "v1 TCP6": (b"PROXY TCP6 2001:DB8::9 ::1 0 65535\r\n", ("2001:db8::9", "0")),
    "v1 longest": (
        b"PROXY TCP6 %b %b 65535 65535\r\n" % ((b"ffff:" * 8)[:-1], (b"ffff:" * 8)[:-1]),
        ("ffff:" * 7 + "ffff", "65535"),
    ),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "v1 UNKNOWN with more": (b"PROXY UNKNOWN %b %b 65535 65535\r\n" % ((b"f:" * 20)[:-1], b"::"), None),
    "v2 TCP4": (v2(0x11, tcp4("192.0.2.9", 4711)), ("192.0.2.9", "4711")),
    "v2 TCP6": (v2(0x21, tcp6("2001:db8::9", 65535)), ("2001:db8::9", "65535")),
    "v2 an IPv4 address in IPv6": (v2(0x21, tcp6("::ffff:192.0.2.9", 1)), ("192.0.2.9", "1")),
    "v2 a Unix socket": (v2(0x31, b"/run/a".ljust(108, b"\0") * 2), ("", "")),
    "v2 UNSPEC": (v2(0x00, b""), None),
    "v2 UNSPEC with more": (v2(0x00, b"x" * 50), None),
    "v2 LOCAL": (v2(0x00, b"", command=0x20), None),
    "v2 LOCAL with addresses": (v2(0x11, tcp4("192.0.2.9", 4711), command=0x20), None),
    "v2 LOCAL without addresses": (v2(0x21, b"", command=0x20), None),
    "v2 TLV": (v2(0x11, tcp4("192.0.2.9", 4711) + TLV), ("192.0.2.9", "4711")),
    "v2 longest": (v2(0x11, tcp4("192.0.2.9", 4711).ljust(LONGEST_V2 - 16, b"\0")), ("192.0.2.9", "4711")),
}


@pytest.mark.parametrize(("data", "client"), HEADERS.values(), ids=HEADERS)
def test_a_header_is_read_whole_and_nothing_behind_it(data: bytes, client: tuple[str, str] | None) -> None:
    for size in range(len(data)):
        assert read_header(data[:size]) is None
    assert read_header(data) == read_header(data + REST) == Header(client, len(data))


REFUSED = {
    "a request": REST,
    "TLS": bytes.fromhex("16030100c6010000c20303"),
    "another letter": b"PROXX",
    "lower case": b"proxy TCP4",
    "a tab": b"PROXY\tTCP4",
    "an empty line": b"\r\n\r\nPROXY",
    "v1 bare LF": b"PROXY TCP4 192.0.2.9 10.0.0.1 4711 80\n",
    "v1 two blanks": b"PROXY TCP4  192.0.2.9 10.0.0.1 4711 80\r\n",
    "v1 a blank at the end": b"PROXY TCP4 192.0.2.9 10.0.0.1 4711 80 \r\n",
    "v1 one port": b"PROXY TCP4 192.0.2.9 10.0.0.1 4711\r\n",
    "v1 a port too high": b"PROXY TCP4 192.0.2.9 10.0.0.1 65536 80\r\n",
    "v1 a port with a zero": b"PROXY TCP4 192.0.2.9 10.0.0.1 04711 80\r\n",
    "v1 a sign": b"PROXY TCP4 192.0.2.9 10.0.0.1 +4711 80\r\n",
    "v1 IPv6 as IPv4": b"PROXY TCP4 ::1 ::1 4711 80\r\n",
    "v1 IPv4 as IPv6": b"PROXY TCP6 192.0.2.9 10.0.0.1 4711 80\r\n",
    "v1 a zero in an address": b"PROXY TCP4 192.0.2.09 10.0.0.1 4711 80\r\n",
    "v1 an address cut short": b"PROXY TCP4 192.0.2 10.0.0.1 4711 80\r\n",
    "v1 a bad destination": b"PROXY TCP4 192.0.2.9 10.0.0.256 4711 80\r\n",
    "v1 a name": b"PROXY TCP4 localhost 10.0.0.1 4711 80\r\n",
    "v1 UDP4": b"PROXY UDP4 192.0.2.9 10.0.0.1 4711 80\r\n",
    "v1 nothing": b"PROXY \r\n",
    "v1 UNKNOWN without a blank": b"PROXY UNKNOWNX\r\n",
    "v1 UNKNOWN with a control character": b"PROXY UNKNOWN \x1b\r\n",
    "v1 too long": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "v1 without an end": b"PROXY UNKNOWN " + b"x" * (LONGEST_V1 - 14),
    "v2 another signature": SIGNATURE[:-1] + b"\r",
    "v2 version 1": v2(0x11, tcp4("192.0.2.9", 1), command=0x11),
    "v2 version 3": v2(0x11, tcp4("192.0.2.9", 1), command=0x31),
    "v2 another command": v2(0x11, tcp4("192.0.2.9", 1), command=0x22),
    "v2 UDP": v2(0x12, tcp4("192.0.2.9", 1)),
    "v2 another family": v2(0x41, bytes(12)),
    "v2 another transport": v2(0x13, bytes(12)),
    "v2 TCP4 cut short": v2(0x11, tcp4("192.0.2.9", 1)[:-1]),
    "v2 TCP6 cut short": v2(0x21, tcp4("192.0.2.9", 1)),
    "v2 a Unix socket cut short": v2(0x31, bytes(215)),
    "v2 too long": v2(0x11, bytes(LONGEST_V2 - 15)),
    "v2 far too long, and not come yet": SIGNATURE + b"\x21\x11\xff\xff",
    "v2 LOCAL too long": v2(0x00, bytes(LONGEST_V2), command=0x20),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(NotProxyProtocol):
        read_header(data)
    with pytest.raises(NotProxyProtocol):
        read_header(data + REST)


def test_nothing_is_waited_for_that_cannot_come_any_more() -> None:
    """However it drips: what is refused whole is refused with no more than what has come of the longest header."""
    for data in REFUSED.values():
        for size in range(len(data) + 1):
            try:
                assert read_header(data[:size]) is None
            except NotProxyProtocol:
                break
        assert size <= LONGEST_V2
