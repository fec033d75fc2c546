"""Files below a document root: which paths name one, finding it, opening it, reading the small ones.

All of it but ``is_refused`` may block, and none of it shares state, so it runs in any thread.
"""

import errno
import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from stat import S_ISDIR, S_ISREG
from time import time_ns

from aiowsgi.http.conditional import Validators
from aiowsgi.http.messages import Content, FileRange, shortened

logger = logging.getLogger("aiowsgi.static")

INDEX = b"index.html"

# Bytes up to which a file's content is read at once and kept.
SMALL = 64 * 1024

_LONGEST_PATH = 4096  # PATH_MAX of Linux; elsewhere it is shorter

_is_refused = re.compile(
    r"""
      ^[^/]                     # not below the mount at all
    | [\x00-\x1f\x7f\\]         # what no name has any business with, and another system's separator
    | //                        # an empty segment: two spellings of one file, and Location: //host
    | ^/\.(?!well-known/)       # hidden, ".", ".."; but RFC 8615
    | [^/]/\.
    | \.(?:py[ciow]?|env|sqlite3|swp|bak|orig|rej)(?:/|\Z)  # sources, secrets, what editors and patch leave
    | ~(?:/|\Z)
    | /\#[^/]*\#(?:/|\Z)
    | [. ](?:/|\Z)              # Windows takes "app.py." and "app.py " for "app.py"
    """,
    re.VERBOSE | re.IGNORECASE,
).search


def is_refused(path_info: str) -> bool:
    """Tell whether ``path_info`` (latin-1, PEP 3333) names what is never served, whatever is on the disk."""
    return len(path_info) > _LONGEST_PATH or _is_refused(path_info) is not None


class Refusal(IntEnum):
    """What was found where there is no file to serve; the value is the status code it leads to."""

    DIRECTORY = 301  # one with an index, asked for without its trailing slash
    FORBIDDEN = 403
    MISSING = 404
    UNREADABLE = 500
    BUSY = 503  # no file descriptor is left


# Not every system has them all.
_FLAGS = sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY")
)


