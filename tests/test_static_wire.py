"""Static files on the sockets of a running server: what clients may get wrong, and what a disk may refuse."""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.server import PATIENCE, RunningServer
from tests.static_site import DATE, JANUARY_2020, LARGE, no_descriptor_left
from tests.thread_server import LOOPS, Peer, get, serving
from tests.users import another_user
from tests.wire_client import echo

SMALL = b"0123456789"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below tmp_path, which only its owner may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    for name, body in (
        ("small.txt", SMALL),
        ("small.txt.gz", b"gzip of it"[:9]),
        ("large.bin", LARGE),
        ("new.bin", LARGE),
        ("404.html", b"own 404"),
    ):
        (folder / name).write_bytes(body)
        os.utime(folder / name, (JANUARY_2020, JANUARY_2020))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=LOOPS)
def peer(folder: Path, request: pytest.FixtureRequest) -> Iterator[Peer]:
    static = [f"/files={folder}"]
    with serving(echo, static=static, loop=request.param) as server, Peer(server.server_address) as peer:
        yield peer


@pytest.mark.parametrize(
    "value",
    [
        "bytes=5-2",
        "bytes=a-b",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=0-0;1-1",
        "bytes=--1",
        "bytes=0x0-0x1",
        "lines=0-1",
        "bytes=" + "0-0," * 1000,
        "bytes=" + ",".join(f"{number}-{number}" for number in range(0, 2000, 2)),
        "bytes=" + "9" * 5000 + "-",
    ],
    ids=lambda value: value[:20],
)
def test_a_range_that_is_none_or_of_very_many_is_ignored(peer: Peer, value: str) -> None:
    for path, body in (("/files/small.txt", SMALL), ("/files/large.bin", LARGE)):
        for _ in range(2):  # cold, and known
            peer.send(get(path, f"Range: {value}"))
            answer = peer.answer()
            assert (answer.status, answer.content) == (200, body)


@pytest.mark.parametrize(
    "value", ["bytes=200000-", "bytes=200000-200001", "bytes=-0", "bytes=18446744073709551615-"]
)
def test_a_range_that_cannot_be_satisfied(peer: Peer, value: str) -> None:
    for path, body in (("/files/small.txt", SMALL), ("/files/large.bin", LARGE)):
        for _ in range(2):
            peer.send(get(path, f"Range: {value}"))
            answer = peer.answer()
            assert answer.status == 416
            assert answer.fields["content-range"] == f"bytes */{len(body)}"
    assert peer.get("/files/small.txt").content == SMALL


@pytest.mark.parametrize(
    "line",
    [
        "If-None-Match: W/",
        'If-None-Match: "unclosed',
        "If-None-Match: " + '"x",' * 1000,
        "If-Modified-Since: yesterday",
        "If-Modified-Since: Fri, 99 Foo 2020 99:99:99 GMT",
        "If-Unmodified-Since: 0",
        "If-Range: nonsense",
        "Accept-Encoding: " + "gzip;q=0.5, " * 1000,
        "Accept-Encoding: gzip;q=1;q=1;;;",
        "Accept-Encoding: \xff",
    ],
    ids=lambda line: line[:30],
)
def test_fields_that_mean_nothing_are_ignored(peer: Peer, line: str) -> None:
    for path, body in (("/files/small.txt", SMALL), ("/files/large.bin", LARGE)):
        peer.send(get(path, line))
        answer = peer.answer()
        assert (answer.status, answer.content) == (200, body)
        assert "content-encoding" not in answer.fields


def test_a_variant_is_sent_to_who_takes_it(peer: Peer) -> None:
    for lines, content in (((), SMALL), (("Accept-Encoding: gzip, br",), b"gzip of i")):
        for _ in range(2):
            peer.send(get("/files/small.txt", *lines))
            answer = peer.answer()
            assert answer.content == content
            assert answer.fields["vary"] == "Accept-Encoding"
    assert peer.get("/files/small.txt.gz").status == 404
    peer.send(get("/files/small.txt", "Accept-Encoding: *;q=0"))
    answer = peer.answer()
    assert answer.status == 406
    assert answer.fields["vary"] == "Accept-Encoding"
    peer.send(get("/files/small.txt", "Accept-Encoding: gzip", f"If-Modified-Since: {DATE}"))
    assert peer.answer().status == 304


def test_what_is_missing_is_answered_with_the_folders_own_page(peer: Peer) -> None:
    for path in ("/files/none", "/files/.env", "/files/none"):
        peer.send(get(path, "Range: bytes=0-0", "If-None-Match: *"))
        answer = peer.answer()
        assert (answer.status, answer.content) == (404, b"own 404")
        assert answer.fields["cache-control"] == "no-store"


def test_a_file_that_may_not_be_read_is_forbidden_and_logged(
    folder: Path, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "new.bin").chmod(0)
    with another_user():
        for _ in range(2):
            assert peer.get("/files/new.bin").status == 403
        assert peer.get("/files/small.txt").status == 200
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "/new.bin" in warnings[0].getMessage()
    assert "Permission denied" in warnings[0].getMessage()


def test_a_full_table_of_open_files_is_503_and_serving_goes_on(peer: Peer) -> None:
    assert peer.get("/files/small.txt").content == SMALL
    with no_descriptor_left():
        for _ in range(2):
            answer = peer.get("/files/new.bin")
            assert answer.status == 503
            assert answer.fields["retry-after"] == "1"
        assert peer.get("/files/small.txt").content == SMALL
    end = monotonic() + PATIENCE
    while (answer := peer.get("/files/new.bin")).status == 503:
        assert monotonic() < end  # it is believed for a second
    assert answer.content == LARGE


def test_the_settings_of_files_reach_them(tmp_path: Path) -> None:
    (tmp_path / "dist" / "sub").mkdir(parents=True)
    for name in ("index.html", "app.4f2a9c81d3e5.js", "notes.md", "private.sql", "sub/a.txt"):
        (tmp_path / "dist" / name).write_text(name)
    (tmp_path / "aiowsgi.toml").write_text(
        'refused = ["*.sql"]\n'
        '[media_types]\nmd = "text/x-own"\n'
        '[headers]\n"*.html" = {Cache-Control = "max-age=5", X-Frame-Options = "DENY"}\n'
    )
    arguments = (
        "--html",
        "dist",
        "--spa",
        "--autoindex",
        "--no-nosniff",
        "--charset",
        "gbk",
        "--no-try-files",
    )
    with RunningServer(*arguments, cwd=tmp_path) as server, Peer(("127.0.0.1", server.port)) as peer:
        page = peer.get("/users/7")
        assert (page.status, page.content) == (200, b"index.html")
        assert page.fields["cache-control"] == "max-age=5"
        assert page.fields["x-frame-options"] == "DENY"
        assert page.fields["content-type"] == "text/html; charset=gbk"
        assert "x-content-type-options" not in page.fields
        assert peer.get("/app.4f2a9c81d3e5.js").fields["cache-control"] == "max-age=31536000, immutable"
        assert peer.get("/notes.md").fields["content-type"] == "text/x-own; charset=gbk"
        assert peer.get("/private.sql").status == 404
        assert b"a.txt" in peer.get("/sub/").content
        assert peer.get("/sub").fields["location"] == "/sub/"
