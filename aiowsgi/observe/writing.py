"""Lines of a log on their way to a descriptor: how many may wait, and how they are written."""

import os
import select
import sys
from collections.abc import Iterable, Iterator
from stat import S_ISFIFO

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

# For a slow disk, or a pipe that nobody reads. The lines past the bounds are counted and left out.
MOST_LINES = 4096
MOST_BYTES = 4 * 1024 * 1024

# What a pipe takes at once: it neither tears it nor, if it takes anything (POLLOUT), keeps its writer waiting.
_PIPE = getattr(select, "PIPE_BUF", 512)  # there is none on Windows; 512 is the least that POSIX allows


def own_descriptor(descriptor: int) -> int:
    """Return another number for the same file, of this process alone and the caller's to close. Raises OSError.

    It is none of the standard streams': an application may close those, and the next client gets their numbers.
    """
    return os.dup(descriptor) if fcntl is None else fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


class WaitingLines:
    """The lines that wait to be written; one thread at a time."""

    __slots__ = ("_lines", "_size", "left_out")

    def __init__(self) -> None:
        self._lines: list[bytes] = []
        self._size = 0
        self.left_out = 0  # lines that nobody will see, and that nobody was told of yet

    def __bool__(self) -> bool:
        return bool(self._lines)

    def has_room(self) -> bool:
        """Tell whether one more line may wait; it may be of any length. If not, the line counts as left out."""
        if len(self._lines) < MOST_LINES and self._size < MOST_BYTES:
            return True
        self.left_out += 1
        return False

    def add(self, line: bytes) -> None:
        """Keep a line that there is room for."""
        self._lines.append(line)
        self._size += len(line)

    def take(self) -> tuple[list[bytes], int]:
        """Return what waits, and how many lines were left out behind it or before it."""
        lines, self._lines, self._size = self._lines, [], 0
        left_out, self.left_out = self.left_out, 0
        return lines, left_out


def write_lines(descriptor: int, lines: Iterable[bytes], patience: float | None = None) -> None:
    """Write ``lines``; blocks. Raises OSError: TimeoutError where nothing was taken for ``patience`` seconds.

    Several processes may write to the same pipe: a line that a pipe takes at once is never torn by those of others.
    """
    pipe = S_ISFIFO(os.fstat(descriptor).st_mode)
    most = sys.maxsize if patience is None else _PIPE
    for piece in _runs(lines) if pipe or patience is not None else (b"".join(lines),):
        data = memoryview(piece)
        while data:
            if patience is not None:
                _wait(descriptor, patience)
            try:
                data = data[os.write(descriptor, data[:most]) :]
            except BlockingIOError:  # somebody has made it non-blocking, for all who have it open
                if patience is None:
                    _wait(descriptor)


def _wait(descriptor: int, patience: float | None = None) -> None:
    """Wait until the descriptor takes something. Raises TimeoutError."""
    if not hasattr(select, "poll"):
        return  # Windows: there the thread of the only process just writes
    ready = select.poll()
    ready.register(descriptor, select.POLLOUT)
    if not ready.poll(None if patience is None else patience * 1000):
        raise TimeoutError("nobody reads it")


def _runs(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines in runs of as many as a pipe takes at once; one that is longer by itself."""
    run: list[bytes] = []
    size = 0
    for line in lines:
        if run and size + len(line) > _PIPE:
            yield b"".join(run)
            run, size = [], 0
        run.append(line)
        size += len(line)
    if run:
        yield b"".join(run)
