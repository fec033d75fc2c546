"""From a Config to the processes that serve it: what ``aiowsgi serve`` does once its settings are known."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from wsgiref.types import WSGIApplication

from aiowsgi.config import SETTINGS, Config, ConfigError, keep_fixed
from aiowsgi.observe.accesslog import replace_log
from aiowsgi.observe.errorlog import ErrorLog, has_descriptor, keep_heard, tell
from aiowsgi.observe.writing import own_descriptor
from aiowsgi.process.child import READY, START_FAILED, Report, Work
from aiowsgi.process.early import EarlySignals
from aiowsgi.process.notify import Manager
from aiowsgi.process.opening import Opened, open_access_log, open_all, raise_file_limit
from aiowsgi.process.origin import Origin, take_origin
from aiowsgi.process.places import Places
from aiowsgi.process.rights import RightsError
from aiowsgi.process.supervisor import Supervisor
from aiowsgi.process.watching import Watch, roots
from aiowsgi.process.working import SPARE, Working, words_of
from aiowsgi.server.board import Board
from aiowsgi.server.certificates import CertificateError, Certificates
from aiowsgi.server.listeners import address_of, is_local
from aiowsgi.site.build import describe_mounts
from aiowsgi.site.hooks import HookError, call_apart
from aiowsgi.version import __version__

logger = logging.getLogger("aiowsgi.serving")


def run(
    config: Config,
    application: WSGIApplication | None = None,
    read_again: Callable[[], Config] | None = None,
    origin: Origin | None = None,
) -> int:
    """Serve as ``config`` says, ``application`` behind all that it mounts; blocks.

    ``read_again`` returns the settings as they are at a reload, or raises ConfigError; None leaves them as they are.
    ``origin`` is what ``take_origin`` has found; None: it is looked for now.

    Returns the exit status: 0 after SIGTERM or SIGINT, or when another process has taken over; 2 if it cannot listen,
    write its log, use its certificates or have the rights that it should, or if a hook or the workers cannot start. All
    that has been told on standard error by then. Raises ConfigError where ``origin`` is looked for.
    """
    origin = origin or take_origin()
    _begin_logging(config.log_level)
    keep_heard()
    raise_file_limit()
    with EarlySignals() as early, contextlib.ExitStack() as stack:
        try:
            opened = open_all(config, origin, stack)
            call_apart("on_start", config.on_start)
        except (OSError, RightsError, CertificateError) as error:
            tell(f"aiowsgi: {error}")
            return START_FAILED
        except HookError as error:
            tell(words_of(error))
            return START_FAILED
        serving = _Serving(config, application, opened, read_again)
        if hasattr(os, "fork"):
            grace = config.timeouts.graceful + (2 * SPARE if serving.preloads else SPARE)
            return Supervisor(
                *(opened.listeners, serving, config.workers, grace, config.drain_delay, opened.control)
            ).run(early.end)
        return _run_alone(serving)
    logger.info("stopped before the start")
    return 0


def _begin_logging(level: str) -> None:
    """Have whatever is logged go to what is standard error now, unless the program has said where it goes."""
    if logging.getLogger().hasHandlers():
        return
    handler: logging.Handler = logging.StreamHandler()
    if has_descriptor(sys.stderr):
        handler = ErrorLog(own_descriptor(sys.stderr.fileno()), sys.stderr.encoding or "utf-8")
    form = "%(asctime)s [%(process)d] %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), format=form, handlers=[handler])


class _Serving:
    """What the supervisor has its processes do: serve as the settings say that were read last."""

    def __init__(
        self,
        config: Config,
        application: WSGIApplication | None,
        opened: Opened,
        read_again: Callable[[], Config] | None,
    ) -> None:
        self._config = config
        self._application = application
        self._opened = opened
        self._certificates = opened.certificates
        self._proven = config, opened.certificates  # what workers have started with
        self._read_again = read_again
        self._board = Board()
        self._origin = opened.origin
        # Until this server is the one that systemd knows of it is silent.
        self._manager = opened.origin.manager if opened.origin.predecessor is None else Manager()
        self._doing = "starting"  # for people
        self._code = self._board.stamp_code()  # what workers load from now on
        self._workers = config.workers
        self.preloads = config.preload
        self.helper: Work | None = None
        if config.reload:
            self.helper = Watch(roots(config), config.reload_include, os.getpid(), self._board.stamp_pages)

    @property
    def obeys(self) -> bool:
        return self._origin.predecessor is not None and self._origin.predecessor.holds()

    def work(self, report: Report, life: int | None) -> None:
        if self._origin.predecessor is not None:
            self._origin.predecessor.close()
        working = Working(
            *(self._config, self._application, self._opened, self._certificates),
            *(self._board, self._code, self._workers),
        )
        working.run(report, life)

    def failed(self, words: str) -> None:
        tell(words)

    def resized(self, workers: int) -> None:
        self._workers = workers

    def started(self) -> None:
        _tell_of_start(self._config, self._opened)
        if self._origin.predecessor is not None:
            self._origin.predecessor.give_way()
            self._manager = self._origin.manager
            if self._opened.pid_file is not None:
                self._opened.pid_file.claim()
        self._go_on("serving")

    def start_anew(self, report: Report, life: int | None) -> None:
        try:
            sockets = [*self._opened.listeners, *filter(None, [self._opened.control])]
            self._origin.start_anew(sockets, report)
        except OSError as error:
            report.failed(f"{error.filename}: {error.strerror}")

    def upgrade(self) -> None:
        self._doing = "upgrading"
        self._manager.reloading()

    def upgraded(self, pid: int) -> None:
        if pid:
            self._manager.follow(pid)
            self._manager = Manager()
        else:
            self._go_on("serving on, for the upgrade has failed")

    def is_silent(self, pid: int) -> bool:
        # A developer's debugger may have stopped all threads of it.
        return not self._config.reload and self._board.lateness.is_silent(pid)

    def look(self, places: Places) -> float:
        workers = self._workers if self.preloads else sum(child.ready for child in places.children)
        self._manager.status(f"{self._doing}, workers: {workers}")
        return self._manager.beat()

    def reload(self) -> str:
        self._doing = "reloading"
        self._manager.reloading()
        try:
            read = self._config if self._read_again is None else self._read_again()
            config = keep_fixed(read, self._config)
            for name in SETTINGS:
                if getattr(config, name) != getattr(read, name):
                    logger.warning("%s has changed, which counts from the next start on", name)
            certificates = self._certificates
            if config.tls != self._config.tls:
                certificates = Certificates(config.tls) if config.tls is not None else None
        except (ConfigError, CertificateError) as error:
            self._go_on("serving with the settings from before")
            return str(error)
        self._config, self._certificates = config, certificates
        self._code = self._board.stamp_code()
        return ""

    def reloaded(self, outcome: str) -> None:
        if outcome:
            self._config, self._certificates = self._proven  # for the next worker, should one die
            self._go_on("serving with what was loaded before")
        else:
            self._proven = self._config, self._certificates
            self._go_on("serving")

    def _go_on(self, doing: str) -> None:
        if self._doing == "stopping":
            return
        if self._doing != "draining":
            self._doing = doing
        self._manager.ready()

    def reopen(self) -> int | None:
        path, log = self._config.access_log, self._opened.access_log
        if path is None or log is None or path == "-":
            return None
        try:
            replace_log(log, open_access_log(path, self._opened.rights))
        except (OSError, RightsError) as error:
            logger.error("the access log goes on in the file so far: %s", error)
            return None
        return log

    def leave(self, stopping: bool) -> None:
        self._board.leave()
        if not stopping:
            self._doing = "draining"
        elif self._doing != "stopping":
            self._doing = "stopping"
            self._manager.stopping(self._config.drain_delay + self._config.timeouts.graceful + SPARE)


def _run_alone(serving: _Serving) -> int:
    """Do the work in this process, where there is no fork (Windows); KeyboardInterrupt stops it."""
    report = Report(lambda said: serving.started() if said == READY else tell(said.decode()))
    with report, contextlib.suppress(KeyboardInterrupt):
        serving.work(report, None)
    return report.status


def _tell_of_start(config: Config, opened: Opened) -> None:
    lines = [
        f"aiowsgi {__version__}, workers: {config.workers}, threads in each: {config.threads}",
        *(f"listening on {address_of(listener)}" for listener in opened.listeners),
        *([f"control socket {opened.control.getsockname()}"] if opened.control is not None else []),
        *(f"  {line}" for line in describe_mounts(config)),
    ]
    tell("\n".join(lines))
    if config.user is None and hasattr(os, "geteuid") and os.geteuid() == 0:
        logger.warning("the workers run as root; --user names somebody who may do less")
    if config.debug:
        for listener in opened.listeners:
            if not is_local(listener):
                reached = address_of(listener)
                logger.warning(
                    "whoever can reach %s is shown tracebacks: --debug is for this machine", reached
                )
