"""The variants of files that are compressed once, before anybody asks: ``app.js.br`` beside ``app.js``.

A variant has the time of its original, to the nanosecond, so each of the two tells whether it is still the
other's: a variant of another time is made again, or removed where it would not be worth it any more.
"""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from stat import S_IMODE, S_ISREG
from tempfile import mkstemp
from time import monotonic
from typing import NamedTuple

from aiowsgi.http.codings import smallest
from aiowsgi.http.compressible import is_compressible
from aiowsgi.site.files import SUFFIXES
from aiowsgi.site.folders import counted, readable_size
from aiowsgi.site.media_types import content_type
from aiowsgi.site.opening import OpenFile
from aiowsgi.wsgi.parallel import in_threads

# In bytes. What is smaller fits into one packet with its head, compressed or not.
SMALLEST = 200

# The largest part of its original that a variant may be: what saves less is not worth its place in caches.
WORTH = 0.95

# Bytes that are compressed between two looks at whether to go on. The best brotli takes half a second for them.
_PIECE = 256 * 1024


class Task(NamedTuple):
    """One variant to be looked after: of the file at ``path``, ``size`` bytes when it was found."""

    path: str
    coding: str
    size: int


class Outcome(Enum):
    MADE = "made"
    CURRENT = "up to date"
    NOT_WORTH = "not worth it"
    FAILED = "failed"


class Result(NamedTuple):
    """What became of a Task: the variant has ``after`` bytes, its original ``before``; or ``error`` says why not."""

    task: Task
    outcome: Outcome
    before: int = 0
    after: int = 0
    error: str = ""


class StoppedError(Exception):
    """Nobody waits for this variant any more."""


class ChangedError(Exception):
    """The original was written while it was read."""


def tasks(folder: str, codings: Sequence[str], failed: Callable[[OSError], object]) -> list[Task]:
    """Return what there is to look after below ``folder``, the largest first, so that none is late at the end.

    Links are not followed, hidden names are left out. ``failed`` is told of what cannot be read.
    """
    found = []
    for at, folders, names in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = os.path.join(at, name)
            if name.startswith(".") or not is_compressible(content_type(os.fsencode(path))):
                continue
            try:
                status = os.lstat(path)
            except OSError as error:
                failed(error)
                continue
            if S_ISREG(status.st_mode):
                found += [Task(path, coding, status.st_size) for coding in codings]
    return sorted(found, key=lambda task: (-task.size, task.path))


def compressed(work: Sequence[Task], threads: int) -> Generator[Result, None, None]:
    """Yield the Result of each Task when it is done."""
    return in_threads(_result, work, threads)


def _result(task: Task, stopped: Callable[[], bool]) -> Result:
    try:
        return keep_variant(task, stopped)
    except OSError as error:
        where = os.fsdecode(error.filename2 or error.filename or task.path)
        # The name of a temporary file says nothing to anybody.
        if os.path.basename(where).startswith(_TEMPORARY):
            where = os.path.dirname(where)
        return Result(task, Outcome.FAILED, error=f"{where!r}: {error.strerror}")
    except ChangedError:
        return Result(task, Outcome.FAILED, error=f"{task.path!r}: changed while it was read")
    except StoppedError:
        return Result(task, Outcome.FAILED, error=f"{task.path!r}: stopped")


def keep_variant(task: Task, stopped: Callable[[], bool]) -> Result:
    """Make, leave or remove the variant. Raises OSError, ChangedError, StoppedError; then it is as it was."""
    variant = task.path + os.fsdecode(SUFFIXES[task.coding])
    file = OpenFile(os.fsencode(task.path))
    original = os.fstat(file.fileno())
    known = _known(variant)
    if known is not None and _is_current(known, original):
        if S_IMODE(known.st_mode) != S_IMODE(original.st_mode):
            os.chmod(variant, S_IMODE(original.st_mode))
        return Result(task, Outcome.CURRENT, original.st_size, known.st_size)
    if original.st_size >= SMALLEST:
        size = _make(variant, original, _pieces(file, original, task.coding, stopped))
        if size is not None:
            return Result(task, Outcome.MADE, original.st_size, size)
    if known is not None:
        os.unlink(variant)
    return Result(task, Outcome.NOT_WORTH, original.st_size)


def _known(variant: str) -> os.stat_result | None:
    with suppress(FileNotFoundError):
        return os.lstat(variant)
    return None


def _is_current(variant: os.stat_result, original: os.stat_result) -> bool:
    # An empty one is what a machine that lost its power may leave.
    return S_ISREG(variant.st_mode) and variant.st_size > 0 and variant.st_mtime_ns == original.st_mtime_ns


_TEMPORARY = ".aiowsgi-"


def _make(variant: str, original: os.stat_result, pieces: Iterable[bytes]) -> int | None:
    """Put ``variant`` in its place, whole, and return its size; None where it is not worth it."""
    temporary, path = mkstemp(prefix=_TEMPORARY, dir=os.path.dirname(variant))
    try:
        with open(temporary, "wb") as file:
            file.writelines(pieces)
            size = file.tell()
            if size > original.st_size * WORTH:
                return None
            file.flush()
            _make_alike(temporary, original)
        os.replace(path, variant)
        return size
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _pieces(
    file: OpenFile, original: os.stat_result, coding: str, stopped: Callable[[], bool]
) -> Iterator[bytes]:
    stream = smallest(coding, original.st_size)
    offset = 0
    while offset < original.st_size:
        if stopped():
            raise StoppedError
        piece = os.pread(file.fileno(), min(_PIECE, original.st_size - offset), offset)
        if not piece:
            raise ChangedError
        offset += len(piece)
        yield stream.compress(piece)
    now = os.fstat(file.fileno())
    if (now.st_size, now.st_mtime_ns) != (original.st_size, original.st_mtime_ns):
        raise ChangedError
    yield stream.flush()


def _make_alike(descriptor: int, original: os.stat_result) -> None:
    """Give a new file the owner, if that is allowed, the mode and the time of ``original``."""
    if (os.geteuid(), os.getegid()) != (original.st_uid, original.st_gid):
        with suppress(PermissionError):
            os.fchown(descriptor, original.st_uid, original.st_gid)
    os.fchmod(descriptor, S_IMODE(original.st_mode))
    os.utime(descriptor, ns=(original.st_mtime_ns, original.st_mtime_ns))


class Report:
    """What became of all of them."""

    def __init__(self) -> None:
        self.errors: dict[str, None] = {}  # each once, in order
        self._started = monotonic()
        self._files: set[str] = set()
        self._outcomes: Counter[Outcome] = Counter()
        self._sizes: dict[str, tuple[int, int]] = {}

    def unreadable(self, error: OSError) -> None:
        self.errors[f"{error.filename!r}: {error.strerror}"] = None

    def add(self, result: Result) -> None:
        task, outcome, before, after, error = result
        self._files.add(task.path)
        self._outcomes[outcome] += 1
        if error:
            self.errors[error] = None
        if after:
            all_before, all_after = self._sizes.get(task.coding, (0, 0))
            self._sizes[task.coding] = (all_before + before, all_after + after)

    def summary(self) -> str:
        """Tell of all in one line."""
        parts = [
            f"{coding} {readable_size(before)} to {readable_size(after)} ({after / max(before, 1):.0%})"
            for coding, (before, after) in sorted(self._sizes.items())
        ]
        parts += [f"{count:,} {outcome.value}" for outcome, count in self._outcomes.items()]
        parts.append(f"{monotonic() - self._started:.1f} s")
        return f"{counted(len(self._files), 'file')}; " + ", ".join(parts)
