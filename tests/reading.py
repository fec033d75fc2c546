"""Reading a stream of bytes as a connection does, on each road of the parser, and what h11 makes of the same bytes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import h11

from aiowsgi.config import Limits
from aiowsgi.http.messages import HTTPError, Request
from aiowsgi.http.parser import ContentReader, Parser

LIMITS = Limits()
NARROW = Limits(request_line=40, head=160, fields=5, content=20)
STATUSES = {400, 413, 414, 417, 431, 501, 505}

# What a parser reads; the others are for who answers to fill in.
READ = [name for name in Request.__slots__ if name not in ("strict", "spent")]
ATTRIBUTES = (*READ, "has_content", "chunked", "expect_continue")


class Reading(NamedTuple):
    messages: list[dict[str, Any]]  # ATTRIBUTES of each Request, "content", and whether it has "ended"
    refused: int | None  # the status
    rest: bytes  # of a head that has not come whole


def read(parser: Parser, pieces: Iterable[bytes]) -> Reading:
    messages: list[dict[str, Any]] = []
    try:
        rest = _read(parser, pieces, messages)
    except HTTPError as error:
        return Reading(messages, status_of(error), b"")
    return Reading(messages, None, rest)


def status_of(error: HTTPError) -> int:
    assert error.status in STATUSES
    return error.status


def _read(parser: Parser, pieces: Iterable[bytes], messages: list[dict[str, Any]]) -> bytes:
    content: ContentReader | None = None
    buffer, scanned = b"", 0
    for piece in pieces:
        buffer += piece
        while buffer:
            if content is None:
                found = parser.head(buffer, scanned)
                if found is None:
                    scanned = len(buffer)
                    break
                request, content, size = found
                assert 0 < size <= len(buffer)
                assert request.has_content == (content is not None)
                attributes = {name: getattr(request, name) for name in ATTRIBUTES}
                messages.append(attributes | {"content": b"", "ended": content is None})
                buffer, scanned = buffer[size:], 0
            else:
                data, ended, rest = content.receive(buffer)
                assert buffer.endswith(rest)
                assert ended or len(rest) < len(buffer)
                messages[-1]["content"] += data
                messages[-1]["ended"] = ended
                buffer = rest
                if ended:
                    content = None
    return buffer


def single_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Cut pieces of ``sizes`` from ``data``, again and again."""
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        pieces.append(data[at : at + sizes[len(pieces) % len(sizes)]])
        at += len(pieces[-1])
    return pieces


def ways(data: bytes) -> Iterator[list[bytes]]:
    """Cut ``data`` in the ways that a file of the corpus is tried in; a long one byte by byte at its end only."""
    yield [data]
    yield cut(data, [1000])
    begin = max(0, len(data) - 2000)
    for size in (1, 2, 3, 7):
        yield [data[:begin], *cut(data[begin:], [size])]


def assert_read_alike(data: bytes, pieces: list[bytes], limits: Limits) -> Reading:
    """Check that a cold parser, the same one warm, and h11 alone make the same of ``pieces``."""
    reading = read(Parser(limits, fast=False), pieces)
    fast = Parser(limits)
    assert read(fast, pieces) == reading
    assert read(fast, pieces) == reading
    assert read(fast, pieces) == reading
    return reading


def assert_same_in_other_pieces(whole: Reading, other: Reading) -> None:
    """Check what must not depend on where the network cuts.

    Of several mistakes in one head the first that can be seen is named, which does depend on that: a head that is
    too large, once it is whole, may hide another mistake.
    """
    if whole.refused is None or other.refused is None:
        assert other == whole
        return
    for mine, its in zip(whole.messages, other.messages, strict=True):
        if not mine["ended"]:
            mine = mine | {"content": its["content"]}  # that of a request which nobody will see
        assert its == mine
    assert other.refused == whole.refused or {414, 431} & {other.refused, whole.refused}


