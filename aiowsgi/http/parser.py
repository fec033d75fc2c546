"""Bytes -> Request and content, by two roads that yield the same: a fast one for common heads, h11 for all others.

The fast road recognises a strict subset of what h11 accepts and may only say "this is it" or "not mine". All other
heads go through one ``h11.Connection`` for each message, and with ``fast=False`` so do all heads and all content.
What h11 forgives and a server on the internet should not is refused before h11 sees it: bare LF and CR, folded lines,
control characters, Content-Length more than once or together with Transfer-Encoding, Transfer-Encoding in HTTP/1.0.

Content is framed in two ways only, and read by strict readers of our own: h11 takes microseconds for each chunk and
each piece, however small. ``tests/test_parser.py`` holds the two roads equal, for heads and for content.
"""

import re
from collections.abc import Callable, Iterable
from typing import NoReturn

import h11

from aiowsgi.config import Limits
from aiowsgi.http.chunked import LONGEST_LINE, ChunkedContent
from aiowsgi.http.fields import END_TO_END, FIELD_LINE, TOKEN, is_host, is_proxy_field, tokens
from aiowsgi.http.lines import (
    FORMS,
    Dropped,
    FieldLines,
    NotFast,
    RequestLines,
    cgi_name,
    decode_path,
    is_dropped_of_clients,
)
from aiowsgi.http.messages import UNREAD, HTTPError, Request, bad_request, unread

# RFC 9112 section 3. A fragment ("#") is no part of a request-target, and servers differ in what they do with one.
_request_line = re.compile(rb"(%b) ([!\"$-~]+) HTTP/([0-9])\.([0-9])" % TOKEN.encode()).fullmatch
_field_line = re.compile(FIELD_LINE).fullmatch
# Where a line of a head may not end or go on: LF without CR, CR without LF, and obs-fold (RFC 9112 section 5.2).
_bad_line_end = re.compile(rb"(?<!\r)\n|\r(?!\n)|\r\n[ \t]").search
# The same while the head's end has not come yet: a CR at the very end may still get its LF.
_bad_line_end_so_far = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|\r\n[ \t]").search
# RFC 3986 section 3.2: the scheme, the authority, and what follows it. Userinfo ("user@") is refused by is_host.
_absolute_form = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE).fullmatch
# Bytes. More are rarely one head, and a long pipeline must not be split anew for each of its heads.
_SHORT = 4 * 1024


