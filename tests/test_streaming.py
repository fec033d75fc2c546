"""Requests that applications read while they arrive: on the transport in memory, and on real sockets."""

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.validate import validator

import pytest

from aiowsgi.config import Limits, Timeouts
from aiowsgi.http.messages import Request
from aiowsgi.http.states import State
from aiowsgi.server.sending import NEVER
from aiowsgi.site.router import Answer, Lookup
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.bridge import ClientDisconnected
from aiowsgi.wsgi.streamed import ContentError
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, Applied, Client, Gate, answering, echo
from tests.wire_client import Server as WholeServer

GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECTING = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
TIMEOUTS = Timeouts(keep_alive=75, head=20, transfer=60, linger=5, request=1e9)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BROKEN_OFF = "the client left in the middle of its content"
Server = partial(WholeServer, streams=True, timeouts=TIMEOUTS)


class Steered:
    """An application that does what the test says, one thing at a time, and what came of each."""

    def __init__(self) -> None:
        self.tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.results: SimpleQueue[object] = SimpleQueue()
        self.closed = Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.environ = environ
        self.input = environ["wsgi.input"]
        self.results.put("called")
        self.start_response = start_response
        return self

    def __iter__(self) -> Iterator[bytes]:
        while (task := self.tasks.get(timeout=WAIT)) is not None:
            try:
                result = task()
            except OSError as error:
                self.results.put(error)
                raise
            self.results.put(result)
            if isinstance(result, Say):
                yield result.data

    def close(self) -> None:
        self.closed.set()

    def begin(self, *fields: tuple[str, str]) -> None:
        """Have it call start_response."""
        self.tasks.put(lambda: self.start_response("200 OK", [("Content-Type", "text/plain"), *fields]))

    def read(self, *arguments: int) -> None:
        self.tasks.put(lambda: self.input.read(*arguments))

    def say(self, data: bytes) -> None:
        self.tasks.put(lambda: Say(data))

    def end(self) -> None:
        self.tasks.put(None)

    async def result(self) -> object:
        return await asyncio.to_thread(self.results.get, timeout=WAIT)

    async def waits(self, client: Client) -> None:
        """Wait until it waits for the client, and the connection has been told so."""
        connection = client.connection
        await client.until_true(
            lambda: (
                connection._stream is not None and connection._stream.waits and connection.deadline < NEVER
            )
        )


class Say:
    def __init__(self, data: bytes) -> None:
        self.data = data


async def called(server: WholeServer, steered: Steered, data: bytes) -> Client:
    """Return a client whose request has come to the application."""
    client = server.connect()
    client.send(data)
    assert await steered.result() == "called"
    return client


# What an application reads.


async def test_the_application_is_called_when_the_head_has_come() -> None:
    gate = Gate()
    with Server(Applied(gate)) as server:
        client = server.connect()
        client.send(POST % (b"up", 10))
        assert await asyncio.to_thread(gate.entered.wait, WAIT)
        client.send(b"01234")
        gate.open.set()
        client.send(b"56789" + GET % b"next")
        answers = await client.receive(b"GET /next .")
        assert b"POST /up 0123456789." in answers
        assert b"close" not in answers.partition(b"\r\n\r\n")[2]


async def test_content_is_read_as_it_comes_and_a_chunked_one_has_no_length() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, CHUNKED + b"3\r\nabc\r\n")
        assert "CONTENT_LENGTH" not in steered.environ
        assert steered.environ["wsgi.input_terminated"]
        steered.read(2)
        assert await steered.result() == b"ab"
        steered.read(2)
        await steered.waits(client)
        client.send(b"2\r\nde\r\n")
        assert await steered.result() == b"cd"
        steered.read()
        client.send(b"0\r\n\r\n" + GET % b"")
        assert await steered.result() == b"e"
        steered.begin()
        steered.say(b"read")
        steered.end()
        assert b"Connection: close" not in await client.receive(b"\r\n0\r\n\r\n")
        steered.begin()
        steered.end()
        assert await client.receive(b"\r\n\r\n")  # and the next request was found behind it