def assert_equal(data: bytes, sizes: Sequence[int], limits: Limits) -> Reading:
    """Check all that holds for any bytes."""
    whole = assert_read_alike(data, [data], limits)
    assert_same_in_other_pieces(whole, assert_read_alike(data, cut(data, sizes), limits))
    assert_same_in_other_pieces(whole, assert_read_alike(data, single_bytes(data), limits))
    assert_as_h11_reads(whole, data)
    return whole


# What h11 says of the same bytes.


def cgi_fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Name, drop and join fields as a Request must have them."""
    fields: dict[str, list[str]] = {}
    for raw_name, value in headers:
        name = raw_name.decode().lower()
        dropped = "_" in name or re.fullmatch("proxy|forwarded|x-real-ip|x-forwarded-.*", name)
        if not dropped and name != "transfer-encoding":
            key = name.replace("-", "_").upper()
            prefix = "" if name in ("content-type", "content-length") else "HTTP_"
            fields.setdefault(prefix + key, []).append(value.decode("latin-1"))
    return {key: ("; " if key == "HTTP_COOKIE" else ", ").join(values) for key, values in fields.items()}


class Message(NamedTuple):
    """A request as h11 reads it."""

    method: str
    target: str
    version: str
    fields: dict[str, str]
    content: bytes
    ended: bool  # the content has come whole

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow (RFC 9112 section 9.3)."""
        options = re.split(r"[ \t]*,[ \t]*", self.fields.get("HTTP_CONNECTION", "").lower())
        upgrades = self.fields.get("HTTP_UPGRADE", "").lower() not in ("", "h2c")
        return (
            "close" not in options
            and not upgrades
            and (self.version == "HTTP/1.1" or "keep-alive" in options)
        )


def read_by_h11(data: bytes) -> tuple[list[Message], bytes]:
    """Return what bare h11 reads, one connection for each message, and what is behind the last one that has ended."""
    messages: list[Message] = []
    while not messages or messages[-1].ended:
        reference = h11.Connection(h11.SERVER, max_incomplete_event_size=1024 * 1024)
        reference.receive_data(
            data.removeprefix(b"\r\n")
        )  # h11 does not forgive the empty line before a request
        try:
            request = reference.next_event()
        except h11.RemoteProtocolError as error:
            error.__traceback__ = None  # which h11 makes a circle of
            break
        if not isinstance(request, h11.Request):
            break
        content, ended = _content_by_h11(reference)
        messages.append(_message(request, content, ended))
        if ended:
            data = reference.trailing_data[0]
    return messages, data


def _content_by_h11(reference: h11.Connection) -> tuple[bytes, bool]:
    content = b""
    try:
        while isinstance(event := reference.next_event(), h11.Data):
            content += event.data
    except h11.RemoteProtocolError as error:
        error.__traceback__ = None
        return content, False
    return content, isinstance(event, h11.EndOfMessage)


def _message(request: h11.Request, content: bytes, ended: bool) -> Message:
    target = request.target.decode()
    version = "HTTP/1.0" if request.http_version == b"1.0" else "HTTP/1.1"
    fields = cgi_fields(request.headers.raw_items())
    if not target.startswith(("/", "*")) and "//" in target:
        fields["HTTP_HOST"] = re.split("[/?]", target.split("//", 1)[1])[0]
    return Message(request.method.decode(), target, version, fields, content, ended)


def assert_as_h11_reads(reading: Reading, data: bytes) -> None:
    """Check that whatever was not refused is what bare h11 reads."""
    messages, rest = read_by_h11(data)
    for mine, its in zip(reading.messages, messages, strict=reading.refused is None):
        assert (mine["method"], mine["target"], mine["version"]) == (its.method, its.target, its.version)
        assert (mine["fields"], mine["keep_alive"]) == (its.fields, its.keep_alive)
        if mine["ended"] or reading.refused is None:
            assert (mine["content"], mine["ended"]) == (its.content, its.ended)
    assert len(reading.messages) <= len(messages)
    if reading.refused is None and all(message["ended"] for message in reading.messages):
        assert reading.rest == rest
