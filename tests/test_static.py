"""The handler of static files: folders, what it knows and for how long, what is missing."""

import json
import os
from pathlib import Path

import pytest

from aiowsgi.http.messages import FileRange, HTTPError, Response
from aiowsgi.site.files import SMALL
from aiowsgi.site.router import Lookup
from aiowsgi.site.static import OPEN_FILES, REFUSALS
from tests.static_site import DATE, LARGE, Site, content, fields, no_descriptor_left


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


@pytest.mark.parametrize("target", ["/a.html", "/gone.html"])
def test_while_one_looks_again_the_others_get_what_is_known(site: Site, target: str) -> None:
    site.write("a.html", b"old")
    site.write("404.html", b"none")
    old = site.get(target)
    site.write("a.html", b"new")
    site.write("gone.html", b"new")
    site.now = 1.0
    look = site.start(target)
    assert isinstance(look, Lookup)
    for _ in range(3):
        assert site.start(target) is old
    assert look.may_be_late
    assert look.late() is old
    look.run()
    look.answer()
    assert content(site.get(target)) == b"new"
    assert site.looks == 1


def test_of_what_is_not_known_nothing_can_be_said_without_a_look(site: Site) -> None:
    search = site.start("/a.html")
    assert isinstance(search, Lookup)
    assert not search.may_be_late
    with pytest.raises(HTTPError) as caught:
        search.late()
    assert caught.value.status == 503


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
            "Cache-Control": "no-store",
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


# A single-page application


@pytest.fixture
def shell(tmp_path: Path) -> Site:
    site = Site(tmp_path, spa=True)
    site.write("index.html", b"shell")
    site.write("404.html", b"own")
    site.write("a.js", b"code")
    return site


def test_a_missing_page_is_answered_by_the_shell(shell: Site) -> None:
    for target in ("/users", "/users/7", "/users/7/", "/a.b/users", "/?page=1", "/users?q=a.b"):
        for method in ("GET", "HEAD"):
            response = shell.get(target, method)
            assert (response.status, content(response)) == (200, b"shell")
    etag = fields(shell.get("/users"))["ETag"]
    assert fields(shell.get("/users")) == fields(shell.get("/index.html"))
    assert shell.status("/users", if_none_match=etag) == 304
    assert shell.status("/users", range="bytes=0-0") == 206
    assert content(shell.get("/a.js")) == b"code"


def test_what_is_no_page_is_not(shell: Site) -> None:
    for target in ("/b.js", "/users/7.json", "/.git", "/a%2Fb", "/users//7", "/~", "/app.py/x"):
        response = shell.get(target)
        assert (response.status, content(response)) == (404, b"own"), target
    assert shell.error("/users", "POST").status == 405


def test_the_shell_follows_its_file(shell: Site) -> None:
    first = shell.get("/users")
    assert shell.start("/users") is first
    shell.now = 1.0
    assert shell.get("/users") is first
    shell.write("index.html", b"new shell")
    shell.now = 2.0
    assert content(shell.get("/users")) == b"new shell"
    (shell.root / "index.html").unlink()
    shell.now = 3.0
    assert content(shell.get("/users")) == b"own"
    assert isinstance(shell.start("/users"), Response)
    shell.write("index.html", b"again")
    shell.now = 4.0
    assert content(shell.get("/users")) == b"again"
    shell.write("users", b"a file")
    shell.now = 5.0
    assert content(shell.get("/users")) == b"a file"


def test_the_shell_has_variants(shell: Site) -> None:
    shell.write("index.html.gz", b"gzip")
    assert content(shell.get("/users", accept_encoding="gzip")) == b"gzip"


def test_asking_for_pages_that_are_not_there_drives_out_nothing(shell: Site) -> None:
    shell.get("/a.js")
    for number in range(REFUSALS * 2):
        assert shell.status(f"/{number}") == 200
    assert isinstance(shell.start("/a.js"), Response)


def test_where_files_are_left_to_the_next_mount_there_is_no_shell(tmp_path: Path) -> None:
    site = Site(tmp_path, spa=True, decline=True)
    site.write("index.html", b"shell")
    assert site.answer("/users") is None
    assert content(site.get("/")) == b"shell"


