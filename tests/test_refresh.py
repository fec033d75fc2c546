"""What ends with the tag that has an open page refresh itself, and the events that its script waits for."""

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from aiowsgi.config import Limits
from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import FileRange, Parts, Request, Response
from aiowsgi.http.parser import Parser
from aiowsgi.site.development import DevelopmentRouter, make_pages, shows_a_page
from aiowsgi.site.refresh import Refresh
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.compression import codings
from aiowsgi.wsgi.environ import FileWrapper
from aiowsgi.wsgi.rewriting import MakeCall, RewritingCall, Rules
from tests.calls import Answer, Body, ask, call
from tests.turned_loop import TurnedLoop

HTML = ("Content-Type", "text/html; charset=utf-8")
BROWSER = "Accept: text/html,*/*;q=0.8"
TAG = b'\n<script src="/.aiowsgi/reload.js?7" async></script>\n'


def head(*lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    return "".join(f"{line}\r\n" for line in (f"{method} / HTTP/{version}", "Host: a", *lines, "")).encode()


def request(*lines: str, method: str = "GET") -> Request:
    found = Parser(Limits()).head(head(*lines, method=method))
    assert found is not None
    return found[0]


def answering(body: Any, *fields: tuple[str, str], status: str = "200 OK") -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, list(fields))
        result: Iterable[bytes] = body
        return result

    return application


def asked(
    application: WSGIApplication, *lines: str, make_call: MakeCall = Call, generation: int = 7, **how: str
) -> Answer:
    refresh = Refresh(lambda: generation)
    answer = ask(
        application, head(*(lines or (BROWSER,)), **how), make_call=partial(make_pages, make_call, refresh)
    )
    assert answer.whole
    return answer


# What is a page.


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        ([BROWSER], True),
        (["Sec-Fetch-Dest: document"], True),
        (["Sec-Fetch-Dest: iframe", "Accept: text/html"], True),
        ([], False),
        (["Accept: */*"], False),  # curl
        (["Accept: image/*"], False),
        (["Sec-Fetch-Dest: empty", BROWSER], False),  # fetch(), htmx
        (["X-Requested-With: XMLHttpRequest", BROWSER], False),
    ],
)
def test_what_a_browser_shows_by_itself_is_a_page(lines: list[str], shown: bool) -> None:
    assert shows_a_page(request(*lines)) is shown
    assert shows_a_page(request(*lines, method="HEAD")) is shown
    assert not shows_a_page(request(*lines, method="POST"))


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "500 Internal Server Error", "503 Busy"])
@pytest.mark.parametrize("body", [[b"<p>", b"a"], (b"<p>a",), Body(b"<p>", b"", b"a")])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_page_ends_with_the_tag(status: str, body: Any, version: str) -> None:
    answer = asked(answering(body, HTML, status=status), version=version)
    assert answer.content == b"<p>a" + TAG


def test_pieces_come_as_they_are_given() -> None:
    answer = asked(answering(Body(b"a", b"b"), HTML))
    assert len(answer.pieces) == 4, "two, the tag and the end"
    assert answer.fields["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("body", [[b"abc"], Body(b"a", b"bc")])
def test_a_length_that_was_declared_is_that_of_both(body: Any) -> None:
    application = answering(body, HTML, ("Content-Length", "3"))
    answer = asked(application)
    assert answer.content == b"abc" + TAG
    length = str(len(answer.content))
    assert answer.fields["content-length"] == length
    assert asked(application, method="HEAD").fields["content-length"] == length


def test_a_head_that_is_answered_with_all_of_it_has_the_same_length() -> None:
    application = answering([b"abc"], HTML)
    assert asked(application, method="HEAD").fields["content-length"] == str(3 + len(TAG))
    assert "content-length" not in asked(answering([], HTML), method="HEAD").fields


def test_what_is_written_and_who_starts_late() -> None:
    def writing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [HTML])(b"written ")
        return [b"returned"]

    def late(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [HTML])
        yield b"late"

    assert asked(writing).content == b"written returned" + TAG
    assert asked(late).content == b"late" + TAG


def test_an_error_page_in_the_place_of_a_page_has_one_tag() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [HTML])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oh", [HTML], sys.exc_info())
        return [b"error"]

    assert asked(application).content == b"error" + TAG


