"""What a folder's list tells of its entries; the rest is tested with the list itself, in test_listing.py."""

import pytest

from aiowsgi.site.folders import counted, readable, readable_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10188, "9.9 KiB"),
        (10189, "10 KiB"),
        (1023487, "999 KiB"),
        (1023488, "1.0 MiB"),
        (5 * 2**40, "5.0 TiB"),
        (2**70, "1024 EiB"),
    ],
)
def test_a_size_is_short(size: int, text: str) -> None:
    assert readable_size(size) == text


def test_a_count_agrees_with_its_noun() -> None:
    assert [counted(number, "file") for number in (0, 1, 2, 10_000)] == [
        "0 files",
        "1 file",
        "2 files",
        "10,000 files",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("naïve 日本語 \N{SNOWMAN}.txt".encode(), "naïve 日本語 \N{SNOWMAN}.txt"),
        (b"\xff", "\ufffd"),
        (b"a\r\n\x1b\x7f\xc2\x85", "a" + 5 * "\ufffd"),
        ("\u202a\u202e\u2066\u2069\u200e\u200f\u061c\u2028\ufeff".encode(), 9 * "\ufffd"),
        (
            "\N{ZERO WIDTH JOINER}".encode(),
            "\N{ZERO WIDTH JOINER}",
        ),  # which emoji and scripts are spelled with
    ],
)
def test_a_name_is_text_that_leaves_its_surroundings_alone(name: bytes, text: str) -> None:
    assert readable(name) == text