async def test_an_answer_may_begin_before_the_content_has_come() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, POST % (b"", 400_000))
        steered.begin(("Content-Length", "400000"))
        for number in range(4):
            client.send(b"%d" % number * 100_000)
            steered.read(100_000)
            steered.say(b"#" * 100_000)
            await client.until(lambda: client.sent.count(b"#") == (number + 1) * 100_000)  # noqa: B023
        steered.end()
        await client.closed()  # as its head has said, when nobody knew that all would be read
        assert b"Connection: close\r\n" in client.sent


async def test_no_more_is_read_than_the_application_takes() -> None:
    steered = Steered()
    with Server(Applied(steered), limits=Limits(content_memory=100_000)) as server:
        client = await called(server, steered, POST % (b"", 300_000))
        sent = 0
        while client.transport.reading:
            client.send(b"x" * 40_000)
            sent += 40_000
        assert sent == 120_000
        assert client.connection in server.shared.unread  # it is looked at whether it leaves
        server.pass_time(10_000)  # a slow application is not a slow client
        steered.read(65_536)
        assert await steered.result() == b"x" * 65_536
        steered.read(10_000)
        await client.until_reading()
        assert client.connection not in server.shared.unread
        steered.read()
        while sent < 300_000:
            await client.until_reading()
            client.send(b"x" * 20_000)
            sent += 20_000
        assert len(b"".join([await steered.result(), await steered.result()])) == 300_000 - 65_536  # type: ignore[list-item]
        steered.begin()
        steered.end()
        await client.receive(b"\r\n\r\n")
        assert client.state == State.IDLE


async def test_content_that_came_with_the_head_is_read_too() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        content = environ["wsgi.input"]
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [content.readline(100), content.read(1), *content, b"."]

    with Server(Applied(validator(application))) as server:
        client = server.connect()
        client.send(POST % (b"?", 5) + b"a\nbcd" + POST % (b"?", 0))
        client.send(CHUNKED.replace(b"/", b"/?", 1) + b"1\r\nx\r\n0\r\n\r\n")
        await client.until(lambda: client.sent.count(b"\r\n0\r\n\r\n") == 3)
        assert client.sent.count(b"HTTP/1.1 200 OK") == 3
        assert b"2\r\na\n\r\n1\r\nb\r\n2\r\ncd\r\n1\r\n.\r\n0\r\n\r\n" in client.sent


class Slow:
    """A handler that has to look at the disk, and then leaves it to the next, or to an application."""

    def __init__(self, application: WSGIApplication | None) -> None:
        self.application = application
        self.look = Event()

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        return SlowLookup(self, request, script_name, path_info)


class SlowLookup(Lookup):
    def __init__(self, slow: Slow, *arguments: Any) -> None:
        self.slow = slow
        self.arguments = arguments

    def run(self) -> None:
        assert self.slow.look.wait(WAIT)

    def answer(self) -> Call | None:
        return None if self.slow.application is None else Call(self.slow.application, *self.arguments)


@pytest.mark.parametrize("application", [echo, None])
async def test_content_may_come_while_somebody_looks_at_the_disk(application: WSGIApplication | None) -> None:
    slow = Slow(application)
    with Server(slow) as server:
        client = server.connect()
        client.send(POST % (b"up", 6) + b"abc")
        client.send(b"def" + GET % b"next")
        slow.look.set()
        if application is None:
            await client.until(lambda: client.sent.count(b"HTTP/1.1 404 ") == 2)
        else:
            assert b"POST /up abcdef." in await client.receive(b"GET /next .")


# 100 Continue.


