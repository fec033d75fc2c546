"""What is in a folder, as far as it is served, and in which order people expect it."""

import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from aiowsgi.site.files import SUFFIXES

# Entries on one page, and entries of a folder that are looked at for it: both bound what a request can cost.
MOST_SHOWN = 10_000
MOST_READ = 100_000

_VARIANTS = tuple(SUFFIXES.values())


class Item(NamedTuple):
    """What a list tells of a file or a folder; ``size`` is in bytes, ``modified`` as RFC 3339 has it, in UTC."""

    name: bytes
    is_folder: bool
    size: int
    time: float
    modified: str | None


def read_folder(
    folder: bytes, url_path: str, refused: Callable[[str], bool], root: bytes
) -> tuple[list[Item], bool]:
    """Return what there is to list in ``folder``, and whether that is all of it; raises OSError.

    ``refused`` tells for ``url_path`` and a name behind it (latin-1) whether it is never served. A link is
    followed when it stays below ``root``, a real path.
    """
    with os.scandir(folder) as entries:
        read = list(islice(entries, MOST_READ + 1))
    complete = len(read) <= MOST_READ
    items: list[Item] = []
    for entry in read:
        name = entry.name
        if name.endswith(_VARIANTS) and os.path.isfile(entry.path.rpartition(b".")[0]):
            continue  # a variant has no address of its own
        if refused(url_path + name.decode("latin-1")):
            continue
        if len(items) == MOST_SHOWN:
            complete = False
            break
        item = _item(entry, root)
        if item is not None:
            items.append(item)
    return items, complete


def _item(entry: "os.DirEntry[bytes]", root: bytes) -> Item | None:
    """Describe ``entry``, None where nothing would be served: devices, pipes, links that lead out or nowhere."""
    try:
        if entry.is_symlink():
            target = os.path.realpath(entry.path, strict=True)
            if not os.path.join(target, b"").startswith(os.path.join(root, b"")):
                return None
        status = entry.stat()
    except OSError:  # a link that leads nowhere, or what was removed just now
        return None
    is_folder = S_ISDIR(status.st_mode)
    if not is_folder and not S_ISREG(status.st_mode):
        return None
    return Item(entry.name, is_folder, status.st_size, status.st_mtime, _timestamp(status.st_mtime))


def _timestamp(seconds: float) -> str | None:
    try:
        return datetime.fromtimestamp(seconds // 1, UTC).isoformat()[:19] + "Z"
    except (ValueError, OverflowError, OSError):  # a year that RFC 3339 has no digits for
        return None


# Order

_digits = re.compile("([0-9]+)")


def _by_name(item: Item) -> tuple[list[str | int], bytes]:
    """Return the natural order of a name: numbers by their value, letters of any case alike."""
    parts = _digits.split(readable(item.name).casefold())
    # Text and numbers take turns, so like is compared with like.
    return [int(part) if place % 2 else part for place, part in enumerate(parts)], item.name


def _by_size(item: Item) -> float:
    return item.size


def _by_time(item: Item) -> float:
    return item.time


def ordered(items: Iterable[Item], sort: str, descending: bool) -> list[Item]:
    """Return ``items`` by name, size or time, folders before files; equal ones are in the order of their names."""
    by_name = sorted(items, key=_by_name, reverse=descending and sort == "name")
    folders = [item for item in by_name if item.is_folder]
    files = [item for item in by_name if not item.is_folder]
    if sort == "size":  # a folder has none
        files.sort(key=_by_size, reverse=descending)
    elif sort == "time":
        folders.sort(key=_by_time, reverse=descending)
        files.sort(key=_by_time, reverse=descending)
    return folders + files


# Control characters, line separators, and those that turn the direction of the text around them: they make a
# name look like another one.
_invisible = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def readable(name: bytes) -> str:
    """Return ``name`` as text; what is no text, or would change how the rest is read, is U+FFFD."""
    return _invisible.sub("\ufffd", name.decode("utf-8", "replace"))


_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def readable_size(size: int) -> str:
    """Return ``size``, in bytes, with few digits."""
    if size < 1024:
        return f"{size} B"
    amount, units = size / 1024, list(_UNITS)
    while amount >= 999.5 and len(units) > 1:
        amount /= 1024
        del units[0]
    return f"{amount:.1f} {units[0]}" if amount < 9.95 else f"{amount:.0f} {units[0]}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
