"""Files that an application names in X-Accel-Redirect or X-Sendfile, asked for over TCP."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from aiowsgi.site.files import SMALL
from tests.test_compression import reader
from tests.thread_server import Answer, Peer, get, serving

LARGE = bytes(range(256)) * (SMALL // 64)
JANUARY_2020 = 1577836800
DATE = "Wed, 01 Jan 2020 00:00:00 GMT"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder that applications may name files of, beside one they may not."""
    root = tmp_path / "files"
    (root / "sub").mkdir(parents=True)
    for name, content in {
        "a.pdf": b"a paper",
        "large": LARGE,
        "sub/page.html": b"<p>page",
        "sub/index.html": b"<p>index",
        ".hidden": b"hidden",
        "settings.py": b"code",
        "data.csv": b"1,2",
        "data.csv.gz": b"not really",
        "ü b+c?d#e": b"odd",
        "100%.txt": b"per cent",
        "100%41.txt": b"raw",
    }.items():
        (root / name).write_bytes(content)
        os.utime(root / name, (JANUARY_2020, JANUARY_2020))
    (tmp_path / "files-too").mkdir()
    (tmp_path / "files-too" / "secret").write_bytes(b"secret")
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "outside").symlink_to(tmp_path / "files-too")
    (root / "in").symlink_to(root / "a.pdf")
    os.mkfifo(root / "pipe")
    return root


