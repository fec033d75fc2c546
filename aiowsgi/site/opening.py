"""Opening files to read from: what waits never blocks, and nothing above the folder is reached."""

import os

from aiowsgi.wsgi.descriptor import Descriptor

# Not every system has them all.
_FLAGS = sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_NOCTTY", "O_BINARY")
)

# Not every system can open a folder only to go on from it; the others need the right to read it.
_FOLDER_FLAGS = _FLAGS | sum(getattr(os, name, 0) for name in ("O_DIRECTORY", "O_PATH"))


class OpenFile(Descriptor):
    """A file that many answers are sent from."""

    __slots__ = ()

    def __init__(self, path: bytes, folder: int | None = None) -> None:
        """Open for reading, below the open ``folder`` if one is given; raises OSError.

        A pipe that stands here instead of a file does not block.
        """
        super().__init__(os.open(path, os.O_RDONLY | _FLAGS, dir_fd=folder))


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