class OpenFile:
    """A descriptor that many answers are sent from; it closes when the last of them lets go."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: bytes, folder: int | None = None) -> None:
        """Open for reading, below the open ``folder`` if one is given; raises OSError.

        A pipe that stands here instead of a file does not block.
        """
        self._descriptor = -1  # for __del__, should the next line raise
        self._descriptor = os.open(path, os.O_RDONLY | _FLAGS, dir_fd=folder)

    def fileno(self) -> int:
        return self._descriptor

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


# Device, inode, size, time of modification, time of change: the last is the kernel's own, nobody can set it.
Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class StoredFile:
    """A file as it was found: content and validators belong to each other.

    ``signature`` is None while it could not tell a change: a clock's tick is milliseconds, so a file that was
    just written may be written again and look the same.
    """

    name: bytes  # below the root, with its leading slash
    content: Content
    validators: Validators
    signature: Signature | None


Finding = StoredFile | Refusal


class DocumentRoot:
    """The files below a folder. ``wall`` gives the time in nanoseconds since the epoch."""

    __slots__ = ("_path", "_wall")

    def __init__(self, path: str | os.PathLike[str], wall: Callable[[], int] = time_ns) -> None:
        self._path = os.path.abspath(os.fsencode(path))
        self._wall = wall

    def find(self, name: bytes, known: Finding | None = None) -> Finding:
        """Return the file ``name``, which begins with a slash; one that ends with a slash has its index.

        ``known``, what was found before, is returned when it is unchanged, at the price of one stat. A link
        may lead anywhere below the root, not out of it. Nothing but files is opened. What goes wrong is a
        Refusal; where the operator should know, it is logged.
        """
        if name.endswith(b"/"):
            name += INDEX
        try:
            return self._find(name, known)
        except (OSError, ValueError) as error:
            refusal = _refusal(error)
            if refusal != Refusal.MISSING:
                asked = shortened(os.fsdecode(name))
                # The error's own text has the name once more, however long it is.
                reason = error.strerror if isinstance(error, OSError) else error
                logger.warning("%s below %r: %s", asked, os.fsdecode(self._path), reason)
            return refusal

    def _find(self, name: bytes, known: Finding | None) -> Finding:
        path = self._path + name
        status = os.stat(path)
        if isinstance(known, StoredFile) and known.signature == _signature(status):
            return known
        is_directory = S_ISDIR(status.st_mode)
        if not is_directory and not S_ISREG(status.st_mode):
            return Refusal.MISSING
        # Every time, because the root may itself be a link, which a new release moves.
        root = os.path.realpath(self._path, strict=True)
        path = os.path.realpath(root + name, strict=True)
        if not os.path.join(path, b"").startswith(os.path.join(root, b"")):
            return Refusal.MISSING
        if is_directory:
            index = os.stat(os.path.join(path, INDEX))
            return Refusal.DIRECTORY if S_ISREG(index.st_mode) else Refusal.MISSING
        return load(name, open_below(root, path), self._wall())


# Not every system can open a folder only to go on from it; the others need the right to read it.
_FOLDER_FLAGS = _FLAGS | sum(getattr(os, name, 0) for name in ("O_DIRECTORY", "O_PATH"))


def open_below(root: bytes, path: bytes) -> OpenFile:
    """Open ``path``, a real one below ``root``, also while somebody turns its folders into links that lead out.

    Each folder is opened from the one before it, and as what it is. Raises OSError. (Windows can only open a path.)
    """
    if os.open not in os.supports_dir_fd:
        return OpenFile(path)
    *folders, name = path[len(root) :].lstrip(b"/").split(b"/")
    folder = os.open(root, _FOLDER_FLAGS)
    try:
        for step in folders:
            outer, folder = folder, os.open(step, _FOLDER_FLAGS, dir_fd=folder)
            os.close(outer)
        return OpenFile(name, folder)
    finally:
        os.close(folder)


# No page is older than the web. 0, 1 and 1980 are what tools write that keep the time out of what they build.
_OLDEST = 631152000 * 10**9  # 1990-01-01

# How long a time must have passed to tell this state from the next, in nanoseconds: FAT counts in 2 s.
_TELLING = 2 * 10**9


def load(name: bytes, file: OpenFile, now: int) -> Finding:
    """Describe what is open, whatever stood at its path a moment ago; ``now`` is in nanoseconds.

    Raises OSError.
    """
    status = os.fstat(file.fileno())
    if not S_ISREG(status.st_mode):
        return Refusal.MISSING
    modified = status.st_mtime_ns
    dated = _OLDEST <= modified <= now
    with open(file.fileno(), "rb", closefd=False) as stream:
        content: Content = stream.read(SMALL + 1)
    if isinstance(content, bytes) and len(content) <= SMALL:
        # Whatever became of the times, and the same on every machine.
        etag = f'"{blake2b(content, digest_size=16).hexdigest()}"'
    else:
        content = FileRange(file, 0, status.st_size)
        # Without the inode, so that machines with the same files agree.
        etag = f'"{modified if dated else status.st_ctime_ns:x}-{status.st_size:x}"'
    validators = Validators(
        etag,
        last_modified=modified // 10**9 if dated else None,
        date_is_strong=dated and modified < now - _TELLING,
    )
    settled = max(modified, status.st_ctime_ns) < now - _TELLING
    return StoredFile(name, content, validators, _signature(status) if settled else None)


def _signature(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


_ABSENT = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EILSEQ,  # a name that is no UTF-8, on macOS
    errno.EINVAL,
}


def _refusal(error: OSError | ValueError) -> Refusal:
    if isinstance(error, ValueError):  # a name that is no UTF-8, on Windows
        return Refusal.MISSING
    if isinstance(error, PermissionError):
        return Refusal.FORBIDDEN
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return Refusal.BUSY
    return Refusal.MISSING if error.errno in _ABSENT else Refusal.UNREADABLE
