"""The smallest script: one fixed page for everybody."""

from wsgiref.types import StartResponse, WSGIEnvironment

PAGE = b"<!doctype html><title>Hello</title><p>Hello, World!</p>\n"


def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response(
        "200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(PAGE)))]
    )
    return [PAGE]
