"""Below the document root and nowhere else: links, what is no file, hostile paths."""

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import time_ns

import pytest

from aiowsgi.http.messages import HTTPError
from aiowsgi.site.files import DocumentRoot, Refusal, StoredFile, load
from aiowsgi.site.opening import OpenFile, open_below
from aiowsgi.site.router import Lookup
from tests.static_site import LARGE, SECRET, Site, content, no_descriptor_left


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "root").mkdir()
    return Site(tmp_path / "root")


# Links


def test_a_link_may_stay_inside(site: Site) -> None:
    site.write("v2/app.js", b"code")
    site.write("..data/config.txt", b"mounted so by Kubernetes")
    (site.root / "current").symlink_to("v2")
    (site.root / "app.js").symlink_to(site.root / "v2" / "app.js")
    (site.root / "config.txt").symlink_to("..data/config.txt")
    assert content(site.get("/current/app.js")) == b"code"
    assert content(site.get("/app.js")) == b"code"
    assert content(site.get("/config.txt")) == b"mounted so by Kubernetes"


def test_a_link_may_not_leave(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "root-beside"  # begins like the root
    outside.mkdir()
    (outside / "index.html").write_bytes(SECRET)
    (site.root / "page.html").symlink_to(outside / "index.html")
    (site.root / "up.html").symlink_to("../root-beside/index.html")
    (site.root / "folder").symlink_to(outside)
    (site.root / "chain").symlink_to("folder")
    (site.root / "null").symlink_to("/dev/null")
    for target in ("/page.html", "/up.html", "/folder", "/folder/", "/folder/index.html", "/chain/", "/null"):
        assert site.status(target) == 404


def test_links_may_be_allowed_to_leave(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    site = Site(tmp_path / "root", follow_links=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "index.html").write_bytes(b"index")
    (tmp_path / "outside" / "large.bin").write_bytes(LARGE)
    (tmp_path / "outside" / "page.html.gz").write_bytes(b"gzip")
    site.write("page.html")
    (site.root / "page.html.gz").symlink_to(tmp_path / "outside" / "page.html.gz")
    (site.root / "folder").symlink_to(tmp_path / "outside")
    (site.root / "null").symlink_to("/dev/null")
    (site.root / ".hidden").symlink_to(tmp_path / "outside")
    assert content(site.get("/folder/")) == b"index"
    assert site.get("/folder").status == 301
    assert content(site.get("/folder/large.bin")) == LARGE
    assert content(site.get("/page.html", accept_encoding="gzip")) == b"gzip"
    for target in ("/null", "/.hidden/", "/folder/../secret", "/folder/none"):
        assert site.status(target) == 404


def test_a_link_that_is_turned_to_leave(site: Site, tmp_path: Path) -> None:
    site.write("a.html", b"inside")
    (tmp_path / "b.html").write_bytes(SECRET)
    link = site.root / "link.html"
    link.symlink_to("a.html")
    assert content(site.get("/link.html")) == b"inside"
    link.unlink()
    link.symlink_to(tmp_path / "b.html")
    site.now = 1.0
    assert site.status("/link.html") == 404


@pytest.mark.skipif(os.open not in os.supports_dir_fd, reason="needs to open from a folder")
def test_a_folder_that_becomes_a_link_between_the_look_and_the_opening(site: Site, tmp_path: Path) -> None:
    site.write("folder/file", b"inside")
    file = os.fsencode(site.root / "folder" / "file")
    assert os.read(open_below(os.fsencode(site.root), file).fileno(), 100) == b"inside"
    (site.root / "folder").rename(tmp_path / "outside")
    (site.root / "folder").symlink_to(tmp_path / "outside")
    before = os.listdir("/dev/fd")
    with pytest.raises(NotADirectoryError):
        open_below(os.fsencode(site.root), file)
    assert os.listdir("/dev/fd") == before


def test_a_link_that_leads_nowhere(site: Site) -> None:
    (site.root / "dangling").symlink_to("none")
    (site.root / "loop").symlink_to("loop")
    assert site.status("/dangling") == 404
    assert site.status("/loop") == 404


def test_the_root_may_be_a_link_that_moves(tmp_path: Path) -> None:
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "a.html").write_text(release)
    current = tmp_path / "current"
    current.symlink_to("one")
    site = Site(current)
    assert content(site.get("/a.html")) == b"one"
    current.unlink()
    current.symlink_to("two")
    site.now = 1.0
    assert content(site.get("/a.html")) == b"two"


def test_a_root_that_is_gone(site: Site) -> None:
    site.write("a.html").unlink()
    site.root.rmdir()
    assert site.status("/") == 404
    assert site.status("") == 404


def test_the_root_of_the_system_is_a_root(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(b"found")
    found = DocumentRoot("/").find(os.fsencode(tmp_path.resolve() / "a.html"))
    assert isinstance(found, StoredFile)
    assert found.content == b"found"


# What is no file, or cannot be read


def test_pipes_and_sockets_are_missing_and_do_not_hang(site: Site) -> None:
    os.mkfifo(site.root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(site.root)  # a socket's path is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    assert site.status("/pipe") == 404
    assert site.status("/socket") == 404


def test_a_pipe_that_takes_a_files_place_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert load(b"/pipe", OpenFile(os.fsencode(tmp_path / "pipe")), time_ns()) is Refusal.MISSING


def test_a_name_the_system_cannot_take(tmp_path: Path) -> None:
    assert DocumentRoot(tmp_path).find(b"/a\0b") is Refusal.MISSING


@pytest.fixture
def private(tmp_path: Path) -> Iterator[Site]:
    """A site with a file and a folder that this process may not read, whoever runs it."""
    privileged = os.geteuid() == 0
    root = tmp_path
    if privileged:  # and nobody else may enter tmp_path
        root = Path(tempfile.mkdtemp())
        root.chmod(0o755)
    site = Site(root)
    site.write("file.html", SECRET).chmod(0)
    site.write("folder/file.html", SECRET)
    site.write("page.html", b"page")
    site.write("403.html", b"own")
    site.write("page.html.br", SECRET).chmod(0)
    (root / "folder").chmod(0)
    if privileged:
        os.seteuid(65534)
    try:
        yield site
    finally:
        if privileged:
            os.seteuid(0)
        (root / "folder").chmod(0o700)
        shutil.rmtree(root)


def test_what_may_not_be_read_is_forbidden_and_logged(
    private: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for target in ("/file.html", "/folder/file.html"):
        for _ in range(2):
            response = private.get(target)
            assert (response.status, response.content) == (403, b"own")
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2  # once a second at most
    assert "/file.html" in caplog.text


def test_a_variant_that_may_not_be_read_is_not_sent(private: Site, caplog: pytest.LogCaptureFixture) -> None:
    for second in range(2):
        private.now = second
        for _ in range(2):
            assert content(private.get("/page.html", accept_encoding="br")) == b"page"
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "/page.html.br below" in caplog.text


def test_no_descriptor_left(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("known.bin", "new.bin"):
        site.write(name, LARGE)
    known = site.get("/known.bin")
    with no_descriptor_left():
        site.now = 1.0
        error = site.error("/new.bin")
        assert error.status == 503
        assert error.fields == [("Retry-After", "1")]
        assert site.get("/known.bin") is known  # a look takes no descriptor
    assert "Too many open files" in caplog.text
    site.now = 2.0
    assert site.status("/new.bin") == 200


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file whose reading fails, as Linux has it")
def test_a_file_that_fails_when_read(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(Path("/proc/self"))
    assert site.error("/mem").status == 500
    assert "Input/output error" in caplog.text


# Hostile paths

# Of these no file is ever looked for ...
REFUSED = r"""
/.env /.git/config /.git/ /.git /.htaccess /sub/.env /sub/.git/config /sub/.well-known/x /.well-known
/.well-known/.env /.well-known/../.env /. /.. /./ /../ /... /.../secret.txt /../secret.txt /sub/../../secret.txt
/sub/../a.html /../../../../../../etc/passwd /%2e%2e/secret.txt /%2E%2E/secret.txt /.%2e/secret.txt
/%2e./secret.txt /%2e%2e%2fsecret.txt /..%2fsecret.txt /..%2Fsecret.txt /%2e%2e%5csecret.txt /..%5csecret.txt
/..\secret.txt /..%252fsecret.txt /a.html/../sub/a.html
/sub%2Fa.html /sub%2fa.html /%2fetc/passwd /%2Fsecret.txt /sub%5Ca.html /sub\a.html /C:\boot.ini
/file:///etc/passwd /http:%5Ca //etc/passwd //a.html /sub//a.html /sub/// /// //
/a.html%00 /a.html%00.png /%00 /..%00/secret.txt /a.html%0a /a.html%0d%0aX:y /a%7f.html /%1b /a%09b
/app.py /app.PY /app.Py /app%2Epy /%61pp.py /app.py/ /app.py/x /app.py. /app.py%20 /app.pyc /app.pyo /app.pyw
/app.pyi /__pycache__/app.cpython-311.pyc /prod.env /db.sqlite3
/a.html.swp /a.html.bak /a.html.BAK /a.html.orig /a.html.rej /a.html~ /sub~/a.html /~
/%23a.html%23 /sub/%23a.html%23 /a.html. /a.html%20 /sub./a.html
x * ../secret.txt
"""
LONG_AND_REFUSED = ["/" + "a" * 4096, "/" + "a/" * 3000 + "b", "/" + "../" * 2000 + "secret.txt"]

# ... and of these none is found.
MISSING = r"""
/%252e%252e/secret.txt /%252e%252e%252fsecret.txt /%252e%252e%255csecret.txt /%c0%ae%c0%ae/secret.txt
/%c0%ae%c0%ae%c0%afsecret.txt /%e0%80%ae%e0%80%ae/secret.txt /%uff0e%uff0e/secret.txt
/%ef%bc%8e%ef%bc%8e/secret.txt /sub%c0%afa.html /sub%ef%bc%8fa.html /%80%81 /%FF%FE /%E2%80%AE /%C2%A0
/a.html/ /a.html/b /a.html;jsessionid=1 /a.html%3F /a.html%20x /*.html /?a.html
/~root /$HOME /%24%7BHOME%7D /|id /;id /`id`  /etc/passwd /proc/self/environ
/secret.txt /sub /sub/ /out /out/ /out/secret.txt /out.txt
"""
LONG_AND_MISSING = [
    "/" + "a" * 255,
    "/" + "a" * 256,
    "/" + "a" * 4000,
    "/" + "a/" * 1500 + "b",
    "/" + "%F0%9F%92%A9" * 900,
]


@pytest.fixture(scope="module")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site where each hostile path would find something."""
    top = tmp_path_factory.mktemp("trapped")
    (top / "secret.txt").write_bytes(SECRET)
    site = Site(top / "root")
    for name in (
        *("a.html", "sub/a.html", ".env", "sub/.env", ".git/config", ".git/index.html", ".htaccess"),
        *(".well-known/.env", "app.py", "app.pyc", "app.pyo", "app.pyw", "app.pyi", "app.PY", "prod.env"),
        *(
            "__pycache__/app.cpython-311.pyc",
            "db.sqlite3",
            "a.html~",
            "sub~/a.html",
            "#a.html#",
            "sub/#a.html#",
        ),
        *(
            "a.html.swp",
            "a.html.bak",
            "a.html.BAK",
            "a.html.orig",
            "a.html.rej",
            "a.html.",
            "a.html ",
            "app.py.",
        ),
        *("app.py ", "sub\\a.html", "..\\secret.txt", "a\tb", "a\x7f.html", "\x1b", "...", "sub./a.html"),
        *("sub/.well-known/x", "C:\\boot.ini"),
    ):
        site.write(name, SECRET)
    (site.root / "out").symlink_to(top)
    (site.root / "out.txt").symlink_to(top / "secret.txt")
    assert site.error("/.env").status == 404  # and it is known that there is no 404.html
    return site


@pytest.mark.parametrize("target", [*REFUSED.split(), *LONG_AND_REFUSED])
def test_hostile_paths_are_404_without_a_look(trapped: Site, target: str) -> None:
    for _ in range(2):
        with pytest.raises(HTTPError) as caught:
            trapped.start(target)
        assert caught.value.status == 404


@pytest.mark.parametrize("target", [*MISSING.split(), *LONG_AND_MISSING])
def test_hostile_paths_find_nothing(trapped: Site, target: str) -> None:
    assert isinstance(trapped.start(target), Lookup)
    assert trapped.error(target).status == 404


def test_an_encoded_slash_is_no_slash_even_where_the_path_is_known(trapped: Site) -> None:
    assert trapped.get("/sub/a.html").status == 200
    assert trapped.error("/sub%2Fa.html").status == 404
    assert trapped.get("/sub/%61.html") is trapped.get("/sub/a.html")
