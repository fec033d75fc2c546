"""The habits of old tutorials' scripts, put right: a body of text, a status that begins with HTTP/1.1."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from aiowsgi.http.messages import Field
from aiowsgi.wsgi.application import ExcInfo
from aiowsgi.wsgi.environ import FileWrapper
from aiowsgi.wsgi.regularfile import regular_file

_VERSIONS = ("HTTP/1.1 ", "HTTP/1.0 ")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^\s"';]+)""", re.IGNORECASE)

TEXT_BODY = "give the body as bytes, not as str; it is encoded for now"
STATUS_WITH_VERSION = "leave the HTTP version out of the status, as in '200 OK'; it is cut off for now"


def put_right(
    application: WSGIApplication,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    report: Callable[[list[str]], None],
) -> Iterable[bytes]:
    """Call ``application`` and return its body as bytes, still piece by piece.

    ``report`` is called with what the application should change, when its body is complete, if there is
    anything. An application without habits gets back the list it gave.
    """
    answer = _Answer(start_response, report)
    body: Any = application(environ, answer.start_response)
    if isinstance(body, str):
        # As one piece: iterating it would send every character for itself.
        body = [answer.encode(body)]
    elif type(body) is list or type(body) is tuple:
        if any(isinstance(piece, str) for piece in body):
            body = [answer.as_bytes(piece) for piece in body]
    elif type(body) is FileWrapper and regular_file(body.filelike) is not None:
        pass  # no text, and Call sends it without its being read
    elif isinstance(body, Iterable) and not isinstance(body, bytes):
        return _Pieces(body, answer)
    answer.complete()
    result: Iterable[bytes] = body  # if it is something else, that is for PEP 3333's own checks to say
    return result


class _Answer:
    """One answer's start_response and write, and the habits that were seen in it."""

    __slots__ = ("_charset", "_habits", "_headers", "_report", "_start_response", "_write")

    def __init__(self, start_response: StartResponse, report: Callable[[list[str]], None]) -> None:
        self._start_response = start_response
        self._report = report
        self._headers: list[Field] = []
        self._charset: str | None = None  # not looked for until there is text to encode
        self._habits: list[str] = []

    def start_response(
        self, status: str, headers: list[Field], exc_info: ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        if isinstance(status, str) and status.startswith(_VERSIONS):
            self._saw(STATUS_WITH_VERSION)
            status = status[len(_VERSIONS[0]) :]
        self._write = self._start_response(status, headers, exc_info)
        self._headers = headers
        self._charset = None
        return self.write

    def write(self, data: bytes) -> object:
        return self._write(self.as_bytes(data))

    def as_bytes(self, piece: bytes | str) -> bytes:
        return self.encode(piece) if isinstance(piece, str) else piece

    def encode(self, text: str) -> bytes:
        self._saw(TEXT_BODY)
        if self._charset is None:
            self._charset = _charset(self._headers)
        return text.encode(self._charset)

    def complete(self) -> None:
        if self._habits:
            self._report(self._habits)

    def _saw(self, habit: str) -> None:
        if habit not in self._habits:
            self._habits.append(habit)


class _Pieces:
    """A body that is iterated, each of its pieces made bytes when it is asked for."""

    __slots__ = ("_answer", "_body")

    def __init__(self, body: Iterable[bytes | str], answer: _Answer) -> None:
        self._body = body
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return map(self._answer.as_bytes, self._body)

    def close(self) -> None:
        self._answer.complete()
        if hasattr(self._body, "close"):
            self._body.close()


def _charset(headers: list[Field]) -> str:
    """Return the charset that Content-Type names; UTF-8 if it names none, or none that Python has."""
    for name, value in headers:
        if name.lower() == "content-type" and (found := _CHARSET.search(value)):
            try:
                "".encode(found[1])
            except LookupError:
                break
            return found[1]
    return "utf-8"
