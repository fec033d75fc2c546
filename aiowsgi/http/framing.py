"""Response -> bytes: the status line, the fields, and how the receiver finds the end of the content.

RFC 9112 sections 4 to 6. Whoever makes a response calls this, so a pool thread ends with bytes.
"""

import re
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from html import escape
from http import HTTPStatus
from time import time
from typing import Any

from aiowsgi.http.fields import SECRET, TOKEN, VALUE, tokens
from aiowsgi.http.memo import Memo
from aiowsgi.http.messages import Content, Field, FileRange, HTTPError, Parts, Request, Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_is_token = re.compile(TOKEN).fullmatch
_is_content_length = re.compile("[0-9]{1,18}").fullmatch
_is_value = re.compile(VALUE).fullmatch
# RFC 9110 section 15: a final status. An application has no way to send 1xx (PEP 3333), and 101 would promise
# a protocol that nobody here speaks.
_is_status = re.compile(rf"[2-5][0-9][0-9] {VALUE}").fullmatch


# What a field means to framing, in bits: _DATE, _SERVER and _STRICT, for a response may have all of them, and _ONCE for
# a line that must not be remembered.
_PLAIN, _DATE, _SERVER, _CONTENT_LENGTH, _HOP_BY_HOP, _ONCE, _STRICT = 0, 1, 2, 4, 8, 16, 32

# Bytes past which a memo keeps nothing: what is longer hardly ever comes twice.
_LONGEST_KNOWN_STATUS, _LONGEST_KNOWN_LINE, _LONGEST_KNOWN_HEAD = 64, 256, 1024

# PEP 3333, "Other HTTP Features": an application must not use these; they belong to the connection.
_KINDS = {
    "content-length": _CONTENT_LENGTH,
    "connection": _HOP_BY_HOP,
    "keep-alive": _HOP_BY_HOP,
    "proxy-authenticate": _HOP_BY_HOP,
    "proxy-authorization": _HOP_BY_HOP,
    "proxy-connection": _HOP_BY_HOP,
    "te": _HOP_BY_HOP,
    "trailer": _HOP_BY_HOP,
    "trailers": _HOP_BY_HOP,
    "transfer-encoding": _HOP_BY_HOP,
    "upgrade": _HOP_BY_HOP,
    "date": _DATE,
    "server": _SERVER,
    "strict-transport-security": _STRICT,
}


class _FieldLines(Memo[Field, tuple[bytes, int]]):
    """(name, value) -> the checked line with its CRLF, and what the name means to framing."""

    def __missing__(self, key: Field) -> tuple[bytes, int]:
        if not (isinstance(key, tuple) and len(key) == 2):
            raise ValueError(f"PEP 3333 asks for header fields as (name, value) tuples, not {key!r}")
        name, value = key
        if not (isinstance(name, str) and isinstance(value, str)):
            raise ValueError(f"PEP 3333 asks for str names and values of header fields, not {key!r}")
        if _is_token(name) is None:
            raise ValueError(f"PEP 3333 asks for RFC 9110 field names; {name!r} is none")
        if _is_value(value) is None:
            raise ValueError(
                f"PEP 3333 asks for latin-1 field values without control characters; {name}: {value!r} is none"
            )
        kind = _KINDS.get(name.lower(), _PLAIN)
        if kind == _CONTENT_LENGTH and _is_content_length(value) is None:
            raise ValueError(f"PEP 3333 asks for a Content-Length of digits only, not {value!r}")
        line = f"{name}: {value}\r\n".encode("latin-1")
        if len(line) > _LONGEST_KNOWN_LINE or SECRET.search(name) is not None:
            return line, kind | _ONCE
        self.remember(key, (line, kind))
        return line, kind


class _StatusLines(Memo[str, tuple[bytes, int]]):
    """ "200 OK" -> the status line with its CRLF, and the code."""

    def __missing__(self, key: str) -> tuple[bytes, int]:
        if not isinstance(key, str) or _is_status(key) is None:
            raise ValueError(
                f"PEP 3333 asks for a status like '200 OK': three digits from 200 to 599, a space, a reason"
                f" without control characters; {key!r} is none"
            )
        line = f"HTTP/1.1 {key}\r\n".encode("latin-1"), int(key[:3])
        if len(key) <= _LONGEST_KNOWN_STATUS:
            self.remember(key, line)
        return line


_field_lines = _FieldLines()
_status_lines = _StatusLines(size=64)
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_clock_lines: tuple[int, tuple[bytes, bytes, bytes, bytes]] = (0, (b"", b"", b"", b""))


def _date_and_server(own: int) -> bytes:
    """Return the Date and Server lines, without those that are in ``own`` (RFC 9110 section 6.6.1)."""
    global _clock_lines
    second, lines = _clock_lines
    if not second <= time() < second + 1:
        second = int(time())
        date, server = f"Date: {formatdate(second, usegmt=True)}\r\n".encode(), b"Server: aiowsgi\r\n"
        lines = (date + server, server, date, b"")
        _clock_lines = (second, lines)
    return lines[own]


def field_lines(fields: Iterable[Field]) -> bytes:
    """Render header fields, each line with its CRLF.

    Raises ValueError for a name or value that RFC 9110 section 5 does not allow, a line break above all.
    """
    return b"".join([_field_lines[field][0] for field in fields])


