"""Two clients: wrk for requests as fast as they go, and one that makes connections which then idle."""

import re
import resource
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from bench.servers import HOST, ROOT, Failed, pinned

BROWSER = Path("bench/wrk/browser.lua")

_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6, "h": 3600e6}
_BYTES = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}

_ANSWER_SECONDS = 5.0  # one answer on an idle connection
_ROUND_SECONDS = 120.0  # one answer on each of them
_CONNECTIONS_AN_ADDRESS = 20_000  # of the 28,232 ports Linux gives out
_IP_BIND_ADDRESS_NO_PORT = 24  # ip(7); the socket module names it from Python 3.12 on


@dataclass(frozen=True, slots=True)
class WrkResult:
    """What wrk found; latencies in microseconds."""

    requests: int
    requests_per_second: float
    bytes_per_second: float  # of heads and of answers that were not whole at the end too
    p50: float
    p99: float


def wrk_command(url: str, connections: int, seconds: int, core: int, extra: Sequence[str] = ()) -> list[str]:
    """Return wrk's command: one thread, pinned to one core; ``extra`` are further options."""
    options = f"--threads 1 --connections {connections} --duration {seconds}s --latency".split()
    return pinned(core, ["wrk", *options, *extra, url])


def run_wrk(command: list[str], seconds: int) -> WrkResult:
    """Run a command of wrk's that takes ``seconds``, and read what it prints.

    Raises Failed as ``read_wrk`` does, and when wrk is 30 seconds late.
    """
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 30, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failed("wrk did not end") from None
    if ended.returncode:
        raise Failed(f"wrk: {(ended.stderr or ended.stdout).strip()}")
    return read_wrk(ended.stdout)


def read_wrk(output: str) -> WrkResult:
    """Read what wrk prints with --latency.

    Raises Failed when there was no answer, or one that was no success, or any socket failed: a server that
    refuses is quick.
    """
    faults = re.findall(r"Socket errors: .*|Non-2xx or 3xx responses: .*", output)
    if faults:
        raise Failed("; ".join(faults))
    requests = int(_found(r"(\d+) requests in", output))
    if not requests:
        raise Failed("no answers")
    return WrkResult(
        requests=requests,
        requests_per_second=float(_found(r"Requests/sec: +([\d.]+)", output)),
        bytes_per_second=_amount("Transfer/sec:", output, _BYTES),
        p50=_amount("50%", output, _MICROSECONDS),
        p99=_amount("99%", output, _MICROSECONDS),
    )


def _amount(title: str, output: str, units: Mapping[str, float]) -> float:
    number, unit = re.split(r"(?<=\d)(?=[A-Za-z])", _found(rf"{title} +([\d.]+[A-Za-z]+)", output))
    return float(number) * units[unit]


def _found(pattern: str, output: str) -> str:
    match = re.search(pattern, output)
    if match is None:
        raise Failed(f"wrk printed nothing like {pattern!r}")
    return match[1]


def raise_descriptor_limit() -> int:
    """Raise this process' limit of open files, and so that of what it starts, to the most there may be.

    Returns it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextmanager
def idle_connections(port: int, count: int, body: bytes, first: int = 0) -> Iterator[list[socket.socket]]:
    """Hold ``count`` connections, each of which has made one request and was answered with ``body``.

    ``first`` is the number of the first of them. Raises Failed at the first that is not answered so.
    """
    with ExitStack() as opened:
        connections: list[socket.socket] = []
        deadline = time.monotonic() + _ROUND_SECONDS
        try:
            for number in range(first, first + count):
                connections.append(opened.enter_context(connect(port, number)))
                _ask(connections[-1], body)
                if time.monotonic() > deadline:
                    raise TimeoutError("too slow")
        except (OSError, HTTPException) as error:
            raise Failed(f"connection {len(connections):,} of {count:,}: {error!r}") from None
        yield connections


def ask_again(connections: list[socket.socket], body: bytes) -> None:
    """Make one more request on each connection. Raises Failed unless every one is answered with ``body``."""
    answered = 0
    first_error: Exception | None = None
    deadline = time.monotonic() + _ROUND_SECONDS
    for connection in connections:
        try:
            _ask(connection, body)
            answered += 1
        except (OSError, HTTPException) as error:
            first_error = first_error or error
        if time.monotonic() > deadline:
            break
    if answered < len(connections):
        raise Failed(f"{answered:,} of {len(connections):,} still answer; first error: {first_error!r}")


def connect(port: int, number: int) -> socket.socket:
    """Return a connection; its ``number`` chooses the client's address, as one has too few ports. Raises OSError."""
    connection = socket.socket()
    try:
        connection.settimeout(_ANSWER_SECONDS)
        connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        connection.bind((f"127.0.0.{1 + number // _CONNECTIONS_AN_ADDRESS}", 0))
        connection.connect((HOST, port))
    except OSError:
        connection.close()
        raise
    return connection


def _ask(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % HOST.encode())
    with HTTPResponse(connection, method="GET") as response:
        response.begin()
        answer = response.status, response.read()
        if answer != (200, body):
            raise HTTPException(f"answered {answer[0]} {answer[1][:80]!r}")
        if response.will_close:
            raise HTTPException("the connection is not kept")
