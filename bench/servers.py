"""What is served, and the command by which aiowsgi and each of its peers serves it on one core."""

import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from aiowsgi.version import __version__
from bench import certificate, nginx
from bench.files import PREFIX

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
THREADS = 4
SHOWN_PORT = 8000  # stands for the free port of the run in commands that are shown
SHOWN_FOLDER = Path("files")  # and this for its temporary folder


class Failed(Exception):
    """A figure cannot be had, as the server or the client failed: one line that says how."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a server is asked to serve, and the body a GET of ``path`` must have.

    Without an application it is the files of ``folder``, and ``path`` names one of them. For TLS the certificate is
    in ``folder``, too.
    """

    application: str = ""
    body: bytes = b""  # an application's
    path: str = "/"
    folder: Path = SHOWN_FOLDER
    workers: int = 1
    tls: bool = False
    options: tuple[str, ...] = ()  # further ones of aiowsgi's

    @property
    def certificate(self) -> str:
        """Return the path of the certificate."""
        return str(self.folder / certificate.CERTIFICATE)

    @property
    def key(self) -> str:
        """Return the path of its key."""
        return str(self.folder / certificate.KEY)

    def expected(self) -> bytes:
        """Return the body a GET of ``path`` must have."""
        return self.body if self.application else (self.folder / self.path.removeprefix("/")).read_bytes()


def file_site(name: str) -> Site:
    """Return the site of which the file ``name`` is asked for, one of those of ``bench.files``."""
    return Site(path=f"/{PREFIX}/{name}")


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


class Nginx(Server):
    """The one that is no Python package."""

    __slots__ = ()

    def installed(self) -> bool:
        """Tell whether there is such a program."""
        return nginx.program() is not None

    def version(self) -> str:
        """Return what it says."""
        return nginx.version()


class OnGunicorn(Server):
    """A package of the application's side, which gunicorn serves."""

    __slots__ = ()

    def installed(self) -> bool:
        """Tell whether both are."""
        return find_spec(self.module) is not None and find_spec("gunicorn") is not None

    def version(self) -> str:
        """Return both versions."""
        return f"{metadata.version(self.name)}, on gunicorn {metadata.version('gunicorn')}"


def _aiowsgi(site: Site, port: int) -> list[str]:
    served = [site.application] if site.application else ["--html", str(site.folder)]
    options = ["--workers", str(site.workers), "--threads", str(THREADS), *site.options]
    if site.tls:
        bind = [f"tls:{HOST}:{port}", "--certificate", site.certificate, "--key", site.key]
    else:
        bind = [f"{HOST}:{port}"]
    return ["-m", "aiowsgi", "serve", *served, "--bind", *bind, *options]


def _gunicorn(site: Site, port: int) -> list[str]:
    # By default it keeps a connection for 2 seconds and at most 1,000 of them: too few for idle connections.
    kept = "--keep-alive 75 --worker-connections 20000 --log-level warning"
    options = (
        f"--bind {HOST}:{port} --worker-class gthread --workers {site.workers} --threads {THREADS} {kept}"
    )
    tls = ["--certfile", site.certificate, "--keyfile", site.key] if site.tls else []
    return ["-m", "gunicorn", site.application, *options.split(), *tls]


def _waitress(site: Site, port: int) -> list[str]:
    # By default it holds 100 connections. It ends when its select() meets descriptor 1,024; with
    # --asyncore-use-poll it lives, but every request then costs time in proportion to all connections.
    options = f"--threads={THREADS} --connection-limit=20000"
    return f"-m waitress --listen={HOST}:{port} {options} {site.application}".split()


def _granian(site: Site, port: int) -> list[str]:
    # By default it stops accepting at 1,024 connections, idle ones among them. It wants an application even
    # for files alone.
    options = f"--interface wsgi --workers {site.workers} --blocking-threads {THREADS} --backpressure 20000"
    command = f"-m granian {site.application or _HELLO} --host {HOST} --port {port} {options}".split()
    if site.tls:
        command += ["--ssl-certificate", site.certificate, "--ssl-keyfile", site.key]
    if not site.application:
        folder = str(site.folder / PREFIX)
        command += ["--static-path-mount", folder, "--static-path-route", f"/{PREFIX}"]
    return command


def _bjoern(site: Site, port: int) -> list[str]:
    module, _, name = site.application.partition(":")
    return ["-c", f'import bjoern, {module} as site; bjoern.run(site.{name}, "{HOST}", {port})']


def _nginx(site: Site, port: int) -> list[str]:
    return ["-m", "bench.nginx", str(site.folder), str(port)]


def _whitenoise(site: Site, port: int) -> list[str]:
    return _gunicorn(Site(f"bench.whitenoise_files:files({str(site.folder)!r})"), port)


_HELLO = "bench.applications:hello"
_AIOWSGI = Server("aiowsgi", "aiowsgi.__main__", _aiowsgi)
_GRANIAN = Server("granian", "granian", _granian)
_GUNICORN = Server("gunicorn", "gunicorn", _gunicorn)

WSGI_SERVERS = (
    _AIOWSGI,
    _GUNICORN,
    Server("waitress", "waitress", _waitress),
    _GRANIAN,
    Server("bjoern", "bjoern", _bjoern),
)
FULL_SERVERS = (_AIOWSGI, _GUNICORN, _GRANIAN)  # those with several workers, and with TLS
FILE_SERVERS = (
    _AIOWSGI,
    Nginx("nginx", "bench.nginx", _nginx),
    _GRANIAN,
    OnGunicorn("whitenoise", "whitenoise", _whitenoise),
)


def as_typed(command: list[str]) -> str:
    """Return a command as a person would type it, without this machine's path to Python."""
    return shlex.join("python" if word == sys.executable else word for word in command)


def url(site: Site, port: int) -> str:
    """Return the address of the page that is asked for."""
    return f"{'https' if site.tls else 'http'}://{HOST}:{port}{site.path}"
