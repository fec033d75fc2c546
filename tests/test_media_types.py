"""The table of media types, and the charset that goes with text."""

import mimetypes
import re

import pytest

from aiowsgi.site.media_types import MEDIA_TYPES, UNKNOWN, WHOLE_NAMES, content_type


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/index.html", "text/html; charset=utf-8"),
        (b"/a/b/site.css", "text/css; charset=utf-8"),
        (b"/app.js", "text/javascript; charset=utf-8"),
        (b"/notes.txt", "text/plain; charset=utf-8"),
        (b"/data.json", "application/json"),
        (b"/feed.xml", "application/xml"),
        (b"/logo.svg", "image/svg+xml"),
        (b"/photo.PNG", "image/png"),
        (b"/archive.tar.gz", "application/gzip"),
        (b"/jquery.min.js", "text/javascript; charset=utf-8"),
        (b"/caf\xc3\xa9.html", "text/html; charset=utf-8"),
        (b"/.well-known/apple-app-site-association", "application/json"),
    ],
)
def test_type_follows_the_extension(path: bytes, expected: str) -> None:
    assert content_type(path) == expected


@pytest.mark.parametrize("path", [b"/LICENSE", b"/a.unknown", b"/a.", b"/html", b"/.html", b"/v1.html/data"])
def test_a_name_that_tells_nothing_is_a_row_of_octets(path: bytes) -> None:
    assert content_type(path) == UNKNOWN


def test_charset_can_be_another_or_none() -> None:
    assert content_type(b"/a.html", "gbk") == "text/html; charset=gbk"
    assert content_type(b"/a.html", "") == "text/html"
    assert content_type(b"/a.png", "gbk") == "image/png"


def test_the_machine_has_no_say() -> None:
    mimetypes.add_type("application/x-surprise", ".html")
    try:
        assert content_type(b"/a.html", "") == "text/html"
    finally:
        mimetypes.init()


def test_table_is_well_formed() -> None:
    for extension in MEDIA_TYPES:
        assert re.fullmatch("[0-9a-z]+", extension)
    for media_type in [*MEDIA_TYPES.values(), *WHOLE_NAMES.values()]:
        assert re.fullmatch(r"(application|audio|font|image|model|text|video)/[0-9a-z.+-]+", media_type)
