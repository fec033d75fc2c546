"""Several parts of a representation as one content: read by the parser of the mail package, and by hand."""

from email import message_from_bytes
from typing import cast

import pytest

from aiowsgi.http.conditional import ByteRange
from aiowsgi.http.messages import Content, File, FileRange, Parts
from aiowsgi.http.multipart import byteranges, piece

TEXT = b"0123456789abcdefghij"


class Nothing:
    """An open file that nobody reads."""

    def fileno(self) -> int:
        raise NotImplementedError


def read(content_type: str, content: bytes) -> list[tuple[str, str, object]]:
    """Return Content-Type, Content-Range and content of each part."""
    whole = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content)
    assert whole.is_multipart()
    return [
        (str(part["Content-Type"]), str(part["Content-Range"]), part.get_payload(decode=True))
        for part in whole.walk()
        if part is not whole
    ]


def test_each_part_says_what_and_where_it_is() -> None:
    kind, content = byteranges(TEXT, [ByteRange(0, 3), ByteRange(18, 20)], "text/plain; charset=utf-8")
    assert isinstance(content, bytes)
    assert read(kind, content) == [
        ("text/plain; charset=utf-8", "bytes 0-2/20", b"012"),
        ("text/plain; charset=utf-8", "bytes 18-19/20", b"ij"),
    ]


def test_parts_of_a_file_stay_in_the_file() -> None:
    file: File = Nothing()
    ranges = [ByteRange(0, 3), ByteRange(18, 20)]
    kind, content = byteranges(FileRange(file, 100, 20), ranges, "video/mp4")
    assert isinstance(content, Parts)
    sent = [(one.offset, one.count) for one in content.pieces if isinstance(one, FileRange)]
    assert sent == [(100, 3), (118, 2)]
    written = b"".join(
        TEXT[p.offset - 100 :][: p.count] if isinstance(p, FileRange) else p for p in content.pieces
    )
    assert len(content) == len(written)
    assert [part[1:] for part in read(kind, written)] == [
        ("bytes 0-2/20", b"012"),
        ("bytes 18-19/20", b"ij"),
    ]


def test_no_two_boundaries_are_alike() -> None:
    kinds = {byteranges(TEXT, [ByteRange(0, 1), ByteRange(2, 3)], "text/plain")[0] for _ in range(10)}
    assert len(kinds) == 10


@pytest.mark.parametrize("content", [TEXT, FileRange(cast(File, Nothing()), 7, 20)], ids=["bytes", "file"])
def test_a_piece_is_what_its_range_says(content: Content) -> None:
    part = piece(content, ByteRange(4, 6))
    if isinstance(part, FileRange):
        assert (part.offset, part.count) == (11, 2)
    else:
        assert part == b"45"
