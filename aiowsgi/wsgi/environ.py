"""Request -> the environ of PEP 3333."""

import sys
from collections.abc import Iterator
from typing import IO, Any, Protocol

from aiowsgi.http.messages import Request

Environ = dict[str, Any]


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class FileWrapper:
    """``wsgi.file_wrapper``: an iterable over a file-like object's blocks (PEP 3333).

    Where it is what the application returns, and wraps a regular file, the server sends the file from where it
    stands to its end, or as much as Content-Length declares: by sendfile(2), while the thread does other work.
    The application's status and fields are sent as they are. A Range field is the application's to understand: to
    answer it with a part, the application says 206 and Content-Range, seeks, and declares the length of the part.
    """

    def __init__(self, filelike: Readable, block_size: int = 64 * 1024) -> None:
        """``block_size`` is in bytes."""
        self.filelike = filelike
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.filelike.read(self.block_size):
            yield block

    def close(self) -> None:
        if hasattr(self.filelike, "close"):
            self.filelike.close()


def server_environ(name: str, port: str, scheme: str, multiprocess: bool) -> Environ:
    """Return what every request of one listening address has in common."""
    return {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_SOFTWARE": "aiowsgi",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }


def make_environ(
    server: Environ,
    client: tuple[str, str],
    request: Request,
    script_name: str,
    path_info: str,
    content: IO[bytes],
) -> Environ:
    """Return a fresh environ, the application's own to change.

    ``client`` is its address and port. SCRIPT_NAME and PATH_INFO are latin-1 text of the percent-decoded bytes;
    ``REQUEST_URI`` is the target as it was sent.
    """
    environ = server.copy()
    environ |= request.fields
    environ["REQUEST_METHOD"] = request.method
    environ["SCRIPT_NAME"] = script_name
    environ["PATH_INFO"] = path_info
    environ["QUERY_STRING"] = request.query
    environ["REQUEST_URI"] = request.target
    environ["SERVER_PROTOCOL"] = request.version
    environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client
    environ["wsgi.input"] = content
    return environ