class Naming:
    """An application that names ``value`` in the field ``name``; the test changes its answer."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.fields: list[tuple[str, str]] = []
        self.body: Any = [b"the application's own"]
        self.written: list[bytes] = []
        self.closed = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response(self.status, self.fields)
        for piece in self.written:
            write(piece)
        result: Iterable[bytes] = self.body
        return result


class Client:
    def __init__(self, peer: Peer, application: Naming) -> None:
        self.peer = peer
        self.application = application

    def ask(self, name: str, value: str, *lines: str, method: str = "GET", **fields: str) -> Answer:
        """Have the application name a file, with more ``fields``, in a request with more ``lines``."""
        more = [(other.replace("_", "-"), text) for other, text in fields.items()]
        self.application.fields = [*more, (name, value)]
        self.peer.send(get("/page", *lines).replace(b"GET", method.encode(), 1))
        answer = self.peer.answer(method)
        assert "x-accel-redirect" not in answer.fields
        assert "x-sendfile" not in answer.fields
        return answer

    def redirect(self, uri: str, *lines: str, method: str = "GET", **fields: str) -> Answer:
        return self.ask("X-Accel-Redirect", uri, *lines, method=method, **fields)


@pytest.fixture
def client(root: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Client]:
    caplog.set_level(logging.ERROR, "aiowsgi")
    application = Naming()
    # Compression is there to show that it leaves these answers alone.
    with (
        serving(application, x_sendfile=[f"/protected={root}"], compress=True) as server,
        Peer(server.server_address) as peer,
    ):
        yield Client(peer, application)


# Which file


@pytest.mark.parametrize(
    ("uri", "content"),
    [
        ("/protected/a.pdf", b"a paper"),
        ("/protected/a%2Epdf", b"a paper"),
        ("/protected/a.pdf?version=2&x=/../secret", b"a paper"),
        ("/protected/large", LARGE),
        ("/protected/sub/page.html", b"<p>page"),
        ("/protected//a.pdf", b"a paper"),
        ("/protected/.hidden", b"hidden"),
        ("/protected/settings.py", b"code"),
        ("/protected/data.csv", b"1,2"),
        ("/protected/data.csv.gz", b"not really"),
        ("/protected/" + quote("ü b+c?d#e"), b"odd"),
        ("/protected/100%25.txt", b"per cent"),
        ("/protected/100%.txt", b"per cent"),
        ("/protected/in", b"a paper"),
    ],
)
def test_a_uri_names_a_file(uri: str, content: bytes, client: Client) -> None:
    answer = client.redirect(uri)
    assert (answer.status, answer.content) == (200, content)
    assert answer.fields["content-length"] == str(len(content))


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/",
        "/protected",
        "/protected/",
        "/protected/sub",
        "/protected/sub/",
        "/protected/nothing",
        "/protected/a.pdf/",
        "/protected/a.pdf/more",
        "/protected/pipe",
        "/protected/out",
        "/protected/outside/secret",
        "/protected/../secret",
        "/protected/sub/../a.pdf",
        "/protected/./a.pdf",
        "/protected/..",
        "/protected/%2e%2e/secret",
        "/protected/%2e%2e%2fsecret",
        "/protected/..%2f..%2f..%2f..%2fetc/passwd",
        "/protected/sub%2f..%2f..%2fsecret",
        "/protected/%00",
        "/protected/a.pdf%00.txt",
        "/protected-too/a.pdf",
        "/protected%2Ftoo/../../secret",
        "protected/a.pdf",
        "//protected/a.pdf",
        "http://localhost/protected/a.pdf",
        "/a.pdf",
        "/etc/passwd",
        "/protected//etc/passwd",
        "/protected/" + "x" * 5000,
        "/protected/" + "x/" * 3000,
    ],
)
def test_what_is_no_file_is_404(uri: str, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    answer = client.redirect(uri)
    assert answer.status == 404
    assert b"secret" not in answer.content
    assert b"the application's own" not in answer.content
    told = caplog.messages[-1]
    assert told.startswith("GET /page: X-Accel-Redirect names no file")
    assert len(told) < 1000


def test_an_absolute_path_names_a_file(client: Client, root: Path) -> None:
    for name, content in {
        "a.pdf": b"a paper",
        "large": LARGE,
        "100%.txt": b"per cent",
        "100%41.txt": b"raw",  # not 100A.txt
        "sub%2Fpage.html": b"<p>page",
        quote("ü b+c?d#e"): b"odd",
        "ü b+c?d#e".encode().decode("latin-1"): b"odd",
    }.items():
        answer = client.ask("X-Sendfile", f"{root}/{name}")
        assert (answer.status, answer.content) == (200, content), name


@pytest.mark.parametrize(
    "path",
    [
        "a.pdf",
        "/protected/a.pdf",
        "/etc/passwd",
        "{root}",
        "{root}/",
        "{root}/sub",
        "{root}/nothing",
        "{root}/out",
        "{root}/outside/secret",
        "{root}/../secret",
        "{root}/%2e%2e/secret",
        "{root}%2f..%2fsecret",
        "{root}-too/secret",
        "{root}/../files/a.pdf",
        "{root}/pipe",
    ],
)
def test_other_paths_are_404(path: str, client: Client, root: Path) -> None:
    answer = client.ask("X-Sendfile", path.format(root=root))
    assert answer.status == 404
    assert b"secret" not in answer.content


def test_the_folder_may_be_a_link_that_moves(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(root)
    application = Naming()
    with (
        serving(application, x_sendfile=[f"/protected={link}"]) as server,
        Peer(server.server_address) as peer,
    ):
        client = Client(peer, application)
        for path in f"{link}/a.pdf", f"{root}/a.pdf":
            assert client.ask("X-Sendfile", path).content == b"a paper"
        (tmp_path / "next").mkdir()
        (tmp_path / "next" / "a.pdf").write_bytes(b"the next release")
        link.unlink()
        link.symlink_to(tmp_path / "next")
        assert client.redirect("/protected/a.pdf").content == b"the next release"
        assert client.ask("X-Sendfile", f"{root}/a.pdf").status == 404


def test_the_longest_prefix_and_each_folder_are_asked(root: Path) -> None:
    application = Naming()
    folders = [f"/p={root}", f"/p/deep={root}/sub", f"/={root}/sub"]
    with serving(application, x_sendfile=folders) as server, Peer(server.server_address) as peer:
        client = Client(peer, application)
        assert client.redirect("/p/deep/page.html").content == b"<p>page"
        assert client.redirect("/p/a.pdf").content == b"a paper"
        assert client.redirect("/page.html").content == b"<p>page"
        assert client.ask("X-Sendfile", f"{root}/sub/page.html").content == b"<p>page"


def test_a_file_that_may_not_be_read_is_403(client: Client, root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (root / "a.pdf").chmod(0)
    assert client.redirect("/protected/a.pdf").status == 403


# With which fields


def test_the_fields_of_the_application_are_kept(client: Client) -> None:
    client.application.body = []
    answer = client.redirect(
        "/protected/a.pdf",
        Content_Type="application/x-paper",
        Content_Disposition='attachment; filename="b.pdf"',
        Set_Cookie="a=b",
        Cache_Control="private",
        Expires="0",
        X_Other="kept",
        Content_Length="0",
        ETag='"the application\'s"',
        Last_Modified="Wed, 01 Jan 1997 00:00:00 GMT",
        Content_Range="bytes 0-1/2",
        Connection="keep-alive",
        Date=DATE,
    )
    assert answer.content == b"a paper"
    fields = answer.fields
    assert fields["content-type"] == "application/x-paper"
    assert fields["content-disposition"] == 'attachment; filename="b.pdf"'
    assert (fields["set-cookie"], fields["cache-control"], fields["expires"]) == ("a=b", "private", "0")
    assert (fields["x-other"], fields["date"]) == ("kept", DATE)
    # What tells of the content is the file's.
    assert fields["content-length"] == "7"
    assert fields["last-modified"] == DATE
    assert "application" not in fields["etag"]
    assert fields["accept-ranges"] == "bytes"
    assert "content-range" not in fields


def test_a_media_type_that_is_not_given_is_that_of_the_name(client: Client) -> None:
    answer = client.redirect("/protected/sub/page.html")
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert answer.fields["x-content-type-options"] == "nosniff"


def test_a_file_is_not_compressed(client: Client, root: Path) -> None:
    (root / "long.txt").write_bytes(b"text" * 1000)
    answer = client.redirect("/protected/long.txt", "Accept-Encoding: gzip", Content_Type="text/plain")
    assert answer.content == b"text" * 1000
    assert "vary" not in answer.fields
    client.application.body = [b"text" * 1000]
    answer = client.ask("X-Other", "x", "Accept-Encoding: gzip", Content_Type="text/plain")
    assert reader("gzip")(answer.content) == b"text" * 1000


# Preconditions and ranges


def test_a_part_is_answered_with_it(client: Client) -> None:
    answer = client.redirect(
        "/protected/large", "Range: bytes=10-19", Content_Type="text/x", Set_Cookie="a=b"
    )
    assert (answer.status, answer.content) == (206, LARGE[10:20])
    assert answer.fields["content-range"] == f"bytes 10-19/{len(LARGE)}"
    assert answer.fields["set-cookie"] == "a=b"
    several = client.redirect("/protected/large", "Range: bytes=0-1,5-6", Content_Type="text/x")
    assert several.status == 206
    assert several.fields["content-type"].startswith("multipart/byteranges; boundary=")
    assert several.content.count(b"Content-Type: text/x\r\n") == 2
    small = client.redirect("/protected/a.pdf", "Range: bytes=-5,0-0")
    assert b"paper" in small.content
    beyond = client.redirect("/protected/a.pdf", "Range: bytes=7-")
    assert (beyond.status, beyond.fields["content-range"]) == (416, "bytes */7")


def test_the_validators_are_those_of_the_file(client: Client) -> None:
    own = {"ETag": '"own"', "Cache_Control": "private", "Content_Type": "text/x", "Set_Cookie": "a=b"}
    etag = client.redirect("/protected/a.pdf", **own).fields["etag"]
    known = client.redirect("/protected/a.pdf", f"If-None-Match: {etag}", **own)
    assert (known.status, known.content) == (304, b"")
    assert (known.fields["etag"], known.fields["cache-control"]) == (etag, "private")
    assert "content-type" not in known.fields
    assert client.redirect("/protected/a.pdf", 'If-None-Match: "own"', **own).status == 200
    assert client.redirect("/protected/a.pdf", 'If-Match: "own"', **own).status == 412
    assert client.redirect("/protected/a.pdf", f"If-Modified-Since: {DATE}").status == 304
    for tag, status in (etag, 206), ('"own"', 200):
        answer = client.redirect("/protected/a.pdf", "Range: bytes=0-0", f"If-Range: {tag}", **own)
        assert answer.status == status


def test_head_has_the_fields_of_get(client: Client) -> None:
    for name in "a.pdf", "large":
        whole = client.redirect(f"/protected/{name}")
        head = client.redirect(f"/protected/{name}", method="HEAD")
        assert head.content == b""
        assert {**head.fields, "date": ""} == {**whole.fields, "date": ""}


def test_another_method_has_no_preconditions_and_no_ranges(client: Client) -> None:
    etag = client.redirect("/protected/a.pdf").fields["etag"]
    for line in f"If-None-Match: {etag}", 'If-Match: "x"', "Range: bytes=0-0":
        answer = client.redirect("/protected/a.pdf", line, method="POST")
        assert (answer.status, answer.content) == (200, b"a paper")


# What becomes of the application's answer


def generator(pieces: list[bytes], naming: Naming) -> Iterator[bytes]:
    try:
        yield from pieces
    finally:
        naming.closed += 1


@pytest.mark.parametrize("pieces", [[], [b""], [b"x"], [b"x", b"y", b"z"]])
@pytest.mark.parametrize("name", ["a.pdf", "large", "nothing"])
def test_its_content_is_dropped_and_closed(
    pieces: list[bytes], name: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for method in "GET", "HEAD":
        client.application.body = generator(pieces, client.application)
        answer = client.redirect(f"/protected/{name}", method=method, Content_Length="1")
        assert answer.status == (404 if name == "nothing" else 200)
        client.redirect("/protected/a.pdf")  # behind its end
    assert client.application.closed == 2
    assert len(caplog.messages) == (2 if name == "nothing" else 0)


def test_what_it_writes_is_dropped_too(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.application.written = [b"written", b"more"]
    assert client.redirect("/protected/a.pdf").content == b"a paper"
    assert client.redirect("/protected/large").content == LARGE
    assert caplog.messages == []


def test_only_a_200_names_a_file(client: Client) -> None:
    for status in "404 Not Found", "201 Created", "302 Found":
        client.application.status = status
        answer = client.redirect("/protected/a.pdf")
        assert (answer.status, answer.content) == (int(status[:3]), b"the application's own")


def test_the_first_field_counts_and_none_is_sent(client: Client, root: Path) -> None:
    answer = client.ask("x-sendfile", f"{root}/a.pdf", X_Accel_Redirect="/protected/large")
    assert answer.content == LARGE


def test_the_fields_are_like_others_without_the_setting() -> None:
    application = Naming()
    with serving(application) as server, Peer(server.server_address) as peer:
        application.fields = [("X-Accel-Redirect", "/protected/a.pdf"), ("X-Sendfile", "/etc/passwd")]
        answer = peer.get("/page")
        assert answer.content == b"the application's own"
        assert answer.fields["x-accel-redirect"] == "/protected/a.pdf"
        assert answer.fields["x-sendfile"] == "/etc/passwd"


def test_a_line_break_in_a_field_is_500(client: Client) -> None:
    for value in "/protected/a.pdf\r\nSet-Cookie: a=b", "/protected/a.pdf\0", "/protected/\u20ac":
        answer = client.redirect(value)
        assert answer.status == 500
        assert "set-cookie" not in answer.fields


def test_slow_readers_hold_no_thread(root: Path, tmp_path: Path) -> None:
    with open(root / "huge", "wb") as file:
        file.truncate(16 << 20)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("X-Accel-Redirect", "/p" + environ["PATH_INFO"])])
        return []

    typed: WSGIApplication = application
    with serving(typed, threads=1, x_sendfile=[f"/p={root}"]) as server:
        slow = [Peer(server.server_address, 4096) for _ in range(3)]
        for peer in slow:
            peer.send(get("/huge"))
            peer.until(b"\r\n\r\n")
        with Peer(server.server_address) as quick:
            assert quick.get("/a.pdf").content == b"a paper"
        slow[0].reset()
        for peer in slow[1:]:
            assert len(peer.read(16 << 20)) == 16 << 20
            peer.socket.close()
