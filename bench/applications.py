"""The smallest applications there are: what a request costs here, the server costs."""

import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

PIECE = 64 * 1024  # bytes that large bodies are read and written by
LARGE = 100 * 1024**2
MEBIBYTE = bytes(1024**2)

_PIECE = bytes(PIECE)


def hello(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 13 bytes of text, counted, and look at nothing of the request."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world!"]


def hello_or_mebibyte(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the same, but 1 MiB of zeros at /mebibyte; read the request's content first, if there is any."""
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read()
    if environ["PATH_INFO"] != "/mebibyte":
        return hello(environ, start_response)
    headers = [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(MEBIBYTE)))]
    start_response("200 OK", headers)
    return [MEBIBYTE]


def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer the same after ten milliseconds, in which it waits, as for a database."""
    time.sleep(0.01)
    return hello(environ, start_response)


def upload(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read the request's content, as form parsers do, and answer how many bytes it had."""
    count = 0
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left and (piece := environ["wsgi.input"].read(min(PIECE, left))):
        left -= len(piece)
        count += len(piece)
    answer = str(count).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]


def stream(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer 100 MiB of zeros, piece by piece, and say nothing of their number."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return (_PIECE for _ in range(LARGE // PIECE))
