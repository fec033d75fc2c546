"""The content codings as streams: whole, the same each time, and nothing that a browser cannot read."""

import gzip
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowsgi.http.codings import CODINGS, INSTALLED, smallest
from aiowsgi.http.negotiation import CODINGS as NEGOTIATED

brotli = pytest.importorskip("brotli")
zstandard = pytest.importorskip("zstandard")

TEXT = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(20_000))


def compressed(coding: str, pieces: list[bytes]) -> bytes:
    stream = smallest(coding, sum(map(len, pieces)))
    return b"".join([*map(stream.compress, pieces), stream.flush()])


def decompressed(coding: str, content: bytes) -> bytes:
    if coding == "br":
        plain = brotli.decompress(content)
    elif coding == "zstd":
        plain = zstandard.ZstdDecompressor().decompress(content)
    else:
        plain = gzip.decompress(content)
    assert isinstance(plain, bytes)
    return plain


every_coding = pytest.mark.parametrize("coding", CODINGS)


def test_with_the_libraries_there_are_all_codings() -> None:
    assert INSTALLED == CODINGS == NEGOTIATED[:-1]


@every_coding
@given(pieces=st.lists(st.binary(max_size=100)))
def test_what_goes_in_comes_out(coding: str, pieces: list[bytes]) -> None:
    assert decompressed(coding, compressed(coding, pieces)) == b"".join(pieces)


@every_coding
def test_text_gets_small_and_the_same_each_time(coding: str) -> None:
    once = compressed(coding, [TEXT])
    assert len(once) < len(TEXT) / 5
    assert compressed(coding, [TEXT]) == once
    assert decompressed(coding, once) == TEXT


def test_gzip_tells_neither_name_nor_time() -> None:
    content = compressed("gzip", [TEXT])
    assert content[:4] == b"\x1f\x8b\x08\0"  # no flag, so no name
    assert content[4:8] == bytes(4)  # RFC 1952: no time stamp is available
    assert len(content) <= len(zlib.compress(TEXT, 9)) + 12


def test_zstd_stays_within_the_window_of_a_browser() -> None:
    """RFC 9659: 8 MiB."""
    for size in (1, 1000, 9 << 20):
        head = compressed("zstd", [bytes(size)])
        parameters = zstandard.get_frame_parameters(head)
        assert parameters.content_size == size
        assert parameters.window_size <= 8 << 20


def test_without_the_libraries_there_is_gzip() -> None:
    program = """\
import sys
sys.modules["brotli"] = sys.modules["zstandard"] = None
from aiowsgi.http.codings import INSTALLED, smallest
print(INSTALLED, len(smallest("gzip", 1000).flush()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        env={**os.environ},
        capture_output=True,
        text=True,
    )
    assert done.stderr == ""
    assert done.stdout == "('gzip',) 20\n"
