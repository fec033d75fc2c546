"""Files below a document root: finding one with its precompressed variants, opening it, reading the small ones.

All of it may block, and none of it shares state, so it runs in any thread.
"""

import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import blake2b
from stat import S_ISDIR, S_ISREG
from time import time_ns

from aiowsgi.http.conditional import Validators
from aiowsgi.http.messages import Content, FileRange, shortened
from aiowsgi.site.opening import OpenFile, open_below

logger = logging.getLogger("aiowsgi.static")

INDEX = b"index.html"

# Bytes up to which a file's content is read at once and kept.
SMALL = 64 * 1024

# The files beside "name" that hold what is in it, encoded: coding -> how their names end.
SUFFIXES = {"br": b".br", "zstd": b".zst", "gzip": b".gz"}


class Refusal(IntEnum):
    """What was found where there is no file to serve; the value is the status code it leads to."""

    DIRECTORY = 301  # one with something to show, asked for without its trailing slash
    FORBIDDEN = 403
    MISSING = 404
    UNREADABLE = 500
    BUSY = 503  # no file descriptor is left


# Device, inode, size, time of modification, time of change: the last is the kernel's own, nobody can set it.
Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class StoredFile:
    """A file as it was found: content and validators belong to each other.

    ``signatures`` are its own and those of the files beside it, in the order of SUFFIXES, None where there is
    none. It is () while they could not tell a change: a clock's tick is milliseconds, so a file that was just
    written may be written again and look the same.
    """

    name: bytes  # below the root, with its leading slash; a variant has its original's
    content: Content
    validators: Validators
    modified: int  # in nanoseconds since the epoch
    signatures: tuple[Signature | None, ...]
    variants: tuple[tuple[str, "StoredFile"], ...] = ()  # by their codings


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder to list; both paths are real ones, and ``root`` is what it may not lead out of."""

    path: bytes
    root: bytes


Finding = StoredFile | Folder | Refusal


class DocumentRoot:
    """The files below a folder.

    With ``follow_links`` a link may lead anywhere, otherwise anywhere below the folder. With ``autoindex`` a
    folder without an index is found too. ``wall`` gives the time in nanoseconds since the epoch.
    """

    __slots__ = ("_autoindex", "_follow_links", "_path", "_wall")

    def __init__(
        self,
        path: str | os.PathLike[str],
        wall: Callable[[], int] = time_ns,
        *,
        follow_links: bool = False,
        autoindex: bool = False,
    ) -> None:
        self._path = os.path.abspath(os.fsencode(path))
        self._wall = wall
        self._follow_links = follow_links
        self._autoindex = autoindex

    def find(self, name: bytes, known: Finding | None = None) -> Finding:
        """Return what is at ``name``, which begins with a slash; one that ends with a slash is a folder's index.

        ``known``, what was found before, is returned when it is unchanged, at the price of one stat for it and
        one for each of SUFFIXES. Nothing but files is opened. What goes wrong is a Refusal; where the
        operator should know, it is logged.
        """
        try:
            return self._find_index(name, known) if name.endswith(b"/") else self._find(name, known)
        except (OSError, ValueError) as error:
            return self.refusal(name, error)

    def find_alone(self, name: bytes) -> Finding:
        """Return the file that has this very name, as ``find`` does, without variants and whoever's variant it is."""
        try:
            root, path = self._real(name)
            if not path or not os.path.isfile(path):
                return Refusal.MISSING
            return load(name, self._open(root, path), self._wall())
        except (OSError, ValueError) as error:
            return self.refusal(name, error)

    def refusal(self, name: bytes, error: OSError | ValueError) -> Refusal:
        """Return what ``error`` leads to, which came of looking for ``name``, and log what should be known."""
        refusal = _refusal(error)
        if refusal != Refusal.MISSING:
            asked = shortened(os.fsdecode(name))
            # The error's own text has the name once more, however long it is.
            reason = error.strerror if isinstance(error, OSError) else error
            logger.warning("%s below %r: %s", asked, os.fsdecode(self._path), reason)
        return refusal

    def _find_index(self, name: bytes, known: Finding | None) -> Finding:
        with suppress(FileNotFoundError):
            found = self._find(name + INDEX, known)
            if isinstance(found, StoredFile):
                return found
        if self._autoindex:
            root, path = self._real(name)
            if path and os.path.isdir(path):
                return Folder(path, b"/" if self._follow_links else root)
        return Refusal.MISSING

    def _find(self, name: bytes, known: Finding | None) -> Finding:
        path = self._path + name
        status = os.stat(path)
        is_directory = S_ISDIR(status.st_mode)
        if not is_directory:
            if not S_ISREG(status.st_mode) or _is_variant(path):
                return Refusal.MISSING
            signatures = (_signature(status), *(_signature_of(path + suffix) for suffix in SUFFIXES.values()))
            if isinstance(known, StoredFile) and known.signatures == signatures:
                return known
        root, path = self._real(name)
        if not path:
            return Refusal.MISSING
        if is_directory:
            has_index = self._autoindex or S_ISREG(os.stat(os.path.join(path, INDEX)).st_mode)
            return Refusal.DIRECTORY if has_index else Refusal.MISSING
        file = load(name, self._open(root, path), self._wall())
        return self._with_variants(file, signatures[1:]) if isinstance(file, StoredFile) else file

    def _real(self, name: bytes) -> tuple[bytes, bytes]:
        """Return the real paths of the root and of ``name``, which is b"" where it leads out; raises OSError."""
        # Every time, because the root may itself be a link, which a new release moves.
        root = os.path.realpath(self._path, strict=True)
        path = os.path.realpath(root + name, strict=True)
        if not self._follow_links and not os.path.join(path, b"").startswith(os.path.join(root, b"")):
            return root, b""
        return root, path

    def _open(self, root: bytes, path: bytes) -> OpenFile:
        return OpenFile(path) if self._follow_links else open_below(root, path)

    def _with_variants(self, file: StoredFile, seen: tuple[Signature | None, ...]) -> StoredFile:
        """Return ``file`` with those of its variants that can be read, are in the root, and are not outdated.

        ``seen`` are the signatures of the files at their names.
        """
        signatures: list[Signature | None] = [*file.signatures]
        variants = []
        settled = bool(file.signatures)
        for (coding, suffix), signature in zip(SUFFIXES.items(), seen, strict=True):
            if signature is not None:
                found = self._variant(file, coding, suffix)
                if isinstance(found, StoredFile):
                    variants.append((coding, found))
                    settled = settled and bool(found.signatures)
                    signature = found.signatures[0] if found.signatures else None
                elif found is not Refusal.MISSING:
                    settled = False  # it may go better the next time
            signatures.append(signature)
        return replace(file, signatures=tuple(signatures) if settled else (), variants=tuple(variants))

    def _variant(self, file: StoredFile, coding: str, suffix: bytes) -> Finding:
        """Return what is at the name of one of the variants of ``file``."""
        name = file.name + suffix
        try:
            root, path = self._real(name)
            if not path:
                return Refusal.MISSING
            found = load(file.name, self._open(root, path), self._wall(), coding)
        except (OSError, ValueError) as error:
            return self.refusal(name, error)
        if isinstance(found, StoredFile) and _is_outdated(found, file):
            return Refusal.MISSING
        return found


