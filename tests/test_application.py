"""One call of an application: PEP 3333 to the letter, read by a real client's parser."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from html import escape
from io import BytesIO
from pathlib import Path
from threading import Event
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.validate import validator

import pytest

from tests.calls import (
    CLOSING,
    GET,
    GET_1_0,
    HEAD,
    KEPT_1_0,
    PLAIN,
    POST,
    Body,
    ask,
    call,
    giving,
    messages,
    understand,
)
from tests.full_disk import ROOM, full_disk, run_alone
from tests.turned_loop import WAIT, TurnedLoop


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "aiowsgi")
    return caplog


# How the end of the content is told


@pytest.mark.parametrize("body", [[b"hello"], (b"hello",), [b"he", b"", b"llo"], (b"he", b"llo")])
@pytest.mark.parametrize("head", [GET, GET_1_0, KEPT_1_0, CLOSING])
def test_a_list_or_tuple_is_counted(body: Iterable[bytes], head: bytes) -> None:
    answer = ask(giving(body), head)
    assert answer.fields["content-length"] == "5"
    assert answer.content == b"hello"
    assert answer.whole
    assert len(answer.pieces) == 1, "head and content in one write"
    assert answer.keep_alive == (head in (GET, KEPT_1_0))
    assert answer.fields.get("connection") == {GET: None, KEPT_1_0: "keep-alive"}.get(head, "close")


@pytest.mark.parametrize("body", [[], (), [b""], iter(()), Body(), Body(b"", b"")])
def test_an_empty_body_is_counted(body: Iterable[bytes]) -> None:
    answer = ask(giving(body))
    assert answer.fields["content-length"] == "0"
    assert answer.whole
    assert answer.keep_alive


def test_a_generator_is_chunked_and_each_piece_is_sent_for_itself() -> None:
    answer = ask(giving(Body(b"", b"one", b"", b"two", b"three")))
    assert answer.fields["transfer-encoding"] == "chunked"
    assert "content-length" not in answer.fields
    assert answer.content == b"onetwothree"
    assert answer.whole
    assert answer.keep_alive
    assert answer.pieces[0].endswith(b"\r\n\r\n3\r\none\r\n"), "the head waits for the first piece, no longer"
    assert answer.pieces[1:] == [b"3\r\ntwo\r\n", b"5\r\nthree\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize("head", [GET_1_0, KEPT_1_0])
def test_a_generator_for_http_1_0_ends_with_the_connection(head: bytes) -> None:
    answer = ask(giving(Body(b"one", b"two")), head)
    assert "transfer-encoding" not in answer.fields
    assert answer.fields["connection"] == "close"
    assert answer.content == b"onetwo"
    assert not answer.keep_alive
    assert not answer.cut
    assert answer.pieces[1:] == [b"two"]


@pytest.mark.parametrize("head", [GET, GET_1_0, KEPT_1_0])
def test_a_generator_with_content_length_is_counted(head: bytes) -> None:
    body = Body(b"", b"one", b"two")
    answer = ask(giving(body, ("Content-Length", "6")), head)
    assert answer.fields["content-length"] == "6"
    assert "transfer-encoding" not in answer.fields
    assert answer.content == b"onetwo"
    assert answer.whole
    assert answer.keep_alive == (head != GET_1_0)
    assert body.closed == 1


def test_the_first_piece_reaches_the_client_before_the_second_is_asked_for() -> None:
    more = Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"one"
        assert more.wait(WAIT)
        yield b"two"

    with TurnedLoop() as loop:
        receiver = call(loop, application)
        loop.until(lambda: receiver.data.endswith(b"one\r\n"))
        more.set()
        loop.until(lambda: receiver.ended)
        assert receiver.data.endswith(b"3\r\ntwo\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "fields", "length"),
    [
        ([b"hello"], [], "5"),
        ([], [], None),
        ([], [("Content-Length", "7")], "7"),
        ([b"hello"], [("Content-Length", "5")], "5"),
        (Body(b"he", b"llo"), [], None),
        (Body(b"he", b"llo"), [("Content-Length", "5")], "5"),
        (Body(), [("Content-Length", "7")], "7"),
    ],
)
def test_head_has_the_fields_of_get_and_no_content(
    body: Iterable[bytes],
    fields: list[tuple[str, str]],
    length: str | None,
    log: pytest.LogCaptureFixture,
) -> None:
    answer = ask(giving(body, *fields), HEAD)
    assert answer.fields.get("content-length") == length
    assert "transfer-encoding" not in answer.fields
    assert answer.wire.endswith(b"\r\n\r\n")
    assert answer.content == b""
    assert answer.whole
    assert answer.keep_alive
    assert messages(log) == []


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("body", [[], [b"what for"], Body(b"what", b" for"), Body()])
def test_204_and_304_have_no_content_and_no_length(status: str, body: Iterable[bytes]) -> None:
    answer = ask(giving(body, status=status))
    assert not {"content-length", "transfer-encoding"} & answer.fields.keys()
    assert answer.wire.endswith(b"\r\n\r\n")
    assert answer.whole
    assert answer.keep_alive


def test_an_endless_answer_to_head_is_ended() -> None:
    class Endless(Body):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"again"

    body = Endless()
    assert ask(giving(body), HEAD).whole
    assert body.closed == 1


def test_an_application_may_ask_for_the_connection_s_end() -> None:
    answer = ask(giving([b"x"], ("Connection", "close")))
    assert answer.fields["connection"] == "close"
    assert not answer.keep_alive


def test_hop_by_hop_fields_are_left_out_with_one_warning(log: pytest.LogCaptureFixture) -> None:
    # Spelt so that no other test of this process has been warned of them.
    application = giving([b"x"], ("kEEP-aLIVE", "timeout=5"), ("uPGRADE", "h2c"), ("cONNECTION", "x-thing"))
    for _ in range(2):
        answer = ask(application)
        assert not {"keep-alive", "upgrade", "connection"} & answer.fields.keys()
        assert answer.whole
    assert messages(log) == [
        f"GET /page?q: {name} is left out; PEP 3333 leaves hop-by-hop fields to the server"
        for name in ("kEEP-aLIVE", "uPGRADE", "cONNECTION")
    ]


@pytest.mark.parametrize("own", [(), ("Date",), ("Server",), ("Date", "Server"), ("Server", "Date")])
def test_date_and_server_are_the_application_s_if_it_gives_them(own: tuple[str, ...]) -> None:
    answer = ask(giving([b"x"], *((name, "its own") for name in own)))  # that none comes twice, ask() sees to
    assert {name for name in ("Date", "Server") if answer.fields[name.lower()] == "its own"} == set(own)


def test_transfer_encoding_is_the_server_s() -> None:
    answer = ask(giving([b"x"], ("Transfer-Encoding", "chunked")))
    assert answer.fields["content-length"] == "1"
    assert answer.content == b"x"


# write()


@pytest.mark.parametrize("body", [[], [b" and", b" list"], Body(b" and", b" body"), (b"",)])
@pytest.mark.parametrize("head", [GET, GET_1_0])
def test_what_is_written_comes_first(body: Iterable[bytes], head: bytes) -> None:
    answer = ask(giving(body, written=[b"", b"one", b"", b"two"]), head)
    assert answer.content == b"onetwo" + b"".join(body)
    assert answer.whole or head == GET_1_0
    assert answer.pieces[0].endswith((b"3\r\none\r\n", b"\r\n\r\none"))


def test_writing_nothing_leaves_the_list_counted() -> None:
    assert ask(giving([b"list"], written=[b""])).fields["content-length"] == "4"


def test_written_and_returned_bytes_are_counted_together() -> None:
    answer = ask(giving([b"two", b"!"], ("Content-Length", "7"), written=[b"one"]))
    assert answer.content == b"onetwo!"
    assert answer.whole
    assert answer.keep_alive


def test_the_written_piece_is_sent_before_write_returns() -> None:
    more = Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", PLAIN)(b"one")
        assert more.wait(WAIT)
        return []

    with TurnedLoop() as loop:
        receiver = call(loop, application)
        loop.until(lambda: receiver.data.endswith(b"one\r\n"))
        more.set()


def test_writing_more_than_was_declared_raises_in_the_application(log: pytest.LogCaptureFixture) -> None:
    raised: list[str] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [*PLAIN, ("Content-Length", "5")])
        for piece in (b"12345678", b"9"):
            try:
                write(piece)
            except Exception as error:  # noqa: BLE001 - as applications do
                raised.append(str(error))
        return []

    answer = ask(application)
    assert answer.content == b"12345"
    assert answer.whole
    assert answer.keep_alive
    assert raised == [
        f"PEP 3333 asks for no more bytes than Content-Length declares; {count} are left out"
        for count in (3, 1)
    ]
    assert messages(log) == []


# start_response


def test_start_response_may_come_with_the_first_piece() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        yield b""
        start_response("202 Accepted", PLAIN)
        yield b"late"

    answer = ask(application)
    assert answer.status == 202
    assert answer.content == b"late"


def fail_once() -> Any:
    try:
        raise KeyError("first")
    except KeyError:
        return sys.exc_info()


def test_exc_info_replaces_status_and_fields_while_nothing_was_sent() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [*PLAIN, ("X-Old", "1"), ("Content-Length", "99")])
        yield b""
        start_response("500 Oops", [("X-New", "2")], fail_once())
        yield b"sorry"

    answer = ask(application)
    assert answer.wire.startswith(b"HTTP/1.1 500 Oops\r\n")
    assert answer.fields["x-new"] == "2"
    assert not {"x-old", "content-type", "content-length"} & answer.fields.keys()
    assert answer.content == b"sorry"


def test_exc_info_is_raised_again_once_something_was_sent(log: pytest.LogCaptureFixture) -> None:
    caught: list[BaseException] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"some"
        try:
            start_response("500 Oops", [("X-New", "2")], fail_once())
        except KeyError as error:
            caught.append(error)
            raise

    answer = ask(application)
    assert answer.status == 200
    assert answer.content == b"some"
    assert b"Oops" not in answer.wire
    assert b"X-New" not in answer.wire
    assert answer.cut
    assert not answer.whole
    assert [str(error) for error in caught] == ["'first'"]
    assert "fail_once" in log.text, "the first traceback is kept"


def test_exc_info_of_nothing_is_refused_once_something_was_sent(log: pytest.LogCaptureFixture) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        yield b"some"
        start_response("500 Oops", PLAIN, (None, None, None))

    assert ask(application).cut
    assert messages(log) == ["GET /page?q: PEP 3333 asks for start_response before the body is sent"]


def test_a_second_start_response_needs_exc_info(log: pytest.LogCaptureFixture) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", PLAIN)
        start_response("201 Created", PLAIN)
        return [b"never"]

    answer = ask(application)
    assert answer.status == 500
    assert b"never" not in answer.wire
    assert messages(log) == [
        "GET /page?q: PEP 3333 asks for exc_info when start_response is called a second time"
    ]


def test_an_application_may_put_a_bad_head_right() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        try:
            start_response("200 OK", [("X-Bad", "a\r\nb")])
        except Exception:  # noqa: BLE001 - as applications do
            start_response("400 Bad", PLAIN, sys.exc_info())
        return [b"put right"]

    answer = ask(application)
    assert answer.status == 400
    assert answer.content == b"put right"


# Mistakes before the first byte: 500, nothing of it on the wire, the log says what PEP 3333 asks


def starting(status: Any, headers: Any) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response(status, headers)
        return [b"MISTAKE"]

    return application


def refused(application: WSGIApplication, log: pytest.LogCaptureFixture, head: bytes = GET) -> str:
    """Return what the log says of an answer that became a plain 500."""
    answer = ask(application, head)
    assert answer.status == 500
    assert b"MISTAKE" not in answer.wire
    assert b"PEP 3333" not in answer.wire
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert answer.fields["content-length"] == str(len(answer.content)) or head == HEAD
    assert answer.fields.keys() <= {"content-type", "content-length", "date", "server"}
    assert answer.whole
    assert answer.keep_alive
    [message] = messages(log)
    assert log.records[0].levelno == logging.ERROR
    assert message.startswith(f"{head.split()[0].decode()} /page")
    return message.partition(": ")[2]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (None, "an iterable of bytes as the result, not NoneType"),
        (42, "an iterable of bytes as the result, not int"),
        ("MISTAKE", "bytes as the body, not str"),
        (b"MISTAKE", "bytes as the body, not int"),
        (["MISTAKE"], "bytes as the body, not str"),
        ([b"fine", "MISTAKE"], "bytes as the body, not str"),
        (("MISTAKE",), "bytes as the body, not str"),
        ([None], "bytes as the body, not NoneType"),
        ([77], "bytes as the body, not int"),
        ([bytearray(b"MISTAKE")], "bytes as the body, not bytearray"),
        (Body("MISTAKE"), "bytes as the body, not str"),
        (Body(b"", None), "bytes as the body, not NoneType"),
        (Body(77), "bytes as the body, not int"),
    ],
)
def test_a_body_that_is_not_bytes(body: Any, what: str, log: pytest.LogCaptureFixture) -> None:
    assert refused(giving(body), log) == f"PEP 3333 asks for {what}"
    if isinstance(body, Body):
        assert body.closed == 1


def test_writing_text(log: pytest.LogCaptureFixture) -> None:
    assert refused(giving([], written=["MISTAKE"]), log) == "PEP 3333 asks for bytes as the body, not str"


@pytest.mark.parametrize("body", [[b"MISTAKE"], (), iter([b"MISTAKE"]), iter([b""]), iter([])])
def test_a_forgotten_start_response(body: Any, log: pytest.LogCaptureFixture) -> None:
    said = refused(lambda environ, start_response: body, log)
    assert said == "PEP 3333 asks for start_response to be called before the first piece of the body"


@pytest.mark.parametrize("body", [[b"MISTAKE"], iter([b"MISTAKE"]), iter([])])
def test_a_forgotten_start_response_to_head(body: Any, log: pytest.LogCaptureFixture) -> None:
    assert "start_response" in refused(lambda environ, start_response: body, log, HEAD)


@pytest.mark.parametrize(
    "status",
    [
        "200",
        "OK",
        "",
        "20 OK",
        "2000 OK",
        "HTTP/1.1 200 OK",
        "100 Continue",
        "101 Switching Protocols",
        "600 MISTAKE",
        "200 OK\r\nMISTAKE: 1",
        "200 OK\n",
        "200 OK\x00",
        "200 \u20ac MISTAKE",
        " 200 OK",
        "٢٠٠ OK",
        b"200 OK",
        200,
        None,
    ],
)
def test_a_status_that_is_none(status: Any, log: pytest.LogCaptureFixture) -> None:
    said = refused(starting(status, PLAIN), log)
    assert said.startswith("PEP 3333 asks for a status like '200 OK'")
    assert repr(status) in said


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        (None, "header fields as a list, not NoneType"),
        ((("X", "MISTAKE"),), "header fields as a list, not tuple"),
        ({"X": "MISTAKE"}, "header fields as a list, not dict"),
        (["X: MISTAKE"], "header fields as (name, value) tuples"),
        ([("X", "MISTAKE", "y")], "header fields as (name, value) tuples"),
        ([["X", "MISTAKE"]], "header fields as (name, value) tuples"),
        ([None], "header fields as (name, value) tuples"),
        ([("X", 77)], "str names and values"),
        ([(b"X", b"MISTAKE")], "str names and values"),
        ([("X", None)], "str names and values"),
        ([("X MISTAKE", "y")], "RFC 9110 field names"),
        ([("X-MISTAKE:", "y")], "RFC 9110 field names"),
        ([("", "MISTAKE")], "RFC 9110 field names"),
        ([("X\r\nMISTAKE", "y")], "RFC 9110 field names"),
        ([("X\u00e4", "MISTAKE")], "RFC 9110 field names"),
        ([("X", "a\r\nMISTAKE: b")], "latin-1 field values without control characters"),
        ([("X", "a\nMISTAKE: b")], "latin-1 field values without control characters"),
        ([("X", "a\rMISTAKE: b")], "latin-1 field values without control characters"),
        ([("X", "MISTAKE\r\n")], "latin-1 field values without control characters"),
        ([("X", "MISTAKE\x00")], "latin-1 field values without control characters"),
        ([("X", "MISTAKE\x7f")], "latin-1 field values without control characters"),
        ([("X", "MISTAKE \u20ac")], "latin-1 field values without control characters"),
        ([("Content-Length", "7"), ("content-length", "7")], "one Content-Length"),
        ([("Content-Length", "-7")], "a Content-Length of digits only"),
        ([("Content-Length", "+7")], "a Content-Length of digits only"),
        ([("Content-Length", "7.0")], "a Content-Length of digits only"),
        ([("Content-Length", "0x7")], "a Content-Length of digits only"),
        ([("Content-Length", "")], "a Content-Length of digits only"),
        ([("Content-Length", "\u0667")], "latin-1 field values"),
        ([("Content-Length", "\u00b2")], "a Content-Length of digits only"),
        ([("Content-Length", "9" * 30)], "a Content-Length of digits only"),
    ],
)
def test_fields_that_are_none(headers: Any, what: str, log: pytest.LogCaptureFixture) -> None:
    assert refused(starting("200 OK", headers), log).startswith(f"PEP 3333 asks for {what}")


# Failures


@pytest.mark.parametrize(
    "error",
    [ValueError("MISTAKE"), SystemExit("MISTAKE"), KeyboardInterrupt("MISTAKE"), GeneratorExit("MISTAKE")],
)
@pytest.mark.parametrize("where", ["call", "first piece", "write"])
def test_a_failure_before_the_first_byte_is_a_plain_500(
    error: BaseException, where: str, log: pytest.LogCaptureFixture
) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*PLAIN, ("X-MISTAKE", "1")])
        if where == "first piece":
            return Body(b"", error, b"MISTAKE")
        raise error

    said = refused(application, log)
    assert said == type(error).__name__
    assert log.records[0].exc_info is not None
    assert log.records[0].exc_info[1] is error


@pytest.mark.parametrize("head", [GET, GET_1_0])
@pytest.mark.parametrize("fields", [[], [("Content-Length", "100")]])
def test_a_failure_after_the_first_byte_cuts_the_answer(
    head: bytes, fields: list[tuple[str, str]], log: pytest.LogCaptureFixture
) -> None:
    body = Body(b"some", ValueError("later"))
    answer = ask(giving(body, *fields), head)
    assert answer.status == 200
    assert answer.content == b"some"
    assert answer.cut
    assert not answer.keep_alive
    assert not answer.whole or not fields
    assert body.closed == 1
    assert messages(log) == [f"GET {head.split()[1].decode()}: ValueError"]
    assert "later" in log.text


def test_a_failure_behind_the_last_byte_is_only_logged(log: pytest.LogCaptureFixture) -> None:
    answer = ask(giving(Body(b"all", ValueError("later")), ("Content-Length", "3")))
    assert answer.content == b"all"
    assert answer.whole
    assert answer.keep_alive
    assert not answer.cut
    assert messages(log) == ["GET /page?q: ValueError"]


def test_an_error_that_cannot_be_shown_still_gets_its_answer(log: pytest.LogCaptureFixture) -> None:
    class Hidden(Exception):
        def __repr__(self) -> str:
            raise ValueError("not even this")

        __str__ = __repr__

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise Hidden

    for debug in (False, True):
        assert ask(application, debug=debug).status == 500
    assert messages(log) == ["GET /page?q: Hidden"] * 2


def test_debug_shows_the_traceback_escaped() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise ValueError("<script>alert('&')</script>\udcff")

    head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n"
    page = ask(application, head, debug=True).content.decode()
    assert "Traceback (most recent call last)" in page
    assert escape("ValueError: <script>alert('&')</script>") in page
    assert "<script>" not in page
    assert "Traceback" not in ask(application).content.decode()


def test_a_failure_answers_head_without_content() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise ValueError

    answer = ask(application, HEAD)
    assert answer.status == 500
    assert answer.content == b""
    assert int(answer.fields["content-length"]) > 0
    assert answer.keep_alive


@pytest.mark.parametrize("head", [GET, CLOSING, GET_1_0, KEPT_1_0])
def test_a_failure_keeps_the_connection_as_the_request_does(head: bytes) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        raise ValueError

    answer = ask(application, head)
    assert answer.keep_alive == (head in (GET, KEPT_1_0))
    assert answer.whole


# A length that was declared


@pytest.mark.parametrize(
    "body", [[b"12345678"], [b"123", b"45678"], Body(b"12345678"), Body(b"123", b"45678")]
)
def test_more_than_declared_is_cut_and_logged(body: Any, log: pytest.LogCaptureFixture) -> None:
    answer = ask(giving(body, ("Content-Length", "5")))
    assert answer.content == b"12345"
    assert answer.whole
    assert answer.keep_alive, "the client has all it was promised"
    assert messages(log) == [
        "GET /page?q: PEP 3333 asks for no more bytes than Content-Length declares; 3 are left out"
    ]


def test_a_piece_behind_the_declared_length_is_left_out(log: pytest.LogCaptureFixture) -> None:
    body = Body(b"12345", b"678", b"9")
    answer = ask(giving(body, ("Content-Length", "5")))
    assert answer.content == b"12345"
    assert answer.whole
    assert body.given == 2, "PEP 3333: iterating stops then"
    assert body.closed == 1
    assert messages(log) == [
        "GET /page?q: PEP 3333 asks for no more bytes than Content-Length declares; 3 are left out"
    ]


def test_nothing_was_declared_and_something_given(log: pytest.LogCaptureFixture) -> None:
    for body in ([b"x"], Body(b"x")):
        answer = ask(giving(body, ("Content-Length", "0")))
        assert answer.content == b""
        assert answer.whole
    assert len(messages(log)) == 2


def test_an_application_may_go_on_behind_its_last_byte(log: pytest.LogCaptureFixture) -> None:
    after: list[int] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [*PLAIN, ("Content-Length", "3")])
        yield b"all"
        after.append(1)

    assert ask(application).whole
    assert after == [1]
    assert messages(log) == []


@pytest.mark.parametrize("body", [[b"123"], [b"1", b"23"], Body(b"123"), Body(b"1", b"", b"23")])
def test_fewer_than_declared_cuts_the_connection(body: Any, log: pytest.LogCaptureFixture) -> None:
    answer = ask(giving(body, ("Content-Length", "5")))
    assert answer.content == b"123"
    assert answer.cut
    assert not answer.whole
    assert not answer.keep_alive
    assert messages(log) == [
        "GET /page?q: PEP 3333 asks for as many bytes as Content-Length declares; 2 are missing"
    ]


@pytest.mark.parametrize("body", [[], Body()])
def test_nothing_of_what_was_declared_cuts_the_connection(body: Any, log: pytest.LogCaptureFixture) -> None:
    answer = ask(giving(body, ("Content-Length", "5")))
    assert answer.cut
    assert not answer.whole
    assert "5 are missing" in messages(log)[0]


# close()


@pytest.mark.parametrize(
    "pieces",
    [
        (b"all",),
        (),
        (b"some", ValueError("no")),
        (ValueError("no"),),
        (b"some", "text"),
        ("text",),
    ],
)
@pytest.mark.parametrize("head", [GET, HEAD, GET_1_0])
@pytest.mark.parametrize("closing", [None, ValueError("in close")])
def test_close_is_called_once(pieces: tuple[Any, ...], head: bytes, closing: BaseException | None) -> None:
    body = Body(*pieces, closing=closing)
    ask(giving(body), head)
    assert body.closed == 1


def test_a_failing_close_is_logged_behind_a_whole_answer(log: pytest.LogCaptureFixture) -> None:
    answer = ask(giving(Body(b"all", closing=ValueError("in close"))))
    assert answer.content == b"all"
    assert answer.whole
    assert answer.keep_alive
    assert messages(log) == ["GET /page?q: ValueError"]
    assert "in close" in log.text


def test_a_result_that_is_not_iterable_is_closed() -> None:
    class Closable:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    result = Closable()
    assert ask(giving(result)).status == 500
    assert result.closed == 1


# The client leaves


@pytest.mark.parametrize("piece", [b"again and again", b""])
def test_a_client_that_leaves_has_the_iterable_closed(log: pytest.LogCaptureFixture, piece: bytes) -> None:
    closed = Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", PLAIN)
        try:
            yield b"once"
            while not closed.wait(0):
                yield piece
        finally:
            closed.set()

    with TurnedLoop() as loop:
        receiver = call(loop, application)
        loop.until(lambda: receiver.pieces)
        receiver.outbox.abandon()
        ended = closed.wait(WAIT)
        closed.set()  # so that a thread that goes on can be waited for
    assert ended
    assert messages(log) == []
    assert "the client left before its answer was complete" in log.text


def test_a_client_that_leaves_is_told_to_write(log: pytest.LogCaptureFixture) -> None:
    raised: list[BaseException] = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", PLAIN)
        try:
            while True:
                write(b"again and again")
        except ConnectionError as error:
            raised.append(error)
            raise

    with TurnedLoop() as loop:
        receiver = call(loop, application)
        loop.until(lambda: receiver.pieces)
        receiver.outbox.abandon()
    assert len(raised) == 1
    assert messages(log) == []


def test_the_call_of_a_client_that_has_left_is_not_run() -> None:
    gate, entered, ran = Event(), Event(), list[str]()

    def slow(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entered.set()
        assert gate.wait(WAIT)
        return giving([b"slow"])(environ, start_response)

    def noted(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        ran.append(environ["REQUEST_METHOD"])
        return giving([b"noted"])(environ, start_response)

    with TurnedLoop() as loop:
        first = call(loop, slow)
        loop.turn()
        assert entered.wait(WAIT)
        gone = call(loop, noted, GET)
        last = call(loop, noted, POST, b"x")
        loop.turn()
        gone.outbox.abandon()
        gate.set()
        loop.until(lambda: first.ended and last.ended)
    assert ran == ["POST"]
    assert gone.data == b""


# What the application is given

SAMPLE = b"first\nsecond\r\n\nlast without its end"


READINGS: list[Callable[[Any], object]] = [
    lambda content: content.read(),
    lambda content: content.read(-1),
    lambda content: [content.read(7) for _ in range(8)],
    lambda content: content.read(1000),
    lambda content: (content.read(0), content.read(3)),
    lambda content: [content.readline() for _ in range(6)],
    lambda content: [content.readline(4) for _ in range(20)],
    lambda content: content.readlines(),
    lambda content: (content.readlines(7), content.read()),
    lambda content: list(content),
    lambda content: (next(iter(content)), content.read(2), content.readline(), content.read()),
    lambda content: (content.read(), content.read(), content.read(1), content.readline(), list(content)),
]


@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("reading", READINGS)
def test_the_input_is_read_exactly_and_ends_where_it_ends(
    reading: Callable[[Any], object], spilled: bool
) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        found = reading(environ["wsgi.input"])
        environ["wsgi.input"].read()
        past = environ["wsgi.input"].read()
        start_response("200 OK", PLAIN)
        return [repr(found).encode(), repr(past).encode()]

    answer = ask(application, POST, SAMPLE, spilled=spilled)
    assert answer.content == repr(reading(BytesIO(SAMPLE))).encode() + b"b''"


def test_the_input_is_empty_where_there_is_none() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        content = environ["wsgi.input"]
        assert (content.read(), content.read(5), content.readline(), content.readlines()) == (
            b"",
            b"",
            b"",
            [],
        )
        assert list(content) == []
        start_response("200 OK", PLAIN)
        return [b"nothing"]

    assert ask(application).content == b"nothing"


@pytest.mark.parametrize("spilled", [False, True])
def test_the_input_may_be_the_answer(spilled: bool) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", PLAIN)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](environ["wsgi.input"], 10)
        return wrapped

    assert ask(application, POST, SAMPLE, spilled=spilled).content == SAMPLE


def answer_on_a_full_disk() -> None:
    with full_disk(), TurnedLoop() as loop:
        receiver = call(loop, giving([b"never"]), POST, b"x" * ROOM + b"y", spilled=True)
        loop.until(lambda: receiver.ended)
    answer = understand(receiver, POST)
    assert answer.status == 507
    assert answer.keep_alive


def test_content_that_the_disk_has_no_room_for_is_507() -> None:
    done = run_alone(answer_on_a_full_disk)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "POST /page: [Errno 27] File too large\n"  # by logging's last resort


def test_an_application_may_clear_its_environ() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        environ.clear()
        start_response("200 OK", PLAIN)
        return [b"cleared"]

    for _ in range(2):
        assert ask(application).content == b"cleared"
    assert ask(application, POST, b"x").content == b"cleared"


def test_a_file_is_sent_by_the_file_wrapper_and_closed(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"0123456789" * 30_000)
    files = []

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [*PLAIN, ("Content-Length", "299999")])
        file = open(tmp_path / "big", "rb")
        files.append(file)
        file.seek(1)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](file, 4096)
        return wrapped

    answer = ask(application)
    assert answer.content == (b"0123456789" * 30_000)[1:]
    assert answer.whole
    assert files[0].closed


def test_an_open_file_is_a_body(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"one\ntwo\n")
    file = open(tmp_path / "lines", "rb")
    assert ask(giving(file)).content == b"one\ntwo\n"
    assert file.closed


# wsgiref.validate


def reading_all(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    content = environ["wsgi.input"]
    parts = [content.read(3), content.readline(), *content.readlines(5), *content, content.read(1)]
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    start_response("200 OK", PLAIN)
    return [b"|".join(parts)]


@pytest.mark.parametrize(
    "head", [GET, GET_1_0, KEPT_1_0, HEAD, CLOSING, b"OPTIONS /a%20b?c HTTP/1.1\r\nHost: a\r\n\r\n"]
)
@pytest.mark.parametrize(
    "application",
    [
        giving([b"list"]),
        giving((b"tuple",)),
        giving([]),
        giving(Body(b"one", b"", b"two")),
        giving(Body(b"counted"), ("Content-Length", "7")),
        giving([b"list"], written=[b"written "]),
        giving([], status="404 Not Found"),
        reading_all,
    ],
)
def test_the_validator_has_nothing_to_say(
    application: WSGIApplication, head: bytes, log: pytest.LogCaptureFixture
) -> None:
    answer = ask(validator(application), head)
    assert answer.status in (200, 404)
    assert not answer.cut
    assert messages(log) == []


@pytest.mark.parametrize("spilled", [False, True])
@pytest.mark.parametrize("content", [b"", b"x", SAMPLE, b"y" * 100_000])
def test_the_validator_has_nothing_to_say_of_content(
    content: bytes, spilled: bool, log: pytest.LogCaptureFixture
) -> None:
    answer = ask(validator(reading_all), POST, content, spilled=spilled)
    assert answer.content.replace(b"|", b"") == content
    assert messages(log) == []
