"""A site that answers in all the ways there are, and remembers which requests it was asked."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from tempfile import TemporaryFile
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import FileRange, HTTPError, Parts, Request, Response
from aiowsgi.site.router import Answer, Lookup
from aiowsgi.wsgi.application import Call

_FILE = TemporaryFile()
_FILE.write(b"file" * 50_000)
_FILE.flush()
_FILE_CONTENT = b"file" * 50_000


class Planned(Exception):
    """What an application here raises."""


class Handled:
    """A request that reached the site."""

    def __init__(self, number: int, request: Request) -> None:
        self.number = number
        self.method, self.target, self.version = request.method, request.target, request.version
        self.fields = dict(request.fields)
        self.way = request.path.rpartition("/")[2]
        self.content: bytes | None = None  # as the application has read it

    @property
    def mark(self) -> bytes:
        return f"<{self.number} {self.method} {self.target}>".encode("latin-1")

    def expected(self, content: bytes) -> bytes:
        """Return what a whole answer with status 200 holds, to a request with this content."""
        match self.way:
            case "ready" | "look" | "unread":
                return self.mark
            case "file" | "wrapped":
                return _FILE_CONTENT
            case "parts":
                return self.mark + _FILE_CONTENT[1:70_001] + self.mark
            case "big":
                return self.mark * 4200
            case "over":
                return (self.mark + content)[:5]
        return self.mark + content


class Found(Lookup):
    """Answers with what it was made with, after a look."""

    def __init__(self, found: Response | Call | HTTPError | None) -> None:
        self._found = found
        self._looked = False

    def run(self) -> None:
        self._looked = True
        if isinstance(self._found, HTTPError) and self._found.status == 500:
            raise Planned

    def answer(self) -> Response | Call | None:
        assert self._looked
        if isinstance(self._found, HTTPError):
            raise self._found
        return self._found


class Site:
    """A handler. The last segment of the path says how to answer; by default with the request itself."""

    def __init__(self, whose: Callable[[Request], list[Handled]]) -> None:
        """``whose`` tells where to note a request, for it knows who has sent it."""
        self._whose = whose

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        known = self._whose(request)
        handled = Handled(len(known), request)
        known.append(handled)
        if handled.way == "refused":
            raise HTTPError(403)
        call = Call(partial(application, handled), request, script_name, path_info)
        answers: dict[str, Callable[[], Answer]] = {
            "ready": lambda: Response(200, _TEXT, handled.mark),
            "unchanged": lambda: Response(304, _TEXT),
            "file": lambda: Response(200, _TEXT, FileRange(_FILE, 0, len(_FILE_CONTENT))),
            "parts": lambda: Response(
                200, _TEXT, Parts([handled.mark, FileRange(_FILE, 1, 70_000), handled.mark])
            ),
            "look": lambda: Found(Response(200, _TEXT, handled.mark)),
            "look-call": lambda: Found(call),
            "look-none": lambda: Found(None),
            "look-refused": lambda: Found(HTTPError(404)),
            "look-broken": lambda: Found(HTTPError(500)),
            "none": lambda: None,
        }
        return answers.get(handled.way, lambda: call)()


_TEXT = field_lines([("Content-Type", "text/plain")])
_FIELDS: dict[str, list[tuple[str, str]]] = {
    "last": [("Connection", "close")],
    "short": [("Content-Length", "1000000")],
    "over": [("Content-Length", "5")],
}


def application(handled: Handled, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    way = handled.way
    if way == "raise":
        raise Planned
    if way != "unread":
        handled.content = environ["wsgi.input"].read()
    body = handled.mark + (handled.content or b"")
    status = "204 No Content" if way == "empty" else "200 OK"
    write = start_response(status, [("Content-Type", "text/plain"), *_FIELDS.get(way, [])])
    if way == "write":
        write(body[:3])
        write(b"")
        return iter([body[3:]])
    if way == "wrapped":
        _FILE.seek(0)
        return _wrapped(environ)
    if way == "big":
        return iter([handled.mark * 60] * 70)
    if way in ("stream", "late"):
        return _pieces(body, way == "late")
    return [body]


def _wrapped(environ: WSGIEnvironment) -> Iterable[bytes]:
    wrapped: Any = environ["wsgi.file_wrapper"](_KeptOpen())
    result: Iterable[bytes] = wrapped
    return result


class _KeptOpen:
    """The file, which others need, too."""

    read = staticmethod(_FILE.read)


def _pieces(body: bytes, fails: bool) -> Iterator[bytes]:
    for at in range(0, len(body), 7):
        yield body[at : at + 7]
        yield b""
    if fails:
        raise Planned
