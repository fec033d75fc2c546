"""The PROXY protocol, versions 1 and 2: the bytes before a connection's first -> whose connection it is.

The protocol is HAProxy's (https://www.haproxy.org/download/2.6/doc/proxy-protocol.txt); its sections are named below.
Nothing is guessed: a connection that has to begin with a header and does not is broken.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from aiowsgi.http.forwarded import canonical

# Section 2.1: the longest line, with its CRLF.
LONGEST_V1 = 107
# Bytes of a version 2 header and all that it carries beside the addresses. Its length field would let it have 65,551;
# nginx, too, takes 4096, and the longest in use hold a client certificate's name and a cloud's identifiers.
LONGEST_V2 = 4096

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
_HEAD = 16  # bytes of version 2 before the addresses

_line = re.compile(
    rb"PROXY (?:UNKNOWN(?: [ -~]*)?"
    rb"|TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
).fullmatch
# Section 2.2: address family and transport -> how many bytes its addresses take. TCP over IPv4 and over IPv6, a Unix
# socket, and what the sender does not know.
_TCP4, _TCP6, _UNIX, _UNSPECIFIED = 0x11, 0x21, 0x31, 0x00
_SIZES = {_TCP4: 12, _TCP6: 36, _UNIX: 216, _UNSPECIFIED: 0}


class NotProxyProtocol(ValueError):
    """The bytes are no header of the PROXY protocol, and cannot become one."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says."""

    # Address and port of who has connected to the proxy, both "" if that was by a Unix socket; None where the
    # connection is the proxy's own (a health check, say) or it does not know.
    client: tuple[str, str] | None
    size: int  # bytes that the header takes


def read_header(data: bytes) -> Header | None:
    """Read the header at the beginning of ``data``; None where its end has not come.

    Raises NotProxyProtocol.
    """
    if data.startswith(_V2):
        return _read_v2(data)
    if data.startswith(_V1):
        return _read_v1(data)
    if _V2.startswith(data) or _V1.startswith(data):
        return None
    raise NotProxyProtocol("it does not begin as one")


def _read_v1(data: bytes) -> Header | None:
    size = data.find(b"\n", 0, LONGEST_V1) + 1
    if not size:
        if len(data) < LONGEST_V1:
            return None
        raise NotProxyProtocol("its line is too long")
    match = _line(data[:size])
    if match is None:
        raise NotProxyProtocol("its line is malformed")
    if match[1] is None:
        return Header(None, size)
    kind = IPv4Address if match[1] == b"4" else IPv6Address
    try:
        source, _ = kind(match[2].decode()), kind(match[3].decode())
    except ValueError:
        raise NotProxyProtocol("an address is malformed") from None
    if max(int(match[4]), int(match[5])) > 65535:
        raise NotProxyProtocol("a port is out of range")
    return Header((canonical(source), match[4].decode()), size)


def _read_v2(data: bytes) -> Header | None:
    if len(data) < _HEAD:
        return None
    command, family = data[12], data[13]
    size = _HEAD + int.from_bytes(data[14:16], "big")
    if command not in (0x20, 0x21):
        raise NotProxyProtocol("its version or command is unknown")
    if family not in _SIZES:
        raise NotProxyProtocol("its address family or transport is unknown")
    if size > LONGEST_V2:
        raise NotProxyProtocol("it is too long")
    local = command == 0x20  # whatever family it names, and whatever follows (section 2.2)
    if not local and size < _HEAD + _SIZES[family]:
        raise NotProxyProtocol("it is too short for its addresses")
    if len(data) < size:
        return None
    if local or family == _UNSPECIFIED:
        return Header(None, size)
    if family == _TCP4:
        return Header((str(IPv4Address(data[16:20])), str(int.from_bytes(data[24:26], "big"))), size)
    if family == _TCP6:
        return Header((canonical(IPv6Address(data[16:32])), str(int.from_bytes(data[48:50], "big"))), size)
    return Header(("", ""), size)
