"""The handler of static files: folders, what it knows and for how long, what is missing."""

import os
from pathlib import Path

import pytest

from aiowsgi.http.messages import FileRange, Response
from aiowsgi.site.files import SMALL
from aiowsgi.site.router import Lookup
from aiowsgi.site.static import OPEN_FILES, REFUSALS
from tests.static_site import DATE, LARGE, Site, content, fields


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "root").mkdir()
    return Site(tmp_path / "root")


# Folders


def test_index_of_a_folder(site: Site) -> None:
    site.write("index.html", b"root")
    site.write("sub/index.html", b"sub")
    assert content(site.get("/")) == b"root"
    assert content(site.get("/index.html")) == b"root"
    assert content(site.get("/sub/")) == b"sub"
    assert fields(site.get("/sub/"))["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/sub", "/sub/"),
        ("/sub?a=b/c?d", "/sub/?a=b/c?d"),
        ("/%73ub", "/%73ub/"),
        ("/caf%C3%A9", "/caf%C3%A9/"),
        ("/evil.com", "/evil.com/"),
    ],
)
def test_folder_is_redirected_to_its_trailing_slash(site: Site, target: str, location: str) -> None:
    for name in ("sub", "café", "evil.com"):
        site.write(f"{name}/index.html")
    for method in ("GET", "HEAD"):
        response = site.get(target, method)
        assert response.status == 301
        assert fields(response) == {"Location": location}
    assert site.looks == 1


def test_redirect_keeps_the_mount(tmp_path: Path) -> None:
    site = Site(tmp_path, prefix="/static")
    site.write("index.html", b"root")
    site.write("sub/index.html")
    assert fields(site.get("/static"))["Location"] == "/static/"
    assert fields(site.get("/static/sub"))["Location"] == "/static/sub/"
    assert content(site.get("/static/")) == b"root"


@pytest.mark.parametrize(
    "target", ["//evil.com", "//evil.com/..", "/%2Fevil.com", "/%5Cevil.com", "/\\evil.com"]
)
def test_redirect_never_leaves_the_host(site: Site, target: str) -> None:
    site.write("evil.com/index.html")
    assert site.status(target) == 404


def test_a_folder_without_an_index_is_missing(site: Site) -> None:
    (site.root / "empty").mkdir()
    (site.root / "odd" / "index.html").mkdir(parents=True)
    for target in ("/", "/empty", "/empty/", "/odd", "/odd/"):
        assert site.status(target) == 404


def test_a_file_is_no_folder(site: Site) -> None:
    site.write("a.html")
    assert site.status("/a.html/") == 404
    assert site.status("/a.html/b.html") == 404


# The look-up


def test_no_second_look_within_a_second(site: Site) -> None:
    site.write("a.html", b"old")
    first = site.get("/a.html")
    site.write("a.html", b"new")
    site.now = 0.99
    assert site.start("/a.html") is first
    assert site.looks == 1


@pytest.mark.parametrize("young", [False, True])
@pytest.mark.parametrize("size", [4, SMALL + 4])
def test_a_change_is_noticed_after_a_second(tmp_path: Path, size: int, young: bool) -> None:
    site = Site(tmp_path, young=young)
    site.write("a.bin", b"o" * size)
    old = site.get("/a.bin")
    site.write("a.bin", b"n" * size)  # in place, of the same size and time of modification
    site.now = 1.0
    assert content(site.get("/a.bin")) == b"n" * size
    site.write("new", b"r" * size)
    (site.root / "new").rename(site.root / "a.bin")
    site.now = 2.0
    new = site.get("/a.bin")
    assert content(new) == b"r" * size
    if size > SMALL:
        assert content(old) == b"n" * size  # who began to send it has the file it began with
    site.write("a.bin", b"longer" * size)
    site.now = 3.0
    assert content(site.get("/a.bin")) == b"longer" * size


@pytest.mark.parametrize("size", [4, SMALL + 4])
def test_what_is_unchanged_is_kept(site: Site, size: int) -> None:
    site.write("a.bin", b"x" * size)
    first = site.get("/a.bin")
    for second in (1, 2, 3):
        site.now = second
        assert site.get("/a.bin") is first
        assert site.start("/a.bin") is first
    assert site.looks == 4


def test_a_deleted_file_is_missing_after_a_second(site: Site) -> None:
    path = site.write("a.html")
    assert site.status("/a.html") == 200
    path.unlink()
    site.now = 1.0
    assert site.status("/a.html") == 404
    site.write("a.html")
    assert site.status("/a.html") == 404
    site.now = 2.0
    assert site.status("/a.html") == 200


