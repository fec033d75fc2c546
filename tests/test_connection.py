"""One connection on an in-memory transport: what it answers, when it waits, and how it ends."""

import asyncio
import errno
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Event as ThreadEvent
from typing import IO
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from aiowsgi.config import Limits, Timeouts
from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import FileRange, HTTPError, Parts, Request, Response
from aiowsgi.http.states import State
from aiowsgi.server.draining import GRACE, begin_to_drain
from aiowsgi.server.shared import Errand
from aiowsgi.site.router import Answer, Handler, Lookup
from aiowsgi.wsgi.bridge import RUN
from tests.wire_client import WAIT, Applied, Gate, MemoryTransport, Server, answering, echo

GET = b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
EXPECTING = POST[:-2] % (b"", 4) + b"Expect: 100-continue\r\n\r\n"
TIMEOUTS = Timeouts(keep_alive=75, head=20, transfer=60, linger=5)


class Ready:
    """A handler that answers at once, GET only."""

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        if request.method not in ("GET", "HEAD"):
            raise HTTPError(405, fields=[("Allow", "GET, HEAD")])
        return Response(200, field_lines([("Content-Type", "text/plain")]), path_info.encode() + b"!")


class Part:
    """A handler that answers with a part of a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        return Response(200, b"", FileRange(self.file, 0, 200_000))


class Paragraph:
    """A handler that answers with more than a slow client takes at once, and less than a transport holds."""

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        return Response(200, b"", b"x" * 60_000)


def assert_set(event: ThreadEvent) -> None:
    assert event.wait(WAIT)


async def happens(event: ThreadEvent) -> bool:
    """Wait until a thread sets ``event``."""
    return await asyncio.to_thread(event.wait, WAIT)


async def released() -> None:
    """Let the turn pass in which the pool gives to its threads what was submitted."""
    await asyncio.sleep(0)


async def test_an_answer_keeps_the_connection() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(GET % b"one")
        assert (await client.receive(b"GET /one .")).startswith(b"HTTP/1.1 200 OK\r\n")
        assert client.state == State.IDLE
        client.send(GET % b"two")
        assert b"GET /two ." in await client.receive(b".")


async def test_a_head_may_come_in_any_pieces() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        for byte in GET % b"slow":
            client.send(bytes([byte]))
            assert client.state in (State.HEAD, State.ANSWERING)
        await client.receive(b"GET /slow .")


async def test_what_was_looked_at_of_one_head_says_nothing_of_the_next() -> None:
    with Server(Ready()) as server:
        client = server.connect()
        client.send(b"GET /long HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 1000)
        client.send(b"\r\n\r\n" + GET % b"1" + GET % b"2")
        assert client.sent.count(b"HTTP/1.1 200 OK") == 3


async def test_pipelined_requests_are_answered_in_order() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(b"".join(GET % b"%d" % number for number in range(5)))
        answers = await client.receive(b"GET /4 .")
        assert [answers.index(b"GET /%d ." % number) for number in range(5)] == sorted(
            answers.index(b"GET /%d ." % number) for number in range(5)
        )


async def test_many_pipelined_requests_take_turns_with_others() -> None:
    with Server(Ready()) as server:
        client, other = server.connect(), server.connect()
        client.send(b"".join(GET % b"%d" % number for number in range(100)))
        assert client.sent.count(b"HTTP/1.1 200") < 100
        other.send(GET % b"other")
        assert other.sent.endswith(b"/other!")
        answers = await client.receive(b"/99!")
        assert answers.count(b"HTTP/1.1 200") == 100


async def test_reading_pauses_when_too_much_is_pipelined() -> None:
    gate = Gate()
    with Server(Applied(gate), limits=Limits(pipelined=1000)) as server:
        client = server.connect()
        client.send(GET % b"first" + b"".join(GET % b"%d" % number for number in range(99)))
        assert not client.transport.reading
        gate.open.set()
        await client.receive(b"GET /98 .")
        assert client.transport.reading


async def test_a_head_may_be_longer_than_what_is_read_ahead() -> None:
    with Server(Ready(), limits=Limits(pipelined=100)) as server:
        client = server.connect()
        client.send(b"GET /long HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 1000)
        client.send(b"\r\n\r\n")
        assert client.sent.endswith(b"/long!")


async def test_a_head_longer_than_what_is_read_ahead_may_be_pipelined() -> None:
    gate = Gate()
    with Server(Applied(gate), limits=Limits(pipelined=100)) as server:
        client = server.connect()
        client.send(GET % b"first" + b"GET /long HTTP/1.1\r\nHost: a\r\nX-A: " + b"b" * 1000)
        assert not client.transport.reading
        gate.open.set()
        await client.receive(b"GET /first .")
        assert client.transport.reading
        client.send(b"\r\n\r\n")
        await client.receive(b"GET /long .")


async def test_the_last_answer_says_so() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % b"never")
        answer = await client.closed()
        assert b"\r\nConnection: close\r\n" in answer
        assert b"never" not in answer


async def test_where_only_the_application_wants_the_end_the_client_may_still_send() -> None:
    with Server(Applied(answering(b"last", ("Connection", "close")))) as server:
        client = server.connect()
        client.send(GET % b"")
        assert b"\r\nConnection: close\r\n" in await client.closed()
        assert not client.transport.closing
        client.send(GET % b"never")
        client.send_eof()
        await client.until(lambda: client.lost)
        assert client.sent.count(b"HTTP/1.1") == 1


async def test_where_nobody_wants_to_send_more_nothing_is_waited_for() -> None:
    with Server(Applied(answering(b"last", ("Connection", "close")))) as server:
        client = server.connect()
        client.send(GET % b"")
        client.send_eof()
        await client.until(lambda: client.lost)
        assert client.sent.endswith(b"last")


async def test_an_http_1_0_client_keeps_the_connection_if_it_asks_for_it() -> None:
    with Server(Applied(answering(b"whole"))) as server:
        client = server.connect()
        client.send(b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
        assert b"\r\nConnection: keep-alive\r\n" in await client.receive(b"whole")
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"\r\nConnection: close\r\n" in await client.closed()


async def test_options_of_the_server_itself() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await client.receive(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nAllow: GET,")
        assert b"Content-Length: 0\r\n" in answer


async def test_a_path_that_no_handler_takes_is_not_found() -> None:
    with Server() as server:
        client = server.connect()
        client.send(GET % b"")
        assert client.sent.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert client.state == State.IDLE


# Content.


async def test_the_application_is_called_when_the_content_is_whole() -> None:
    gate = Gate()
    with Server(Applied(gate)) as server:
        client = server.connect()
        client.send(POST % (b"", 10) + b"01234")
        assert server.pool.waiting == 0
        assert not gate.entered.is_set()
        client.send(b"56789" + GET % b"next")
        gate.open.set()
        assert b"POST / 0123456789." in await client.receive(b"GET /next .")


async def test_chunked_content_has_a_length_for_the_application() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [environ["CONTENT_LENGTH"].encode(), environ["wsgi.input"].read()]

    with Server(Applied(application)) as server:
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        client.send(b"2\r\nde\r\n0\r\n\r\n")
        await client.receive(b"5abcde")


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_content_goes_by_way_of_a_file(chunked: bool) -> None:
    data = os.urandom(300_000)
    with Server(Applied(echo), limits=Limits(content_memory=1000)) as server:
        client = server.connect()
        if chunked:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            data_on_the_wire = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        else:
            client.send(POST % (b"", len(data)))
            data_on_the_wire = data
        while data_on_the_wire:
            client.send(data_on_the_wire[:50_000])
            data_on_the_wire = data_on_the_wire[50_000:]
            if data_on_the_wire:
                assert not client.transport.reading
                await client.until_reading()
        assert (await client.receive(b".")).endswith(b"POST / " + data + b".")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("content_memory", [1000, 1 << 20])
async def test_content_in_many_chunks_leaves_others_their_turn(streams: bool, content_memory: int) -> None:
    chunks = 40_000
    limits = Limits(content_memory=content_memory)
    with Server(Applied(echo), limits=limits, streams=streams) as server:
        client, other = server.connect(), server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\nx\r\n" * chunks + b"0\r\n\r\n" + GET % b"behind")
        other.send(GET % b"other")
        await asyncio.sleep(0)
        assert not client.transport.reading, "there is much left to be read in the turns to come"
        assert client.sent == b""
        await other.receive(b"/other .")
        answers = await client.receive(b"/behind .")
        assert b"POST / " + b"x" * chunks in answers
        assert client.transport.reading


async def test_content_that_ends_in_its_middle_is_found_out_at_its_turn() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\nx\r\n" * 2000)
        client.send_eof()
        assert not client.transport.closing
        await client.until_true(lambda: client.transport.closing)


async def test_nothing_is_read_while_content_goes_to_its_file() -> None:
    first, disk = Gate(), ThreadEvent()
    with Server(Applied(first), limits=Limits(pipelined=1000, content_memory=1000)) as server:
        server.disk.submit(Errand(server.disk, lambda: assert_set(disk), lambda error: None))
        client = server.connect()
        client.send(GET % b"first")
        client.send(POST % (b"second", 6000) + b"x" * 3000)
        assert not client.transport.reading  # for there is too much to read ahead
        first.open.set()
        await client.receive(b"GET /first .")
        assert not client.transport.reading  # for there is too much for memory
        disk.set()
        await client.until_reading()
        client.send(b"y" * 3000)
        await client.receive(b"POST /second " + b"x" * 3000 + b"y" * 3000 + b".")


async def test_content_that_no_disk_has_room_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with Server(Applied(echo), limits=Limits(content_memory=1000)) as server:
        client = server.connect()
        client.send(POST % (b"up", 10_000) + b"x" * 5000)
        assert (await client.closed()).startswith(b"HTTP/1.1 507 ")
    assert caplog.messages[0].startswith("POST /up: [Errno 2] No such file or directory")


async def test_content_of_a_client_that_left_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    with Server(Applied(echo), limits=Limits(content_memory=1000)) as server:
        client, other = server.connect(), server.connect()
        client.send(POST % (b"", 10_000) + b"x" * 5000)
        client.lose()
        other.send(POST % (b"other", 5000) + b"x" * 4000)
        await other.until_reading()  # behind the client's, on the disk's one thread
        other.send(b"x" * 1000)
        await other.receive(b".")
    assert client.sent == b""
    assert not caplog.messages


async def test_continue_is_sent_to_a_client_that_waits_for_it() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(head)
        assert client.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(b"hi")
        await client.receive(b"POST / hi.")
        client.send(head + b"ho")
        assert b"100 Continue" not in await client.receive(b"POST / ho.")


async def test_a_refused_client_is_not_told_to_continue() -> None:
    with Server(Ready()) as server:
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert client.sent.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nConnection: close\r\n" in client.sent
        assert client.transport.eof_written


async def test_content_that_nobody_wants_is_read_past() -> None:
    with Server(Ready()) as server:
        client = server.connect()
        client.send(POST % (b"", 10) + b"01234")
        assert client.sent.startswith(b"HTTP/1.1 405 ")
        assert client.state == State.DISCARDING
        client.send(b"56789" + GET % b"next")
        assert client.sent.endswith(b"/next!")
        assert client.state.name == "IDLE"


async def test_content_that_nobody_wants_is_read_past_behind_a_file() -> None:
    with tempfile.TemporaryFile() as file, Server(Part(file), limits=Limits(pipelined=10)) as server:
        file.write(b"x" * 200_000)
        file.flush()
        client = server.connect()
        client.send(POST % (b"", 50) + b"y" * 20)
        assert not client.transport.reading  # until the file is sent
        await client.receive(b"x" * 200_000)
        assert client.state == State.DISCARDING
        client.send(b"y" * 30 + POST % (b"next", 0))
        await client.receive(b"x" * 200_000)


async def test_many_pipelined_requests_with_content_that_nobody_wants_do_not_nest() -> None:
    with Server(Ready()) as server:
        client = server.connect()
        client.send((POST % (b"", 3) + b"abc") * 2000 + GET % b"end")
        answers = await client.receive(b"/end!")
        assert answers.count(b"HTTP/1.1 405 ") == 2000


async def test_a_request_behind_a_lookup_that_led_to_a_full_queue_is_answered() -> None:
    gate = Gate()
    job = Applied(gate)

    class Late:
        def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
            return Disk(job.handle(request, script_name, path_info))

    with Server(Late(), threads=1, limits=Limits(queue=1)) as server:
        running, waiting, third = server.connect(), server.connect(), server.connect()
        running.send(GET % b"running")
        assert await happens(gate.entered)
        waiting.send(GET % b"waiting")
        await third.until_true(lambda: server.pool.waiting == 1)
        third.send(GET % b"1" + GET % b"2")
        await third.until(lambda: third.sent.count(b"HTTP/1.1 503 ") == 2)
        gate.open.set()
        await waiting.receive(b"GET /waiting .")


@pytest.mark.parametrize(
    "head",
    [
        POST % (b"", 1_000_000),
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2000\r\n\r\n",
    ],
)
async def test_much_content_that_nobody_wants_ends_the_connection(head: bytes) -> None:
    with Server(Ready()) as server:
        client = server.connect()
        client.send(head)
        assert b"\r\nConnection: close\r\n" in client.sent
        client.send(b"x" * 1000 + GET % b"never")
        assert client.state == State.CLOSING
        assert not client.transport.closing
        for _ in range(3):
            client.send(b"x" * 100_000)  # which is thrown away, or reading would pause
        assert b"never" not in client.sent


async def test_content_over_the_limit_is_refused_before_it_is_read() -> None:
    with Server(Applied(echo), limits=Limits(content=100)) as server:
        client = server.connect()
        client.send(POST % (b"", 101))
        assert client.sent.startswith(b"HTTP/1.1 413 ")
        assert client.transport.eof_written


async def test_chunked_content_over_the_limit_is_refused_when_it_gets_there() -> None:
    with Server(Applied(echo), limits=Limits(content=100)) as server:
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + b"x" * 100)
        assert client.sent == b""
        client.send(b"\r\n1\r\nx\r\n0\r\n\r\n" + GET % b"never")
        assert client.sent.startswith(b"HTTP/1.1 413 ")
        assert client.sent.count(b"HTTP/1.1") == 1


async def test_a_refused_head_request_is_told_so_without_content() -> None:
    with Server(Applied(echo), limits=Limits(content=5)) as server:
        client = server.connect()
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n")
        assert client.sent.startswith(b"HTTP/1.1 413 ")
        assert client.sent.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "head", [b"HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n", b"HEAD /%zz HTTP/1.1\r\nHost: a\r\n\r\n"]
)
async def test_a_head_request_whose_head_is_refused_is_told_so_without_content(head: bytes) -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(head)
        assert client.sent.startswith(b"HTTP/1.1 400 ")
        assert client.sent.endswith(b"\r\n\r\n")
        assert client.transport.eof_written, "more may come, which has to be thrown away"
        assert not client.transport.closing


async def test_broken_content_is_refused_and_nothing_behind_it_is_read() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GET % b"never"
        )
        assert client.sent.startswith(b"HTTP/1.1 400 ")
        assert client.sent.count(b"HTTP/1.1") == 1
        client.send(GET % b"never")
        assert client.sent.count(b"HTTP/1.1") == 1


async def test_an_upload_that_breaks_off_never_reaches_the_application(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    with Server(Applied(gate)) as server, caplog.at_level(logging.INFO):
        client = server.connect()
        client.send(POST % (b"up", 10) + b"01234")
        client.send_eof()
        await client.closed()
        assert client.sent == b""
    assert not gate.entered.is_set()
    assert "POST /up: the client left in the middle of its content" in caplog.text


async def test_an_upload_that_breaks_off_behind_another_request_is_not_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Server(Applied(echo)) as server, caplog.at_level(logging.INFO):
        client = server.connect()
        client.send(GET % b"first" + POST % (b"up", 10) + b"01234")
        client.send_eof()
        await client.until(lambda: client.lost)
        assert client.sent.endswith(b"GET /first .")
    assert "POST /up: the client left in the middle of its content" in caplog.text


# The end of a connection.


async def test_a_client_that_sends_no_more_still_gets_its_answers() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(GET % b"one" + GET % b"two")
        client.send_eof()
        await client.until(lambda: client.lost)
        assert b"GET /one ." in client.sent
        assert client.sent.endswith(b"GET /two .")


async def test_a_client_that_stops_within_a_head_is_not_waited_for() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(GET % b"one" + GET[:10])
        client.send_eof()
        await client.until(lambda: client.lost)
        assert client.sent.endswith(b"GET /one .")


async def test_a_client_that_leaves_in_between_is_forgotten() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(GET[:10])
        client.send_eof()
        await client.until(lambda: client.lost)
        assert not server.shared.connections
        assert client.state == State.CLOSED


async def test_an_iterable_is_closed_when_the_client_leaves() -> None:
    closed = ThreadEvent()

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield b"more"
        finally:
            closed.set()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return pieces()

    with Server(Applied(application)) as server:
        client = server.connect()
        client.send(GET % b"")
        await client.until(lambda: client.sent.count(b"more") > 3)
        client.lose()
        assert await happens(closed)


async def test_an_answer_in_many_pieces_leaves_others_their_turn() -> None:
    made = ThreadEvent()

    def pieces() -> Iterator[bytes]:
        yield b"x" * 100_000
        yield from [b"x"] * 8000
        made.set()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return pieces()

    with Server(Applied(application)) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        assert await happens(made)
        client.transport.blocked = False
        client.transport.take(200_000)
        assert not client.sent.endswith(b"0\r\n\r\n")
        answer = await client.receive(b"0\r\n\r\n")
        assert answer.count(b"1\r\nx\r\n") == 8000


async def test_a_waiting_job_of_a_client_that_left_is_not_run() -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1) as server:
        first, second = server.connect(), server.connect()
        first.send(GET % b"first")
        assert await happens(gate.entered)
        gate.entered.clear()
        second.send(GET % b"second")
        second.lose()
        gate.open.set()
        await first.receive(b"GET /first .")
    assert not gate.entered.is_set()


async def test_an_answer_that_breaks_off_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    with Server(Applied(answering(b"short", ("Content-Length", "10")))) as server:
        client = server.connect()
        client.send(GET % b"x" + GET % b"never")
        await client.until(lambda: client.lost)
        assert client.sent.endswith(b"\r\n\r\nshort")
    assert "GET /x: PEP 3333 asks for as many bytes" in caplog.text


async def test_what_is_refused_behind_another_request_is_read_to_its_end() -> None:
    gate = Gate()
    with Server(Applied(gate)) as server:
        client = server.connect()
        client.send(GET % b"first")
        client.send(b"GET /too-long-" + b"x" * 100_000)
        assert not client.transport.reading
        gate.open.set()
        assert b"\r\n\r\nGET /first .HTTP/1.1 414 " in await client.closed()
        assert client.transport.reading  # a close would reset the connection


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n"])
async def test_what_is_not_http_is_refused(data: bytes) -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.send(data + GET % b"never")
        assert client.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert b"\r\nConnection: close\r\n" in client.sent
        assert client.transport.eof_written
        client.send(GET % b"never")
        client.send_eof()
        await client.until(lambda: client.lost)
        assert client.sent.count(b"HTTP/1.1") == 1


async def test_draining_closes_idle_connections_and_lets_others_finish() -> None:
    gate = Gate()
    with Server(Applied(gate)) as server:
        idle, busy = server.connect(), server.connect()
        busy.send(GET % b"busy")
        assert await happens(gate.entered)
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        server.pass_time(GRACE)
        await idle.until(lambda: idle.lost)
        assert not busy.lost
        gate.open.set()
        assert b"\r\nConnection: close\r\n" in await busy.closed()
        busy.send_eof()
        await server.shared.drained.wait()
        assert not server.shared.connections


@pytest.mark.parametrize(("handler", "content"), [(Applied(echo), b"GET /x ."), (Ready(), b"/x!")])
async def test_a_request_that_comes_whole_while_draining_is_the_last_one(
    handler: Handler, content: bytes
) -> None:
    with Server(handler) as server:
        client = server.connect()
        client.send((GET % b"x")[:-1])
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        client.send(b"\n")
        answer = await client.closed()
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(content)


async def test_draining_ends_a_connection_behind_an_answer_that_did_not_say_so() -> None:
    drained = ThreadEvent()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"first"
        assert_set(drained)
        yield b"last"

    with Server(Applied(application)) as server:
        client = server.connect()
        client.send(GET % b"")
        await client.receive(b"first\r\n")
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        drained.set()
        await client.receive(b"last\r\n0\r\n\r\n")
        assert not client.lost  # the client does not know yet
        server.pass_time(GRACE)
        await client.until(lambda: client.lost)


async def test_draining_answers_one_more_request_of_a_connection_that_idles() -> None:
    with Server(Ready()) as server:
        client = server.connect()
        client.send(GET % b"first")
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        server.pass_time(GRACE / 2)
        client.send(GET % b"last" + GET % b"never")
        answers = await client.closed()
        assert answers.count(b"HTTP/1.1 200") == 2
        assert answers.endswith(b"/last!")
        assert answers.count(b"\r\nConnection: close\r\n") == 1


async def test_draining_lets_a_slow_client_take_what_it_was_given() -> None:
    with Server(Paragraph(), timeouts=Timeouts(transfer=60, linger=5)) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        begin_to_drain(server.shared, Timeouts(transfer=60, linger=5), server.shared.now)
        for _ in range(4):
            server.pass_time(59)
            client.transport.take(15_000)
        assert not client.transport.aborted
        client.transport.take(10_200)
        await client.until(lambda: client.lost)


async def test_draining_answers_one_more_request_of_those_that_wait_for_their_turn() -> None:
    with Server(Ready()) as server:
        client = server.connect()
        client.send(b"".join(GET % b"%d" % number for number in range(100)))
        before = client.sent.count(b"HTTP/1.1 200")
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        answers = await client.closed()
        assert answers.count(b"HTTP/1.1 200") == before + 1
        assert answers.count(b"\r\nConnection: close\r\n") == 1


# Overload.


async def test_a_full_queue_is_answered_at_once_and_the_connection_kept() -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1, limits=Limits(queue=1)) as server:
        running, waiting, third = server.connect(), server.connect(), server.connect()
        running.send(GET % b"running")
        assert await happens(gate.entered)
        waiting.send(GET % b"waiting")
        third.send(GET % b"third")
        assert third.sent.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 1\r\n" in third.sent
        assert third.state == State.IDLE
        gate.open.set()
        await waiting.receive(b"GET /waiting .")
        third.send(POST % (b"again", 2) + b"a")
        third.send(b"b")
        await third.receive(b"POST /again ab.")


async def test_a_request_that_waits_too_long_for_a_thread_is_answered_and_the_connection_kept() -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1, timeouts=TIMEOUTS) as server:
        running, waiting = server.connect(), server.connect()
        running.send(GET % b"running")
        assert await happens(gate.entered)
        waiting.send(GET % b"waiting" + GET % b"again")
        await released()
        server.pass_time(31)
        answer = await waiting.receive(b"</html>\n")
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 1\r\n" in answer
        gate.open.set()
        await running.receive(b"GET /running .")
        await waiting.receive(b"GET /again .")


async def test_all_who_are_here_may_wait_for_the_disk_and_of_those_who_left_no_more() -> None:
    disk = ThreadEvent()
    with Server(LooksUp(Response(200, b"", b"found")), limits=Limits(queue=2)) as server:
        server.disk.submit(Errand(server.disk, lambda: assert_set(disk), lambda error: None))
        clients = [server.connect() for _ in range(5)]
        for client in clients:
            client.send(GET % b"")
        await released()
        assert not any(client.sent for client in clients)
        for client in clients[2:]:
            client.lose()
        late = server.connect()
        late.send(GET % b"")
        assert late.sent.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in late.sent
        disk.set()
        for client in clients[:2]:
            await client.receive(b"found")
        late.send(GET % b"")
        await late.receive(b"found")


async def test_a_request_that_waits_too_long_for_the_disk_is_answered_and_the_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = ThreadEvent()
    with Server(LooksUp(Response(200, b"", b"found")), timeouts=TIMEOUTS) as server:
        server.disk.submit(Errand(server.disk, lambda: assert_set(disk), lambda error: None))
        client, other = server.connect(), server.connect()
        client.send(GET % b"")
        server.pass_time(29)
        other.send(GET % b"")
        assert client.sent == b""
        server.pass_time(1)
        assert client.sent.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nRetry-After: 1\r\n" in client.sent
        assert client.state == State.CLOSING
        disk.set()
        await other.receive(b"found")
        assert b"found" not in client.sent
        assert "could not be delivered" not in caplog.text
        server.pass_time(50)  # which is the next request's, of which nothing has come
        assert other.state == State.IDLE
        assert client.transport.aborted


async def test_a_request_whose_client_left_takes_no_room_in_the_queue() -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1, limits=Limits(queue=1)) as server:
        running, leaving, third = server.connect(), server.connect(), server.connect()
        running.send(GET % b"running")
        assert await happens(gate.entered)
        leaving.send(GET % b"leaving")
        await released()
        leaving.lose()
        await released()
        third.send(GET % b"third")
        gate.open.set()
        await third.receive(b"GET /third .")


async def test_where_the_queue_fills_up_those_who_may_have_left_make_room() -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1, limits=Limits(queue=8)) as server:
        running = server.connect()
        running.send(GET % b"running")
        assert await happens(gate.entered)
        closing = [server.connect() for _ in range(12)]
        here = [server.connect() for _ in range(7)]

        async def until_refused(count: int) -> None:
            await running.until_true(lambda: sum(client.lost for client in closing) >= count)

        for number, client in enumerate(closing):
            client.send(GET % b"closing")
            client.send_eof()
            await until_refused(number - 5)
        for number, client in enumerate(here):
            client.send(GET % b"here")
            await until_refused(min(number + 7, 12))
        gate.open.set()
        for client in closing:
            assert client.sent.startswith(b"HTTP/1.1 503 ")
        for client in here:
            await client.receive(b"GET /here .")


async def test_who_sends_no_more_is_answered() -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1) as server:
        running, waiting = server.connect(), server.connect()
        running.send(GET % b"running")
        assert await happens(gate.entered)
        waiting.send(GET % b"waiting" + GET % b"pipelined")
        waiting.send_eof()
        gate.open.set()
        assert (await waiting.closed()).endswith(b"GET /pipelined .")


async def test_a_slow_reader_holds_no_thread() -> None:
    body = os.urandom(3_000_000)
    closed = ThreadEvent()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 10_000):
            yield body[start : start + 10_000]
        closed.set()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return pieces()

    # Without a file the thread would have to wait for a client that takes nothing.
    with Server(Applied(application), threads=1, limits=Limits(response_memory=len(body))) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        assert await happens(closed)
        other = server.connect()
        other.send(GET % b"other")
        await other.until(lambda: other.sent.endswith(body))
        while not client.sent.endswith(body[-100:]):
            await client.until(lambda: client.transport.held)
            client.transport.take(50_000)
        assert client.sent.endswith(body)


@pytest.mark.parametrize("file", [0, 20_000])
async def test_a_stream_goes_on_as_its_client_catches_up(file: int) -> None:
    pieces = [bytes([number]) * 10_000 for number in range(50)]
    limits = Limits(response_memory=1000, response_file=file)
    with Server(Applied(answering(iter(pieces), ("Content-Length", "500000"))), limits=limits) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        await client.until_paused()
        client.transport.blocked = False
        client.transport.take(500_000)
        await client.until(lambda: client.sent.endswith(pieces[-1]))
        assert client.sent.endswith(b"\r\n\r\n" + b"".join(pieces))


async def test_what_comes_while_a_file_is_sent_waits_behind_it() -> None:
    paused, in_file, disk, behind, gone_on, end = (ThreadEvent() for _ in range(6))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "110120")])
        yield b"a" * 100_000
        assert_set(paused)
        yield b"b" * 10_000  # waits in memory
        yield b"c" * 100  # goes to the file
        in_file.set()
        assert_set(behind)
        yield b"d" * 10
        gone_on.set()
        assert_set(end)
        yield b"e" * 10

    limits = Limits(response_memory=1000)
    with Server(Applied(application), limits=limits, timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        await client.until_paused()
        paused.set()
        assert await happens(in_file)
        server.disk.submit(Errand(server.disk, lambda: assert_set(disk), lambda error: None))
        client.transport.blocked = False
        client.transport.take(200_000)
        behind.set()
        assert await happens(gone_on)
        assert not client.sent.endswith(b"d" * 10)
        disk.set()
        answer = await client.receive(b"d" * 10)
        assert answer.endswith(b"a" * 100_000 + b"b" * 10_000 + b"c" * 100 + b"d" * 10)
        server.pass_time(299)  # for the application
        assert not client.transport.aborted
        end.set()
        await client.receive(b"e" * 10)
        assert client.transport.high > 0  # as it was before the file


# Lookups.


class Disk(Lookup):
    answered = False
    ran = False

    def __init__(self, found: Answer | Exception) -> None:
        self.found = found

    def run(self) -> None:
        if isinstance(self.found, RuntimeError):
            raise self.found

    def answer(self) -> Answer:  # type: ignore[override]
        self.answered = True
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class LooksUp:
    def __init__(self, found: Answer | Exception) -> None:
        self.found = found
        self.make: Callable[[Answer | Exception], Disk] = Disk
        self.lookups: list[Disk] = []

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        self.lookups.append(self.make(self.found))
        return self.lookups[-1]


async def test_a_lookup_answers_on_the_loop() -> None:
    with Server(LooksUp(Response(200, b"", b"found"))) as server:
        client = server.connect()
        client.send(GET % b"1" + GET % b"2")
        answers = await client.receive(b"found")
        if answers.count(b"found") == 1:
            await client.receive(b"found")


async def test_a_lookup_that_declines_leaves_it_to_the_next_handler() -> None:
    with Server(LooksUp(None), LooksUp(None), Applied(echo)) as server:
        client = server.connect()
        client.send(POST % (b"next", 4) + b"body")
        await client.receive(b"POST /next body.")


def looks_when_it_may(found: Answer) -> tuple[LooksUp, ThreadEvent]:
    handler, may_look = LooksUp(found), ThreadEvent()
    handler.make = lambda found: Same(found, may_look)
    return handler, may_look


async def test_content_of_a_request_that_nobody_takes_is_not_received() -> None:
    handler, may_look = looks_when_it_may(None)
    with Server(handler) as server:
        waiting, sending = server.connect(), server.connect()
        waiting.send(EXPECTING)
        sending.send(POST % (b"", 10_000_000) + b"x" * 100_000)
        assert not sending.transport.reading  # nobody knows yet what becomes of it
        assert waiting.sent == b""
        may_look.set()
        for client in (waiting, sending):
            answer = await client.closed()
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert b"\r\nConnection: close\r\n" in answer
            assert client.state == State.CLOSING
        await sending.until_reading()  # and throws away


async def test_content_is_received_once_it_is_known_who_takes_it() -> None:
    handler, may_look = looks_when_it_may(None)
    with Server(handler, Applied(echo)) as server:
        waiting, sending = server.connect(), server.connect()
        waiting.send(EXPECTING)
        sending.send(POST % (b"", 200_000) + b"x" * 100_000)
        may_look.set()
        await waiting.receive(b"100 Continue\r\n\r\n")
        waiting.send(b"body")
        await waiting.receive(b"POST / body.")
        await sending.until_reading()
        sending.send(b"y" * 100_000 + GET % b"next")
        assert b"POST / " + b"x" * 100_000 + b"y" * 100_000 + b"." in await sending.receive(b"GET /next .")


async def test_a_client_that_sends_no_more_while_somebody_looks_is_answered_if_it_has_sent_all() -> None:
    handler, may_look = looks_when_it_may(None)
    with Server(handler, Applied(echo)) as server:
        whole, broken = server.connect(), server.connect()
        whole.send(POST % (b"", 4) + b"body")
        broken.send(POST % (b"", 4) + b"bo")
        whole.send_eof()
        broken.send_eof()
        may_look.set()
        await whole.receive(b"POST / body.")
        await broken.until(lambda: broken.lost)
        assert broken.sent == b""
        await whole.until(lambda: whole.lost)


async def test_content_that_waits_for_a_hanging_disk_is_refused() -> None:
    handler, may_look = looks_when_it_may(None)
    with Server(handler, timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(POST % (b"", 4) + b"bo")
        server.pass_time(29)
        assert client.sent == b""
        server.pass_time(1)
        assert client.sent.startswith(b"HTTP/1.1 503 ")
        may_look.set()


async def test_a_lookup_may_refuse_or_fail(caplog: pytest.LogCaptureFixture) -> None:
    with Server(LooksUp(HTTPError(403))) as server:
        client = server.connect()
        client.send(GET % b"")
        assert (await client.receive(b"</html>\n")).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    with Server(LooksUp(RuntimeError("the disk is on fire"))) as server:
        client = server.connect()
        client.send(GET % b"")
        assert (await client.receive(b"</html>\n")).startswith(b"HTTP/1.1 500 ")
        assert client.state == State.IDLE
    assert "the disk is on fire" in caplog.text


async def test_what_a_client_that_left_had_looked_up_is_there_for_others() -> None:
    handler = LooksUp(Response(200, b"", b"found"))
    with Server(handler) as server:
        client, other = server.connect(), server.connect()
        client.send(GET % b"")
        client.lose()
        other.send(GET % b"")
        await other.receive(b"found")
        assert client.sent == b""
        assert all(lookup.answered for lookup in handler.lookups)


class Same(Disk):
    """Looks at what all others look at, once it may."""

    def __init__(self, found: Answer | Exception, may_look: ThreadEvent) -> None:
        super().__init__(found)
        self.may_look = may_look

    @property
    def subject(self) -> str:
        return "the same"

    def run(self) -> None:
        self.ran = True
        assert self.may_look.wait(WAIT)
        super().run()


class Knows(LooksUp):
    """Knows what was found."""

    def __init__(self, found: Response | RuntimeError) -> None:
        super().__init__(found)
        self.may_look = ThreadEvent()

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        if any(lookup.answered for lookup in self.lookups):
            assert isinstance(self.found, Response)
            return self.found
        self.lookups.append(Same(self.found, self.may_look))
        return self.lookups[-1]


async def test_a_crowd_that_asks_for_the_same_costs_one_look() -> None:
    handler = Knows(Response(200, b"", b"found"))
    with Server(handler) as server:
        crowd = [server.connect() for _ in range(10)]
        for client in crowd:
            client.send(GET % b"")
        crowd[0].lose()  # who looks for all of them
        crowd[1].lose()
        handler.may_look.set()
        for client in crowd[2:]:
            await client.receive(b"found")
        assert [lookup.ran for lookup in handler.lookups].count(True) == 1
        assert not crowd[0].sent
        assert not crowd[1].sent


class Known(Same):
    """Knows how to answer without a look."""

    @property
    def may_be_late(self) -> bool:
        return True

    def late(self) -> Response:
        return Response(200, b"", b"known")


async def test_what_is_known_is_given_where_a_disk_is_slow() -> None:
    may_look = ThreadEvent()
    handler = LooksUp(Response(200, b"", b"found"))
    handler.make = lambda found: Known(found, may_look)
    with Server(handler, timeouts=TIMEOUTS) as server:
        client, other = server.connect(), server.connect()
        client.send(GET % b"")
        other.send(GET % b"")  # while the first one waits for its look
        assert other.sent.endswith(b"known")
        server.pass_time(1)
        assert client.sent == b""
        server.pass_time(1)
        assert client.sent.endswith(b"known")
        assert client.state == State.IDLE
        may_look.set()
        await client.until_true(lambda: handler.lookups[0].answered)
        assert await client.receive(b"known")
        client.send(GET % b"")
        await client.receive(b"found")


async def test_what_is_known_is_given_where_too_many_wait_for_the_disk() -> None:
    disk = ThreadEvent()
    handler = LooksUp(Response(200, b"", b"found"))
    handler.make = lambda found: Known(found, disk)
    with Server(handler, limits=Limits(queue=1)) as server:
        for _ in range(3):  # of which one runs
            server.disk.submit(Errand(server.disk, lambda: assert_set(disk), lambda error: None))
        await released()
        client = server.connect()
        for _ in range(2):
            client.send(GET % b"")
            assert client.sent
            await client.receive(b"known")
        disk.set()
        assert not any(lookup.ran for lookup in handler.lookups)


async def test_where_that_look_fails_each_has_one_of_its_own() -> None:
    handler = Knows(RuntimeError("the disk is on fire"))
    handler.may_look.set()
    with Server(handler) as server:
        crowd = [server.connect() for _ in range(3)]
        for client in crowd:
            client.send(GET % b"")
        for client in crowd:
            assert (await client.receive(b"</html>\n")).startswith(b"HTTP/1.1 500 ")
        assert [lookup.ran for lookup in handler.lookups].count(True) == 3


# Deadlines.


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(GET % b"")
        await client.receive(b"GET / .")
        server.pass_time(74)
        assert client.state == State.IDLE
        server.pass_time(1)
        await client.until(lambda: client.lost)
        assert client.sent == b""


async def test_a_head_has_to_come_in_time_however_it_drips() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        client = server.connect()
        for byte in (GET % b"")[:19]:
            client.send(bytes([byte]))
            server.pass_time(1)
        assert client.sent == b""
        server.pass_time(1)
        assert client.sent.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert b"\r\nConnection: close\r\n" in client.sent


async def test_content_that_never_comes_is_given_up() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(POST % (b"", 10))
        server.pass_time(60)
        assert client.sent.startswith(b"HTTP/1.1 408 ")


async def test_content_that_stops_is_given_up() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(POST % (b"", 100_000) + b"0")
        server.pass_time(59)
        client.send(b"1" * 60 * 240)
        server.pass_time(59)
        assert client.sent == b""
        server.pass_time(1)
        assert client.sent.startswith(b"HTTP/1.1 408 ")


async def test_content_has_to_come_at_the_least_rate_however_it_drips() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        dripping, slow = server.connect(), server.connect()
        dripping.send(POST % (b"", 100_000))
        slow.send(POST % (b"", 500 * 240))
        for _ in range(79):
            dripping.send(b"x" * 60)  # a quarter of the least rate
            slow.send(b"x" * 240)
            server.pass_time(1)
        assert dripping.sent == b""
        dripping.send(b"x" * 60)
        server.pass_time(1)  # a quarter of the way, 60 seconds lasted for 80
        assert dripping.sent.startswith(b"HTTP/1.1 408 ")
        for _ in range(500 - 79):
            slow.send(b"x" * 240)
            server.pass_time(1)
        await slow.receive(b".")


async def test_chunks_without_content_are_no_progress() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(62):
            if client.state == State.ANSWERING:
                client.send(b"1;x=%b\r\nx\r\n" % (b"y" * 10))
                server.pass_time(1)
        assert client.sent.startswith(b"HTTP/1.1 408 ")


async def test_a_pause_is_forgiven_once_and_again_where_much_came_between() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(POST % (b"", 50_002))
        for _ in range(5):
            server.pass_time(59)
            client.send(b"x" * 10_000)  # it was owed 41 seconds for that, and has 59 of them
            server.pass_time(18)
            client.send(b"x")
            if client.state == State.CLOSING:
                break
        assert client.sent.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("min_rate", [0, 1])
async def test_without_a_least_rate_a_byte_is_enough(min_rate: int) -> None:
    timeouts = Timeouts(transfer=60, min_rate=min_rate)
    with Server(Applied(echo), timeouts=timeouts) as server:
        client = server.connect()
        client.send(POST % (b"", 10))
        for _ in range(9):
            server.pass_time(30)
            client.send(b"x")
        assert (client.sent == b"") == (min_rate == 0)
        if min_rate == 0:
            client.send(b"x")
            await client.receive(b".")


async def test_a_disk_that_is_slow_is_not_the_clients_fault_and_no_new_beginning() -> None:
    disk = ThreadEvent()
    with Server(Applied(echo), timeouts=TIMEOUTS, limits=Limits(content_memory=1000)) as server:
        client = server.connect()
        client.send(POST % (b"", 100_000))
        server.pass_time(50)
        server.disk.submit(Errand(server.disk, lambda: assert_set(disk), lambda error: None))
        client.send(b"x" * 1200)  # 5 seconds
        server.pass_time(10_000)
        disk.set()
        await client.until_reading()
        server.pass_time(14)
        assert client.sent == b""
        server.pass_time(1)
        assert client.sent.startswith(b"HTTP/1.1 408 ")


async def test_content_that_stops_behind_its_file_is_given_up() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS, limits=Limits(content_memory=1000)) as server:
        client = server.connect()
        client.send(POST % (b"", 10_000) + b"x" * 5000)
        await client.until_reading()
        server.pass_time(60)
        assert client.sent.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("ranges", [1, 2])
async def test_a_client_that_takes_all_of_a_file_but_its_end_is_cut(ranges: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 200_000)
        file.flush()
        pieces = [FileRange(file, 0, 1000), FileRange(file, 0, 200_000)][-ranges:]
        with Server(LooksUp(Response(200, b"", Parts(pieces))), timeouts=TIMEOUTS) as server:
            client = server.connect()
            transport = client.transport
            transport.blocked = True
            client.send(GET % b"")
            while (left := sum(map(len, pieces)) - client.sent.count(b"x")) > 40_000:
                await client.until(lambda: transport.held)
                transport.take(left - 40_000 if left < len(transport.held) + 40_000 else len(transport.held))
            assert len(transport.held) == 40_000
            server.pass_time(61)  # to see that it has taken what it has
            server.pass_time(61)
            assert transport.aborted


async def test_an_application_may_take_its_time() -> None:
    gate = Gate()
    with Server(Applied(gate), timeouts=TIMEOUTS) as server:
        client, other = server.connect(), server.connect()
        client.send(GET % b"")
        other.send(POST % (b"", 2) + b"a")
        other.send(b"b")
        server.pass_time(299)
        gate.open.set()
        await client.receive(b"GET / .")
        await other.receive(b"POST / ab.")


async def test_an_application_that_is_silent_too_long_is_answered_for_and_the_connection_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1, timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(GET % b"hangs" + GET % b"next")
        assert await happens(gate.entered)
        server.pass_time(1)
        server.pass_time(301)
        assert b"\r\n\r\n" in await client.receive(b"</html>\n")
        # The next request has the thread that stands in.
        gate.open.set()
        await client.receive(b"GET /next .")
        assert client.state == State.IDLE
    assert "GET /hangs has got no further for 301 s and is given up" in caplog.text


async def test_the_answer_of_an_application_that_was_given_up_is_thrown_away_and_closed() -> None:
    entered, gate, closed = ThreadEvent(), ThreadEvent(), ThreadEvent()

    def pieces() -> Iterator[bytes]:
        try:
            entered.set()
            assert_set(gate)
            yield b"too late"
            yield b"much too late"
        finally:
            closed.set()

    with Server(Applied(answering(pieces())), threads=1, timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(GET % b"hangs")
        assert await happens(entered)
        server.pass_time(1)
        server.pass_time(301)
        answer = await client.receive(b"</html>\n")
        assert answer.startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        gate.set()
        assert await happens(closed)
        client.send(b"GET / HTTP/1.1\r\n")
        server.pass_time(20)
        assert (await client.closed()).startswith(b"HTTP/1.1 408 ")
        assert b"too late" not in client.sent


async def test_an_answer_that_stops_in_its_middle_is_cut() -> None:
    gate = ThreadEvent()

    def pieces() -> Iterator[bytes]:
        yield b"begun"
        assert_set(gate)

    with Server(Applied(answering(pieces())), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(GET % b"")
        await client.receive(b"begun\r\n")
        server.pass_time(299)
        assert client.state == State.ANSWERING
        server.pass_time(300)
        await client.until(lambda: client.lost)
        assert client.sent == b""  # no chunk that says that this was all
        gate.set()


async def test_an_answer_that_goes_on_is_not_cut() -> None:
    gate: SimpleQueue[bytes] = SimpleQueue()

    with Server(Applied(answering(iter(gate.get, b""))), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(GET % b"")
        for _ in range(5):
            gate.put(b"more")
            await client.receive(b"more\r\n")
            server.pass_time(299)
        gate.put(b"")
        await client.receive(b"0\r\n\r\n")


async def test_an_application_that_hangs_when_its_client_has_left_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    with Server(Applied(gate), threads=1, timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(GET % b"hangs")
        assert await happens(gate.entered)
        client.lose()
        server.pass_time(1)
        server.pass_time(301)
        gate.open.set()
        other = server.connect()
        other.send(GET % b"other")
        await other.receive(b"GET /other .")
    assert "GET /hangs has got no further" in caplog.text


async def test_a_reader_that_stops_is_cut_and_a_slow_one_is_not() -> None:
    with Server(Applied(answering(b"x" * 1_000_000)), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        await client.until_paused()
        for _ in range(5):
            server.pass_time(59)
            client.transport.take(60 * 240)
            server.pass_time(1)
            assert not client.transport.aborted
        server.pass_time(60)
        assert client.transport.aborted
        assert client.transport.socket.reset, "the kernel holds what the client does not take"


async def test_an_answer_in_one_piece_is_not_over_before_it_is_taken() -> None:
    with Server(Applied(answering(b"x" * 100_000)), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        await client.until_paused()
        assert client.state == State.ANSWERING
        server.pass_time(60)
        assert client.transport.aborted


async def test_an_answer_has_to_be_taken_at_the_least_rate_however_it_drips() -> None:
    with Server(Applied(answering(b"x" * 1_000_000)), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        await client.until_paused()
        for _ in range(79):
            client.transport.take(60)
            server.pass_time(1)
        assert not client.transport.aborted
        for _ in range(2):
            client.transport.take(60)
            server.pass_time(1)
        assert client.transport.aborted


async def test_a_client_that_catches_up_now_and_then_is_too_slow_all_the_same() -> None:
    """Each time the transport has room for more of a long answer is no new beginning."""
    pieces = (b"x" * RUN for _ in range(10))  # each of them by itself as much as is written at once
    timeouts, limits = Timeouts(transfer=60, min_rate=RUN // 7), Limits(response_memory=2 * 10 * RUN)
    with Server(Applied(answering(pieces)), timeouts=timeouts, limits=limits) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        for _ in range(4):
            await client.until_paused()
            server.pass_time(19)  # 12 of them too many
            client.transport.take(len(client.transport.held))
        await client.until_paused()
        server.pass_time(12)
        assert not client.transport.aborted
        server.pass_time(1)
        assert client.transport.aborted


async def test_a_client_that_was_slow_has_all_its_time_for_the_next_answer() -> None:
    with Server(Applied(answering(b"x" * 100_000)), timeouts=TIMEOUTS) as server:
        client = server.connect()
        for _ in range(3):
            client.transport.blocked = True
            client.send(GET % b"")
            await client.until_paused()
            server.pass_time(59)
            assert not client.transport.aborted
            client.transport.take(len(client.transport.held))
            await client.until_true(lambda: client.state == State.IDLE)


async def test_asyncios_transport_is_not_closed_while_it_tells_of_room() -> None:
    with Server(Applied(answering(b"x" * 100_000))) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await client.until_paused()
        client.transport.take(200_000)
        assert not client.transport.closing
        assert (await client.closed()).endswith(b"x")


async def test_a_client_that_has_caught_up_is_slow_no_longer() -> None:
    caught_up = ThreadEvent()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"x" * 100_000
        assert_set(caught_up)
        yield b"y" * 100_000

    with Server(Applied(application), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(GET % b"")
        await client.until_paused()
        client.transport.take(200_000)
        await asyncio.sleep(0)  # the turn in which asyncio's transport may be written to again
        server.pass_time(299)  # for the application
        assert not client.transport.aborted
        caught_up.set()
        await client.until_paused()
        client.transport.blocked = False
        client.transport.take(200_000)
        await client.receive(b"0\r\n\r\n")
        await client.until_true(lambda: client.state == State.IDLE)
        server.pass_time(75)
        assert client.transport.closing


async def test_a_refused_client_may_go_on_sending_for_a_while_only() -> None:
    with Server(Applied(echo), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(b"nonsense\r\n")
        for _ in range(4):
            client.send(b"more")
            server.pass_time(1)
        assert not client.lost
        server.pass_time(1)
        assert client.transport.aborted


async def test_a_last_answer_that_is_taken_slowly_is_not_cut() -> None:
    with Server(Applied(answering(b"x" * 60_000)), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.transport.blocked = True
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await client.until(lambda: client.transport.closing)
        server.pass_time(6)
        assert not client.transport.aborted
        client.transport.take(100_000)
        assert client.lost


async def test_content_to_read_past_has_to_come_in_time() -> None:
    with Server(Ready(), timeouts=TIMEOUTS) as server:
        client = server.connect()
        client.send(POST % (b"", 100))
        for _ in range(60):
            client.send(b"x")
            server.pass_time(1)
        assert client.state == State.CLOSING


# The access log.


async def test_the_bytes_of_a_file_are_logged() -> None:
    read, write = os.pipe()
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 1000)
        file.flush()
        with Server(LooksUp(Response(200, b"", FileRange(file, 0, 1000))), log=write) as server:
            client = server.connect()
            client.send(GET % b"")
            answer = await client.receive(b"x" * 1000)
            await client.until_true(lambda: client.state == State.IDLE)
            assert server.shared.access_log is not None
            server.shared.access_log.finish()
    assert f' 200 {len(answer)} "-"' in os.read(read, 10_000).decode()
    os.close(read)
    os.close(write)


async def test_every_answer_is_logged() -> None:
    read, write = os.pipe()
    with Server(Ready(), log=write) as server:
        client = server.connect()
        client.send(b"GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: me\r\n\r\n")
        client.send(b"nonsense\r\n")
        other = server.connect()
        other.send(b"PUT /b?c HTTP/1.0\r\nContent-Length: many\r\n\r\n")
        assert server.shared.access_log is not None
        server.shared.access_log.finish()
    lines = os.read(read, 10_000).decode().splitlines()
    os.close(read)
    os.close(write)
    first, end, second = client.sent.partition(b"/a!")
    assert len(lines) == 3
    assert lines[0].startswith("192.0.2.1 - - [")
    assert f'"GET /a HTTP/1.1" 200 {len(first + end)} "-" "me" ' in lines[0]
    # Nobody knows when it began.
    assert lines[1].endswith(f'"- - HTTP/1.1" 400 {len(second)} "-" "-" 0.0000')
    assert '"PUT /b?c HTTP/1.0" 400 ' in lines[2]


class ResetTransport(MemoryTransport):
    """A transport as asyncio's is, whose client has reset the connection; it has not been told yet."""

    def write_eof(self) -> None:
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")


async def test_a_client_that_leaves_while_it_is_refused_is_no_error() -> None:
    with Server(Applied(echo)) as server:
        client = server.connect()
        client.transport = ResetTransport(client)
        client.connection.connection_made(client.transport)
        client.send(b"\0")
        assert client.state == State.CLOSING
        assert client.transport.reading  # or nobody would be told
