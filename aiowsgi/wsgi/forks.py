"""What an application forks: a process whose only thread is a copy of one of the server's, with no work."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

# How many forks lie between this process and the one that has imported this module.
depth = 0


def _begin() -> None:
    global depth
    depth += 1


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin)


@contextmanager
def ended() -> Iterator[None]:
    """Have what is forked inside the block end behind it, by what the application has raised."""
    process = depth
    try:
        yield
    except BaseException as error:
        if depth != process:
            end(error.__cause__ or error)
        raise
    if depth != process:
        end()


def end(error: BaseException | None = None) -> NoReturn:
    """End this process as Python does where ``error`` comes through: what it says, its status, what is in buffers.

    Not what is registered to be called at the exit: that is the other process's, and may wait for its threads.
    """
    status = 1
    # There is no standard error, it has been closed, or nobody reads it.
    with suppress(AttributeError, OSError, ValueError):
        status = _tell(error)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _tell(error: BaseException | None) -> int:
    """Return the status that goes with it."""
    if error is None or (isinstance(error, SystemExit) and error.code is None):
        return 0
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif isinstance(error.code, int):
        return error.code & 0xFF
    else:
        sys.stderr.write(f"{error.code}\n")
    return 1
