"""Which of an application's file-like objects are files that the system can send without their being read."""

import os
from dataclasses import dataclass
from io import BufferedRandom, BufferedReader, FileIO
from stat import S_ISREG
from tempfile import _TemporaryFileWrapper

from aiowsgi.http.messages import FileRange
from aiowsgi.wsgi.descriptor import Descriptor

_KINDS = (BufferedReader, BufferedRandom, FileIO)
_HAVE_PREAD = hasattr(os, "pread")  # Windows has none: no connection can send a part of a file there


@dataclass(frozen=True, slots=True)
class RegularFile:
    """A file from where it stands, at ``offset``, to its end, ``length`` bytes behind."""

    file: BufferedReader | BufferedRandom | FileIO
    offset: int
    length: int

    def range(self, count: int) -> FileRange:
        """Return the first ``count`` bytes, which can be sent when the file is closed, too. Raises OSError."""
        return FileRange(Descriptor(os.dup(self.file.fileno())), self.offset, count)


def regular_file(filelike: object) -> RegularFile | None:
    """Return the regular file that ``filelike`` is, None where there is no more to say than that it has ``read``.

    To have a ``fileno()`` is not enough: that of a GzipFile is the compressed file's. So it has to be what ``open``
    returns for a binary file, or NamedTemporaryFile's wrapper of such a one. A file that has no more bytes is none
    either, since those of /proc only tell when they are read. Raises OSError and ValueError, as a ``read`` would.
    """
    file = filelike.file if type(filelike) is _TemporaryFileWrapper else filelike
    if not _HAVE_PREAD or not isinstance(file, _KINDS):
        return None
    raw = file if isinstance(file, FileIO) else file.raw
    if type(file) not in _KINDS or type(raw) is not FileIO or not file.readable():
        return None  # what a class of their own reads may be something else than is in the file
    file.flush()  # what was written to it and is not there yet
    status = os.fstat(file.fileno())
    if not S_ISREG(status.st_mode):
        return None
    offset = file.tell()
    return RegularFile(file, offset, status.st_size - offset) if offset < status.st_size else None
