"""Precompressed files beside their originals: which is sent to whom, and when one is no variant."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from aiowsgi.http.messages import FileRange, Response
from aiowsgi.site.files import SMALL
from aiowsgi.site.static import OPEN_FILES
from tests.static_site import DATE, JANUARY_2020, LARGE, SECRET, Site, content, fields

CHROME = "gzip, deflate, br, zstd"
ENDINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "root").mkdir()
    return Site(tmp_path / "root")


def write_all(site: Site, name: str = "a.js", size: int = 1000) -> None:
    """Write a file with all variants, each of which has its coding for content, and is smaller than the one before."""
    site.write(name, b"o" * size)
    for smaller, (coding, ending) in enumerate(ENDINGS.items(), 1):
        site.write(name + ending, coding.encode() + b"." * (size - 100 * smaller))


def sent(response: Response) -> str:
    """Return the coding that a response of ``write_all`` has; its fields say the same."""
    said = fields(response).get("Content-Encoding", "identity")
    body = content(response)
    assert body.startswith(b"o" if said == "identity" else said.encode())
    return said


@pytest.mark.parametrize("size", [1000, SMALL * 2])
def test_each_client_gets_what_it_takes(site: Site, size: int) -> None:
    write_all(site, size=size)
    for value, coding in (
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("br;q=0.9, gzip;q=0.8", "br"),
        (CHROME, "gzip"),  # the smallest here
        ("identity", "identity"),
        ("deflate", "identity"),
        ("gzip;q=nonsense", "identity"),
        ("*", "gzip"),
    ):
        response = site.get("/a.js", accept_encoding=value)
        assert sent(response) == coding, value
        assert fields(response)["Content-Type"] == "text/javascript; charset=utf-8"
        assert fields(response)["Vary"] == "Accept-Encoding"
        assert site.get("/a.js", "HEAD", accept_encoding=value) is response
    assert sent(site.get("/a.js")) == "identity"
    assert site.looks == 1


def test_the_smallest_of_what_a_client_likes_equally_well_is_sent(site: Site) -> None:
    site.write("a.js", b"o" * 100)
    for ending, size in ((".br", 50), (".gz", 40), (".zst", 60)):
        site.write("a.js" + ending, b"x" * size)
    assert fields(site.get("/a.js", accept_encoding=CHROME))["Content-Encoding"] == "gzip"
    assert fields(site.get("/a.js", accept_encoding="zstd, br"))["Content-Encoding"] == "br"
    assert "Content-Encoding" in fields(site.get("/a.js", accept_encoding="zstd, identity"))
    site.write("b.js", b"o" * 10)
    site.write("b.js.gz", b"x" * 30)
    assert "Content-Encoding" not in fields(site.get("/b.js", accept_encoding="gzip, identity"))


def test_where_nothing_is_acceptable(site: Site) -> None:
    write_all(site)
    site.write("b.js")
    site.write("c.jpg")
    for target in ("/a.js", "/b.js"):
        error = site.error(target, accept_encoding="identity;q=0, compress")
        assert error.status == 406
        assert error.fields == [("Vary", "Accept-Encoding")]
    assert site.status("/a.js", accept_encoding="identity;q=0, br") == 200
    # A picture has no variants, and its answers do not depend on the field.
    assert site.status("/c.jpg", accept_encoding="identity;q=0") == 200


def test_whatever_could_have_a_variant_says_that_answers_differ(site: Site) -> None:
    for name in ("a.html", "a.json", "a.svg", "a.wasm", "a.jpg", "b.jpg", "b.jpg.gz", "a.woff2"):
        site.write(name)
    for target in ("/a.html", "/a.json", "/a.svg", "/a.wasm", "/b.jpg"):
        assert fields(site.get(target))["Vary"] == "Accept-Encoding", target
    for target in ("/a.jpg", "/a.woff2"):
        assert "Vary" not in fields(site.get(target)), target


@pytest.mark.parametrize("size", [1000, SMALL * 2])
def test_each_variant_has_its_own_tag_and_ranges(site: Site, size: int) -> None:
    write_all(site, size=size)
    tags = set()
    for coding in ("identity", *ENDINGS):
        whole = site.get("/a.js", accept_encoding=coding)
        etag = fields(whole)["ETag"]
        tags.add(etag)
        assert not etag.startswith("W/")
        assert site.status("/a.js", accept_encoding=coding, if_none_match=etag) == 304
        response = site.get("/a.js", accept_encoding=coding, range="bytes=0-9")
        assert response.status == 206
        assert content(response) == content(whole)[:10]
        assert fields(response) == fields(whole) | {"Content-Range": f"bytes 0-9/{len(whole.content)}"}
        assert site.status("/a.js", accept_encoding=coding, range="bytes=0-9", if_range=etag) == 206
        error = site.error("/a.js", accept_encoding=coding, range=f"bytes={size}-")
        assert error.status == 416
        assert error.fields == [
            ("Content-Range", f"bytes */{len(whole.content)}"),
            ("Vary", "Accept-Encoding"),
        ]
    assert len(tags) == 4
    for etag in tags:
        assert site.status("/a.js", if_none_match=etag) == (
            304 if etag == fields(site.get("/a.js"))["ETag"] else 200
        )


def test_tags_differ_even_where_times_sizes_and_bytes_are_alike(site: Site) -> None:
    for name, body in (("a.js", b"same"), ("b.js", LARGE)):
        site.write(name, body)
        site.write(name + ".gz", body)
        tags = {fields(site.get(f"/{name}", accept_encoding=value))["ETag"] for value in ("gzip", "br")}
        assert len(tags) == 2


def test_not_modified_says_what_differs(site: Site) -> None:
    write_all(site)
    etag = fields(site.get("/a.js", accept_encoding="br"))["ETag"]
    response = site.get("/a.js", accept_encoding="br", if_none_match=etag)
    assert fields(response) == {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}


def test_a_variant_has_no_address_of_its_own(site: Site) -> None:
    write_all(site)
    for ending in ENDINGS.values():
        assert site.status("/a.js" + ending) == 404
    site.write("data.csv.gz", b"alone")
    response = site.get("/data.csv.gz", accept_encoding="gzip")
    assert content(response) == b"alone"
    assert fields(response)["Content-Type"] == "application/gzip"
    assert "Content-Encoding" not in fields(response)
    assert site.status("/data.csv") == 404
    site.write("data.csv", b"original")
    site.now = 1.0
    assert site.status("/data.csv.gz") == 404
    (site.root / "folder").mkdir()
    site.write("folder.gz")
    assert site.status("/folder.gz") == 200


def test_an_index_has_variants(site: Site) -> None:
    write_all(site, "sub/index.html")
    assert sent(site.get("/sub/", accept_encoding="br")) == "br"


def test_an_outdated_variant_is_ignored(site: Site) -> None:
    write_all(site)
    site.write("a.js.br", b"br", modified=JANUARY_2020 - 1)
    site.write("a.js.gz", b"gzip", modified=JANUARY_2020 + 1)
    assert sent(site.get("/a.js", accept_encoding="br")) == "identity"
    assert sent(site.get("/a.js", accept_encoding=CHROME)) == "gzip"
    assert site.status("/a.js.br") == 404  # nor has it an address now


def test_a_time_in_whole_seconds_is_not_older(site: Site) -> None:
    site.write("a.js", b"o" * 100, modified=JANUARY_2020 + 0.75)
    site.write("a.js.gz", b"gzip", modified=JANUARY_2020)
    site.write("a.js.br", b"br", modified=JANUARY_2020 + 0.25)
    assert sent(site.get("/a.js", accept_encoding="gzip")) == "gzip"
    assert sent(site.get("/a.js", accept_encoding="br")) == "identity"


@pytest.mark.parametrize("size", [1000, SMALL * 2])
@pytest.mark.parametrize("young", [False, True])
def test_variants_that_come_change_and_go_are_noticed_after_a_second(
    tmp_path: Path, size: int, young: bool
) -> None:
    site = Site(tmp_path, young=young)
    original = site.write("a.js", b"o" * size)

    def get() -> Response:
        return site.get("/a.js", accept_encoding="gzip")

    assert sent(get()) == "identity"
    variant = site.write("a.js.gz", b"gzip one")
    assert sent(get()) == "identity"
    site.now = 1.0
    assert content(get()) == b"gzip one"
    site.write("a.js.gz", b"gzip two")  # of the same size and time
    site.now = 2.0
    assert content(get()) == b"gzip two"
    os.utime(original, (JANUARY_2020 + 5, JANUARY_2020 + 5))
    site.now = 3.0
    assert sent(get()) == "identity"
    os.utime(variant, (JANUARY_2020 + 5, JANUARY_2020 + 5))
    site.now = 4.0
    assert sent(get()) == "gzip"
    variant.unlink()
    site.now = 5.0
    assert sent(get()) == "identity"
    assert site.looks == 6


def test_what_is_unchanged_is_kept(site: Site) -> None:
    write_all(site)
    site.write("a.js.br", b"outdated", modified=0)
    first = site.get("/a.js", accept_encoding="gzip")
    for second in (1, 2):
        site.now = second
        assert site.get("/a.js", accept_encoding="gzip") is first


def test_what_is_no_file_or_leads_out_is_no_variant(site: Site, tmp_path: Path) -> None:
    site.write("a.js", b"original")
    (tmp_path / "outside").write_bytes(SECRET)
    (site.root / "a.js.br").symlink_to(tmp_path / "outside")
    (site.root / "a.js.zst").mkdir()
    os.mkfifo(site.root / "a.js.gz")
    for coding in ENDINGS:
        assert content(site.get("/a.js", accept_encoding=coding)) == b"original"
    (site.root / "a.js.br").unlink()
    site.write("compressed/a", b"br")
    (site.root / "a.js.br").symlink_to("compressed/a")
    site.now = 1.0
    os.utime(site.root / "compressed/a", (JANUARY_2020 + 1, JANUARY_2020 + 1))
    assert content(site.get("/a.js", accept_encoding="br")) == b"br"


def test_open_files_of_variants_are_counted(site: Site) -> None:
    first, bodies = [], OPEN_FILES // 4 + 1
    for number in range(bodies):
        write_all(site, f"{number}.js", SMALL * 2)
        body = site.get(f"/{number}.js", accept_encoding="br").content
        assert isinstance(body, FileRange)
        first.append(body.file.fileno())
        del body
    open_now = open_below(site.root)
    assert len(open_now) <= OPEN_FILES
    assert "0.js" not in open_now
    assert f"{bodies - 1}.js.gz" in open_now


def open_below(root: Path) -> set[str]:
    """Return the names of the files in ``root`` that this process has open; its threads may be closing others."""
    names = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if path.parent == root.resolve():
                names.add(path.name)
    return names


def test_a_whole_folder_may_be_replaced(site: Site) -> None:
    write_all(site, "v/a.js")
    assert sent(site.get("/v/a.js", accept_encoding="br")) == "br"
    shutil.rmtree(site.root / "v")
    site.write("v/a.js", b"other", modified=JANUARY_2020 - 100)
    site.now = 1.0
    assert content(site.get("/v/a.js", accept_encoding="br")) == b"other"
    assert site.status("/v/a.js", if_modified_since=DATE) == 304