async def test_continue_is_sent_at_the_first_read_and_not_before() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, EXPECTING % 4)
        assert client.sent == b""
        server.pass_time(10_000)  # nor is anything asked of the client before
        steered.read(2)
        await client.until(lambda: client.sent)
        assert client.sent == CONTINUE
        client.send(b"ab")
        assert await steered.result() == b"ab"
        steered.read()
        await steered.waits(client)
        client.send(b"cd")
        assert await steered.result() == b"cd"
        steered.begin()
        steered.end()
        assert (await client.receive(b"\r\n\r\n")).startswith(CONTINUE)
        await client.until(lambda: client.sent.startswith(b"HTTP/1.1 200 OK\r\n"))
        assert client.state == State.IDLE


async def test_a_client_that_does_not_wait_for_continue_is_not_told() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, EXPECTING % 4 + b"ab")
        steered.read(4)
        await steered.waits(client)
        client.send(b"cd")
        assert await steered.result() == b"abcd"
        assert client.sent == b""
        steered.end()


async def test_continue_has_no_place_behind_the_head_of_the_answer() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, EXPECTING % 4)
        steered.begin()
        steered.say(b"first")
        await client.until(lambda: b"first" in client.sent)
        steered.read(4)
        await steered.waits(client)
        client.send(b"abcd")
        steered.end()
        await client.closed()
        assert CONTINUE not in client.sent


async def test_who_is_answered_without_being_read_is_not_told_to_continue() -> None:
    with Server(Applied(answering(b"no"))) as server:
        client = server.connect()
        client.send(EXPECTING % 4)
        await client.closed()
        assert client.sent.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close\r\n" in client.sent


# Content that cannot be read to its end.


@pytest.mark.parametrize("leave", [Client.send_eof, Client.lose])
async def test_a_client_that_leaves_makes_read_raise_and_one_line_tells(
    leave: Callable[[Client], None], caplog: pytest.LogCaptureFixture
) -> None:
    steered = Steered()
    with Server(Applied(steered)) as server, caplog.at_level(logging.INFO):
        client = await called(server, steered, POST % (b"up", 10) + b"01234")
        steered.read()
        await steered.waits(client)
        leave(client)
        assert isinstance(await steered.result(), ClientDisconnected)
        await client.until(lambda: client.lost)
        assert await asyncio.to_thread(steered.closed.wait, WAIT)
    assert [message for message in caplog.messages if "POST /up" in message] == [f"POST /up: {BROKEN_OFF}"]


async def test_a_server_that_cuts_its_connections_wakes_the_thread() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, POST % (b"", 10))
        steered.read()
        await steered.waits(client)
        client.connection.drain()
        client.send(b"01234")
        client.connection.abort()
        assert isinstance(await steered.result(), ClientDisconnected)


async def test_broken_content_is_answered_by_400_and_nothing_behind_it_is_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steered = Steered()
    with Server(Applied(steered)) as server, caplog.at_level(logging.INFO):
        client = await called(server, steered, CHUNKED + b"3\r\nabc\r\n")
        client.send(b"zz\r\n" + GET % b"never")
        assert not client.transport.reading
        steered.read()
        assert isinstance(await steered.result(), ContentError)
        await client.closed()
        assert client.sent.startswith(b"HTTP/1.1 400 ")
        assert b"Connection: close\r\n" in client.sent
        client.send(GET % b"never")  # what comes is thrown away
        assert client.sent.count(b"HTTP/1.1") == 1
    assert caplog.messages == ["POST /: 400 Bad Request: A chunk does not begin with its size."]


async def test_broken_content_behind_the_beginning_of_an_answer_cuts_it() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, CHUNKED)
        steered.begin()
        steered.say(b"first")
        steered.read()
        await steered.waits(client)
        client.send(b"zz\r\n")
        await client.until(lambda: client.lost)
        assert client.sent.endswith(b"first\r\n")  # and no last chunk


