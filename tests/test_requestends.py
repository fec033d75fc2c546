"""What a function of the operator's is told of each answer, and that nobody waits for it."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from aiowsgi.config import Limits
from aiowsgi.http.messages import UNREAD, Request
from aiowsgi.http.parser import Parser
from aiowsgi.observe import requestends
from aiowsgi.observe.requestends import LONGEST_PATH, MOST_WAITING, RequestEnd, RequestEnds
from aiowsgi.site.build import Mounted
from aiowsgi.wsgi.rewriting import Rules
from aiowsgi.wsgi.timing import TimedCall
from tests.thread_server import Peer, get, serving
from tests.turned_loop import WAIT, TurnedLoop
from tests.wire_client import Gate, Server, echo


def request(target: str = "/") -> Request:
    found = Parser(Limits()).head(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert found is not None
    return found[0]


def log_on(loop: TurnedLoop, function: Callable[[RequestEnd], object]) -> RequestEnds:
    return RequestEnds(function, loop.pool.submit, loop.pool.hand_over)


def write(log: RequestEnds, target: str = "/") -> None:
    log.write("192.0.2.1", request(target), 200, 100, 0.5)


def test_it_is_told_of_each_answer_in_order() -> None:
    ends: list[RequestEnd] = []
    with TurnedLoop() as loop:
        log = log_on(loop, ends.append)
        for number in range(10):
            write(log, f"/{number}?query")
        log.write("", UNREAD, 400, 50, 0.0)
        loop.until(lambda: len(ends) == 11)
    assert [end.path for end in ends[:10]] == [f"/{number}" for number in range(10)]
    assert ends[0] == ("GET", "/0", 200, 100, 0.5, 0.0, 0.0)
    assert ends[10][:4] == ("-", "-", 400, 50)


def test_what_it_is_told_is_bounded() -> None:
    ends: list[RequestEnd] = []
    with TurnedLoop() as loop:
        write(log_on(loop, ends.append), "/" + "x" * 5000)
        loop.until(lambda: ends)
    assert len(ends[0].path) == LONGEST_PATH


def test_past_the_most_that_may_wait_answers_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends: list[RequestEnd] = []
    held, go = Event(), Event()

    def function(end: RequestEnd) -> None:
        held.set()
        assert go.wait(WAIT)
        ends.append(end)

    with TurnedLoop() as loop:
        log = log_on(loop, function)
        write(log)
        loop.turn()
        assert held.wait(WAIT)
        for _ in range(MOST_WAITING + 5):
            write(log)
        go.set()
        loop.until(lambda: len(ends) == 1 + MOST_WAITING)
    assert "on_request_end is too slow: it was not told of 5 answers" in caplog.text


def test_what_it_raises_stops_nothing_and_is_told_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR)
    ends: list[RequestEnd] = []

    def function(end: RequestEnd) -> None:
        ends.append(end)
        raise SystemExit(1) if len(ends) % 2 else ValueError("as it was asked to")

    with TurnedLoop() as loop:
        log = log_on(loop, function)
        for number in range(100):
            write(log, f"/{number}")
        loop.until(lambda: len(ends) == 100)
        assert [end.path for end in ends] == [f"/{number}" for number in range(100)]
        assert caplog.text.count("on_request_end has failed") == 1
        monkeypatch.setattr(requestends, "PAUSE", 0)
        write(log)
        loop.until(lambda: len(ends) == 101)
    assert "on_request_end has failed 100 times" in caplog.text


def test_what_waits_at_the_end_is_told() -> None:
    ends: list[RequestEnd] = []
    with TurnedLoop() as loop:
        log = log_on(loop, ends.append)
        for _ in range(10):
            write(log)
        log.finish()
    assert len(ends) == 10


# On the wire.


class Ends:
    """The function, for a test that waits for what it is told."""

    def __init__(self) -> None:
        self.all: list[RequestEnd] = []
        self._told = Event()
        self._count = 0

    def __call__(self, end: RequestEnd) -> None:
        self.all.append(end)
        self._told.set()

    def until(self, count: int) -> list[RequestEnd]:
        while len(self.all) < count:
            assert self._told.wait(WAIT)
            self._told.clear()
        return self.all


async def test_it_is_told_how_long_a_request_has_waited_and_run() -> None:
    gate, ends = Gate(), Ends()
    handler = Mounted(gate, partial(TimedCall, Rules()))
    with Server(handler, threads=1) as server:
        server.shared.log = RequestEnds(ends, server.disk.submit, server.disk.hand_over)
        first, second, third = server.connect(), server.connect(), server.connect()
        first.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        server.now = monotonic()  # when it is queued, in the loop's next turn
        assert await asyncio.to_thread(gate.entered.wait, WAIT)
        second.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        server.now = monotonic()  # when it is queued, in the loop's next turn
        third.send(b"nonsense\r\n\r\n")
        begin = monotonic()
        assert [end[:3] for end in await asyncio.to_thread(ends.until, 1)] == [("-", "-", 400)]
        held = monotonic() - begin
        gate.open.set()
        sizes = [len(await client.receive(b".")) for client in (first, second)]
        _, running, waiting = await asyncio.to_thread(ends.until, 3)
    assert [end[:4] for end in (running, waiting)] == [
        ("GET", "/first", 200, sizes[0]),
        ("GET", "/second", 200, sizes[1]),
    ]
    assert running.application_seconds > held
    assert waiting.queue_seconds > held
    for end in (running, waiting):
        assert min(end.queue_seconds, end.application_seconds) > 0
        assert end.queue_seconds + end.application_seconds <= end.seconds


def test_it_is_told_of_a_client_that_has_left() -> None:
    gate, ends = Gate(), Ends()
    with serving(gate, on_request_end=ends) as server:
        with Peer(server.server_address) as peer:
            peer.send(get("/left"))
            assert gate.entered.wait(WAIT)
            peer.reset()
            (end,) = ends.until(1)
        gate.open.set()
    assert (end.path, end.status) == ("/left", 499)
    assert end.application_seconds > 0


def test_a_slow_function_holds_up_no_answer() -> None:
    go = Event()
    ends: list[RequestEnd] = []

    def function(end: RequestEnd) -> None:
        assert go.wait(WAIT)
        ends.append(end)

    with serving(echo, on_request_end=function) as server, Peer(server.server_address) as peer:
        for _ in range(50):
            assert peer.get("/").status == 200
        assert not ends
        go.set()
    assert len(ends) == 50


def test_with_the_access_log_both_are_told(tmp_path: Path) -> None:
    ends, log = Ends(), tmp_path / "log"
    with (
        serving(echo, on_request_end=ends, access_log=str(log)) as server,
        Peer(server.server_address) as peer,
    ):
        peer.get("/both")
    assert [end.path for end in ends.all] == ["/both"]
    assert '"GET /both HTTP/1.1" 200 ' in log.read_text()
