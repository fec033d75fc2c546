"""What becomes of the paths in settings: absolute, from a folder, and seen to be there where they have to be."""

import os
from pathlib import Path


class PathError(Exception):
    """A path that is not what it has to be."""

    def __init__(self, expected: str, path: Path) -> None:
        super().__init__(expected, path)
        self.expected = expected
        self.path = str(path)


# Each takes a value as it was written, and raises PathError.


def folder(start: Path, value: str) -> str:
    path = start / value
    if not os.path.isdir(path):  # unlike Path.is_dir, it never raises
        raise PathError("a folder that exists", path)
    return str(path)


def mounted_folder(start: Path, value: tuple[str, str]) -> tuple[str, str]:
    prefix, path = value
    return prefix, folder(start, path)


def file_to_read(start: Path, value: str) -> str:
    path = start / value
    if not os.path.isfile(path):
        raise PathError("a file that exists", path)
    return str(path)


def file_to_write(start: Path, value: str) -> str:
    if value == "-":
        return value
    path = start / value
    there = path if os.path.exists(path) else path.parent
    if os.path.isdir(path) or not os.path.isdir(path.parent) or not os.access(there, os.W_OK):
        raise PathError("a file that can be written", path)
    return str(path)


def path_to_be(start: Path, value: str) -> str:
    return os.path.normpath(start / value)


def path_or_none(start: Path, value: str) -> str:
    return value if value == "none" else path_to_be(start, value)