async def test_an_application_may_answer_for_content_that_is_broken() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with pytest.raises(OSError, match=r"400 Bad Request"):
            environ["wsgi.input"].read()
        start_response("422 Unprocessable Content", [("Content-Type", "text/plain")])
        return [b"pardon?"]

    with Server(Applied(application)) as server:
        client = server.connect()
        client.send(CHUNKED + b"zz\r\n" + GET % b"never")
        await client.closed()
        assert client.sent.startswith(b"HTTP/1.1 422 ")
        assert client.sent.endswith(b"pardon?")


async def test_chunked_content_over_the_limit_is_413() -> None:
    with Server(Applied(echo), limits=Limits(content=100)) as server:
        client = server.connect()
        client.send(CHUNKED + b"64\r\n" + b"x" * 100)
        client.send(b"\r\n1\r\nx\r\n0\r\n\r\n" + GET % b"never")
        await client.closed()
        assert client.sent.startswith(b"HTTP/1.1 413 ")
        assert client.sent.count(b"HTTP/1.1") == 1


async def test_content_over_the_limit_is_refused_before_the_application_is_called() -> None:
    steered = Steered()
    with Server(Applied(steered), limits=Limits(content=100)) as server:
        client = server.connect()
        client.send(POST % (b"", 101))
        assert client.sent.startswith(b"HTTP/1.1 413 ")
    assert steered.results.empty()


# Deadlines.


async def test_a_client_that_stops_is_given_up_while_the_application_waits_for_it() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, POST % (b"", 10) + b"012")
        server.pass_time(1000)
        steered.read()
        await steered.waits(client)
        server.pass_time(59)
        client.send(b"3")
        await steered.waits(client)
        server.pass_time(59)
        assert steered.results.empty()
        server.pass_time(2)
        assert isinstance(await steered.result(), ContentError)
        await client.closed()
        assert client.sent.startswith(b"HTTP/1.1 408 ")
        server.pass_time(5)
        assert client.transport.aborted


async def test_content_has_to_keep_the_least_rate_while_it_is_waited_for() -> None:
    steered = Steered()
    timeouts = Timeouts(transfer=60, min_rate=100)
    with Server(Applied(steered), timeouts=timeouts) as server:
        client = await called(server, steered, POST % (b"", 10_000))
        steered.read()
        for _ in range(5):
            await steered.waits(client)
            server.pass_time(11)
            client.send(b"x" * 100)  # is worth one second
            assert steered.results.empty()
        await steered.waits(client)
        server.pass_time(9)
        assert steered.results.empty()
        server.pass_time(2)
        assert isinstance(await steered.result(), ContentError)
        await client.closed()


async def test_what_comes_while_nobody_waits_for_it_counts_as_well() -> None:
    steered = Steered()
    timeouts = Timeouts(transfer=60, min_rate=100)
    with Server(Applied(steered), timeouts=timeouts) as server:
        client = await called(server, steered, POST % (b"", 100_000))
        for _ in range(5):
            steered.read(3000)
            await steered.waits(client)
            server.pass_time(50)
            client.send(b"x" * 3000)
            assert await steered.result() == b"x" * 3000
            client.send(b"x" * 3000)
            steered.read(3000)
            assert await steered.result() == b"x" * 3000
        steered.end()
        client.lose()


async def test_a_client_that_takes_nothing_of_an_early_answer_is_cut() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, POST % (b"", 10) + b"012")
        client.transport.blocked = True
        steered.begin()
        steered.say(b"x" * 100_000)
        await client.until_paused()
        server.pass_time(59)
        client.transport.take(100_000)
        assert client.transport.reading
        await client.until_true(lambda: client.connection.deadline == float("inf"))
        server.pass_time(10_000)  # now it is the application's turn again
        assert not client.transport.aborted
        steered.say(b"x" * 100_000)
        await client.until_paused()
        server.pass_time(61)
        assert client.transport.aborted
        steered.end()


