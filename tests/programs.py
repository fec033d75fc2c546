"""Programs that a test runs in sessions of their own, away from pytest, and their output."""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from time import monotonic
from typing import IO

PATIENCE = 30.0  # seconds; past it a test fails, and no test waits for it


class Output:
    """The lines of a pipe, waited for."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._descriptor = pipe.fileno()
        self._bytes = b""
        self._ended = False

    def until(self, pattern: str) -> str:
        """Return the first line, of those not yet read, in which ``pattern`` is found."""
        end = monotonic() + PATIENCE
        while monotonic() < end:
            line = self._line()
            assert line is not None, f"ended without {pattern!r}"
            if re.search(pattern, line):
                return line
        raise AssertionError(f"other lines than {pattern!r} came again and again")

    def rest(self) -> list[str]:
        """Return the remaining lines, up to the end of the pipe."""
        return list(iter(self._line, None))

    def _line(self) -> str | None:
        while b"\n" not in self._bytes and not self._ended:
            assert select.select([self._descriptor], [], [], PATIENCE)[0], f"only {self._bytes!r} came"
            data = os.read(self._descriptor, 65536)
            self._ended = not data
            self._bytes += data
        if not self._bytes:
            return None
        line, _, self._bytes = self._bytes.partition(b"\n")
        return line.decode()


class Program:
    """A process with the leadership of its own session, and its output."""

    def __init__(self, arguments: list[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # One that is killed leaves its control socket behind, and not where those of others are.
            env={**os.environ, "XDG_RUNTIME_DIR": tempfile.gettempdir()},
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.out = Output(self._process.stdout)
        self.err = Output(self._process.stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def send_group(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)

    def status(self) -> int:
        return self._process.wait(PATIENCE)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.send_group(signal.SIGKILL)
        with self._process:
            pass


Start = Callable[..., Program]


@contextlib.contextmanager
def starting() -> Iterator[Start]:
    """Give what starts ``python`` with the given arguments; nothing of it is left behind the block."""
    programs: list[Program] = []

    def start(*arguments: str) -> Program:
        programs.append(Program(list(arguments)))
        return programs[-1]

    try:
        yield start
    finally:
        for program in programs:
            program.end()
