"""The content codings for what an application answers: which there are, for which answers, and with what fields."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from aiowsgi.http.compressible import is_compressible
from aiowsgi.http.fields import tokens
from aiowsgi.http.messages import Field

# Bytes; a shorter text fits into one packet with its head anyway.
SHORTEST = 1024


class Coder(Protocol):
    """Codes one content, piece by piece."""

    def code(self, data: bytes) -> bytes:
        """Return so much that all of ``data``, which is not empty, can be read."""

    def end(self) -> bytes:
        """Return the end."""


@dataclass(frozen=True, slots=True)
class Coding:
    """A content coding (RFC 9110 section 8.4.1)."""

    name: str
    whole: Callable[[bytes], bytes]
    start: Callable[[], Coder]


# The levels were chosen by time and size of pages and JSON of 10 to 60 KiB. Microseconds a KiB, and by how much the
# content shrinks, for JSON of 60 KiB: gzip 4: 9 and 3.25; 5: 14 and 3.35; 6: 20 and 3.41. br 3: 6 and 3.23;
# 4: 9 and 3.31; 5: 15 and 3.52. zstd 1: 1.5 and 3.05; 3: 1.9 and 3.25; 5: 6 and 3.28.
_GZIP_LEVEL, _BROTLI_QUALITY, _ZSTD_LEVEL = 5, 4, 3
_GZIP_WINDOW = 31  # 15 bits, and the format of gzip
_BROTLI_WINDOW = 18  # bits: a stream keeps 256 KiB of what has gone by


class _Gzip:
    def __init__(self) -> None:
        self._deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def code(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._deflate.flush()


class _Brotli:
    def __init__(self, brotli: Any) -> None:
        self._compressor = brotli.Compressor(quality=_BROTLI_QUALITY, lgwin=_BROTLI_WINDOW)

    def code(self, data: bytes) -> bytes:
        coded: bytes = self._compressor.process(data) + self._compressor.flush()
        return coded

    def end(self) -> bytes:
        coded: bytes = self._compressor.finish()
        return coded


class _Zstd:
    """``flush`` is what the library calls the end of a block."""

    def __init__(self, compressor: Any, flush: int) -> None:
        self._compressor = compressor
        self._flush = flush

    def code(self, data: bytes) -> bytes:
        coded: bytes = self._compressor.compress(data) + self._compressor.flush(self._flush)
        return coded

    def end(self) -> bytes:
        coded: bytes = self._compressor.flush()
        return coded


def codings() -> tuple[Coding, ...]:
    """Return the codings that are installed, the best first.

    zstd takes a fifth of the time of br and gzip, and a few per cent more bytes; br is smaller than gzip.
    """
    found = [_zstd(), _brotli(), Coding("gzip", _gzip, _Gzip)]
    return tuple(coding for coding in found if coding is not None)


def _installed(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None


def _gzip(data: bytes) -> bytes:
    return zlib.compress(data, _GZIP_LEVEL, _GZIP_WINDOW)


def _brotli() -> Coding | None:
    brotli: Any = _installed("brotli")
    if brotli is None:
        return None
    return Coding(
        "br",
        lambda data: brotli.compress(data, quality=_BROTLI_QUALITY, lgwin=_BROTLI_WINDOW),
        lambda: _Brotli(brotli),
    )


def _zstd() -> Coding | None:
    zstd: Any = _installed("compression.zstd")  # Python's own, from 3.14 on
    if zstd is not None:
        block = zstd.ZstdCompressor.FLUSH_BLOCK
        return Coding(
            "zstd",
            lambda data: zstd.compress(data, level=_ZSTD_LEVEL),
            lambda: _Zstd(zstd.ZstdCompressor(level=_ZSTD_LEVEL), block),
        )
    zstandard: Any = _installed("zstandard")
    if zstandard is None:
        return None
    return Coding(
        "zstd",
        lambda data: zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data),
        lambda: _Zstd(
            zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compressobj(), zstandard.COMPRESSOBJ_FLUSH_BLOCK
        ),
    )


# It has a coding already; it is a part of something; its very bytes were summed up (RFC 9530, and before).
AS_IT_IS = frozenset(
    {"content-encoding", "content-range", "content-digest", "repr-digest", "digest", "content-md5"}
)


def may_be_coded(fields: list[Field]) -> bool:
    """Tell whether the content of an answer with these fields may have another coding, and is worth it."""
    compressible = False
    for field, value in fields:
        name = field.lower()
        if name == "content-type":
            compressible = is_compressible(value)
        elif name in AS_IT_IS or (name == "cache-control" and "no-transform" in tokens(value)):
            return False
    return compressible


def varying(fields: list[Field]) -> list[Field]:
    """Return the fields of an answer that depends on Accept-Encoding (RFC 9110 section 12.5.5)."""
    vary = [value for name, value in fields if name.lower() == "vary"]
    named = tokens(",".join(vary))
    if "*" in named or "accept-encoding" in named:
        return fields
    others = [field for field in fields if field[0].lower() != "vary"]
    return [*others, ("Vary", ", ".join([*filter(None, vary), "Accept-Encoding"]))]


def coded(fields: list[Field], coding: str) -> list[Field]:
    """Return the fields of the same answer when its content has been coded.

    Its length is another one, and a strong ETag promises these very bytes (RFC 9110 section 8.8.1).
    """
    rest = [field for field in varying(fields) if field[0].lower() != "content-length"]
    return [*weakened(rest), ("Content-Encoding", coding)]


def weakened(fields: list[Field]) -> list[Field]:
    """Return the fields with a weak ETag."""
    return [
        (name, f"W/{value}") if name.lower() == "etag" and not value.startswith("W/") else (name, value)
        for name, value in fields
    ]
