"""Calls as a connection makes them, and their answers as a real client's parser reads them."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import h11
import pytest

from aiowsgi.config import Limits
from aiowsgi.http.framing import error_response
from aiowsgi.http.messages import HTTPError, Request, Response
from aiowsgi.http.parser import Parser
from aiowsgi.site.tracebacks import Failure
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.bridge import Inbox
from aiowsgi.wsgi.environ import server_environ
from aiowsgi.wsgi.rewriting import MakeCall
from tests.turned_loop import Receiver, TurnedLoop

GET = b"GET /page?q HTTP/1.1\r\nHost: a\r\n\r\n"
GET_1_0 = b"GET /page HTTP/1.0\r\n\r\n"
KEPT_1_0 = b"GET /page HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
CLOSING = b"GET /page HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
HEAD = b"HEAD /page HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"

PLAIN = [("Content-Type", "text/plain")]
SERVER = server_environ("localhost", "80", "http", multiprocess=False)


@dataclass
class Answer:
    """What a client makes of the bytes; ``whole`` says that it found the content's end."""

    wire: bytes
    pieces: list[bytes]
    status: int
    fields: dict[str, str]
    content: bytes
    whole: bool
    keep_alive: bool
    cut: bool
    ranges: int  # pieces that were in a file


class PlainErrors:
    """Answers errors as a site without pages of its own."""

    def __init__(self, debug: bool) -> None:
        self._debug = debug

    def error_response(self, error: HTTPError, request: Request, cause: BaseException | None) -> Response:
        return Failure(cause).response(request) if self._debug and cause else error_response(error)


def call(
    loop: TurnedLoop,
    application: WSGIApplication,
    head: bytes = GET,
    content: bytes = b"",
    *,
    spilled: bool = False,
    debug: bool = False,
    make_call: MakeCall = Call,
) -> Receiver:
    """Submit a call, as a connection does."""
    found = Parser(Limits()).head(head)
    assert found is not None
    request = found[0]
    inbox = None
    if request.has_content:
        inbox = Inbox()
        half = len(content) // 2
        inbox.add(content[:half])
        if spilled:
            inbox.spill()
        inbox.add(content[half:])
        request.know_length(inbox.size)
    receiver = Receiver(loop.pool)
    receiver.outbox.may_persist = request.keep_alive
    job = make_call(application, request, "", request.path)
    job.accept(receiver.outbox, inbox, SERVER, ("192.0.2.1", "4711"), PlainErrors(debug))
    loop.pool.submit(job)
    return receiver


def ask(
    application: WSGIApplication,
    head: bytes = GET,
    content: bytes = b"",
    *,
    spilled: bool = False,
    debug: bool = False,
    make_call: MakeCall = Call,
) -> Answer:
    """Return the answer once it has ended, and the thread is done with the call."""
    with TurnedLoop() as loop:
        receiver = call(loop, application, head, content, spilled=spilled, debug=debug, make_call=make_call)
        loop.until(lambda: receiver.ended)
    return understand(receiver, head)


def understand(receiver: Receiver, head: bytes) -> Answer:
    outbox = receiver.outbox
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=head.split()[0], target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(receiver.data)
    if not outbox.keep_alive:
        client.receive_data(b"")
    events: list[Any] = []
    whole = False
    try:
        while (event := client.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            events.append(event)
            whole = isinstance(event, h11.EndOfMessage)
            if whole:
                break
    except h11.RemoteProtocolError:
        pass  # it was cut
    start = events[0]
    assert isinstance(start, h11.Response)
    fields = {name.decode(): value.decode("latin-1") for name, value in start.headers}
    assert len(fields) == len(start.headers), "a field came twice"
    assert start.status_code == outbox.status
    assert {"date", "server"} <= fields.keys()
    if whole and not outbox.cut:
        assert outbox.keep_alive == (client.their_state is h11.DONE), "the head says otherwise"
        assert not client.trailing_data[0], "bytes behind the answer's end"
    return Answer(
        wire=receiver.data,
        pieces=receiver.pieces,
        status=start.status_code,
        fields=fields,
        content=b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data)),
        whole=whole,
        keep_alive=outbox.keep_alive,
        cut=outbox.cut,
        ranges=receiver.ranges,
    )


def messages(log: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in log.records if record.levelno >= level]


class Body:
    """An iterable that tells how often it was closed, and how far it was read."""

    def __init__(self, *pieces: Any, closing: BaseException | None = None) -> None:
        self._pieces = pieces
        self._closing = closing
        self.given = 0
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, BaseException):
                raise piece
            self.given += 1
            yield piece

    def close(self) -> None:
        self.closed += 1
        if self._closing is not None:
            raise self._closing


def giving(
    body: Any, *fields: tuple[str, str], status: str = "200 OK", written: Iterable[Any] = ()
) -> WSGIApplication:
    """Return an application that starts, writes and returns."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response(status, [*PLAIN, *fields])
        for piece in written:
            write(piece)
        result: Iterable[bytes] = body
        return result

    return application
