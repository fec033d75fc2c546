"""What is served while a developer looks at it (--reload): pages end with a tag that has them refresh themselves.

A page is what a browser shows by itself, and not what a script in it asks for: the latter may be part of one, and be
put into it. Nobody else's answers are touched. A page that can be answered from a cache, or by "you have it already",
would not be the new one, and could ask for itself without an end; so it has no validators, and is not kept.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from aiowsgi.http.conditional import CONDITIONAL
from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import Field, Parts, Request, Response
from aiowsgi.site.errorpages import ErrorPages
from aiowsgi.site.refresh import PREFIX, Refresh
from aiowsgi.site.router import Answer, Candidate, Lookup, Mount, Router
from aiowsgi.wsgi.application import Call, ExcInfo
from aiowsgi.wsgi.compression import AS_IT_IS
from aiowsgi.wsgi.rewriting import MakeCall

_SHOWN = ("document", "iframe", "frame")
_HTML = "text/html"
_VALIDATORS = ("etag", "last-modified", "cache-control", "expires", "accept-ranges")


def shows_a_page(request: Request) -> bool:
    """Tell whether a browser asks for something to show by itself."""
    fields = request.fields
    if request.method not in ("GET", "HEAD"):
        return False
    destination = fields.get("HTTP_SEC_FETCH_DEST")  # https, and this machine: elsewhere browsers do not tell
    if destination is not None:
        return destination in _SHOWN
    return _HTML in fields.get("HTTP_ACCEPT", "") and "HTTP_X_REQUESTED_WITH" not in fields


class DevelopmentRouter(Router):
    """Has the answers of all handlers end with the tag, if they are pages; ``refresh`` is one of them itself."""

    def __init__(self, mounts: Iterable[Mount], error_pages: ErrorPages | None, refresh: Refresh) -> None:
        super().__init__([(PREFIX, refresh), *mounts], error_pages)
        self._refresh = refresh
        self.look = refresh.look

    def first_answer(
        self, request: Request, candidates: Iterator[Candidate], answer: Answer = None
    ) -> Response | Call | Lookup:
        if shows_a_page(request):
            for name in (*CONDITIONAL, "HTTP_RANGE", "HTTP_ACCEPT_ENCODING"):
                request.fields.pop(name, None)
        found = super().first_answer(request, candidates, answer)
        return self.complete(request, found) if isinstance(found, Response) else found

    def complete(self, request: Request, response: Response) -> Response:
        if not shows_a_page(request):
            return response
        fields = _read(response.fields)
        if not _is_page(response.status, fields):
            return response
        tag = self._refresh.tag(request, fields)
        content = response.content
        if isinstance(content, bytes):
            content += tag
        else:
            content = Parts([*(content.pieces if isinstance(content, Parts) else [content]), tag])
        return Response(response.status, field_lines(_unkept(fields)), content)

    def drain(self) -> None:
        self._refresh.close()


def make_pages(
    make_call: MakeCall,
    refresh: Refresh,
    application: WSGIApplication,
    request: Request,
    script_name: str,
    path_info: str,
) -> Call:
    """Make the call of an application, whose answer ends with the tag if it is a page."""
    if shows_a_page(request):
        application = partial(_run, application, refresh, request)
    return make_call(application, request, script_name, path_info)


def _run(
    application: WSGIApplication,
    refresh: Refresh,
    request: Request,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    page = _Page(refresh, request, start_response)
    result = application(environ, page.start_response)
    if type(result) is list or type(result) is tuple:
        # Who answers HEAD with nothing has left out what GET would have had.
        return [*result, page.tag] if page.tag and (request.method == "GET" or any(result)) else result
    if isinstance(result, Iterable) and (page.tag or not page.started):
        return _Pieces(result, page)
    return result  # what it is if it cannot be iterated, is for PEP 3333's own checks to say


class _Page:
    """One answer of an application; ``tag`` is what has to stand behind it, if it is a page."""

    def __init__(self, refresh: Refresh, request: Request, start_response: StartResponse) -> None:
        self._refresh = refresh
        self._request = request
        self._start_response = start_response
        self.started = False
        self.tag = b""

    def start_response(
        self, status: str, headers: list[Field], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        self.started, self.tag = True, b""
        if _is_sound(status, headers) and _is_page(int(status[:3]), headers):
            self.tag = self._refresh.tag(self._request, headers)
            headers = [self._longer(field) for field in _unkept(headers)]
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)

    def _longer(self, field: Field) -> Field:
        name, value = field
        if name.lower() == "content-length" and value.isdecimal():
            return name, str(int(value) + len(self.tag))
        return field


class _Pieces:
    """The pieces of an answer, and the tag behind them."""

    def __init__(self, result: Iterable[bytes], page: _Page) -> None:
        self._result = result
        self._page = page

    def __iter__(self) -> Iterator[bytes]:
        yield from self._result
        if self._page.tag:
            yield self._page.tag

    def close(self) -> None:
        if hasattr(self._result, "close"):
            self._result.close()


def _is_sound(status: object, headers: object) -> bool:
    """Tell whether an application has said what it may: of all else it is told by whom it would reach."""
    if not (isinstance(status, str) and status[:3].isascii() and status[:3].isdecimal()):
        return False
    return isinstance(headers, list) and all(
        isinstance(field, tuple) and len(field) == 2 and all(isinstance(text, str) for text in field)
        for field in headers
    )


def _is_page(status: int, fields: Iterable[Field]) -> bool:
    """Tell whether there is content that a browser shows, and that the tag can stand behind."""
    named = {name.lower(): value for name, value in fields}
    shown = 200 <= status < 300 or status >= 400
    if not shown or status in (204, 205, 206) or not named.keys().isdisjoint(AS_IT_IS):
        return False
    kind = named.get("content-type", "").lower()
    return kind.startswith(_HTML) and "utf-16" not in kind


def _unkept(fields: Iterable[Field]) -> list[Field]:
    kept = [(name, value) for name, value in fields if name.lower() not in _VALIDATORS]
    return [*kept, ("Cache-Control", "no-store")]


def _read(lines: bytes) -> list[Field]:
    """Return the fields of a ready response, which are those of ``field_lines``."""
    pairs = [line.split(": ", 1) for line in lines.decode("latin-1").split("\r\n") if line]
    return [(name, value) for name, value in pairs]
