"""From a Config to the processes that serve it: what ``aiowsgi serve`` does once its settings are known."""

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from wsgiref.types import WSGIApplication

from aiowsgi.config import Config
from aiowsgi.observe.errorlog import ErrorLog, has_descriptor
from aiowsgi.process.child import LAST_WORDS, READY, START_FAILED, Report, Work
from aiowsgi.process.supervisor import Supervisor, tell
from aiowsgi.server.listeners import ListenError, address_of, close_listeners, open_listeners
from aiowsgi.server.worker import Worker
from aiowsgi.site.applications import ApplicationError, describe
from aiowsgi.site.build import build_router, describe_mounts
from aiowsgi.version import __version__
from aiowsgi.wsgi.serial import OneThread

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

SPARE = 3.0  # seconds past the graceful timeout, for a worker to cut what is left and end by itself


def run(config: Config, application: WSGIApplication | None = None) -> int:
    """Serve as ``config`` says, ``application`` behind all that it mounts; blocks.

    Returns the exit status: 0 after SIGTERM or SIGINT, 2 if it cannot listen or the workers cannot start.
    Both have been told on standard error by then.
    """
    _begin_logging(config.log_level)
    _raise_file_limit()
    try:
        listeners = open_listeners(config.bind)
    except ListenError as error:
        tell(f"aiowsgi: {error}")
        return START_FAILED
    work = partial(_serve, config, application, listeners)
    started = partial(tell, _start_report(config, listeners))
    if hasattr(os, "fork"):
        return Supervisor(listeners, work, config.workers, config.timeouts.graceful + SPARE, started).run()
    try:
        return _run_alone(work, started)
    finally:
        close_listeners(listeners)


def _begin_logging(level: str) -> None:
    """Have whatever is logged go to standard error, unless the program has said where it goes."""
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s",
        handlers=[ErrorLog(sys.stderr) if has_descriptor(sys.stderr) else logging.StreamHandler()],
    )


@contextlib.contextmanager
def _logging_in_a_thread() -> Iterator[None]:
    """Let nobody in this process wait for the reader of the error log, the event loop least of all."""
    logs = [handler for handler in logging.getLogger().handlers if isinstance(handler, ErrorLog)]
    thread = OneThread("aiowsgi-log")
    for log in logs:
        log.begin(thread.submit)
    try:
        yield
    finally:
        for log in logs:
            log.end()
        thread.close(LAST_WORDS)


def _raise_file_limit() -> None:
    """Let the workers have as many open files, and so connections, as this user may have.

    The soft limit is 1024 on most systems, for the sake of programs that use select(2); the hard one is far higher.
    """
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _serve(
    config: Config,
    application: WSGIApplication | None,
    listeners: Sequence[socket.socket],
    report: Report,
    life: int | None,
) -> None:
    with _logging_in_a_thread():
        try:
            router = build_router(config, application)
        except ApplicationError as error:
            before, newline, line = describe(error).rpartition("\n")
            report.failed(f"{before}{newline}aiowsgi: {line}")
        else:
            Worker(config, listeners, router).run(report.ready, life, signals=life is not None)


def _run_alone(work: Work, started: Callable[[], None]) -> int:
    """Do the work in this process, where there is no fork (Windows); KeyboardInterrupt stops it."""
    report = Report(lambda said: started() if said == READY else tell(said.decode()))
    with report, contextlib.suppress(KeyboardInterrupt):
        work(report, None)
    return report.status


def _start_report(config: Config, listeners: Sequence[socket.socket]) -> str:
    return "\n".join(
        [
            f"aiowsgi {__version__}, workers: {config.workers}, threads in each: {config.threads}",
            *(f"listening on {address_of(listener)}" for listener in listeners),
            *(f"  {line}" for line in describe_mounts(config)),
        ]
    )
