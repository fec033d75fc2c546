"""How this process was started, and how it can be started anew: what an upgrade hands on, and what comes of it.

The new process runs the same command, in the same folder and environment, with a fresh interpreter: whatever is
installed by then is what it runs. It inherits the listening sockets, and a pipe for the word that it is ready.
"""

import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from aiowsgi.config import ConfigError
from aiowsgi.process.child import READY, Report
from aiowsgi.process.notify import Manager, take_manager
from aiowsgi.process.passed import take_passed
from aiowsgi.server.listeners import Listener, close_listeners

# In the environment of the new process alone, as JSON. Versions to come have to understand it, and to write it so that
# those before them do: what is added may be missing.
_VARIABLE = "_AIOWSGI_UPGRADE"

PATIENCE = 1.0  # seconds for the other one to tell systemd of this one


class Predecessor:
    """The server in whose stead this one was started: it serves until this one is ready.

    Its sockets are this one's, too; their files are so once it is ready, and not before.
    """

    def __init__(self, pid: int, report: int, sockets: list[Listener]) -> None:
        """``report`` is the descriptor that it waits at, ``sockets`` are those that it listens on."""
        self.pid = pid
        self.unclaimed = list(sockets)  # those that are not listened on any more
        self._sockets = sockets
        self._report = report

    def give_way(self) -> None:
        """Take over, and have it end; it may have died by now, and that is as good."""
        for sock in self._sockets:
            sock.removes = True
        close_listeners(self.unclaimed)
        with contextlib.suppress(BrokenPipeError):
            os.write(self._report, READY)
        # Whoever speaks to systemd before it has been told of the new process is not listened to.
        if not self.holds(PATIENCE):
            self.close()

    def holds(self, seconds: float = 0.0) -> bool:
        """Return whether it has not let go of this server by now, or so many ``seconds`` from now.

        Until then its end is this one's. It lets go by closing its end of the pipe, and by dying.
        """
        if self._report < 0:
            return False
        pipe = select.poll()
        pipe.register(self._report, 0)
        return not pipe.poll(seconds * 1000)

    def close(self) -> None:
        """Close what is left of it, and leave its files alone; a worker has no use for it either."""
        close_listeners(self.unclaimed)
        if self._report >= 0:
            os.close(self._report)
        self._report = -1


@dataclass(frozen=True, slots=True)
class Origin:
    """What this process was given by whoever started it, but for its settings."""

    command: tuple[str, ...]
    folder: str
    environ: dict[str, str]  # as it was, but for what is this process's own
    umask: int
    passed: tuple[str, ...]  # the binds of systemd's sockets
    manager: Manager
    predecessor: Predecessor | None = None

    def start_anew(self, listeners: Iterable[Listener], report: Report) -> NoReturn:
        """Become the new process, which takes over ``listeners`` and ``report``. Raises OSError."""
        os.chdir(self.folder)
        os.umask(self.umask)
        sockets = []
        for listener in listeners:
            listener.set_inheritable(True)
            sockets.append({"descriptor": listener.fileno(), "asked": listener.asked, "file": listener.file})
        os.set_inheritable(report.descriptor, True)
        told = {
            "pid": os.getppid(),
            "report": report.descriptor,
            "passed": self.passed,
            "sockets": sockets,
        }
        # It would die of these before it has handlers.
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        os.execve(self.command[0], self.command, {**self.environ, _VARIABLE: json.dumps(told)})


def take_origin() -> Origin:
    """Find out, and remove from the environment what is for this process alone; to be called once, before all else.

    Raises ConfigError.
    """
    environ, told = dict(os.environ), os.environ.pop(_VARIABLE, None)
    for name in (_VARIABLE, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environ.pop(name, None)
    if environ.get("WATCHDOG_PID") == str(os.getpid()):  # so it will be the new process's
        del environ["WATCHDOG_PID"]
    passed = take_passed(os.environ)
    predecessor = None
    if told is not None:
        predecessor, passed = _read(told)
    mask = os.umask(0o077)
    os.umask(mask)
    return Origin(
        command=(sys.executable, *sys.orig_argv[1:]),
        folder=_folder(environ.get("PWD", "")),
        environ=environ,
        umask=mask,
        passed=passed,
        manager=take_manager(os.environ),
        predecessor=predecessor,
    )


def _folder(called: str) -> str:
    """Return the working directory as it is ``called`` where that is true.

    So a link is followed anew: releases are often put in place by turning one.
    """
    folder = os.getcwd()
    with contextlib.suppress(OSError, ValueError):
        if os.path.isabs(called) and os.path.samefile(called, folder):
            return called
    return folder


def _read(told: str) -> tuple[Predecessor, tuple[str, ...]]:
    try:
        given = json.loads(told)
        pid, report, passed = int(given["pid"]), int(given["report"]), tuple(given["passed"])
        sockets = [_socket(**each) for each in given["sockets"]]
        os.set_inheritable(report, False)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ConfigError(f"{_VARIABLE}: expected what another server has written, got {told!r}") from error
    return Predecessor(pid, report, sockets), passed


def _socket(
    descriptor: int, asked: str | list[str | int], file: list[int] | None = None, **_: object
) -> Listener:
    listener = Listener(fileno=descriptor)
    listener.set_inheritable(False)
    listener.asked = asked if isinstance(asked, str) else tuple(asked)
    listener.file = None if file is None else (file[0], file[1])
    listener.removes = False
    return listener