async def test_a_client_that_sends_no_more_and_takes_all_but_the_end_of_what_there_is_is_cut() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, POST % (b"", 10) + b"012")
        client.transport.blocked = True
        steered.begin()
        steered.say(b"x" * 200_000)
        await client.until_paused()
        client.send_eof()
        assert client.transport.closing
        client.transport.take(len(client.transport.held) - 10_000)
        await asyncio.sleep(0)  # in which the connection hears that there is room
        server.pass_time(59)
        assert not client.transport.aborted
        server.pass_time(61)
        assert client.transport.aborted
        steered.end()


async def test_to_wait_for_the_client_is_not_to_hang() -> None:
    steered = Steered()
    timeouts = Timeouts(transfer=1000, request=30)
    with Server(Applied(steered), timeouts=timeouts) as server:
        client = await called(server, steered, POST % (b"", 10))
        steered.read()
        await steered.waits(client)
        for _ in range(5):
            server.pass_time(29)
        client.send(b"0123456789")
        assert await steered.result() == b"0123456789"
        for _ in range(2):
            assert client.sent == b""
            server.pass_time(29)
        server.pass_time(2)
        await client.until(lambda: client.sent.startswith(b"HTTP/1.1 504 "))
        steered.end()


async def test_a_thread_that_hangs_before_it_has_read_all_is_told_when_it_reads_on() -> None:
    steered = Steered()
    with Server(Applied(steered), timeouts=Timeouts(request=30)) as server:
        client = await called(server, steered, POST % (b"", 10))
        for _ in range(3):
            server.pass_time(29)
        await client.until(lambda: client.sent.startswith(b"HTTP/1.1 504 "))
        steered.read()
        assert isinstance(await steered.result(), ClientDisconnected)


# Answers that come before the content has been read.


async def test_the_rest_of_short_content_is_thrown_away() -> None:
    with Server(Applied(answering(b"early"))) as server:
        client = server.connect()
        client.send(POST % (b"", 10) + b"01234")
        await client.receive(b"early")
        assert repr(client.state) == "<State.DISCARDING: 3>"
        client.send(b"56789" + GET % b"")
        await client.receive(b"early")
        assert client.state == State.IDLE


@pytest.mark.parametrize("head", [POST % (b"", 70_000), CHUNKED])
async def test_the_rest_of_long_or_endless_content_is_not_waited_for(head: bytes) -> None:
    with Server(Applied(answering(b"early"))) as server:
        client = server.connect()
        client.send(head)
        await client.closed()
        assert b"Connection: close\r\n" in client.sent
        assert client.transport.reading  # so that the answer is not lost (RFC 9112 section 9.6)
        client.send(b"x" * 100_000)
        server.pass_time(5)
        assert client.transport.aborted


async def test_content_that_fills_the_memory_is_read_past_behind_its_answer() -> None:
    steered = Steered()
    with Server(Applied(steered), limits=Limits(content_memory=1000)) as server:
        client = await called(server, steered, POST % (b"", 10_000))
        client.send(b"x" * 5000)
        assert not client.transport.reading
        steered.begin(("Content-Length", "2"))
        steered.say(b"ok")
        steered.end()
        await client.receive(b"ok")
        assert client.transport.reading
        client.send(b"x" * 5000 + GET % b"")
        assert await steered.result() is not None
        steered.begin()
        steered.end()
        await client.until(lambda: client.sent.startswith(b"HTTP/1.1 200 OK"))


async def test_a_thread_that_reads_behind_its_whole_answer_is_woken() -> None:
    steered = Steered()
    with Server(Applied(steered)) as server:
        client = await called(server, steered, POST % (b"", 10))
        steered.begin(("Content-Length", "2"))
        steered.say(b"ok")
        steered.read()
        await client.receive(b"ok")
        results = [await steered.result() for _ in range(3)]
        assert isinstance(results[-1], ClientDisconnected)