# The list of a folder


@pytest.fixture
def listed(tmp_path: Path) -> Site:
    (tmp_path / "root").mkdir()
    site = Site(tmp_path / "root", autoindex=True)
    site.write("sub/a.txt")
    site.write("sub/app.py")
    site.write("sub/a.txt.gz")
    return site


def test_a_folder_without_an_index_is_listed(listed: Site) -> None:
    listing = content(listed.get("/sub/")).decode()
    assert "a.txt" in listing
    assert "app.py" not in listing
    assert "a.txt.gz" not in listing
    assert json.loads(content(listed.get("/sub/?format=json")))[0]["name"] == "a.txt"
    assert "sub" in content(listed.get("/")).decode()
    assert listed.get("/sub/", "HEAD").status == 200


def test_a_list_is_kept_for_a_second_and_made_again_by_one(listed: Site) -> None:
    first = listed.get("/sub/")
    listed.write("sub/b.txt")
    listed.now = 0.9
    assert listed.get("/sub/", "HEAD") is first
    assert listed.get("/sub/?order=asc&unknown=1") is first
    assert listed.looks == 1
    listed.now = 1.0
    search = listed.start("/sub/")
    assert isinstance(search, Lookup)
    assert listed.get("/sub/") is first
    search.run()
    search.answer()
    assert "b.txt" in content(listed.get("/sub/")).decode()
    assert listed.looks == 1


def test_each_view_of_a_folder_is_another_list(listed: Site) -> None:
    listed.write("sub/b.txt", b"")
    up, down = listed.get("/sub/"), listed.get("/sub/?order=desc")
    assert content(up).index(b"b.txt") > content(up).index(b"a.txt")
    assert content(down).index(b"b.txt") < content(down).index(b"a.txt")
    assert content(listed.get("/sub/", accept="application/json"))[:2] == b"[{"
    for _ in range(2):
        assert listed.get("/sub/") is up
        assert listed.get("/sub/?order=desc") is down
    assert listed.looks == 3


def test_the_redirect_to_its_trailing_slash_comes_first(listed: Site) -> None:
    response = listed.get("/sub?sort=size")
    assert (response.status, fields(response)["Location"]) == (301, "/sub/?sort=size")


def test_a_folder_with_an_index_is_not_listed(listed: Site) -> None:
    listed.get("/sub/")
    listed.write("sub/index.html", b"index")
    listed.now = 1.0
    assert content(listed.get("/sub/")) == b"index"
    (listed.root / "sub" / "index.html").unlink()
    listed.now = 2.0
    assert "a.txt" in content(listed.get("/sub/")).decode()
    listed.now = 3.0
    (listed.root / "sub" / "index.html").mkdir()
    assert "a.txt" in content(listed.get("/sub/")).decode()


def test_nothing_is_listed_of_what_is_never_served_or_leads_out(listed: Site, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (listed.root / "out").symlink_to(tmp_path / "outside")
    listed.write(".git/config")
    listed.write("app.py/a.txt")
    for target in ("/out/", "/out", "/.git/", "/app.py/", "/none/", "/sub/a.txt/", "/%2e%2e/"):
        assert listed.status(target) == 404, target
    assert "out" not in content(listed.get("/")).decode()
    links = Site(listed.root, autoindex=True, follow_links=True)
    assert links.status("/out/") == 200
    assert "out" in content(links.get("/")).decode()


def test_a_folder_that_cannot_be_listed_is_an_error(listed: Site) -> None:
    search = listed.start("/sub/")
    assert isinstance(search, Lookup)
    with no_descriptor_left():
        search.run()
    with pytest.raises(HTTPError) as caught:
        search.answer()
    assert caught.value.status == 503


def test_a_list_may_stand_before_an_application(tmp_path: Path) -> None:
    site = Site(tmp_path, autoindex=True, decline=True)
    site.write("sub/a.txt")
    assert site.get("/sub/").status == 200
    assert site.answer("/none/") is None
