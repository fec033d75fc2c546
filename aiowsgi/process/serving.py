"""From a Config to the processes that serve it: what ``aiowsgi serve`` does once its settings are known."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from wsgiref.types import WSGIApplication

from aiowsgi.config import Config
from aiowsgi.observe.accesslog import open_log
from aiowsgi.observe.errorlog import ErrorLog, has_descriptor
from aiowsgi.process.child import LAST_WORDS, READY, START_FAILED, Report, Work
from aiowsgi.process.rights import Rights, RightsError, find_rights
from aiowsgi.process.supervisor import Supervisor, tell
from aiowsgi.server.certificates import CertificateError, Certificates
from aiowsgi.server.listeners import Listener, address_of, close_listeners, open_listeners
from aiowsgi.server.worker import Worker
from aiowsgi.site.applications import ApplicationError, describe
from aiowsgi.site.build import build_router, describe_mounts
from aiowsgi.version import __version__
from aiowsgi.wsgi.serial import OneThread

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("aiowsgi.serving")

SPARE = 3.0  # seconds past the graceful timeout, for a worker to cut what is left and end by itself


def run(config: Config, application: WSGIApplication | None = None) -> int:
    """Serve as ``config`` says, ``application`` behind all that it mounts; blocks.

    Returns the exit status: 0 after SIGTERM or SIGINT, 2 if it cannot listen, write its log, use its certificates or
    have the rights that it should, or if the workers cannot start. All that has been told on standard error by then.
    """
    _begin_logging(config.log_level)
    _raise_file_limit()
    with contextlib.ExitStack() as stack:
        try:
            opened = _open(config, stack)
        except (OSError, RightsError, CertificateError) as error:
            tell(f"aiowsgi: {error}")
            return START_FAILED
        work = partial(_serve, config, application, opened)
        started = partial(_tell_of_start, config, opened.listeners)
        if hasattr(os, "fork"):
            grace = config.timeouts.graceful + SPARE
            return Supervisor(opened.listeners, work, config.workers, grace, started).run()
        return _run_alone(work, started)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What all workers share; it was opened with the rights that the server was started with."""

    listeners: Sequence[Listener]
    access_log: int | None
    certificates: Certificates | None
    rights: Rights | None  # those of the workers, where they are others


def _open(config: Config, stack: contextlib.ExitStack) -> _Opened:
    """Open what the workers may not have the rights to open, for ``stack`` to close. Raises OSError, RightsError and
    CertificateError.
    """
    certificates = Certificates(config.tls) if config.tls is not None else None
    rights = find_rights(config.user, config.group)
    if config.umask is not None:
        os.umask(config.umask)
    listeners = open_listeners(config.bind)
    stack.callback(close_listeners, listeners)
    if rights is not None:
        for listener in listeners:
            if isinstance(listener.getsockname(), str):
                rights.own(listener.getsockname())
    access_log = None
    if config.access_log is not None:
        access_log = open_log(config.access_log, None if rights is None else rights.own)
        stack.callback(os.close, access_log)
    return _Opened(listeners, access_log, certificates, rights)


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
    opened: _Opened,
    report: Report,
    life: int | None,
) -> None:
    with _logging_in_a_thread():
        try:
            if opened.certificates is not None:
                opened.certificates.read_again()  # perhaps for the last time, where keys are root's alone
            if opened.rights is not None:
                opened.rights.take()
            router = build_router(config, application)
        except RightsError as error:
            report.failed(f"aiowsgi: {error}")
        except ApplicationError as error:
            before, newline, line = describe(error).rpartition("\n")
            report.failed(f"{before}{newline}aiowsgi: {line}")
        else:
            worker = Worker(config, opened.listeners, router, opened.access_log, opened.certificates)
            supervised = life is not None
            worker.run(report.ready, life, supervised, report.replace if supervised else None)


def _run_alone(work: Work, started: Callable[[], None]) -> int:
    """Do the work in this process, where there is no fork (Windows); KeyboardInterrupt stops it."""
    report = Report(lambda said: started() if said == READY else tell(said.decode()))
    with report, contextlib.suppress(KeyboardInterrupt):
        work(report, None)
    return report.status


def _tell_of_start(config: Config, listeners: Sequence[Listener]) -> None:
    lines = [
        f"aiowsgi {__version__}, workers: {config.workers}, threads in each: {config.threads}",
        *(f"listening on {address_of(listener)}" for listener in listeners),
        *(f"  {line}" for line in describe_mounts(config)),
    ]
    tell("\n".join(lines))
    if config.user is None and hasattr(os, "geteuid") and os.geteuid() == 0:
        logger.warning("the workers run as root; --user names somebody who may do less")
