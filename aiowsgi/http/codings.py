"""The content codings (RFC 9110 section 8.4.1) as streams that make content as small as they can."""

import zlib
from typing import Protocol

# Each of them is an extra: whoever has it installed has its coding.
try:
    import brotli
except ImportError:
    brotli = None
try:
    import zstandard
except ImportError:
    zstandard = None

# By size of what they make, the smallest first as a rule.
CODINGS = ("br", "zstd", "gzip")
INSTALLED = tuple(
    coding for coding, library in zip(CODINGS, (brotli, zstandard, zlib), strict=True) if library is not None
)

# The last level below "ultra". It refers to what is up to 8 MiB back, which is all that a browser keeps (RFC 9659).
_ZSTD_LEVEL = 19
_GZIP_LEVEL = 9
_GZIP_WINDOW = zlib.MAX_WBITS + 16  # with gzip's head and trailer; zlib writes neither name nor time


class Compressor(Protocol):
    """A stream of content on its way into a coding."""

    def compress(self, content: bytes, /) -> bytes:
        """Take the next piece of content and return what is ready, which may be nothing."""

    def flush(self) -> bytes:
        """Return the rest, behind the last piece."""


class _Brotli:
    """brotli's own names, which are others, and its best quality, which is the default."""

    def __init__(self) -> None:
        stream = brotli.Compressor()
        self.compress = stream.process
        self.flush = stream.finish


def smallest(coding: str, size: int) -> Compressor:
    """Return a stream into one of INSTALLED for content of ``size`` bytes, however long that takes.

    The same content becomes the same bytes.
    """
    if coding == "br":
        return _Brotli()
    if coding == "zstd":
        stream: Compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj(size=size)
        return stream
    return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
