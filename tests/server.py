"""``aiowsgi serve`` as a user runs it: a process of its own, up to the line that says where it listens."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Condition, Thread
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent
PATIENCE = 25.0  # seconds; past it a test fails, and no test waits for it. The graceful timeout is longer.


class RunningServer:
    """A context manager: the server runs and listens inside the block, and is gone behind it.

    At the end of the block it is asked to stop by SIGTERM and has to exit with status 0; where the block, or
    the start, fails, it is killed. Whatever it is told, it listens on a free port of 127.0.0.1 unless the
    arguments say ``--bind``.
    """

    _process: subprocess.Popen[str]
    _reader: Thread

    def __init__(
        self,
        *arguments: str,
        cwd: Path = ROOT,
        launcher: Sequence[str] = (),
        descriptors: Sequence[int] = (),
        bind: bool = True,
        **variables: str,
    ) -> None:
        """``arguments`` are those behind ``aiowsgi serve``; ``variables`` are added to the environment.

        Modules of this project are found from any ``cwd``. ``launcher`` is a command that is given the server's and
        becomes it; it has ``descriptors`` open. Without ``bind`` it is told nothing of where to listen.
        """
        address = ("--bind", "127.0.0.1:0") if bind and "--bind" not in arguments else ()
        self._command = [*launcher, sys.executable, "-m", "aiowsgi", "serve", *arguments, *address]
        self._cwd = cwd
        self._descriptors = descriptors
        # Not the tester's settings; but what the coverage of subprocesses travels by.
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("AIOWSGI_")}
        path = os.pathsep.join([str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])])
        # A server that is killed leaves its control socket behind, and not where those of others are.
        runtime = tempfile.gettempdir()
        self._environment = {
            **inherited,
            "PYTHONPATH": path,
            # Code that is edited within a second and stays as long would be taken for what is compiled already.
            "PYTHONDONTWRITEBYTECODE": "1",
            "XDG_RUNTIME_DIR": runtime,
            **variables,
        }
        self._said = ""
        self._upgrades = self._successor = self._expected = 0
        self._silent = False  # no process of it is left to say anything
        self._changed = Condition()
        self.url = ""  # where it listens, the first of the addresses: http://127.0.0.1:8000 or unix:/path

    def first(self, *lines: str) -> Self:
        """Have it run ``lines`` of Python before all else; to be called before it starts."""
        where = self._command.index("-m")
        program = "\n".join(["from aiowsgi.cli import main", *lines, "raise SystemExit(main())"])
        self._command[where : where + 2] = ["-c", program]
        return self

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="backslashreplace",
            pass_fds=self._descriptors,
            process_group=0,  # so that its workers can be killed with it
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.until(r"^listening on (\S+)$")[1]
        except AssertionError:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        try:
            if error is None:
                status = self.stop()
                assert status == self._expected, f"exit status {status}\n{self.log()}"
        finally:
            self._kill()

    @property
    def pid(self) -> int:
        """Of the parent of the workers."""
        return self._successor or self._process.pid

    def follow(self) -> int:
        """Wait until another process has taken over in an upgrade, and return its id: it is the server then."""
        self._upgrades += 1
        match = self.until(r"upgraded: process (\d+) serves", self._upgrades)
        return self.adopt(int(match[1]))

    def adopt(self, pid: int, status: int = 0) -> int:
        """Have that process be the server from now on; the first one is expected to end with ``status``."""
        self._successor, self._expected = pid, status
        return pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self) -> str:
        """Return all that was read so far of what its processes have said, on standard output and error."""
        with self._changed:
            return self._said

    def until(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait until ``pattern`` is found so many times in the log; return the last match.

        ^ and $ stand at every line's ends.
        """
        lines = re.compile(pattern, re.MULTILINE)

        def found() -> re.Match[str] | None:
            return next(islice(lines.finditer(self._said), times - 1, None), None)

        with self._changed:
            self._changed.wait_for(lambda: self._silent or found(), PATIENCE)
            match = found()
        assert match is not None, f"no {pattern!r} {times} times in:\n{self.log()}"
        return match

    def stop(self) -> int:
        """Ask it to stop by SIGTERM, unless it has ended; wait until all its processes are gone.

        Returns the exit status, of the first process where others have followed it; the log is complete then.
        """
        if self._successor or self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
        status = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self._silent, f"a worker is left\n{self.log()}"
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._changed:
                    self._said += line
                    self._changed.notify_all()
        with self._changed:
            self._silent = True
            self._changed.notify_all()

    def _kill(self) -> None:
        if self._process.poll() is None or self._reader.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._reader.join()