def test_a_file_may_grow_and_shrink_past_the_mark(site: Site) -> None:
    for second, size in enumerate((4, SMALL * 2, 4, SMALL * 3)):
        site.now = second
        site.write("a.bin", b"x" * size)
        assert len(site.get("/a.bin").content) == size


def test_a_late_look_does_not_undo_a_newer_one(site: Site) -> None:
    site.write("a.html", b"old")
    late = site.start("/a.html")
    assert isinstance(late, Lookup)
    late.run()
    site.write("a.html", b"newer")
    site.now = 0.5
    new = site.get("/a.html")
    assert late.answer() is new
    assert site.start("/a.html") is new


def test_an_open_file_closes_with_its_last_reader(site: Site) -> None:
    site.write("a.bin", LARGE)
    response = site.get("/a.bin")
    assert isinstance(response.content, FileRange)
    descriptor = response.content.file.fileno()
    (site.root / "a.bin").unlink()
    site.now = 1.0
    assert site.status("/a.bin") == 404
    assert content(response) == LARGE
    assert is_open(descriptor)  # another answer may be under way
    del response
    assert not is_open(descriptor)


def test_open_files_are_bounded(site: Site) -> None:
    files = []
    for number in range(OPEN_FILES + 10):
        os.truncate(site.write(f"{number}.bin", b""), SMALL * 2)
        body = site.get(f"/{number}.bin").content
        assert isinstance(body, FileRange)
        files.append(body.file.fileno())
    del body
    assert len(set(files)) == OPEN_FILES + 1  # one before the other goes
    assert sum(map(is_open, set(files))) == OPEN_FILES


def test_asking_for_what_is_not_there_drives_out_nothing(site: Site) -> None:
    site.write("a.html")
    site.get("/a.html")
    for number in range(REFUSALS * 2):
        assert site.status(f"/{number}.html") == 404
    assert isinstance(site.start("/a.html"), Response)
    assert isinstance(site.start("/0.html"), Lookup)
    last = f"/{REFUSALS * 2 - 1}.html"
    assert site.error(last).status == 404
    assert site.looks == 1 + REFUSALS * 2


# What is missing


def test_a_plain_404_without_a_page(site: Site) -> None:
    assert site.error("/none").status == 404
    assert site.error("/none").status == 404
    assert site.looks == 1


@pytest.mark.parametrize("body", [b"<h1>Not here", LARGE])
def test_the_root_has_its_own_page(site: Site, body: bytes) -> None:
    site.write("404.html", body)
    for target in ("/none", "/sub/none", "/.env"):
        response = site.get(target)
        assert response.status == 404
        assert content(response) == body
        assert fields(response) == {
            "Content-Type": "text/html; charset=utf-8",
            "X-Content-Type-Options": "nosniff",
        }
    assert site.get("/none", if_modified_since=DATE, range="bytes=0-0").status == 404
    assert site.get("/none", "HEAD").status == 404
    assert site.get("/404.html").status == 200


def test_the_page_for_what_is_missing_follows_its_file(site: Site) -> None:
    page = site.write("404.html", b"one")
    assert content(site.get("/.env")) == b"one"
    assert isinstance(site.start("/.env"), Response)
    site.now = 1.0
    assert content(site.get("/.env")) == b"one"
    site.write("404.html", b"two!")
    site.now = 2.0
    assert content(site.get("/none")) == b"two!"
    page.unlink()
    site.now = 3.0
    assert site.error("/none").status == 404
    site.write("404.html", b"three")
    site.now = 3.5
    assert site.error("/none").status == 404
    assert content(site.get("/another")) == b"three"
    assert content(site.get("/none")) == b"three"


def test_a_missing_path_is_looked_for_again_with_its_page(site: Site) -> None:
    site.write("404.html", b"page")
    site.get("/.env")
    site.now = 0.9
    site.get("/none")
    site.now = 1.95  # "/none" is no longer believed, the page looked at with it is
    site.write("none", b"here now")
    assert content(site.get("/none")) == b"here now"


def test_what_is_missing_may_be_left_to_the_next_mount(tmp_path: Path) -> None:
    site = Site(tmp_path, decline=True)
    site.write("404.html")
    site.write("a.html")
    for _ in range(2):
        assert site.answer("/none") is None
        assert site.answer("/.env") is None
        assert site.answer("/a%2Fb") is None
        assert site.answer("/a.html", "POST") is None
        assert site.get("/a.html").status == 200
    assert site.looks == 2