def test_a_file_is_a_page_too(tmp_path: Any) -> None:
    (tmp_path / "a.html").write_bytes(b"x" * 100_000)
    with open(tmp_path / "a.html", "rb") as file:
        answer = asked(answering(FileWrapper(file), HTML))
    assert answer.content == b"x" * 100_000 + TAG


def test_the_result_is_closed_once() -> None:
    body = Body(b"a", b"b")
    asked(answering(body, HTML))
    assert body.closed == 1


def test_it_is_not_kept_nor_asked_for_again_by_its_validators() -> None:
    fields = [("ETag", '"1"'), ("Last-Modified", "now"), ("Cache-Control", "max-age=60"), ("X-A", "b")]
    answer = asked(answering([b"a"], HTML, *fields))
    assert answer.fields["cache-control"] == "no-store"
    assert answer.fields.keys() & {"etag", "last-modified", "x-a"} == {"x-a"}


def test_a_policy_with_a_nonce_lets_the_tag_have_it() -> None:
    policy = ("Content-Security-Policy", "default-src 'self'; script-src 'nonce-abc123==' 'strict-dynamic'")
    assert b' nonce="abc123=="></script>' in asked(answering([b"a"], HTML, policy)).content


def test_below_a_prefix_that_a_proxy_took_off_the_script_is_there() -> None:
    tagged = Refresh(lambda: 7).tag(request(), [])
    assert tagged == TAG
    behind = request()
    behind.fields["HTTP_X_FORWARDED_PREFIX"] = '/app"'
    assert b'src="/app&quot;/.aiowsgi/reload.js?7"' in Refresh(lambda: 7).tag(behind, [])


def test_compression_is_of_the_page_with_its_tag() -> None:
    make_call: MakeCall = partial(RewritingCall, Rules(codings()))
    answer = asked(answering([b"a" * 5000], HTML), BROWSER, make_call=make_call)
    assert answer.content.endswith(TAG)


# What is none.


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([("Content-Type", "application/json")], "200 OK"),
        ([], "200 OK"),
        ([HTML, ("Content-Encoding", "gzip")], "200 OK"),
        ([HTML, ("Content-Range", "bytes 0-2/9")], "206 Partial Content"),
        ([HTML, ("Content-Digest", "sha-256=:x:")], "200 OK"),
        ([HTML], "302 Found"),
        ([("Content-Type", "text/html; charset=UTF-16")], "200 OK"),
    ],
)
@pytest.mark.parametrize("body", [[b"abc"], Body(b"abc")])
def test_all_else_is_as_it_was(fields: list[tuple[str, str]], status: str, body: Any) -> None:
    answer = asked(answering(body, *fields, ("ETag", '"1"'), status=status))
    assert answer.content == b"abc"
    assert answer.fields["etag"] == '"1"'


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_what_has_no_content_gets_none(status: str) -> None:
    answer = asked(answering([], HTML, status=status))
    assert answer.content == b""


def test_what_is_asked_for_by_a_script_or_by_curl_is_as_it_was() -> None:
    assert asked(answering([b"a"], HTML), "Accept: */*").content == b"a"
    assert asked(answering([b"a"], HTML), method="POST").content == b"a"