async def test_a_client_that_sends_no_more_gets_an_early_answer_whole() -> None:
    """It has seen the beginning, say, and does not send the rest."""
    with Server(Applied(answering(b"x" * 200_000))) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(POST % (b"", 100_000) + b"01234")
        await client.until_paused()
        await client.until_true(lambda: client.connection._stream is None or client.connection._stream.closed)
        client.send_eof()
        client.transport.blocked = False
        while client.transport.held:
            client.transport.take(100_000)
            await asyncio.sleep(0)
        await client.until(lambda: client.lost)
        assert client.sent.endswith(b"x" * 200_000)


async def test_a_full_queue_is_answered_at_once() -> None:
    gate = Gate()
    with Server(Applied(gate), limits=Limits(queue=1), threads=1) as server:
        first, second, third = server.connect(), server.connect(), server.connect()
        first.send(GET % b"1")
        assert await asyncio.to_thread(gate.entered.wait, WAIT)
        second.send(GET % b"2")
        third.send(POST % (b"3", 10) + b"01234")
        assert third.sent.startswith(b"HTTP/1.1 503 ")
        third.send(b"56789")
        assert third.state == State.IDLE
        gate.open.set()
        await first.receive(b"GET /1 .")
        await second.receive(b"GET /2 .")


# On real sockets.


def digest(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the content's length and a sum of it."""
    length, total = 0, hashlib.sha256()
    while data := environ["wsgi.input"].read(100_000):
        length += len(data)
        total.update(data)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{length} {total.hexdigest()}".encode()]


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_an_upload_needs_no_disk(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    data = bytes(range(256)) * 4096
    sums = hashlib.sha256(data * 10)
    with (
        serving(digest, loop=loop, stream_requests=True) as server,
        Peer(server.server_address) as peer,
    ):
        for head, frame in ((POST % (b"", len(data) * 10), b"%b"), (CHUNKED, b"100000\r\n%b\r\n")):
            peer.send(head)
            for _ in range(10):
                peer.send(frame % data)
            if head == CHUNKED:
                peer.send(b"0\r\n\r\n")
            assert peer.answer().content == f"{len(data) * 10} {sums.hexdigest()}".encode()


def test_a_client_that_vanishes_wakes_the_thread(loop: str) -> None:
    steered = Steered()
    with serving(steered, loop=loop, stream_requests=True) as server, Peer(server.server_address) as peer:
        peer.send(POST % (b"", 10) + b"01234")
        assert steered.results.get(timeout=WAIT) == "called"
        steered.read()
        peer.reset()
        assert isinstance(steered.results.get(timeout=WAIT), ClientDisconnected)


def test_an_echo_of_what_is_being_sent_holds_up_nobody(loop: str) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "8000000")])
        return iter(lambda: environ["wsgi.input"].read(50_000), b"")

    with serving(application, loop=loop, stream_requests=True) as server, Peer(server.server_address) as peer:
        peer.send(POST % (b"", 8_000_000))
        # It takes nothing before all is sent, and what comes back is more than sockets and memory hold.
        peer.send(b"x" * 8_000_000)
        assert peer.answer().content == b"x" * 8_000_000


def test_a_script_is_called_when_the_head_has_come(loop: str, tmp_path: Path) -> None:
    (tmp_path / "up.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    yield b'come'\n"
        "    yield environ['wsgi.input'].read()\n"
    )
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "page.txt").write_text("a file")
    settings: dict[str, Any] = {
        "scripts": [f"/s={tmp_path}"],
        "static": [f"/html={tmp_path / 'html'}"],
        "stream_requests": True,
    }
    with serving(echo, loop=loop, **settings) as server, Peer(server.server_address) as peer:
        for _ in range(2):  # found on the disk, and known
            peer.send(POST % (b"s/up.py", 5))
            peer.until(b"come\r\n")
            peer.send(b"hello")
            assert peer.until(b"\r\n0\r\n\r\n") == b"5\r\nhello\r\n0\r\n\r\n"
        assert peer.get("/html/page.txt").content == b"a file"
        peer.send(get("/html/page.txt", "Content-Length: 3") + b"abc")
        assert peer.answer().content == b"a file"
