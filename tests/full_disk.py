"""A disk that is full: a process none of whose files may grow past a few blocks."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM = 4096  # bytes


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may be longer than ROOM: writing past it is an OSError, as on a full disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def run_alone(function: Callable[[], None]) -> "subprocess.CompletedProcess[str]":
    """Run a module's function in a process of its own, which the limit holds for as a whole."""
    return subprocess.run(
        [sys.executable, "-c", f"from {function.__module__} import {function.__name__} as f; f()"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=60,
    )
