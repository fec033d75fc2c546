"""A server is started on one core, checked to answer rightly, and ended with all its processes."""

import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import IO

from bench.servers import HOST, ROOT, Failed, Server, Site

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Running:
    """A started server: its first process, its port, what it serves, what it has written so far."""

    process: subprocess.Popen[bytes]
    port: int
    site: Site
    log: IO[bytes]

    def check(self) -> None:
        """Make one request. Raises Failed unless the answer is 200 with the body of the site."""
        connection = HTTPConnection(HOST, self.port, timeout=_START_SECONDS)
        if self.site.tls:
            trust = ssl.create_default_context(cafile=self.site.certificate)
            connection = HTTPSConnection(HOST, self.port, timeout=_START_SECONDS, context=trust)
        try:
            connection.request("GET", self.site.path)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, HTTPException) as error:
            raise Failed(f"no answer: {error!r}") from None
        finally:
            connection.close()
        expected = self.site.expected()
        if (status, body) != (200, expected):
            raise Failed(f"answered {_shown(status, body)}, not {_shown(200, expected)}")

    def last_line(self) -> str:
        """Return the last line it has written to standard output or error, or nothing."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _shown(status: int, body: bytes) -> str:
    return f"{status} {body[:80]!r} of {len(body):,} bytes"


@contextmanager
def running(server: Server, site: Site, core: int) -> Iterator[Running]:
    """Start a server, wait until it answers rightly, and end its whole process group at the end.

    Raises Failed, with the last line the server wrote, when it does not answer within 20 seconds, or not as
    ``site`` says, or when the body of the with statement raises Failed or OSError.
    """
    port = free_port()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,  # for what a killed server leaves
        tempfile.TemporaryFile("a+b") as log,  # appending: to read it must not move where the server writes
    ):
        process = subprocess.Popen(
            server.command(site, port, core),
            cwd=ROOT,
            env=os.environ | {"TMPDIR": folder},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        started = Running(process, port, site, log)
        try:
            _wait_until_listening(started)
            started.check()
            yield started
        except (Failed, OSError) as failure:
            raise Failed(f"{failure} (the last line it wrote: {started.last_line() or 'none'})") from failure
        finally:
            _end(process)


def _wait_until_listening(started: Running) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if started.process.poll() is not None:
            raise Failed(f"it ended with status {started.process.returncode}")
        with suppress(OSError):
            socket.create_connection((HOST, started.port), timeout=1).close()
            return
        time.sleep(0.02)
    raise Failed(f"it did not listen within {_START_SECONDS:.0f} seconds")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the group: politely, then, children that outlived their parent too, by force."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
