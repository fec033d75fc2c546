"""How aiowsgi and each of its peers is started on one core, and stopped again."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from aiowsgi.version import __version__

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
THREADS = 4
SHOWN_PORT = 8000  # stands for the free port of the run in commands that are shown

_START_SECONDS = 20.0
_STOP_SECONDS = 5.0


class Failed(Exception):
    """A figure cannot be had, as the server or the client failed: one line that says how."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a server is asked to serve, and the body a GET of ``/`` must have."""

    application: str
    body: bytes


def pinned(core: int, command: list[str]) -> list[str]:
    """Return the command that runs ``command`` on one core; it stays one process."""
    return ["taskset", "-c", str(core), *command]


@dataclass(frozen=True, slots=True)
class Server:
    """A server: ``arguments`` makes those of its Python process from a site and a port."""

    name: str
    module: str  # it is installed when this can be found
    arguments: Callable[[Site, int], list[str]]

    def command(self, site: Site, port: int, core: int) -> list[str]:
        """Return the command that serves ``site`` on ``port``, pinned to one core."""
        return pinned(core, [sys.executable, *self.arguments(site, port)])

    def installed(self) -> bool:
        """Tell whether this Python can start it."""
        with suppress(ModuleNotFoundError):  # of the package around the module
            return find_spec(self.module) is not None
        return False

    def version(self) -> str:
        """Return the version; aiowsgi's is that of the source beside this folder."""
        return __version__ if self.name == "aiowsgi" else metadata.version(self.name)


def _aiowsgi(site: Site, port: int) -> list[str]:
    return f"-m aiowsgi serve {site.application} --bind {HOST}:{port} --workers 1 --threads {THREADS}".split()


def _gunicorn(site: Site, port: int) -> list[str]:
    # By default it keeps a connection for 2 seconds and at most 1,000 of them: too few for idle connections.
    options = (
        f"--worker-class gthread --workers 1 --threads {THREADS} --keep-alive 75 --worker-connections 20000"
    )
    return f"-m gunicorn {site.application} --bind {HOST}:{port} {options}".split()


def _waitress(site: Site, port: int) -> list[str]:
    # By default it holds 100 connections. It ends when its select() meets descriptor 1,024; with
    # --asyncore-use-poll it lives, but every request then costs time in proportion to all connections.
    options = f"--threads={THREADS} --connection-limit=20000"
    return f"-m waitress --listen={HOST}:{port} {options} {site.application}".split()


def _granian(site: Site, port: int) -> list[str]:
    # By default it stops accepting at 1,024 connections, idle ones among them.
    options = f"--interface wsgi --workers 1 --blocking-threads {THREADS} --backpressure 20000"
    return f"-m granian {site.application} --host {HOST} --port {port} {options}".split()


def _bjoern(site: Site, port: int) -> list[str]:
    module, _, name = site.application.partition(":")
    return ["-c", f'import bjoern, {module} as site; bjoern.run(site.{name}, "{HOST}", {port})']


WSGI_SERVERS = (
    Server("aiowsgi", "aiowsgi.__main__", _aiowsgi),
    Server("gunicorn", "gunicorn", _gunicorn),
    Server("waitress", "waitress", _waitress),
    Server("granian", "granian", _granian),
    Server("bjoern", "bjoern", _bjoern),
)


def as_typed(command: list[str]) -> str:
    """Return a command as a person would type it, without this machine's path to Python."""
    return shlex.join("python" if word == sys.executable else word for word in command)


def url(port: int) -> str:
    """Return the address of the page that every scenario asks for."""
    return f"http://{HOST}:{port}/"


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
        try:
            connection.request("GET", "/")
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, HTTPException) as error:
            raise Failed(f"no answer: {error!r}") from None
        finally:
            connection.close()
        if (status, body) != (200, self.site.body):
            raise Failed(f"answered {status} {body[:80]!r}, not 200 {self.site.body!r}")

    def last_line(self) -> str:
        """Return the last line it has written to standard output or error, or nothing."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


@contextmanager
def running(server: Server, site: Site, core: int) -> Iterator[Running]:
    """Start a server, wait until it answers rightly, and end its whole process group at the end.

    Raises Failed, with the last line the server wrote, when it does not answer within 20 seconds, or not as
    ``site`` says, or when the body of the with statement raises Failed or OSError.
    """
    port = free_port()
    with tempfile.TemporaryFile("a+b") as log:  # appending: to read it must not move where the server writes
        process = subprocess.Popen(
            server.command(site, port, core),
            cwd=ROOT,
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