def _join(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Make repeated fields one (RFC 9110 section 5.3; Cookie: RFC 9113 section 8.2.3)."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            separator = "; " if name == "HTTP_COOKIE" else ", "
            fields[name] = f"{fields[name]}{separator}{value}"
        else:
            fields[name] = value
    return fields


def _persists(version: str, connection: str) -> bool:
    """Tell whether the connection persists by the value of Connection (RFC 9112 section 9.3). Raises HTTPError 400."""
    if connection == "keep-alive":  # as most browsers say
        return True
    options = tokens(connection)
    for option in options:
        if option in END_TO_END or is_proxy_field(option):
            raise bad_request("Connection names a field that is not for one connection only.")
    if "close" in options:
        return False
    return version == "HTTP/1.1" or "keep-alive" in options


def _without_frames(error: h11.RemoteProtocolError) -> h11.RemoteProtocolError:
    """Break the circle that h11 makes of an error and its traceback.

    The frames in it lead up to the event loop, and what all of them hold would wait for the garbage collector.
    """
    return error.with_traceback(None)


class CountedContent:
    """Content that Content-Length counts (RFC 9112 section 6.2)."""

    __slots__ = ("_left",)

    def __init__(self, length: int) -> None:
        self._left = length

    def receive(self, data: bytes) -> tuple[bytes, bool, bytes]:
        """Return the content in ``data``, whether it has ended, and the bytes behind its end."""
        left = self._left
        self._left = left - len(data)
        if self._left > 0:
            return data, False, b""
        return data[:left], True, data[left:]


class ReferenceContent:
    """Content that h11 reads, behind a strict reader that refuses what h11 would forgive."""

    __slots__ = ("_reference", "_strict")

    def __init__(self, reference: h11.Connection, strict: CountedContent | ChunkedContent) -> None:
        self._reference = reference
        self._strict = strict

    def receive(self, data: bytes) -> tuple[bytes, bool, bytes]:
        """As ChunkedContent.receive."""
        _, _, rest = self._strict.receive(data)
        self._reference.receive_data(data[: len(data) - len(rest)])
        pieces: list[bytes] = []
        try:
            while isinstance(event := self._reference.next_event(), h11.Data):
                pieces.append(bytes(event.data))
        except h11.RemoteProtocolError as error:
            raise bad_request("The content is not framed as it should be.") from _without_frames(error)
        return b"".join(pieces), isinstance(event, h11.EndOfMessage), rest


ContentReader = CountedContent | ChunkedContent | ReferenceContent


class Parser:
    """Reads heads; one serves all connections of a worker, for it keeps nothing of any of them."""

    def __init__(
        self, limits: Limits, *, fast: bool = True, drops: Callable[[str], bool] = is_dropped_of_clients
    ) -> None:
        """``drops`` tells of a field's name whether no application is to see it."""
        self._limits = limits
        # Of a whole head split at LF: the request line, the empty one, and nothing behind it.
        self._most_lines = limits.fields + 3
        self._longest_line = limits.request_line + 1  # bytes, with its CR
        self._longest_head = limits.head + 4  # bytes, with the empty line
        self._fast = fast
        self._drops = drops
        self._request_lines = RequestLines()
        self._field_lines = FieldLines(drops)
        self._field = self._field_lines.__getitem__

    def head(self, data: bytes, start: int = 0) -> tuple[Request, ContentReader | None, int] | None:
        """Read the head at the beginning of ``data``.

        Returns the request, what reads its content (None where it has none), and how many bytes the head took;
        or None where its end has not come. ``start`` is how many bytes were looked at in vain before.

        Raises HTTPError: 400, 413, 414, 417, 431, 501 or 505.
        """
        if self._fast and len(data) <= _SHORT and data.endswith(b"\r\n\r\n"):
            # Most often this is one whole head and nothing else. If not, one of its lines is empty, and no field.
            try:
                return self._read_fast(data, len(data))
            except NotFast:
                pass
        begin = 2 if data.startswith(b"\r\n") else 0  # RFC 9112 section 2.2: one empty line may stand before
        end = data.find(b"\r\n\r\n", max(begin, start - 3))
        if end < 0 or end - begin > self._limits.head:
            self._check_unfinished(data[begin:], max(0, start - begin - 2))
            return None
        size = end + 4
        if self._fast and (begin or size < len(data) or size > _SHORT):
            try:
                return self._read_fast(data[begin:size], size)
            except NotFast:
                pass
        return self._read_reference(data[begin:size], size)

    def outline(self, data: bytes) -> Request:
        """Return what the request line at the beginning of ``data`` tells of a request that was refused.

        That is its method, target and version, for the answer and the log; UNREAD where there is no such line.
        """
        begin = 2 if data.startswith(b"\r\n") else 0
        end = data.find(b"\r\n", begin, begin + self._longest_line + 1)
        match = _request_line(data, begin, end) if end > 0 else None
        if match is None:
            return UNREAD
        request = unread()
        request.method, request.target = match[1].decode("ascii"), match[2].decode("ascii")
        request.version = "HTTP/1.0" if match[3] + match[4] == b"10" else "HTTP/1.1"
        request.keep_alive = True  # as far as anybody knows: more may come
        return request

    def _check_unfinished(self, data: bytes, start: int) -> None:
        """Refuse at once what cannot become a good head (RFC 9112 section 2.2).

        Lines that end before ``start`` were checked before, so that a head that comes byte by byte costs no square.
        """
        if data == b"\r":
            return  # of the one empty line that may stand before
        line_end = data.find(b"\r\n")
        # A CR behind the line, and CR LF CR behind the head, may have come already.
        if (len(data) - 1 if line_end < 0 else line_end) > self._limits.request_line:
            raise HTTPError(414)
        if len(data) - 3 > self._limits.head:
            raise HTTPError(431)
        if line_end >= start:
            self._check_request_line(data[:line_end])
        elif data and not 0x21 <= data[0] <= 0x7E:
            raise bad_request("This is not HTTP.")
        if _bad_line_end_so_far(data, start):
            raise bad_request("A line of the head does not end with CRLF, or is folded.")

    def _check_request_line(self, line: bytes) -> str:
        """Return the version to answer with; that of a later minor version is ours (RFC 9112 section 2.3)."""
        match = _request_line(line)
        if match is None:
            raise bad_request("The request line is not: method, request-target, version.")
        if match[3] != b"1":
            raise HTTPError(505, "This server speaks HTTP/1.1 and HTTP/1.0.")
        return "HTTP/1.0" if match[4] == b"0" else "HTTP/1.1"

    # The fast road.

    def _read_fast(self, head: bytes, size: int) -> tuple[Request, ContentReader | None, int]:
        """Read ``head``, which ends with the empty line. Its lines keep their CR, so that LF alone ends none."""
        lines = head.split(b"\n")
        if len(lines) > self._most_lines or len(lines[0]) > self._longest_line or size > self._longest_head:
            raise NotFast
        request = Request()
        (
            request.method,
            request.target,
            request.raw_path,
            request.path,
            request.query,
            request.version,
        ) = self._request_lines[lines[0]]
        field_lines = lines[1:-2]
        try:
            fields = dict(map(self._field, field_lines))
        except Dropped:
            field_lines = [line for line in field_lines if not self._field_lines.drops(line)]
            fields = dict(map(self._field, field_lines))
        if len(fields) != len(field_lines):
            pairs = [self._field(line) for line in field_lines]
            names = [name for name, _ in pairs]
            if names.count("HTTP_HOST") > 1 or names.count("CONTENT_LENGTH") > 1:
                raise NotFast
            fields = _join(pairs)
        if "HTTP_HOST" not in fields and request.version == "HTTP/1.1":
            raise NotFast
        self._complete(request, fields)
        length = request.content_length
        return request, CountedContent(length) if length else None, size

    # h11's road.

    def _read_reference(self, head: bytes, size: int) -> tuple[Request, ContentReader | None, int]:
        lines = head[:-4].split(b"\r\n")
        if len(lines[0]) > self._limits.request_line:
            raise HTTPError(414)
        if len(lines) > self._limits.fields + 1:
            raise HTTPError(431)
        version = self._check_request_line(lines[0])
        if _bad_line_end(head):
            raise bad_request("A line of the head does not end with CRLF, or is folded.")
        self._check_fields(lines, version)
        # What waits in h11 is a trailer section at most, and what has come of one line too much, with its CR.
        reference = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head + LONGEST_LINE + 1)
        reference.receive_data(head)
        try:
            event = reference.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(error)
        assert isinstance(event, h11.Request)
        pairs = [(n.decode("ascii"), v.decode("latin-1")) for n, v in event.headers.raw_items()]
        fields = _join((cgi_name(name), value) for name, value in pairs if not self._drops(name))
        method, target = event.method.decode("ascii"), event.target.decode("ascii")
        if method == "CONNECT":
            raise HTTPError(501, "This server is no proxy.")
        expectation = fields.get("HTTP_EXPECT")
        if expectation is not None and version == "HTTP/1.1" and expectation.lower() != "100-continue":
            raise HTTPError(417)
        chunked = fields.pop("HTTP_TRANSFER_ENCODING", None) is not None
        request = Request()
        request.method, request.target, request.version = method, target, version
        path = target if target.startswith("/") else self._path_of_other_form(method, target, fields)
        request.raw_path, _, request.query = path.partition("?")
        request.path = decode_path(request.raw_path)
        self._complete(request, fields)
        if chunked:
            request.content_length = Request.UNKNOWN
        if fields.get("HTTP_UPGRADE", "").lower() not in ("", "h2c"):
            # It is not accepted, and so it means nothing (RFC 9110 section 7.8). But a proxy that takes any answer for
            # a consent would hand on, unread, whatever its client sends then. What HTTP/2 begins with is no request.
            request.keep_alive = False
        if not request.has_content:
            return request, None, size
        content = ChunkedContent(self._limits.head) if chunked else CountedContent(request.content_length)
        return request, content if self._fast else ReferenceContent(reference, content), size

    def _check_fields(self, lines: list[bytes], version: str) -> None:
        """Refuse what h11 forgives in the fields that say whom the request is for and where it ends."""
        seen: dict[str, str] = {}
        for line in lines[1:]:
            match = _field_line(line)
            if match is None:
                raise bad_request("A header field is not: name, colon, value.")
            name, value = match[1].decode("ascii"), match[2].rstrip(b" \t").decode("latin-1")
            if self._drops(name):
                continue
            key = cgi_name(name)
            if key == "CONTENT_LENGTH" and key in seen:
                raise bad_request("There is more than one Content-Length.")
            if key in FORMS and not FORMS[key][0](value):
                raise bad_request(FORMS[key][1])
            seen[key] = value
        if "HTTP_HOST" not in seen and version == "HTTP/1.1":
            raise bad_request("There is no Host.")
        if "HTTP_TRANSFER_ENCODING" in seen:
            if "CONTENT_LENGTH" in seen:
                raise bad_request("Content-Length and Transfer-Encoding exclude each other.")
            if version == "HTTP/1.0":
                raise bad_request("HTTP/1.0 has no Transfer-Encoding.")

    def _refuse(self, error: h11.RemoteProtocolError) -> NoReturn:
        status = error.error_status_hint
        raise HTTPError(status if status in (431, 501) else 400, str(error) + ".") from _without_frames(error)

    # Where the two meet.

    def _complete(self, request: Request, fields: dict[str, str]) -> None:
        """Fill in what the fields say."""
        request.fields = fields
        request.strict = b""
        if "HTTP_CONNECTION" in fields:
            request.keep_alive = _persists(request.version, fields["HTTP_CONNECTION"])
        else:
            request.keep_alive = request.version == "HTTP/1.1"
        request.content_length = 0
        if "CONTENT_LENGTH" in fields:
            request.content_length = int(fields["CONTENT_LENGTH"])
            if request.content_length > self._limits.content:
                raise HTTPError(413)

    def _path_of_other_form(self, method: str, target: str, fields: dict[str, str]) -> str:
        """Return path and query of an absolute-form or asterisk-form target (RFC 9112 sections 3.2.2, 3.2.4)."""
        if target == "*" and method == "OPTIONS":
            return target
        match = _absolute_form(target)
        if match is None or not is_host(match[1]):
            raise bad_request("The request-target is neither a path nor a URI of this server.")
        # RFC 9112 section 3.2.2: the target's authority stands in for whatever Host says.
        fields["HTTP_HOST"] = match[1]
        return match[2] if match[2].startswith("/") else "/" + match[2]
