"""A site's own pages for errors: which answer carries one, and what it says."""

from contextlib import ExitStack
from pathlib import Path
from select import select
from threading import Event
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from aiowsgi.http.messages import Response
from aiowsgi.site.errorpages import STATUSES
from aiowsgi.site.router import Lookup
from tests.server import RunningServer
from tests.static_site import DATE, LARGE, Site, content, fields, no_descriptor_left
from tests.thread_server import Peer, get, serving
from tests.wire_client import WAIT


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "root").mkdir()
    site = Site(tmp_path / "root")
    for status in STATUSES:
        site.write(f"{status}.html", f"own {status}".encode())
    return site


def test_a_page_is_answered_with_the_status_of_the_error(site: Site) -> None:
    response = site.get("/none")
    assert (response.status, content(response)) == (404, b"own 404")
    assert isinstance(site.start("/none"), Response)
    assert isinstance(site.start("/.env"), Response)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file whose reading fails, as Linux has it")
def test_a_file_that_cannot_be_read_is_answered_with_the_page_of_500(tmp_path: Path) -> None:
    site = Site(tmp_path, follow_links=True)
    site.write("500.html", b"own 500")
    (tmp_path / "mem").symlink_to("/proc/self/mem")
    response = site.get("/mem")
    assert (response.status, content(response)) == (500, b"own 500")


def test_with_no_descriptor_left_the_page_of_503_comes_from_memory(site: Site) -> None:
    site.static.error_pages.load()
    site.write("a.bin", LARGE)
    with no_descriptor_left():
        response = site.get("/a.bin")
        assert (response.status, content(response)) == (503, b"own 503")
        assert fields(response)["Retry-After"] == "1"
    site.now = 1.0
    assert site.get("/a.bin").status == 200


def test_a_page_says_nothing_for_the_next_time(site: Site) -> None:
    response = site.get("/none", if_none_match="*", if_modified_since=DATE, range="bytes=0-0")
    assert response.status == 404
    assert fields(response) == {
        "Content-Type": "text/html; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    assert content(response) == b"own 404"


def test_the_rules_for_fields_hold_for_it_but_for_caches(tmp_path: Path) -> None:
    rules = (("*", "X-Frame-Options", "DENY"), ("*", "cache-control", "max-age=60"), ("*", "Expires", DATE))
    site = Site(tmp_path, headers=rules)
    site.write("404.html")
    said = fields(site.get("/none"))
    assert said["X-Frame-Options"] == "DENY"
    assert said["Cache-Control"] == "no-store"
    assert "Expires" not in said
    assert fields(site.get("/404.html"))["cache-control"] == "max-age=60"


def test_a_page_has_no_variant(site: Site) -> None:
    site.write("404.html.gz", b"gzip")
    response = site.get("/none", accept_encoding="gzip")
    assert content(response) == b"own 404"
    assert "Content-Encoding" not in fields(response)


def test_pages_of_other_statuses_are_only_files(site: Site) -> None:
    site.write("405.html")
    site.write("416.html")
    site.write("a.txt")
    assert site.error("/a.txt", "POST").status == 405
    assert site.error("/a.txt", range="bytes=9-").status == 416


# For others than the files


def test_pages_are_in_memory_once_they_are_loaded(site: Site) -> None:
    pages = site.static.error_pages
    assert pages.response(404) is None
    pages.load()
    for status in STATUSES:
        response = pages.response(status)
        assert response is not None
        assert (response.status, response.content) == (status, f"own {status}".encode())
        assert ("Retry-After" in fields(response)) is (status == 503)
    assert pages.response(502) is None
    assert isinstance(site.start("/none"), Lookup)  # the first error of the root's own looks again


def test_what_the_root_finds_later_is_known_to_all(site: Site) -> None:
    pages = site.static.error_pages
    pages.load()
    site.write("404.html", b"new")
    site.get("/none")
    response = pages.response(404)
    assert response is not None
    assert response.content == b"new"
    (site.root / "404.html").unlink()
    site.now = 1.0
    assert site.error("/none").status == 404
    assert pages.response(404) is None


def test_a_page_that_is_not_in_memory_is_not_given_away(site: Site) -> None:
    site.write("404.html", LARGE)
    site.static.error_pages.load()
    assert site.static.error_pages.response(404) is None
    assert content(site.get("/none")) == LARGE


def test_a_late_look_does_not_undo_a_newer_one(site: Site) -> None:
    late = site.start("/none")
    assert isinstance(late, Lookup)
    late.run()
    site.write("404.html", b"newer")
    site.now = 0.5
    assert content(site.get("/another")) == b"newer"
    answer = late.answer()
    assert isinstance(answer, Response)
    assert content(answer) == b"newer"


# Errors that are not the root's own.


def failing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    raise ValueError("SECRET")


def test_an_application_that_fails_has_the_page_of_the_root(site: Site) -> None:
    with serving(failing, html=str(site.root)) as server, Peer(server.server_address) as peer:
        answer = peer.get("/page")
        assert (answer.status, answer.content) == (500, b"own 500")


def test_whoever_debugs_sees_the_traceback_instead(site: Site) -> None:
    with serving(failing, html=str(site.root), debug=True) as server, Peer(server.server_address) as peer:
        answer = peer.get("/page")
        assert answer.status == 500
        assert b"SECRET" in answer.content


def test_where_no_mount_answers_the_page_is_the_roots(site: Site) -> None:
    with (
        RunningServer("--html", str(site.root), "--static", f"/files={site.root}", "--try-files") as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        answer = peer.get("/files/none")
        assert (answer.status, answer.content) == (404, b"own 404")


def test_a_full_queue_has_the_page_of_503(site: Site) -> None:
    hold = Event()

    def waiting(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        hold.wait(WAIT)
        start_response("200 OK", [])
        return [b"done"]

    with serving(waiting, html=str(site.root), threads=1, max_queue=1) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.server_address)) for _ in range(4)]
        for peer in peers:
            peer.send(get("/page"))
        # One is being answered and one waits, so two at least are refused.
        refused = select([peer.socket for peer in peers], [], [], WAIT)[0][0]
        answer = next(peer for peer in peers if peer.socket is refused).answer()
        assert (answer.status, answer.content, answer.fields["retry-after"]) == (503, b"own 503", "1")
        hold.set()
