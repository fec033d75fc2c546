"""The load of one large upload after another: how fast they go, and what they cost the server in memory."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException, HTTPResponse
from threading import Event

from bench.applications import LARGE
from bench.loads import CPU_TRANSFER, TRANSFER, Load, Plan
from bench.measure import cpu_seconds, private_bytes
from bench.report import Column, Figures
from bench.running import Running
from bench.servers import HOST, Failed, Site

_BLOCK = os.urandom(1024**2)
_SMALL = 64 * 1024  # of a first upload, for what the first of them all costs
_MOST_SECONDS = 20  # of one upload, and of them all
_SAMPLE_SECONDS = 0.05  # between two looks at the memory


class Uploads(Load):
    """One connection that uploads 100 MiB, again and again."""

    compared = TRANSFER
    columns = (
        compared,
        CPU_TRANSFER,
        Column("growth", "MiB more", ",.2f"),
        Column("before", "MiB before", ",.1f"),
    )

    def connections(self, plan: Plan) -> int:
        """Return 1."""
        return 1

    def command(self, site: Site, plan: Plan) -> str:
        """Return a comment: the client is a part of this program."""
        seconds = min(plan.seconds, _MOST_SECONDS)
        size = LARGE // 1024**2
        return f"# 1 connection uploads {size} MiB again and again for {seconds} s; memory is read meanwhile"

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Read the private memory before, then again and again during the uploads. Raises Failed."""
        process = started.process.pid
        with socket.create_connection((HOST, started.port), timeout=_MOST_SECONDS) as connection:
            upload_once(connection, _SMALL)
            before = private_bytes(process)
            cpu = cpu_seconds(process)
            ended = Event()
            with ThreadPoolExecutor(1) as thread:
                most = thread.submit(_most_private_bytes, process, ended)
                try:
                    count, seconds = _upload_for(connection, min(plan.seconds, _MOST_SECONDS))
                finally:
                    ended.set()
            cpu = cpu_seconds(process) - cpu
        megabytes = count * LARGE / 1e6
        return {
            TRANSFER.key: megabytes / seconds,
            CPU_TRANSFER.key: cpu * 1e6 / megabytes,
            "growth": (most.result() - before) / 1024**2,
            "before": before / 1024**2,
        }


def _most_private_bytes(process: int, ended: Event) -> int:
    most = private_bytes(process)
    while not ended.wait(_SAMPLE_SECONDS):
        most = max(most, private_bytes(process))
    return most


def _upload_for(connection: socket.socket, seconds: float) -> tuple[int, float]:
    """Upload whole bodies until ``seconds`` have passed; return how many, and the seconds they took. Raises Failed."""
    count, begun = 0, time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        upload_once(connection, LARGE)
        count += 1
    return count, passed


def upload_once(connection: socket.socket, size: int) -> None:
    """Upload ``size`` bytes. Raises Failed unless the answer is their number and the connection is kept."""
    try:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {size}\r\n\r\n".encode())
        for start in range(0, size, len(_BLOCK)):
            connection.sendall(_BLOCK[: size - start])
        with HTTPResponse(connection, method="POST") as response:
            response.begin()
            answer = response.status, response.read()
            kept = not response.will_close
    except (OSError, HTTPException) as error:
        raise Failed(f"an upload: {error!r}") from None
    if answer != (200, str(size).encode()) or not kept:
        raise Failed(
            f"an upload was answered {answer[0]} {answer[1][:80]!r}, connection {'kept' if kept else 'closed'}"
        )
