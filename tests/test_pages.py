"""What a file's answers say, and the shelf that holds them."""

import os
import sys
from email import message_from_bytes
from pathlib import Path

import pytest

from aiowsgi.config import Files
from aiowsgi.http.conditional import Validators
from aiowsgi.http.messages import FileRange
from aiowsgi.site.files import SMALL, Refusal, StoredFile
from aiowsgi.site.headers import FieldRules
from aiowsgi.site.pages import Page, Refused, Shelf
from tests.static_site import DATE, JANUARY_2020, LARGE, Site, content, fields


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "root").mkdir()
    return Site(tmp_path / "root")


# What a file's answer says


def test_a_file(site: Site) -> None:
    site.write("a.html", b"<p>hello")
    response = site.get("/a.html")
    assert response.status == 200
    assert content(response) == b"<p>hello"
    said = fields(response)
    assert said.pop("ETag").startswith('"')
    assert said == {
        "Content-Type": "text/html; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "bytes",
        "Last-Modified": DATE,
        "Cache-Control": "no-cache",
        "Vary": "Accept-Encoding",
    }


def test_a_large_file_is_sent_from_the_file(site: Site) -> None:
    site.write("a.bin", LARGE)
    response = site.get("/a.bin")
    assert isinstance(response.content, FileRange)
    assert (response.content.offset, response.content.count) == (0, len(LARGE))
    assert content(response) == LARGE
    assert fields(response)["Last-Modified"] == DATE


@pytest.mark.parametrize("size", [0, 1, SMALL - 1, SMALL])
def test_a_small_file_is_in_memory(site: Site, size: int) -> None:
    site.write("a.txt", b"x" * size)
    assert site.get("/a.txt").content == b"x" * size


def test_one_byte_more_is_not(site: Site) -> None:
    site.write("a.txt", b"x" * (SMALL + 1))
    assert isinstance(site.get("/a.txt").content, FileRange)


def test_bytes_are_served_as_they_are(tmp_path: Path) -> None:
    page = "<p>你好\r\n".encode("gbk") + b"\0\xff\xfe"
    site = Site(tmp_path, charset="gbk")
    site.write("a.html", page)
    assert content(site.get("/a.html")) == page
    assert fields(site.get("/a.html"))["Content-Type"] == "text/html; charset=gbk"


def test_charset_can_be_left_to_the_page(tmp_path: Path) -> None:
    site = Site(tmp_path, charset="")
    site.write("a.html")
    assert fields(site.get("/a.html"))["Content-Type"] == "text/html"


def test_head_is_the_same_response(site: Site) -> None:
    site.write("a.html")
    assert site.get("/a.html", "HEAD") is site.get("/a.html")


def test_query_does_not_matter(site: Site) -> None:
    site.write("a.html")
    assert site.get("/a.html?v=1") is site.get("/a.html?v=2")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("café.html", "/caf%C3%A9.html"),
        ("你好.html", "/%E4%BD%A0%E5%A5%BD.html"),
        ("a b+c.txt", "/a%20b+c.txt"),
        ("100%.txt", "/100%25.txt"),
        ("%41.txt", "/%2541.txt"),
        ("a:b@c.txt", "/a:b@c.txt"),
        (".well-known/acme-challenge/x", "/.well-known/acme-challenge/x"),
        ("sub/#1.txt", "/sub/%231.txt"),
        ("py", "/py"),
        ("happy", "/happy"),
        ("a.pyx", "/a.pyx"),
        ("a.py.txt", "/a.py.txt"),
        ("env", "/env"),
    ],
)
def test_names(site: Site, name: str, target: str) -> None:
    site.write(name, name.encode())
    assert content(site.get(target)) == name.encode()


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_a_name_that_is_no_utf8(site: Site) -> None:
    (Path(os.fsdecode(os.fsencode(site.root) + b"/\xff.txt"))).write_bytes(b"found")
    assert content(site.get("/%FF.txt")) == b"found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "get"])
def test_other_methods_are_not_allowed(site: Site, method: str) -> None:
    site.write("a.html")
    error = site.error("/a.html", method)
    assert error.status == 405
    assert error.fields == [("Allow", "GET, HEAD")]


# Validators


def test_etag_of_a_small_file_is_its_content_whatever_the_times(site: Site) -> None:
    site.write("a.txt", b"same", modified=0)
    site.write("b.txt", b"same", modified=JANUARY_2020)
    site.write("c.txt", b"diff", modified=JANUARY_2020)
    a, b, c = (fields(site.get(f"/{name}.txt"))["ETag"] for name in "abc")
    assert a == b != c


def test_etag_of_a_large_file_is_its_time_and_size(tmp_path: Path) -> None:
    tags = []
    for machine in ("one", "two"):
        site = Site(tmp_path / machine)
        site.write("a.bin", LARGE)
        site.write("older.bin", LARGE, modified=JANUARY_2020 - 1)
        site.write("longer.bin", LARGE + b"x")
        tags.append([fields(site.get(f"/{name}.bin"))["ETag"] for name in ("a", "older", "longer")])
    assert tags[0] == tags[1]
    assert len(set(tags[0])) == 3
    assert not any(tag.startswith("W/") for tag in tags[0])


@pytest.mark.parametrize("modified", [0, 1, 315532800, 4102444800])
def test_a_time_that_says_nothing_is_not_told(site: Site, modified: int) -> None:
    site.write("a.txt", b"text", modified)
    site.write("a.bin", LARGE, modified)
    for name in ("a.txt", "a.bin"):
        said = fields(site.get(f"/{name}"))
        assert "Last-Modified" not in said
        assert said["ETag"]
    before = fields(site.get("/a.bin"))["ETag"]
    (site.root / "a.bin").unlink()
    site.write("a.bin", LARGE[::-1], modified)
    site.now += 1
    assert fields(site.get("/a.bin"))["ETag"] != before