def _is_variant(path: bytes) -> bool:
    """Tell whether ``path`` is the name of a variant, with an original beside it."""
    return any(path.endswith(suffix) and os.path.isfile(path[: -len(suffix)]) for suffix in SUFFIXES.values())


def _is_outdated(variant: StoredFile, file: StoredFile) -> bool:
    """Tell whether a variant is older than its original."""
    # Compressors give what they write the time of what they read, and some of them in whole seconds.
    return variant.modified < file.modified and variant.modified != file.modified // 10**9 * 10**9


# No page is older than the web. 0, 1 and 1980 are what tools write that keep the time out of what they build.
_OLDEST = 631152000 * 10**9  # 1990-01-01

# How long a time must have passed to tell this state from the next, in nanoseconds: FAT counts in 2 s.
_TELLING = 2 * 10**9


def load(name: bytes, file: OpenFile, now: int, coding: str = "") -> StoredFile | Refusal:
    """Describe what is open, whatever stood at its path a moment ago; ``now`` is in nanoseconds.

    ``coding`` is that of a variant: no two representations have one entity tag. Raises OSError.
    """
    status = os.fstat(file.fileno())
    if not S_ISREG(status.st_mode):
        return Refusal.MISSING
    modified = status.st_mtime_ns
    dated = _OLDEST <= modified <= now
    mark = f"-{coding}" if coding else ""
    with open(file.fileno(), "rb", closefd=False) as stream:
        content: Content = stream.read(SMALL + 1)
    if isinstance(content, bytes) and len(content) <= SMALL:
        # Whatever became of the times, and the same on every machine.
        etag = f'"{blake2b(content, digest_size=16).hexdigest()}{mark}"'
    else:
        content = FileRange(file, 0, status.st_size)
        # Without the inode, so that machines with the same files agree.
        etag = f'"{modified if dated else status.st_ctime_ns:x}-{status.st_size:x}{mark}"'
    validators = Validators(
        etag,
        last_modified=modified // 10**9 if dated else None,
        date_is_strong=dated and modified < now - _TELLING,
    )
    settled = max(modified, status.st_ctime_ns) < now - _TELLING
    return StoredFile(name, content, validators, modified, (_signature(status),) if settled else ())


def _signature(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _signature_of(path: bytes) -> Signature | None:
    """Return the signature of what is at ``path``, None where there is nothing to be seen."""
    try:
        return _signature(os.stat(path))
    except OSError:
        return None


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
