"""The codings of answers: that each can be read piece by piece, and the fields that go with them."""

import sys
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard

from aiowsgi.http.messages import Field
from aiowsgi.wsgi.compression import Coding, coded, codings, may_be_coded, varying

TEXT = b"<li>It is the same text again and again, or nearly so.</li>\n" * 100


Reading = Callable[[bytes], bytes]


def reader(name: str) -> Reading:
    """Return what a client reads a coding with, piece by piece."""
    if name == "gzip":
        return zlib.decompressobj(31).decompress
    if name == "br":
        decompressor = brotli.Decompressor()

        def reading(data: bytes) -> bytes:
            pieces = [decompressor.process(data)]
            while pieces[-1]:  # it keeps some of what it could give
                pieces.append(decompressor.process(b""))
            return b"".join(pieces)

        return reading
    decompress: Reading = zstandard.ZstdDecompressor().decompressobj().decompress
    return decompress


def test_all_that_is_installed_is_found_the_quickest_first() -> None:
    assert [coding.name for coding in codings()] == ["zstd", "br", "gzip"]


def test_gzip_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("brotli", "zstandard", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert [coding.name for coding in codings()] == ["gzip"]


@pytest.mark.parametrize("coding", codings(), ids=lambda coding: coding.name)
def test_what_is_coded_whole_can_be_read(coding: Coding) -> None:
    data = coding.whole(TEXT)
    assert len(data) < len(TEXT) / 10
    assert reader(coding.name)(data) == TEXT


@pytest.mark.parametrize("coding", codings(), ids=lambda coding: coding.name)
def test_each_piece_can_be_read_when_it_has_come(coding: Coding) -> None:
    read, coder = reader(coding.name), coding.start()
    for piece in (b"a", TEXT, b"b" * 100_000, bytes(range(256))):
        assert read(coder.code(piece)) == piece
    assert read(coder.end()) == b""


@pytest.mark.parametrize("coding", codings(), ids=lambda coding: coding.name)
def test_pieces_that_never_end_take_no_more_and_no_more_memory(coding: Coding) -> None:
    coder = coding.start()
    sizes = [len(coder.code(TEXT)) for _ in range(1000)]
    assert max(sizes[1:]) < 1000


TEXT_FIELD = ("Content-Type", "text/html; charset=utf-8")


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ([TEXT_FIELD], True),
        ([("content-type", "application/problem+json")], True),
        ([("Content-Type", "TEXT/Event-Stream")], True),
        ([], False),
        ([("Content-Type", "image/png")], False),
        ([("Content-Type", "application/octet-stream")], False),
        ([("Content-Encoding", "gzip"), TEXT_FIELD], False),
        ([TEXT_FIELD, ("content-encoding", "br")], False),
        ([TEXT_FIELD, ("Content-Range", "bytes 0-9/10")], False),
        ([TEXT_FIELD, ("Cache-Control", "public, No-Transform")], False),
        ([TEXT_FIELD, ("Cache-Control", "public, max-age=5")], True),
        ([TEXT_FIELD, ("Content-Digest", "sha-256=:AAAA:")], False),
        ([TEXT_FIELD, ("Content-MD5", "AAAA")], False),
    ],
)
def test_what_may_be_coded(fields: list[Field], answer: bool) -> None:
    assert may_be_coded(fields) is answer


@pytest.mark.parametrize(
    ("vary", "merged"),
    [
        ([], "Accept-Encoding"),
        (["Cookie"], "Cookie, Accept-Encoding"),
        (["Cookie", "Origin"], "Cookie, Origin, Accept-Encoding"),
        (["Cookie, accept-encoding"], "Cookie, accept-encoding"),
        (["*"], "*"),
        ([""], "Accept-Encoding"),
    ],
)
def test_vary_is_merged(vary: list[str], merged: str) -> None:
    fields = varying([TEXT_FIELD, *(("vary", value) for value in vary)])
    assert [value for name, value in fields if name.lower() == "vary"] == [merged]
    assert TEXT_FIELD in fields


def test_the_fields_of_what_is_coded() -> None:
    fields = [
        TEXT_FIELD,
        ("ETag", '"a"'),
        ("Content-Length", "9"),
        ("Set-Cookie", "a=b"),
        ("Set-Cookie", "c=d"),
    ]
    assert coded(fields, "br") == [
        TEXT_FIELD,
        ("ETag", 'W/"a"'),
        ("Set-Cookie", "a=b"),
        ("Set-Cookie", "c=d"),
        ("Vary", "Accept-Encoding"),
        ("Content-Encoding", "br"),
    ]
    assert ("ETag", 'W/"a"') in coded([("ETag", 'W/"a"')], "br")