class Head:
    """A status and fields, checked and rendered, before the content's length is known. It never changes.

    Raises ValueError, in the words of PEP 3333, for a status or a field that must not reach the wire.
    """

    __slots__ = ("_lines", "_meaning", "code", "content_length", "dropped", "ends_answer", "keep_alive")

    content_length: int | None

    def __init__(self, status: str, fields: Iterable[Field]) -> None:
        status_line, self.code = _status_lines[status]
        self.ends_answer = self.code == 204 or self.code == 304  # whatever the fields say
        self.content_length = None
        self.keep_alive = True
        self.dropped: list[str] = []
        lines = [status_line]
        self._meaning = _PLAIN if len(status) <= _LONGEST_KNOWN_STATUS else _ONCE  # and that of all fields
        for field in fields:
            try:
                line, kind = _field_lines[field]
            except TypeError:  # nothing that a dict takes as a key
                raise ValueError(
                    f"PEP 3333 asks for header fields as (name, value) tuples of str, not {field!r}"
                ) from None
            self._meaning |= kind
            if kind & _HOP_BY_HOP:
                self._drop(*field)
            elif not kind & _CONTENT_LENGTH:
                lines.append(line)
            elif self.content_length is None:
                self.content_length = int(field[1])
            else:
                raise ValueError("PEP 3333 asks for one Content-Length, and this response has two")
        self._lines = b"".join(lines)

    @property
    def lasting(self) -> bool:
        """Whether it may be remembered."""
        return not self._meaning & _ONCE and len(self._lines) <= _LONGEST_KNOWN_HEAD

    def _drop(self, name: str, value: str) -> None:
        options = tokens(value) if name.lower() == "connection" else []
        if "close" in options:
            self.keep_alive = False
        if options != ["close"] and options != ["keep-alive"]:
            self.dropped.append(name)

    def render(self, request: Request, length: int | None, keep_alive: bool) -> tuple[bytes, bool, bool]:
        """Return the head's bytes, whether the connection is kept alive, and whether content is chunked.

        ``length`` is the content's number of bytes where it is known (RFC 9112 section 6.3, and section 9.3
        for the connection).
        """
        start = self._lines + _date_and_server(self._meaning & (_DATE | _SERVER))
        if request.strict and not self._meaning & _STRICT:
            start += request.strict
        keep_alive = keep_alive and self.keep_alive
        chunked = False
        if self.ends_answer:
            pass
        elif length is not None:
            if keep_alive and request.version == "HTTP/1.1":
                return b"%bContent-Length: %d\r\n\r\n" % (start, length), True, False  # as most are
            start += b"Content-Length: %d\r\n" % length
        elif request.method != "HEAD":
            chunked = request.version == "HTTP/1.1"
            if chunked:
                start += b"Transfer-Encoding: chunked\r\n"
            else:
                keep_alive = False
        return start + _end_of_head(request, keep_alive), keep_alive, chunked


class _Heads(Memo[tuple[Any, ...], Head]):
    """(status, field, field, ...) -> the Head: as lines repeat, whole heads do."""

    def __missing__(self, key: tuple[Any, ...]) -> Head:
        head = Head(key[0], key[1:])
        if head.lasting:
            self.remember(key, head)
        return head


_heads = _Heads()


def read_head(status: str, fields: Sequence[Field]) -> Head:
    """Return the Head of what an application said to start_response. Raises ValueError as Head does."""
    if not isinstance(fields, list):
        raise ValueError(f"PEP 3333 asks for header fields as a list, not {type(fields).__name__}")
    try:
        return _heads[(status, *fields)]
    except TypeError:
        return Head(status, fields)  # which tells what is wrong


def has_no_content(request: Request, code: int) -> bool:
    """Tell whether the answer ends with its head whatever its fields say (RFC 9112 section 6.3)."""
    return request.method == "HEAD" or code == 204 or code == 304


def _end_of_head(request: Request, keep_alive: bool) -> bytes:
    if not keep_alive:
        return b"Connection: close\r\n\r\n"
    if request.version == "HTTP/1.0":
        return b"Connection: keep-alive\r\n\r\n"
    return b"\r\n"


def render(response: Response, request: Request, keep_alive: bool) -> tuple[bytes, Sequence[Content]]:
    """Return the bytes of a ready response, and the pieces that go behind them if not all of it is in memory."""
    status, content = response.status, response.content
    length = b"" if status == 204 or status == 304 else b"Content-Length: %d\r\n" % len(content)
    rest: Sequence[Content] = ()
    if has_no_content(request, status):
        content = b""
    elif isinstance(content, FileRange):
        rest, content = (content,), b""
    elif isinstance(content, Parts):
        rest, content = content.pieces, b""
    data = b"".join(
        (
            _STATUS_LINES[status],
            response.fields,
            length,
            _date_and_server(0),
            request.strict,
            _end_of_head(request, keep_alive),
            content,
        )
    )
    return data, rest


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{status} {phrase}</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;margin:15vh auto;max-width:40rem;padding:0 1rem}}</style>
<h1>{status} {phrase}</h1>
<p>{detail}</p>
</html>
"""


def error_response(error: HTTPError) -> Response:
    """Return the plain page of an error."""
    page = _PAGE.format(
        status=error.status,
        phrase=HTTPStatus(error.status).phrase,
        detail=escape(error.detail),
    )
    fields = [("Content-Type", "text/html; charset=utf-8"), *error.fields]
    return Response(error.status, field_lines(fields), page.encode("utf-8", "backslashreplace"))


def chunk(data: bytes) -> bytes:
    """Return ``data``, which is not empty, as one chunk (RFC 9112 section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
