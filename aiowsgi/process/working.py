"""What a worker process does, or a preloader, from its fork to its end: rights, loading, serving."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from time import monotonic
from wsgiref.types import WSGIApplication

from aiowsgi.config import Config
from aiowsgi.observe.errorlog import ErrorLog
from aiowsgi.process.allocator import bound_what_is_kept
from aiowsgi.process.child import LAST_WORDS, Report
from aiowsgi.process.opening import Opened
from aiowsgi.process.preloading import Preloader
from aiowsgi.process.rights import RightsError
from aiowsgi.server.board import Board
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.descriptors import hold_standard
from aiowsgi.server.offspring import Offspring
from aiowsgi.server.readycheck import NotReadyError
from aiowsgi.server.worker import Worker
from aiowsgi.site.applications import ApplicationError, describe
from aiowsgi.site.build import build_router
from aiowsgi.site.hooks import call_hook, call_last, find_hook
from aiowsgi.site.router import Router
from aiowsgi.wsgi import exits, forks, spool
from aiowsgi.wsgi.serial import OneThread, are_replaced

logger = logging.getLogger("aiowsgi.serving")

# Seconds past the graceful timeout for a worker to cut what is left and end by itself: three are for on_worker_stop,
# before which its threads have one to end, and the log has one behind it.
SPARE = 5.0

LEAST = 0.1  # seconds for the threads of an application where nothing of the graceful timeout is left


@dataclass(frozen=True, slots=True)
class Working:
    """All that it takes to be a worker of a server, as that is at the fork."""

    config: Config
    application: WSGIApplication | None  # behind all that the settings mount
    opened: Opened
    certificates: Certificates | None
    board: Board
    code: int  # the stamp of the code that is loaded now
    workers: int  # how many a preloader has

    def run(self, report: Report, life: int | None) -> None:
        """Do all that; see ``Work``."""
        bound_what_is_kept()
        if self.config.reload:
            # A change within a second that leaves the size as it is would be taken for what is compiled already.
            sys.dont_write_bytecode = True
        _check_threads(report)
        if life is None:  # this process is a program's
            with _failures(report), _logging_in_a_thread():
                self._take_rights()
                self._serve(self._load(report), report, None)
            return
        exits.disown()
        with _failures(report):
            self._take_rights()
            if self.config.preload:
                self._preload(report, life)
            else:
                Offspring(self.opened.listeners).watch()
                with _logging_in_a_thread():
                    self._serve(self._load(report), report, life)
        _exit()

    def _preload(self, report: Report, life: int) -> None:
        router, opened = self._load(report), self.opened

        def work(report: Report, life: int | None) -> None:
            Offspring(opened.listeners).watch()
            with _failures(report), _logging_in_a_thread():
                self._serve(router, report, life)
            _exit()

        grace = self.config.timeouts.graceful + SPARE
        preloader = Preloader(opened.listeners, work, self.workers, grace, opened.access_log)
        preloader.run(report, life, self.board)

    def _take_rights(self) -> None:
        """From here on this process has the rights of the workers. Raises RightsError."""
        if self.certificates is not None:
            self.certificates.read_again()  # perhaps for the last time, where keys are root's alone
        if self.opened.rights is not None:
            self.opened.rights.take()

    def _load(self, report: Report) -> Router:
        """Return what is served, as far as the settings say. Raises ApplicationError, HookError among them."""
        _check_temporary_files()
        find_hook("on_worker_start", self.config.on_worker_start)
        find_hook("on_worker_stop", self.config.on_worker_stop)
        find_hook("on_request_end", self.config.on_request_end, None)
        generation = partial(self.board.generation, self.code)
        try:
            with forks.ended():
                return build_router(self.config, self.application, lambda: self.board.leaving, generation)
        finally:
            _check_threads(report)

    def _serve(self, router: Router, report: Report, life: int | None) -> None:
        """Be a worker. Raises NotReadyError and HookError."""
        opened = self.opened
        hold_standard()
        with forks.ended():
            call_hook("on_worker_start", self.config.on_worker_start)
        _check_threads(report)
        worker = Worker(
            *(self.config, opened.listeners, router, opened.access_log, self.certificates),
            board=self.board,
        )
        try:
            if life is None:
                worker.run(report.ready)
            else:
                worker.run(report.ready, life, True, report.replace, report.line)
        finally:
            left = max(0.0, worker.deadline - monotonic())
            if life is not None:
                exits.bound(left + 2 * SPARE)
            call_last("on_worker_stop", self.config.on_worker_stop)
            if life is not None:
                exits.wait_for_threads(max(LEAST, worker.deadline - monotonic()))


def _exit() -> None:
    """Do the last thing of a process; its supervisor, if it lives, has less patience."""
    exits.bound(2 * SPARE)
    exits.call_registered()


@contextlib.contextmanager
def _failures(report: Report) -> Iterator[None]:
    """Report what people can mend as what it is, and not as a traceback."""
    try:
        yield
    except (RightsError, NotReadyError) as error:
        report.failed(f"aiowsgi: {error}")
    except ApplicationError as error:
        report.failed(words_of(error))


def words_of(error: ApplicationError) -> str:
    """Return what a person is told of it."""
    before, newline, line = describe(error).rpartition("\n")
    return f"{before}{newline}aiowsgi: {line}"


def _check_threads(report: Report) -> None:
    """End here and now where threads are no threads: who waits for one, as all do that end in order, never gets on."""
    if are_replaced():
        report.failed(
            "aiowsgi: threads were replaced by others, as gevent.monkey.patch_all and eventlet.monkey_patch do,"
            " and the server cannot work with those; leave that out"
        )
        os._exit(report.status)


def _check_temporary_files() -> None:
    if not spool.is_possible():
        logger.warning(
            "no folder for temporary files can be written: long uploads are answered 507, and a slow client of a long"
            " answer holds its thread; mount one at /tmp, or name one in TMPDIR"
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
