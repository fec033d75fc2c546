"""The list of a folder: hostile names are only names, and what is not served is not listed."""

import json
import os
import socket
import stat
import tempfile
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest

from aiowsgi.config import Files
from aiowsgi.http.messages import Response
from aiowsgi.site import folders
from aiowsgi.site.listing import list_folder, prefers_json, view_for
from aiowsgi.site.names import refusing
from tests.static_site import JANUARY_2020, a_request, content, fields

is_refused = refusing(Files().refused)

HOSTILE = [
    b"<script>alert(1)<",
    b"\"onclick='x' &amp; &lt;.txt",
    b"new\nline\r.txt",
    b"100%.txt",
    b"%2e%2e%2f",
    b"a?b=c&d;e.txt",
    b"a#b.txt",
    b"javascript:alert(1)",
    b"https:",
    b"\\\\host\\share",
    b" blanks ",
    b"...",
    b"\xff\xfe\x80.bin",
    b"\xed\xa0\x80.surrogate",
    "photo\u202egpj.exe".encode(),
    "\u200f\u2066mark.txt".encode(),
    "\u2028line.txt".encode(),
    "日本語.html".encode(),
    b"\x1b[2J",
    b"x" * 255,
    ("\N{SNOWMAN}" * 85).encode(),
]


class Listing(HTMLParser):
    """What a browser makes of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[dict[str, str]] = []  # href, name, size, time
        self.headings: list[tuple[str, str]] = []  # ?sort=..., aria-sort
        self.breadcrumb: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.style = self.summary = self.title = ""
        self._within: list[str] = []
        self._attributes: dict[str, str | None] = {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag in ("meta", "link"):
            return
        self._within.append(tag)
        attributes = dict(attrs)
        if tag == "tr":
            self.rows.append({"cells": ""})
        elif tag == "td":
            self.rows[-1]["cells"] += "|"
        elif tag == "th":
            self._attributes = attributes
        elif tag == "time":
            self.rows[-1]["time"] = attributes["datetime"] or ""
        elif tag == "a":
            self._link(attributes["href"] or "")

    def _link(self, href: str) -> None:
        if "th" in self._within:
            self.headings.append((href, self._attributes.get("aria-sort") or ""))
        elif "h1" in self._within:
            self.breadcrumb.append((href, ""))
        else:
            assert "href" not in self.rows[-1]
            self.rows[-1] |= {"href": href, "name": ""}

    def handle_endtag(self, tag: str) -> None:
        assert self._within.pop() == tag

    def handle_data(self, data: str) -> None:
        where = self._within
        if where[-1:] == ["style"]:
            self.style += data
        elif where[-1:] == ["title"]:
            self.title += data
        elif where[-1:] == ["p"]:
            self.summary += data
        elif "h1" in where and "a" in where:
            href, text = self.breadcrumb.pop()
            self.breadcrumb.append((href, text + data))
        elif "td" in where:
            if "a" in where:
                self.rows[-1]["name"] += data
            self.rows[-1]["cells"] += data

    @property
    def items(self) -> list[dict[str, str]]:
        return [row for row in self.rows if row.get("href", "../") != "../"]

    @property
    def names(self) -> list[str]:
        return [item["name"] for item in self.items]


def everything(path: str) -> bool:
    return False


class Folder:
    """A folder to be listed at the path ``at``."""

    def __init__(self, path: Path, at: str = "/files/") -> None:
        self.path = path
        self.at = at
        self.root: Path | None = None
        self.refused: Callable[[str], bool] = everything

    def write(self, name: str | bytes, size: int = 0, modified: float = JANUARY_2020) -> None:
        path = os.path.join(os.fsencode(self.path), os.fsencode(name))
        with open(path, "wb") as file:
            file.truncate(size)
        os.utime(path, (modified, modified))

    def response(self, query: str = "", **sent: str) -> Response:
        root = None if self.root is None else os.fsencode(self.root)
        request = a_request(f"/?{query}", **sent)
        return list_folder(os.fsencode(self.path), self.at, view_for(request), self.refused, root)

    def page(self, query: str = "") -> Listing:
        return Listing(content(self.response(query)).decode())

    def json(self, query: str = "format=json") -> list[dict[str, object]]:
        listed = json.loads(content(self.response(query)))
        assert isinstance(listed, list)
        return listed


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "root").mkdir()
    return Folder(tmp_path / "root")


# Hostile names


@pytest.mark.parametrize("name", HOSTILE)
def test_the_link_of_any_name_leads_to_it_and_nowhere_else(folder: Folder, name: bytes) -> None:
    folder.write(name)
    (item,) = folder.page().items
    assert item["href"].isascii()
    url = urlsplit(urljoin("http://host/files/", item["href"]))
    assert (url.scheme, url.netloc, url.query, url.fragment) == ("http", "host", "", "")
    assert url.path.count("/") == 2
    assert unquote_to_bytes(url.path) == b"/files/" + name


@pytest.mark.parametrize("name", HOSTILE)
def test_the_link_of_any_folder_ends_with_a_slash(folder: Folder, name: bytes) -> None:
    os.mkdir(os.path.join(os.fsencode(folder.path), name))
    (item,) = folder.page().items
    assert (
        unquote_to_bytes(urlsplit(urljoin("http://host/files/", item["href"])).path) == b"/files/%b/" % name
    )


def test_names_bring_no_markup_with_them(folder: Folder) -> None:
    tame = folder.page()
    for name in HOSTILE:
        folder.write(name)
    page = folder.page()
    assert len(page.items) == len(HOSTILE)
    assert page.tags - tame.tags <= {"a", "bdi", "time", "tr", "td"}
    assert page.attributes - tame.attributes <= {"href", "class", "datetime"}


def test_a_name_is_shown_as_it_is_where_that_misleads_nobody(folder: Folder) -> None:
    for name in HOSTILE:
        folder.write(name)
    names = folder.page().names
    assert {"<script>alert(1)<", "100%.txt", "%2e%2e%2f", "日本語.html", "x" * 255} <= set(names)
    assert "photo\ufffdgpj.exe" in names
    assert "new\ufffdline\ufffd.txt" in names
    assert "\ufffd\ufffd\ufffd.bin" in names
    assert not any(set(name) & set("\n\r\x1b\u202e\u200f\u2066\u2028") for name in names)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_path_of_the_folder_itself_is_text_too(tmp_path: Path, name: bytes) -> None:
    at = "/" + name.decode("latin-1") + "/deep/"
    page = Folder(tmp_path, at).page()
    assert [href for href, _ in page.breadcrumb] == ["../../", "../"]
    assert page.tags <= Folder(tmp_path).page().tags
    assert page.title.startswith("/")


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_text_in_json(folder: Folder, name: bytes) -> None:
    folder.write(name)
    assert [item["name"] for item in folder.json()] == [name.decode("utf-8", "replace")]


def test_the_page_may_load_and_run_nothing(folder: Folder) -> None:
    response = folder.response()
    page = Listing(content(response).decode())
    digest = b64encode(sha256(page.style.encode()).digest()).decode()
    assert fields(response)["Content-Security-Policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "svg"})
    assert "style" not in page.attributes
    assert "url(" not in page.style


def test_no_query_gets_onto_the_page(folder: Folder) -> None:
    folder.write("a")
    plain = content(folder.response())
    for query in ("sort=%22%3E%3Cb%3E", "order=<b>", "sort=__class__&order=", "format=xml", "=&&;%ff%zz=%00"):
        assert content(folder.response(query)) == plain


# What is listed


def test_each_entry_is_told_with_size_and_time(folder: Folder) -> None:
    (folder.path / "docs").mkdir()
    os.utime(folder.path / "docs", (1e9, 1e9))
    folder.write("a.txt", 1536, JANUARY_2020 + 0.999)
    page = folder.page()
    assert [(item["href"], item["cells"], item["time"]) for item in page.items] == [
        ("./docs/", "|docs||2001-09-09 01:46", "2001-09-09T01:46:40Z"),
        ("./a.txt", "|a.txt|1.5 KiB|2020-01-01 00:00", "2020-01-01T00:00:00Z"),
    ]
    assert page.summary == "1 folder, 1 file, 1.5 KiB"
    assert page.title == "/files/"
    assert folder.json() == [
        {"name": "docs", "type": "directory", "size": None, "modified": "2001-09-09T01:46:40Z"},
        {"name": "a.txt", "type": "file", "size": 1536, "modified": "2020-01-01T00:00:00Z"},
    ]


def test_an_empty_folder(folder: Folder) -> None:
    assert folder.page().summary == "This folder is empty."
    assert folder.json() == []


def test_the_way_up(tmp_path: Path) -> None:
    page = Folder(tmp_path, "/a/b/").page()
    assert page.breadcrumb == [("../../", "Home"), ("../", "a")]
    assert page.rows[1]["href"] == "../"
    top = Folder(tmp_path, "/").page()
    assert top.breadcrumb == []
    assert len(top.rows) == 1


def test_what_is_not_served_is_not_listed(folder: Folder) -> None:
    folder.refused = is_refused
    for name in (".env", "app.py", "notes.txt~", "a\nb", "b\\c", "page.html", ".htaccess"):
        folder.write(name)
    (folder.path / ".git").mkdir()
    assert folder.page().names == ["page.html"]
    assert [item["name"] for item in folder.json()] == ["page.html"]


def test_the_predicate_is_asked_for_the_whole_path(folder: Folder) -> None:
    folder.write("\N{SNOWMAN}")
    asked: list[str] = []

    def refused(path: str) -> bool:
        asked.append(path)
        return True

    folder.refused = refused
    assert folder.page().names == []
    assert asked == ["/files/\xe2\x98\x83"]


def test_variants_of_a_file_are_no_files(folder: Folder) -> None:
    for name in ("app.js", "app.js.br", "app.js.gz", "app.js.zst", "data.csv.gz", "x.tar.gz.br", "x.tar.gz"):
        folder.write(name)
    (folder.path / "folder").mkdir()
    folder.write("folder.gz")  # a folder has no variants
    assert folder.page().names == ["folder", "app.js", "data.csv.gz", "folder.gz", "x.tar.gz"]


def test_links_are_listed_when_they_stay_below_the_root(tmp_path: Path, folder: Folder) -> None:
    (tmp_path / "secret").write_bytes(b"s" * 77)
    (tmp_path / "root-beside").mkdir()
    inner = folder.path / "inner"
    inner.mkdir()
    (folder.path / "up.txt").write_bytes(b"up")
    (inner / "here.txt").write_bytes(b"here")
    (inner / "to-here").symlink_to("here.txt")
    (inner / "to-up").symlink_to("../up.txt")
    (inner / "to-secret").symlink_to(tmp_path / "secret")
    (inner / "to-beside").symlink_to(tmp_path / "root-beside")
    (inner / "nowhere").symlink_to("none")
    (inner / "loop").symlink_to("loop")
    (inner / "null").symlink_to("/dev/null")
    listed = Folder(inner)
    assert listed.page().names == ["here.txt", "to-here"]
    listed.root = folder.path
    assert listed.page().names == ["here.txt", "to-here", "to-up"]
    assert [item["cells"].split("|")[2] for item in listed.page().items] == ["4 B", "4 B", "2 B"]
    listed.root = Path("/")
    assert listed.page().names == ["to-beside", "here.txt", "to-here", "to-secret", "to-up"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_pipes_and_sockets_are_left_out(folder: Folder) -> None:
    os.mkfifo(folder.path / "pipe")
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/s")
        os.rename(f"{short}/s", folder.path / "socket")
        assert stat.S_ISSOCK((folder.path / "socket").stat().st_mode)
        assert folder.page().names == []


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Folder(tmp_path / "none").response()


@pytest.mark.parametrize("modified", [-1.5, 0, 2**33, 253402300800, -(2**60), 2**60])
def test_any_time_is_told_or_left_out(folder: Folder, modified: float) -> None:
    try:
        folder.write("a", modified=modified)
    except OverflowError:
        pytest.skip("the system has no such time")
    (item,) = folder.json()
    assert item["modified"] is None or len(str(item["modified"])) == len("2020-01-01T00:00:00Z")
    assert folder.page().names == ["a"]


# Order


def test_names_are_in_natural_order_whatever_their_case(folder: Folder) -> None:
    names = [
        "img2.png",
        "img10.png",
        "IMG1.png",
        "b",
        "A",
        "2",
        "10",
        "a1b2",
        "a1b10",
        "007",
        "7",
        "\u0661",
        "\xb2",
    ]
    for name in names:
        folder.write(name)
    (folder.path / "Zebra").mkdir()
    (folder.path / "ant").mkdir()
    in_order = [
        "2",
        "007",
        "7",
        "10",
        "A",
        "a1b2",
        "a1b10",
        "b",
        "IMG1.png",
        "img2.png",
        "img10.png",
        "\xb2",
        "\u0661",
    ]
    assert folder.page().names == ["ant", "Zebra", *in_order]
    assert folder.page("sort=name&order=desc").names == ["Zebra", "ant", *reversed(in_order)]


def test_a_number_of_255_digits_is_one(folder: Folder) -> None:
    for name in ("9" * 255, "1" + "0" * 254, "3"):
        folder.write(name)
    assert folder.page().names == ["3", "1" + "0" * 254, "9" * 255]


def test_sizes_and_times_sort_both_ways_and_equal_ones_by_name(folder: Folder) -> None:
    for name, size, modified in (("c", 5, 300), ("a", 5, 200), ("b", 9, 100), ("d", 1, 200)):
        folder.write(name, size, modified)
    for name, modified in (("x", 10), ("w", 20)):
        (folder.path / name).mkdir()
        os.utime(folder.path / name, (modified, modified))
    assert folder.page("sort=size").names == ["w", "x", "d", "a", "c", "b"]
    assert folder.page("sort=size&order=desc").names == ["w", "x", "b", "a", "c", "d"]
    assert folder.page("sort=time").names == ["x", "w", "b", "a", "d", "c"]
    assert folder.page("sort=time&order=desc").names == ["w", "x", "c", "a", "d", "b"]
    assert [i["name"] for i in folder.json("format=json&sort=time")] == ["x", "w", "b", "a", "d", "c"]


def test_the_headings_sort_and_turn_the_order_round(folder: Folder) -> None:
    assert folder.page().headings == [
        ("?sort=name&order=desc", "ascending"),
        ("?sort=size&order=desc", ""),
        ("?sort=time&order=desc", ""),
    ]
    assert folder.page("sort=size&order=desc").headings == [
        ("?sort=name&order=asc", ""),
        ("?sort=size&order=asc", "descending"),
        ("?sort=time&order=desc", ""),
    ]


# Form


def test_the_fields_of_both_forms(folder: Folder) -> None:
    page, listed = fields(folder.response("format=html")), fields(folder.response("format=json"))
    for sent in (page, listed):
        assert sent["Cache-Control"] == "no-cache"
        assert sent["X-Content-Type-Options"] == "nosniff"
        assert sent.keys().isdisjoint({"ETag", "Last-Modified", "Vary", "X-Truncated"})
    assert page["Content-Type"] == "text/html; charset=utf-8"
    assert listed["Content-Type"] == "application/json"


def test_accept_chooses_where_the_query_does_not(folder: Folder) -> None:
    for accept, media_type in (
        ("text/html", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
    ):
        chosen = fields(folder.response(accept=accept))
        assert (chosen["Content-Type"], chosen["Vary"]) == (media_type, "Accept")
    assert fields(folder.response())["Vary"] == "Accept"
    assert fields(folder.response("format=html", accept="application/json"))["Content-Type"].startswith(
        "text/html"
    )


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("application/json", True),
        ("APPLICATION/JSON ; q=0.5", True),
        ("application/json, text/plain, */*", True),  # axios
        ("application/*", True),
        ("application/json;profile=x;q=0.9, text/html;q=0.8", True),
        ("text/html;q=0, */*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", False),  # a browser
        ("*/*", False),
        ("", False),
        ("text/html, application/json", False),
        ("application/json;q=0", False),
        ("application/json;q=2, text/html;q=0.1", False),
        ("application/json;q=nan", False),
        ("json", False),
        (",;=q,;;,q=1;/", False),
        ("application/json" + "," * 1000, False),
    ],
)
def test_who_prefers_json(accept: str, json: bool) -> None:
    assert prefers_json(accept) is json


# Bounds


def test_no_more_is_shown_than_the_most_and_the_page_says_so(folder: Folder) -> None:
    for number in range(folders.MOST_SHOWN + 1):
        folder.write(f"{number}")
    page = folder.page()
    assert len(page.items) == folders.MOST_SHOWN == 10_000
    assert page.summary.startswith("This folder has more than is shown here: 0 folders, 10,000 files, 0 B.")
    response = folder.response("format=json")
    assert fields(response)["X-Truncated"] == "true"
    assert len(json.loads(content(response))) == folders.MOST_SHOWN
    os.unlink(folder.path / "7")
    assert folder.page().summary == "0 folders, 10,000 files, 0 B"


def test_no_more_is_looked_at_than_the_most(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST_READ", 20)
    for number in range(21):
        folder.write(f".{number}")
    folder.refused = is_refused
    assert folder.page().summary.startswith("This folder has more than is shown here")
    os.unlink(folder.path / ".7")
    assert folder.page().summary == "This folder is empty."
