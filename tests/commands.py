"""The commands for a server that runs, as a person or a program gives them."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from aiowsgi.cli import main
from tests.server import ROOT, RunningServer

PATIENCE = 60.0  # seconds; past it a test fails, and no test waits for it


@dataclass
class Ended:
    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that it has said, on standard error."""
        assert self.out == ""
        [line] = self.err.splitlines()
        return line

    @property
    def answer(self) -> Any:
        assert self.err == ""
        return json.loads(self.out)


class Command:
    """``aiowsgi`` as it runs."""

    def __init__(self, *arguments: str, cwd: Path = ROOT, **variables: str) -> None:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("AIOWSGI_")}
        path = os.pathsep.join([str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])])
        runtime = tempfile.gettempdir()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aiowsgi", *arguments],
            cwd=cwd,
            env={**inherited, "PYTHONPATH": path, "XDG_RUNTIME_DIR": runtime, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def ended(self) -> Ended:
        try:
            out, err = self._process.communicate(timeout=PATIENCE)
        finally:
            self._process.kill()
        return Ended(self._process.returncode, out, err)


def aiowsgi(*arguments: str, cwd: Path = ROOT, **variables: str) -> Ended:
    """Run ``aiowsgi``, and return what it has said when it has ended."""
    return Command(*arguments, cwd=cwd, **variables).ended()


class OperatedServer(RunningServer):
    """A server with a control socket in its folder."""

    def __init__(self, *arguments: str, cwd: Path, **variables: Any) -> None:
        self._folder = cwd
        super().__init__(*arguments, "--control", "control", cwd=cwd, **variables)

    @property
    def control(self) -> Path:
        return self._folder / "control"

    def until_asked(self, count: int) -> None:
        """Wait until so many commands have come as far as the control socket."""
        connected = rf"\b0001 03 +\d+ {re.escape(str(self.control))}$"
        end = monotonic() + PATIENCE
        while len(re.findall(connected, Path("/proc/net/unix").read_text(), re.MULTILINE)) < count:
            assert monotonic() < end

    def told(self, *arguments: str) -> Ended:
        return aiowsgi(*arguments, "--control", str(self.control))

    def answer(self, *arguments: str) -> Any:
        """Ask by a command in this process, which is what costs least."""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            main([*arguments, "--json", "--control", str(self.control)])
        return json.loads(out.getvalue())
