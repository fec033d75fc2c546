"""An upload: GET shows a form, POST answers name, size and SHA-256 of each file, or of the raw content.

``curl -F file=@photo.png http://127.0.0.1:8000/upload.py`` sends a form (multipart/form-data, RFC 7578),
``curl --data-binary @photo.png http://127.0.0.1:8000/upload.py`` raw content. Content is read piece by piece
and nothing of it is kept, so a large upload needs no more memory than a small one.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from wsgiref.types import StartResponse, WSGIEnvironment

PIECE = 64 * 1024  # bytes read at a time
HEAD = 8 * 1024  # bytes of a part's head, at most
PARTS = 100  # files and fields in one form, at most

# ``; name="value"`` or ``; name=value``. Nothing is escaped in a quoted name: browsers send %22 for a quote.
PARAMETER = re.compile(r';\s*([^\s=;"]+)=(?:"([^"]*)"|([^\s;"]*))')

FORM = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Upload</title>
<link rel="stylesheet" href="/style.css">
<main>
<h1>Upload</h1>
<form method="post" enctype="multipart/form-data">
<p><label for="file">Files to measure (none is kept):</label>
<input id="file" type="file" name="file" multiple required>
<button>Upload</button></p>
</form>
<p><a href="/">Home</a></p>
</main>
</html>
"""


def pieces(environ: WSGIEnvironment) -> Iterator[bytes]:
    """The request's content. ValueError when it ends before its Content-Length."""
    source = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):  # the server promises an end, chunked content included
        while piece := source.read(PIECE):
            yield piece
        return

    # Without that promise PEP 3333 forbids to read past CONTENT_LENGTH: it could wait for ever.
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0:
        piece = source.read(min(PIECE, left))
        if not piece:
            raise ValueError("The content ended early.")
        left -= len(piece)
        yield piece


def parameters(value: str) -> dict[str, str]:
    """The parameters of a field value such as Content-Type's (RFC 9110 section 5.6.6)."""
    return {name.lower(): quoted or token for name, quoted, token in PARAMETER.findall(value)}


class Multipart:
    """The parts of a multipart body (RFC 2046 section 5.1), one after the other.

    Iterating yields the name and the content of each part; a content must be used up before the next part is
    asked for. ValueError for a body that is not well-formed.
    """

    def __init__(self, boundary: str, source: Iterator[bytes]) -> None:
        self.source = source
        self.delimiter = b"\r\n--" + boundary.encode("latin-1")
        self.buffer = b"\r\n"  # so that the first delimiter looks like all others

    def __iter__(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        for _ in self.until(self.delimiter):
            pass  # the preamble, which nobody reads
        for _ in range(PARTS):
            if self.closed():
                return
            yield self.name(), self.until(self.delimiter)
        if not self.closed():
            raise ValueError(f"The form has more than {PARTS} parts.")

    def fill(self) -> None:
        piece = next(self.source, b"")
        if not piece:
            raise ValueError("The form ended before its last boundary.")
        self.buffer += piece

    def until(self, mark: bytes) -> Iterator[bytes]:
        """The bytes in front of the next ``mark``, piece by piece; then the mark itself is behind us."""
        keep = len(mark) - 1  # so many bytes at the end may be the beginning of a mark
        while (end := self.buffer.find(mark)) < 0:
            ready, self.buffer = self.buffer[:-keep], self.buffer[-keep:]
            yield ready
            self.fill()
        ready, self.buffer = self.buffer[:end], self.buffer[end + len(mark) :]
        yield ready

    def closed(self) -> bool:
        """Whether the delimiter just passed was the last one, which two hyphens follow."""
        while len(self.buffer) < 2:
            self.fill()
        return self.buffer.startswith(b"--")

    def name(self) -> str:
        """Read a part's head, and give the name of its file or else of its field."""
        head = b""
        for piece in self.until(b"\r\n\r\n"):
            head += piece
            if len(head) > HEAD:
                raise ValueError("The head of a part is too long.")
        padding, _, lines = head.partition(b"\r\n")
        if padding.strip(b" \t"):
            raise ValueError("A boundary does not end its line.")
        for line in lines.decode("utf-8", "replace").split("\r\n"):
            field, _, value = line.partition(":")
            if field.lower() == "content-disposition":
                given = parameters(value)
                return given.get("filename") or given.get("name", "")
        return ""


def measure(name: str, content: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    size = 0
    for piece in content:
        digest.update(piece)
        size += len(piece)
    # The name is the client's: repr() leaves no control character in it.
    return f"{name!r}: {size} bytes, SHA-256 {digest.hexdigest()}\n"


def report(environ: WSGIEnvironment) -> str:
    """A line for each part of a form, or one for raw content. ValueError for content that is malformed."""
    content_type = environ.get("CONTENT_TYPE", "")
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        return measure("raw content", pieces(environ))
    boundary = parameters(content_type).get("boundary")
    if not boundary:
        raise ValueError("The form does not name its boundary.")
    return "".join(measure(name, content) for name, content in Multipart(boundary, pieces(environ)))


def answer(environ: WSGIEnvironment) -> tuple[str, str, str]:
    """Status, media type and text."""
    if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
        return "200 OK", "text/html", FORM
    if environ["REQUEST_METHOD"] != "POST":
        return "405 Method Not Allowed", "text/plain", "GET shows a form, POST takes an upload.\n"
    try:
        return "200 OK", "text/plain", report(environ)
    except ValueError as error:
        return "400 Bad Request", "text/plain", f"{error}\n"


def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    status, media_type, text = answer(environ)
    body = text.encode("utf-8")
    headers = [
        ("Content-Type", f"{media_type}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("X-Content-Type-Options", "nosniff"),  # a file's name must not be taken for HTML
    ]
    if status.startswith("405"):
        headers.append(("Allow", "GET, HEAD, POST"))
    start_response(status, headers)
    return [body]
