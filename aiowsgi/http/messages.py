"""What the layers hand to each other: Request, Response, FileRange, and HTTPError, which carries an answer."""

import codecs
from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

Field = tuple[str, str]


class HTTPError(Exception):
    """A request that ends in an error answer, from wherever that is found out.

    ``status`` is the status code, ``detail`` one sentence for the client, ``fields`` more header fields
    (RFC 9110 section 15). Where the parser raises it, nothing behind that request can be trusted to be another
    one, and the connection is closed (RFC 9112 section 9.6).
    """

    def __init__(self, status: int, detail: str = "", *, fields: Sequence[Field] = ()) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail or HTTPStatus(status).description or HTTPStatus(status).phrase
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.status} {HTTPStatus(self.status).phrase}: {self.detail}"


# Characters of a method or a target that are told in a line of the error log.
LONGEST_TOLD = 200

# Found now: it is a module of Python's library, which a worker that has dropped its rights may not be able to read.
_escape = codecs.getencoder("unicode_escape")


def printable(text: str) -> str:
    """Return a client's ``text`` in ASCII, with nothing in it that ends the line or commands a terminal."""
    return _escape(text)[0].decode("ascii")


def shortened(text: str) -> str:
    """Return the same of its beginning only, as much as a line of the error log should hold."""
    return printable(text) if len(text) <= LONGEST_TOLD else printable(text[:LONGEST_TOLD]) + "..."


def bad_request(detail: str) -> HTTPError:
    """Return the 400 of bytes that are not what RFC 9112 says: where the next request begins, nobody knows."""
    return HTTPError(400, detail)


def overloaded() -> HTTPError:
    """Return the 503 of a request for which no thread has time."""
    return HTTPError(503, fields=[("Retry-After", "1")])


class Spent:
    """Where the time of a request has gone, in seconds: it waited for a thread, and ``application`` took its own.

    The latter is None until the end of the answer has been given.
    """

    __slots__ = ("application", "queue")

    def __init__(self, queue: float) -> None:
        self.queue = queue
        self.application: float | None = None


class Request:
    """A request's head (RFC 9112 sections 2 to 5), checked and decoded once.

    Text is latin-1: one character for each byte, as PEP 3333 asks. ``fields`` maps CGI names (``HTTP_HOST``,
    ``CONTENT_TYPE``) to values; a repeated field is one value, joined as RFC 9110 section 5.3 says.
    """

    __slots__ = (
        "content_length",
        "fields",
        "keep_alive",
        "method",
        "path",
        "query",
        "raw_path",
        "spent",
        "strict",
        "target",
        "version",
    )

    method: str
    target: str  # the request-target as it was sent
    raw_path: str  # the target's path, still percent-encoded; "*" for OPTIONS *
    path: str  # the same, percent-decoded
    query: str  # behind the first "?", "" where there is none
    version: str  # "HTTP/1.1" or "HTTP/1.0": the version to answer with and to put in SERVER_PROTOCOL
    fields: dict[str, str]
    keep_alive: bool  # may the connection be used again, as far as the client is concerned
    strict: bytes  # the line of Strict-Transport-Security that its answer has to have, or nothing
    spent: Spent | None  # is there only where somebody wanted to know
    content_length: int  # bytes of content, UNKNOWN until its end has come if it is chunked

    UNKNOWN = -1

    def __str__(self) -> str:
        """Return what a line of the error log tells of it: the method, and the target."""
        return f"{shortened(self.method)} {shortened(self.target)}"

    def __repr__(self) -> str:
        return f"<Request {self} {self.version}>"

    @property
    def shown_path(self) -> str:
        """The raw path of the URL that the client asked for: trusted proxies may have taken something off it."""
        return self.fields.get("HTTP_X_FORWARDED_PREFIX", "") + self.raw_path

    @property
    def has_content(self) -> bool:
        return self.content_length != 0

    def know_length(self, size: int) -> None:
        """Note that the content has come whole, ``size`` bytes."""
        self.content_length = size
        self.fields["CONTENT_LENGTH"] = str(size)

    @property
    def chunked(self) -> bool:
        return self.content_length == self.UNKNOWN

    @property
    def expect_continue(self) -> bool:
        """Whether the client waits for "100 Continue" before it sends the content (RFC 9110 section 10.1.1)."""
        return "HTTP_EXPECT" in self.fields and self.version == "HTTP/1.1" and self.has_content


def unread() -> Request:
    """Return what stands for a request whose head could not be read; what is known of it may be filled in."""
    request = Request()
    request.method = request.target = request.raw_path = request.path = "-"
    request.query = ""
    request.version = "HTTP/1.1"
    request.fields = {}
    request.keep_alive = False
    request.strict = b""
    request.spent = None
    request.content_length = 0
    return request


# Stands for a request whose head could not be read, so that it can be answered and logged.
UNREAD = unread()


class File(Protocol):
    """An open file, as far as sending it goes."""

    def fileno(self) -> int: ...


class FileRange:
    """``count`` bytes of an open file from ``offset``; the file stays open as long as somebody holds this."""

    __slots__ = ("count", "file", "offset")

    def __init__(self, file: File, offset: int, count: int) -> None:
        self.file = file
        self.offset = offset
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"<FileRange {self.offset}+{self.count}>"


Content = bytes | FileRange


class Parts:
    """Pieces of content, one behind the other."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: Sequence[Content]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self.pieces))


class Response:
    """An answer that is ready to be sent.

    ``fields`` are whole field lines, each with its CRLF, rendered and checked once by
    ``framing.field_lines``: without Content-Length, Connection, Date and Server, which framing adds.
    """

    __slots__ = ("content", "fields", "status")

    def __init__(self, status: int, fields: bytes = b"", content: Content | Parts = b"") -> None:
        self.status = status
        self.fields = fields
        self.content = content

    def __repr__(self) -> str:
        return f"<Response {self.status}, {len(self.content)} bytes>"