@pytest.mark.parametrize("body", [None, 7, ["text"]])
def test_mistakes_of_an_application_are_told_of_as_ever(body: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert (
        ask(
            answering(body, HTML), head(BROWSER), make_call=partial(make_pages, Call, Refresh(lambda: 7))
        ).status
        == 500
    )
    assert "PEP 3333 asks for" in caplog.text


def test_fields_that_are_none_are_told_of_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    for fields in ([("A",)], [b"x"], [("Content-Type", 7)]):
        application = answering([b""], *fields)
        assert (
            ask(application, head(BROWSER), make_call=partial(make_pages, Call, Refresh(lambda: 7))).status
            == 500
        )
    assert caplog.text.count("PEP 3333 asks for") >= 3


# Ready answers.


class Ready:
    def __init__(self, response: Response) -> None:
        self.response = response

    def handle(self, request: Request, script_name: str, path_info: str) -> Response:
        return self.response


def routed(response: Response, *lines: str) -> Response:
    asking = request(*lines)
    router = DevelopmentRouter([("", Ready(response))], None, Refresh(lambda: 7))
    answer = router.first_answer(asking, router.candidates(asking.path))
    assert isinstance(answer, Response)
    return answer


def test_a_file_that_is_served_ends_with_the_tag_too() -> None:
    fields = field_lines([HTML, ("ETag", '"1"'), ("Accept-Ranges", "bytes")])
    small = routed(Response(200, fields, b"abc"), BROWSER)
    assert small.content == b"abc" + TAG
    assert small.fields == field_lines([HTML, ("Cache-Control", "no-store")])
    file = FileRange(open(__file__), 0, 100_000)
    large = routed(Response(200, fields, file), BROWSER)
    assert isinstance(large.content, Parts)
    assert large.content.pieces == [file, TAG]
    file.file.close()  # type: ignore[attr-defined]
    assert routed(Response(200, fields, b"abc")).content == b"abc"


def test_an_error_is_a_page_too() -> None:
    asking = request(BROWSER)
    router = DevelopmentRouter([], None, Refresh(lambda: 7))
    answer = router.first_answer(asking, router.candidates("/none"))
    assert isinstance(answer, Response)
    assert isinstance(answer.content, bytes)
    assert answer.status == 404
    assert answer.content.endswith(TAG)


def test_a_page_is_asked_for_whole_and_as_it_is() -> None:
    asking = request(
        BROWSER, 'If-None-Match: "1"', "If-Modified-Since: now", "Range: bytes=0-1", "Accept-Encoding: br"
    )
    router = DevelopmentRouter([], None, Refresh(lambda: 7))
    router.first_answer(asking, router.candidates("/"))
    assert asking.fields.keys() == {"HTTP_HOST", "HTTP_ACCEPT"}
    other = request('If-None-Match: "1"')
    router.first_answer(other, router.candidates("/"))
    assert "HTTP_IF_NONE_MATCH" in other.fields


# Events.


class Clock:
    generation = 7


def make(refresh: Refresh, *ignored: Any) -> Call:
    answer = refresh.handle(request(), "/.aiowsgi", "/reload")
    assert isinstance(answer, Call)
    return answer


def test_a_stream_tells_of_each_change_and_ends_when_its_worker_does() -> None:
    clock = Clock()
    refresh = Refresh(lambda: clock.generation)
    with TurnedLoop() as loop:
        receiver = call(loop, answering([]), head(), make_call=partial(make, refresh))
        loop.until(lambda: b"data: 7\n\n" in receiver.data)
        assert b"Content-Type: text/event-stream\r\n" in receiver.data
        assert b"Connection: close\r\n" in receiver.data
        refresh.look()
        clock.generation = 8
        refresh.look()
        refresh.look()
        loop.until(lambda: b"data: 8\n\n" in receiver.data)
        assert receiver.data.count(b"data: ") == 2
        refresh.close()
        loop.until(lambda: receiver.ended)
        assert receiver.data.endswith(b"0\r\n\r\n")
        assert not receiver.outbox.keep_alive
        refresh.close()


def test_a_worker_that_is_about_to_end_or_has_old_code_tells_of_nothing() -> None:
    refresh = Refresh(lambda: 0)
    refresh.close()
    with TurnedLoop() as loop:
        receiver = call(loop, answering([]), head(), make_call=partial(make, refresh))
        loop.until(lambda: receiver.ended)
    assert b"data:" not in receiver.data
    assert receiver.data.endswith(b"0\r\n\r\n")


def test_who_has_left_is_forgotten() -> None:
    clock = Clock()
    refresh = Refresh(lambda: clock.generation)
    with TurnedLoop() as loop:
        receiver = call(loop, answering([]), head(), make_call=partial(make, refresh))
        loop.until(lambda: receiver.data)
        receiver.outbox.abandon()
        clock.generation = 8
        refresh.look()
        refresh.look()
        assert refresh._streams == []


def test_the_script_is_there_and_nothing_else() -> None:
    refresh = Refresh(lambda: 7)
    script = refresh.handle(request(), "/.aiowsgi", "/reload.js")
    assert isinstance(script, Response)
    assert b"Content-Type: text/javascript; charset=utf-8\r\n" in script.fields
    assert refresh.handle(request(), "/.aiowsgi", "/other") is None
