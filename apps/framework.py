"""A web framework on one page: a list of (path, view) pairs, a folder of static files, and 404 for the rest.

``aiowsgi serve apps.framework:app`` serves it alone; beside other scripts it runs as ``/framework.py/``.
"""

import mimetypes
import time
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, quote
from wsgiref.types import StartResponse, WSGIEnvironment

HTML = Path(__file__).parent.parent / "html"


class Response(NamedTuple):
    """What a view gives back."""

    body: str | bytes
    status: str = "200 OK"
    media_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


View = Callable[[WSGIEnvironment], Response]

NOT_FOUND = Response("The file is not found!\n", "404 Not Found", "text/plain; charset=utf-8")
NOT_ALLOWED = Response(
    "A file can only be read.\n",
    "405 Method Not Allowed",
    "text/plain; charset=utf-8",
    (("Allow", "GET, HEAD"),),
)


class Application:
    """A WSGI application made of views.

    ``urls`` are pairs of a path and the view that answers it. ``/static/...`` is answered from the folder
    ``static``, and so is ``/``, by ``index.html``, unless a view takes it.
    """

    def __init__(self, urls: Iterable[tuple[str, View]], static: Path = HTML) -> None:
        self.views = dict(urls)
        self.static = static.resolve()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        response = self.respond(environ)
        body = response.body.encode("utf-8") if isinstance(response.body, str) else response.body
        start_response(
            response.status,
            [
                ("Content-Type", response.media_type),
                ("Content-Length", str(len(body))),
                *response.headers,
            ],
        )
        return [body]

    def respond(self, environ: WSGIEnvironment) -> Response:
        path = text(environ.get("PATH_INFO", "")) or "/"
        if path in self.views:
            return self.views[path](environ)
        if path == "/":
            path = "/static/index.html"
        if not path.startswith("/static/"):
            return NOT_FOUND
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return NOT_ALLOWED
        return self.file(path.removeprefix("/static/"))

    def file(self, name: str) -> Response:
        """A file of the static folder: never a hidden one, nor one that ``..`` or a link finds outside.

        It is read whole, which is right for pages and pictures; large files are the server's business.
        """
        # An empty or dotted segment covers "//etc/passwd", "../", ".env" and ".git/".
        if any(segment.startswith(".") or not segment for segment in name.split("/")):
            return NOT_FOUND
        try:
            file = (self.static / name).resolve()
            if not file.is_relative_to(self.static) or not file.is_file():
                return NOT_FOUND
            return Response(file.read_bytes(), media_type=media_type(file.name))
        except (OSError, ValueError):  # unreadable or too long a name; a NUL in it
            return NOT_FOUND


def text(native: str) -> str:
    """PEP 3333 keeps each byte of the environ as one latin-1 character; the bytes browsers send are UTF-8."""
    return native.encode("latin-1").decode("utf-8", "replace")


def media_type(name: str) -> str:
    kind, coding = mimetypes.guess_type(name)
    if kind is None or coding is not None:  # "application/x-tar, packed by gzip" would not be the whole truth
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


# Three views and the application made of them.


def index(environ: WSGIEnvironment) -> Response:
    root = quote(environ.get("SCRIPT_NAME", ""), encoding="latin-1")  # where this application is mounted
    return Response(f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>A small framework</title>
<link rel="stylesheet" href="{root}/static/style.css">
<link rel="icon" href="{root}/static/favicon.ico">
<main>
<h1>A small framework</h1>
<p>Each path has its view: <a href="{root}/ctime">the time</a>,
<a href="{root}/hello?name=Ada">a greeting</a>. Files come from
<a href="{root}/static/index.html">a folder</a>, and the rest is <a href="{root}/missing">not found</a>.</p>
</main>
</html>
""")


def ctime(environ: WSGIEnvironment) -> Response:
    return Response(f"{time.ctime()}\n", media_type="text/plain; charset=utf-8")


def hello(environ: WSGIEnvironment) -> Response:
    query = parse_qs(text(environ.get("QUERY_STRING", "")))
    name = query.get("name", ["World"])[0]
    return Response(
        f'<!doctype html><html lang="en"><title>Hello</title><h1>Hello, {escape(name)}!</h1></html>\n'
    )


app = Application([("/", index), ("/ctime", ctime), ("/hello", hello)])

application = app  # the name by which a script is called
