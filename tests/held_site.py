"""A site to attack: it answers in the ways that cost a server something, and tells what its worker holds."""

import gc
import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.thread_server import Peer

LARGE = b"0123456789abcdef" * 65536  # a mebibyte


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer by the path: read, stream, large, raise, held; at any other with a few bytes."""
    answer = _ANSWERS.get(environ["PATH_INFO"].rpartition("/")[2], _hello)
    return answer(environ, start_response)


def _hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def _read(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the digest of the content."""
    digest = hashlib.sha256()
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [digest.hexdigest().encode()]


def _stream(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with so many pieces of so many bytes, one by one."""
    query = parse_qs(environ["QUERY_STRING"])
    count, size = int(query["count"][0]), int(query["size"][0])
    start_response("200 OK", [("Content-Type", "application/octet-stream")])

    def pieces() -> Iterator[bytes]:
        for _ in range(count):
            yield LARGE[:size]

    return pieces()


def _large(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [LARGE]


def _raise(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise ValueError("as it was asked to")


def _held(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Tell what the worker has: open files, sockets, threads, and KiB of memory that is its own."""
    if environ["QUERY_STRING"] == "collect":
        gc.collect()
    targets = [_target(name) for name in os.listdir("/proc/self/fd")]
    sockets = sum(target.startswith("socket:") for target in targets)
    fields = Path("/proc/self/smaps_rollup").read_text().split()
    memory = sum(int(fields[at + 1]) for at, name in enumerate(fields) if name.startswith("Private_"))
    held = {
        "files": len(targets) - targets.count("") - sockets,
        "sockets": sockets,
        "threads": threading.active_count(),
        "memory": memory,
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(held).encode()]


def _target(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:  # what listed them is closed again
        return ""


_ANSWERS = {"read": _read, "stream": _stream, "large": _large, "raise": _raise, "held": _held}


def held(peer: Peer, query: str = "") -> dict[str, int]:
    """Ask for what the worker holds; the peer's own connection is among it."""
    numbers: dict[str, int] = json.loads(peer.get(f"/held{query}").content)
    return numbers
