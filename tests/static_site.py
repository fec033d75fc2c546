"""A document root with its handler, for the tests of static files: no server, a clock turned by hand."""

import gc
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time_ns
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from aiowsgi.config import Files
from aiowsgi.http.messages import HTTPError, Parts, Request, Response
from aiowsgi.site.files import SMALL
from aiowsgi.site.router import Lookup
from aiowsgi.site.static import Static

SECRET = b"secret"
LARGE = b"0123456789abcdef" * (SMALL // 8)  # twice as much as is kept in memory
JANUARY_2020 = 1577836800
DATE = "Wed, 01 Jan 2020 00:00:00 GMT"


def a_request(target: str, method: str = "GET", **fields: str) -> Request:
    request = Request()
    request.strict = b""
    request.method = method
    request.target = target
    request.raw_path, _, request.query = target.partition("?")
    request.path = unquote_to_bytes(request.raw_path).decode("latin-1")
    request.version = "HTTP/1.1"
    request.fields = {"HTTP_HOST": "localhost"} | {f"HTTP_{n.upper()}": v for n, v in fields.items()}
    return request


class Site:
    """A document root with its handler, and a look at how its answers came about."""

    def __init__(
        self, root: Path, *, prefix: str = "", young: bool = False, decline: bool = False, **files: Any
    ) -> None:
        """``files`` are fields of Files."""
        self.root = root
        self.now = 0.0
        self.looks = 0
        self._prefix = prefix
        # Files made by a test would be too young to be told from their next state.
        wall = time_ns if young else lambda: time_ns() + 10 * 10**9
        self.static = Static(root, Files(**files), decline=decline, clock=lambda: self.now, wall=wall)

    def write(self, name: str, content: bytes = b"text", modified: float = JANUARY_2020) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (modified, modified))
        return path

    def start(self, target: str, method: str = "GET", **fields: str) -> Response | Lookup | None:
        request = a_request(target, method, **fields)
        return self.static.handle(request, self._prefix, request.path[len(self._prefix) :])

    def answer(self, target: str, method: str = "GET", **fields: str) -> Response | None:
        answer = self.start(target, method, **fields)
        if isinstance(answer, Lookup):
            self.looks += 1
            answer.run()
            result = answer.answer()
            assert result is None or isinstance(result, Response)
            return result
        return answer

    def get(self, target: str, method: str = "GET", **fields: str) -> Response:
        response = self.answer(target, method, **fields)
        assert response is not None
        return response

    def error(self, target: str, method: str = "GET", **fields: str) -> HTTPError:
        with pytest.raises(HTTPError) as caught:
            self.answer(target, method, **fields)
        return caught.value

    def status(self, target: str, method: str = "GET", **fields: str) -> int:
        try:
            return self.get(target, method, **fields).status
        except HTTPError as error:
            return error.status


def content(response: Response) -> bytes:
    pieces = response.content.pieces if isinstance(response.content, Parts) else [response.content]
    return b"".join(
        piece if isinstance(piece, bytes) else os.pread(piece.file.fileno(), piece.count, piece.offset)
        for piece in pieces
    )


def fields(response: Response) -> dict[str, str]:
    lines = response.fields.decode("latin-1").split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open no file in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # which would otherwise free some in the middle
    taken = [os.open(os.devnull, os.O_RDONLY)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 20, hard))
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
