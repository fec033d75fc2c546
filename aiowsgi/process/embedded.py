"""The server inside a program of yours: ``serve`` and, as in ``wsgiref.simple_server``, ``make_server``."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from aiowsgi.config import Config, ConfigError, current_folder, load
from aiowsgi.observe.accesslog import open_log
from aiowsgi.process.origin import take_origin
from aiowsgi.process.serving import run
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.listeners import close_listeners, open_listeners
from aiowsgi.server.worker import Worker
from aiowsgi.site.build import build_router
from aiowsgi.site.hooks import find_hook
from aiowsgi.wsgi.serial import one_at_a_time

# What is for ``serve``, which has processes of its own.
_OF_PROCESSES = {
    *("user", "group", "umask", "control", "pid_file"),
    *("on_start", "on_worker_start", "on_worker_stop"),
}


def serve(application: WSGIApplication | str | None = None, **settings: object) -> int:
    """Do what ``aiowsgi serve`` does, in this process and its children; blocks until a signal stops it.

    ``application`` is a WSGI application or what the command line takes for one; ``settings`` are those of the
    command line by their names, as in ``serve(app, bind=["[::1]:8000"], workers=2, static=["/static=public"])``.
    Returns the exit status, 0 or 2. Raises ConfigError.
    """
    folder, origin = current_folder(), take_origin()
    if application is None or isinstance(application, str):
        read = partial(load, {**settings, "app": application}, {}, folder, origin.passed)
        return run(read(), read_again=read, origin=origin)
    return run(_config(settings, origin.passed), application, origin=origin)


def make_server(host: str, port: int, app: WSGIApplication, **settings: object) -> "WSGIServer":
    """Listen on ``host`` ("" is every interface) and ``port`` (0 is any free one), and return what serves ``app``.

    ``settings`` as for ``serve``, without ``user``, ``group``, ``umask``, ``control``, ``pid_file`` and the hooks of a
    start or an end: the process is yours. Raises ConfigError, ApplicationError for one that is mounted beside ``app``
    and for a hook, CertificateError, and OSError where the address or the log cannot be had. With a ``certificate`` it
    is https that is served.
    """
    if given := settings.keys() & _OF_PROCESSES:
        raise ConfigError(
            f"{min(given)}: expected in a call of serve, make_server leaves the process as it is"
        )
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if settings.get("certificate"):
        bind = "tls:" + bind
    return WSGIServer(_config({**settings, "bind": [bind]}), app)


def _config(settings: dict[str, object], passed: Sequence[str] = ()) -> Config:
    if settings.get("reload"):
        raise ConfigError("reload: expected an application by its name, which can be imported again")
    # With an application the folders html and apps are served only where they are asked for.
    return replace(load({**settings, "app": "given:directly"}, {}, current_folder(), passed), app=None)


class WSGIServer:
    """One worker in this process, with the interface of ``wsgiref.simple_server.WSGIServer``.

    A context manager: it closes its sockets at the end. ``server_port`` is the port it listens on.
    """

    def __init__(self, config: Config, application: WSGIApplication) -> None:
        self._config = config
        self._application = application
        find_hook("on_request_end", config.on_request_end, None)
        self._router = build_router(config, self._call)
        self._certificates = Certificates(config.tls) if config.tls is not None else None
        self._listeners = open_listeners(config.bind)
        self._access_log = None if config.access_log is None else open_log(config.access_log)
        self.server_address: tuple[str, int] = self._listeners[0].getsockname()[:2]
        self.server_name, self.server_port = self.server_address
        self._serving = one_at_a_time()
        self._once = False  # the next request is the last one
        self._worker = self._make_worker()

    def get_app(self) -> WSGIApplication:
        return self._application

    def set_app(self, application: WSGIApplication) -> None:
        """Have further requests answered by ``application``."""
        self._application = application

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until ``shutdown``, then finish what is being answered. ``poll_interval`` has no meaning here."""
        with self._serving:
            try:
                self._worker.run(lambda: None)
            finally:
                self._worker = self._make_worker()

    def handle_request(self) -> None:
        """Serve until the application has answered one request."""
        with self._serving:
            self._once, self._worker = True, self._make_worker()
            try:
                self._worker.run(lambda: None)
            finally:
                self._once, self._worker = False, self._make_worker()

    def shutdown(self) -> None:
        """Stop ``serve_forever``, which runs in another thread, and wait until it has returned."""
        self._worker.stop()
        with self._serving:
            pass

    def server_close(self) -> None:
        """Close the listening sockets, and the access log."""
        close_listeners(self._listeners)
        if self._access_log is not None:
            os.close(self._access_log)
            self._access_log = None

    def fileno(self) -> int:
        return self._listeners[0].fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        self.server_close()

    def _make_worker(self) -> Worker:
        return Worker(self._config, self._listeners, self._router, self._access_log, self._certificates)

    def _call(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._once:
            self._worker.stop()  # it still answers what it has begun
        return self._application(environ, start_response)