@pytest.mark.parametrize("name", ["a.txt", "a.bin"])
def test_not_modified(site: Site, name: str) -> None:
    site.write(name, b"text" if name == "a.txt" else LARGE)
    etag = fields(site.get(f"/{name}"))["ETag"]
    for condition in ({"if_none_match": etag}, {"if_modified_since": DATE}):
        for method in ("GET", "HEAD"):
            response = site.get(f"/{name}", method, **condition)
            assert response.status == 304
            vary = {"Vary": "Accept-Encoding"} if name == "a.txt" else {}
            assert fields(response) == {"ETag": etag, "Cache-Control": "no-cache"} | vary
            assert response.content == b""
    assert site.status(f"/{name}", if_none_match='"other"') == 200


def test_precondition_failed(site: Site) -> None:
    site.write("a.txt")
    assert site.status("/a.txt", if_match='"other"') == 412
    assert site.status("/a.txt", if_match="*") == 200


def test_conditions_hold_for_a_cold_request_too(site: Site) -> None:
    site.write("a.txt")
    assert site.status("/a.txt", if_modified_since=DATE) == 304
    assert site.looks == 1


# Ranges


@pytest.mark.parametrize("body", [b"0123456789", LARGE])
def test_a_range(site: Site, body: bytes) -> None:
    site.write("a.bin", body)
    whole = site.get("/a.bin")
    for value, part in (
        ("bytes=0-0", slice(0, 1)),
        ("bytes=3-", slice(3, None)),
        ("bytes=-4", slice(-4, None)),
    ):
        response = site.get("/a.bin", range=value)
        start, stop, _ = part.indices(len(body))
        assert response.status == 206
        assert content(response) == body[part]
        said = f"bytes {start}-{stop - 1}/{len(body)}"
        assert fields(response) == fields(whole) | {"Content-Range": said}


def test_an_unsatisfiable_range(site: Site) -> None:
    site.write("a.bin", b"0123456789")
    error = site.error("/a.bin", range="bytes=10-")
    assert error.status == 416
    assert error.fields == [("Content-Range", "bytes */10")]


@pytest.mark.parametrize("value", ["bytes=5-2", "lines=1-2", "bytes=" + "0-0," * 1000, "bytes=", "bytes=--1"])
def test_what_is_no_range_is_answered_whole(site: Site, value: str) -> None:
    site.write("a.bin", b"0123456789")
    response = site.get("/a.bin", range=value)
    assert response.status == 200
    assert content(response) == b"0123456789"


@pytest.mark.parametrize("body", [b"0123456789", LARGE], ids=["small", "large"])
def test_several_ranges_are_one_content_of_several_parts(site: Site, body: bytes) -> None:
    site.write("a.bin", body)
    whole = site.get("/a.bin")
    response = site.get("/a.bin", range="bytes=0-1,4-5,-2")
    assert response.status == 206
    said = fields(response)
    message = message_from_bytes(f"Content-Type: {said['Content-Type']}\r\n\r\n".encode() + content(response))
    assert [(part["Content-Type"], part["Content-Range"]) for part in message.walk()][1:] == [
        ("application/octet-stream", f"bytes {start}-{start + 1}/{len(body)}")
        for start in (0, 4, len(body) - 2)
    ]
    assert [part.get_payload(decode=True) for part in message.walk()][1:] == [body[:2], body[4:6], body[-2:]]
    assert said == fields(whole) | {"Content-Type": said["Content-Type"]}


def test_ranges_that_touch_are_one(site: Site) -> None:
    site.write("a.bin", b"0123456789")
    response = site.get("/a.bin", range="bytes=4-5,0-1,2-3")
    assert (response.status, content(response)) == (206, b"012345")


def test_if_range(site: Site) -> None:
    site.write("a.bin", LARGE)
    etag = fields(site.get("/a.bin"))["ETag"]
    assert site.status("/a.bin", range="bytes=0-0", if_range=etag) == 206
    assert site.status("/a.bin", range="bytes=0-0", if_range=DATE) == 206
    assert site.status("/a.bin", range="bytes=0-0", if_range='"old"') == 200
    assert site.status("/a.bin", range="bytes=0-0", if_none_match=etag) == 304


def test_head_ignores_ranges(site: Site) -> None:
    site.write("a.bin", b"0123456789")
    assert site.get("/a.bin", "HEAD", range="bytes=0-0").status == 200


# The shelf


def a_page(size: int) -> Page:
    return Page(StoredFile(b"/a.txt", b"x" * size, Validators('"v1"'), 0, ()), FieldRules(Files()))


def test_a_shelf_holds_what_it_can_bear() -> None:
    page = a_page(1000)
    shelf = Shelf(3 * page.weight)
    for path in "abc":
        shelf.put(path, page)
    shelf.put("a", page)  # looked at again
    shelf.put("d", page)
    assert list(shelf) == ["c", "a", "d"]
    shelf.discard("c")
    shelf.discard("never there")
    shelf.put("e", page)
    assert list(shelf) == ["a", "d", "e"]
    shelf.put("tiny", Refused(Refusal.MISSING))
    assert list(shelf) == ["d", "e", "tiny"]
    shelf.put("huge", a_page(4 * page.weight))
    assert list(shelf) == []
    for path in "abc":
        shelf.put(path, page)
    assert list(shelf) == ["a", "b", "c"]
