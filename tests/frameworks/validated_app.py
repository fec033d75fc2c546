"""A small application of no framework, behind wsgiref's validator."""

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the content, read in every way there is, and behind it the path."""
    content = environ["wsgi.input"]
    read = [content.read(3), content.readline(), *content.readlines(1), content.readline(5), *content]
    environ["wsgi.errors"].write("errors are heard\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    yield from (piece for piece in read if piece)
    yield f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode("latin-1")


def written(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer by ``write``, and by what is returned."""
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written, then ")
    return [b"returned"]


def empty(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


echo_app = validator(echo)
written_app = validator(written)
empty_app = validator(empty)
