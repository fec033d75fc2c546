"""One worker: how it begins, how it drains, and what it leaves behind."""

import asyncio
import gc
import json
import os
import resource
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as threads
from time import monotonic
from typing import Any, Self
from weakref import ref
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from aiowsgi.config import Config
from aiowsgi.http.messages import Request
from aiowsgi.observe.accesslog import open_log
from aiowsgi.server.listeners import close_listeners, open_listeners
from aiowsgi.server.shared import Served
from aiowsgi.server.sweep import sweep
from aiowsgi.server.worker import Worker
from aiowsgi.site.router import Answer, Handler, Router
from aiowsgi.wsgi.application import Call
from tests.server import RunningServer
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, Applied, Gate, Server, echo

CLOSE = get("/", "Connection: close")


class Running:
    """A worker in a thread."""

    def __init__(self, handler: Handler, life: int | None = None, **settings: Any) -> None:
        self.listeners = open_listeners(["127.0.0.1:0"])
        self.address: tuple[str, int] = self.listeners[0].getsockname()
        self.config = Config(**settings)
        self.router = Router([("", handler)])
        self.life = life
        self.ready = Event()

    def __enter__(self) -> Self:
        self.log = None if self.config.access_log is None else open_log(self.config.access_log)
        self.worker = Worker(self.config, self.listeners, self.router, self.log)
        self.thread = Thread(target=self.worker.run, args=(self.ready.set, self.life))
        self.thread.start()
        assert self.ready.wait(WAIT)
        return self

    def __exit__(self, *error: object) -> None:
        self.worker.stop()
        self.join()
        close_listeners(self.listeners)
        if self.log is not None:
            os.close(self.log)

    @contextmanager
    def again(self) -> Iterator[None]:
        """Run a second worker behind this one, on the same listeners."""
        worker = Worker(self.config, self.listeners, self.router)
        thread = Thread(target=worker.run, args=(lambda: None,))
        thread.start()
        try:
            yield
        finally:
            worker.stop()
            thread.join(WAIT)
            assert not thread.is_alive()

    def join(self) -> None:
        self.thread.join(WAIT)
        assert not self.thread.is_alive()

    def connect(self) -> Peer:
        return Peer(self.address)


def drained(peer: Peer) -> bytes:
    """Return what comes until the server closes; then close, too."""
    with peer:
        return peer.rest()


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# Beginning.


def test_it_is_ready_when_connections_are_accepted(loop: str) -> None:
    with Running(Applied(echo), loop=loop) as running, running.connect() as peer:
        assert peer.get("/x").content == b"GET /x ."


def test_a_stop_before_it_runs_is_not_lost(loop: str) -> None:
    listeners = open_listeners(["127.0.0.1:0"])
    worker = Worker(Config(loop=loop), listeners, Router([("", Applied(echo))]))
    worker.stop()
    worker.stop()
    worker.run(lambda: None)
    worker.stop()  # nor does one behind the end do harm
    close_listeners(listeners)


def test_listeners_stay_open_for_those_who_come_later(loop: str) -> None:
    with Running(Applied(echo), loop=loop) as running:
        running.worker.stop()
        running.join()
        with running.connect() as waiting:
            waiting.send(get("/later"))
            with running.again():
                assert waiting.answer().content == b"GET /later ."
                waiting.socket.close()


def test_deadlines_are_looked_at_and_none_comes_early(loop: str) -> None:
    with (
        Running(Applied(echo), loop=loop, keep_alive_timeout=1, head_timeout=0.01) as running,
        running.connect() as idle,
        running.connect() as slow,
    ):
        slow.send(get("/")[:-1])
        end = monotonic() + 0.5  # half-way between two looks
        while (begin := monotonic()) < end:
            assert idle.get("/").status == 200
            last = begin
        assert idle.rest() == b""
        assert monotonic() >= last + 1
        assert slow.answer().status == 408
        assert slow.rest() == b""


class Expiring(Served):
    """A connection whose deadline has always passed, and which cannot read on."""

    def __init__(self, times: int, fails: str = "") -> None:
        """``done`` is set when it has expired so many ``times``; ``fails`` is the method that does."""
        self.deadline = 0.0
        self.done = asyncio.Event()
        self.cut = False
        self._times = times
        self._fails = fails

    def expire(self) -> None:
        self._times -= 1
        if not self._times:
            self.done.set()
        self._do("expire")

    def look(self) -> None:
        self._do("look")

    def _do(self, method: str) -> None:
        if method == self._fails:
            raise OSError("the client has left")

    def drain(self) -> None: ...

    def abort(self) -> None:
        self.cut = True


@pytest.mark.parametrize("fails", ["expire", "look"])
async def test_a_connection_that_fails_takes_away_nobody_elses_deadline(
    caplog: pytest.LogCaptureFixture, fails: str
) -> None:
    with Server() as server:
        failing, other = Expiring(2, fails), Expiring(2)
        server.shared.connections = dict.fromkeys((failing, other))
        server.shared.unread = {failing, other}
        sweeping = asyncio.create_task(sweep(server.shared, 0.001))
        async with asyncio.timeout(WAIT):
            await failing.done.wait()
            await other.done.wait()
        sweeping.cancel()
    assert failing.cut
    assert not other.cut
    assert "could not deal with its deadline" in caplog.text


async def test_a_look_that_fails_takes_away_nobody_elses(caplog: pytest.LogCaptureFixture) -> None:
    looks = 0

    def fail() -> None:
        raise OSError("no such file")

    def look() -> None:
        nonlocal looks
        looks += 1

    with Server() as server:
        connection = Expiring(2)
        server.shared.connections = {connection: None}
        sweeping = asyncio.create_task(sweep(server.shared, 0.001, fail, look))
        async with asyncio.timeout(WAIT):
            await connection.done.wait()
        sweeping.cancel()
    assert looks >= 2
    assert "has failed, and is tried again" in caplog.text


# Draining.


def test_the_request_in_flight_is_answered_as_the_last_one(loop: str) -> None:
    gate = Gate()
    with Running(Applied(gate), loop=loop) as running, running.connect() as idle:
        with running.connect() as busy:
            busy.send(get("/busy") + get("/never"))
            assert gate.entered.wait(WAIT)
            running.worker.stop()
            assert idle.rest() == b""
            gate.open.set()
            answer = busy.answer()
            assert answer.content == b"GET /busy ."
            assert answer.fields["connection"] == "close"
            assert busy.rest() == b""
        running.join()


def test_content_on_its_way_is_waited_for(loop: str) -> None:
    with Running(Applied(echo), loop=loop) as running, running.connect() as idle:
        with running.connect() as busy:
            busy.send(get("/before") + b"POST /busy HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
            assert busy.answer().content == b"GET /before ."
            running.worker.stop()
            assert idle.rest() == b""
            busy.send(b"def")
            answer = busy.answer()
            assert answer.content == b"POST /busy abcdef."
            assert answer.fields["connection"] == "close"
        running.join()


def test_whoever_comes_at_the_last_moment_is_answered_or_left_to_others(loop: str) -> None:
    """Accepting, reading and stopping fall into one turn of the loop here."""
    entered, go_on = Event(), Event()

    class HoldsTheLoop:
        def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
            if request.path == "/hold":
                entered.set()
                assert go_on.wait(WAIT)
            return Call(echo, request, script_name, path_info)

    with Running(HoldsTheLoop(), loop=loop) as running, ExitStack() as stack:
        holding = stack.enter_context(running.connect())
        holding.send(get("/hold", "Connection: close"))
        assert entered.wait(WAIT)
        peers = [stack.enter_context(running.connect()) for _ in range(10)]
        for peer in peers:
            peer.send(get("/x", "Connection: close"))
        running.worker.stop()
        go_on.set()
        assert holding.answer().content == b"GET /hold ."
        running.join()
        with running.again():
            for peer in peers:
                assert peer.answer().content == b"GET /x ."


def test_the_end_of_its_life_descriptor_makes_it_drain(loop: str) -> None:
    life, life_end = os.pipe()
    gate = Gate()
    with Running(Applied(gate), life, loop=loop) as running, running.connect() as idle:
        with running.connect() as busy:
            busy.send(get("/busy"))
            assert gate.entered.wait(WAIT)
            os.write(life_end, b"no end")
            gate.open.set()
            assert busy.answer().content == b"GET /busy ."
            assert idle.get("/idle").content == b"GET /idle ."
            os.close(life_end)
            assert busy.rest() == idle.rest() == b""
        running.join()
    os.close(life)
    gc.unfreeze()  # the worker took the process for its own


def test_what_does_not_end_in_time_is_cut(
    loop: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    log = tmp_path / "log"
    with (
        Running(Applied(gate), loop=loop, graceful_timeout=0.05, access_log=str(log)) as running,
        running.connect() as one,
        running.connect() as other,
    ):
        for peer in (one, other):
            peer.send(get("/endless"))
            assert gate.entered.wait(WAIT)
            gate.entered.clear()
        running.worker.stop()
        assert one.rest() == other.rest() == b""
        gate.open.set()
        running.join()
    assert caplog.messages[0] == "2 connections did not end in time and are cut"
    assert all(message.startswith("GET /endless has got no further for") for message in caplog.messages[1:])
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    assert all('"GET /endless HTTP/1.1" 499 ' in line for line in lines)


def test_a_thread_that_waits_for_a_slow_client_is_freed_by_the_cut(
    loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    closed = Event()

    def pieces() -> Iterator[bytes]:
        try:
            while True:
                yield bytes(1 << 20)
        finally:
            closed.set()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return pieces()

    with (
        Running(Applied(application), loop=loop, graceful_timeout=0.05) as running,
        running.connect() as slow,
    ):
        slow.send(get("/endless"))
        slow.until(b"\r\n\r\n")
        running.worker.stop()
        running.join()
        assert closed.is_set()
    assert caplog.messages[0] == "1 connections did not end in time and are cut"


def test_an_application_that_never_returns_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    with Running(Applied(gate), graceful_timeout=0.05) as running, running.connect() as busy:
        busy.send(get("/"))
        assert gate.entered.wait(WAIT)
        running.worker.stop()
        running.join()
        _, left = caplog.messages
        assert left.startswith("a thread is left behind: GET / ")
        assert ", in __call__\n" in left
        gate.open.set()


# In the program of somebody else.


def test_it_leaves_the_garbage_of_its_program_to_the_collector() -> None:
    class Node:
        itself: "Node"

    node = Node()
    node.itself = node
    seen = ref(node)
    with serving(echo) as server, Peer(server.server_address) as peer:
        peer.get("/")
    del node
    gc.collect()
    assert seen() is None


# The access log.


def test_the_access_log_is_complete_at_the_end(loop: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("what was there before\n")
    with (
        serving(echo, loop=loop, access_log=str(log)) as server,
        Peer(server.server_address) as peer,
    ):
        peer.send(b"".join(get(f"/{number}") for number in range(499)) + CLOSE)
        assert peer.rest().count(b"HTTP/1.1 200 OK") == 500
    before, *lines = log.read_text().splitlines()
    assert before == "what was there before"
    assert [line.split()[6] for line in lines] == [*(f"/{number}" for number in range(499)), "/"]


def test_the_access_log_on_standard_output_is_complete_at_the_end(loop: str) -> None:
    with RunningServer("tests.wire_client:echo", "--access-log", "-", "--loop", loop) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.send(b"".join(get(f"/{number}") for number in range(499)) + CLOSE)
            assert peer.rest().count(b"HTTP/1.1 200 OK") == 500
        assert server.stop() == 0
        assert server.log().count('HTTP/1.1" 200 ') == 500


def test_an_access_log_that_nobody_reads_holds_up_neither_the_worker_nor_its_end(
    loop: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    os.mkfifo(log)
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    before = set(threads())
    with Running(Applied(echo), loop=loop, access_log=str(log)) as running, running.connect() as peer:
        for _ in range(30):  # more than a pipe holds
            assert peer.get("/" + "a" * 8000).status == 200
        running.worker.stop()
        assert peer.rest() == b""
        running.join()
        assert caplog.messages == ["the access log is not read, and its last lines are left out"]
        left_behind = set(threads()) - before
        while any(
            thread.is_alive() for thread in left_behind
        ):  # or it would tell the next test of a broken pipe
            with suppress(BlockingIOError):
                os.read(reader, 1 << 20)
    os.close(reader)


# Processes.


APPLICATION = """\
import json, os, threading

def application(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        # Each of these waits for the test to open the other end.
        with open("entered", "w"), open("leave"):
            pass
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "multiprocess": environ["wsgi.multiprocess"]}).encode()]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    os.mkfifo(tmp_path / "entered")
    os.mkfifo(tmp_path / "leave")
    return tmp_path


def pid_of(peer: Peer) -> int:
    pid: int = json.loads(peer.get("/").content)["pid"]
    return pid


def test_sigterm_drains(project: Path, loop: str) -> None:
    with RunningServer("app:application", "--loop", loop, cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as idle, Peer(address) as busy:
            idle.get("/")
            busy.send(get("/wait"))
            with open(project / "entered"):
                os.kill(server.pid, signal.SIGTERM)
                assert idle.rest() == b""
                with pytest.raises(ConnectionRefusedError):
                    Peer(address)  # nobody has to wait for a server that will not serve
                with open(project / "leave", "w"):
                    pass
            answer = busy.answer()
            assert answer.status == 200
            assert answer.fields["connection"] == "close"
            assert busy.rest() == b""
        # Behind the block: exit status 0.


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs to lower the limit of another process")
def test_a_worker_without_descriptors_serves_whom_it_has_and_recovers(project: Path) -> None:
    with RunningServer("app:application", "--loop", "uvloop", cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as first:
            pid = pid_of(first)
            most = len(os.listdir(f"/proc/{pid}/fd")) + 5
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
            with ExitStack() as stack:
                # It sees all of them at once: after its next look at its descriptors the others would have to wait.
                os.kill(pid, signal.SIGSTOP)
                peers = [stack.enter_context(Peer(address)) for _ in range(20)]
                for peer in peers:
                    peer.send(get("/"))
                os.kill(pid, signal.SIGCONT)
                served = 0
                for peer in peers:
                    with suppress(ConnectionError):
                        served += peer.until(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
                assert served == 5
                assert pid_of(first) == pid
            for _ in range(3):  # turns of its loop, in which it sees that the others have left
                assert pid_of(first) == pid
            with Peer(address) as later:
                assert pid_of(later) == pid


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs to lower the limit of another process")
def test_where_no_descriptor_is_left_asyncio_says_so_once_a_second(project: Path) -> None:
    with RunningServer("app:application", "--loop", "asyncio", cwd=project) as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        with Peer(address) as first:
            pid = pid_of(first)
            most = len(os.listdir(f"/proc/{pid}/fd")) + 20
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
            for _ in range(50):
                stack.enter_context(Peer(address))
            begin = monotonic()
            server.until("Too many open files")
            assert pid_of(first) == pid
            stack.close()
            with Peer(address) as later:
                assert pid_of(later) == pid
        assert server.log().count("Too many open files") <= 2 + (monotonic() - begin)


def test_workers_share_the_port(project: Path, loop: str) -> None:
    with RunningServer("app:application", "--loop", loop, "--workers", "2", cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as first, Peer(address) as later:
            assert json.loads(first.get("/").content)["multiprocess"]
            pid = pid_of(first)
            assert pid != server.pid
            # Whoever comes while one of them is kept from accepting, gets the other.
            os.kill(pid, signal.SIGSTOP)
            try:
                with Peer(address) as second:
                    other = pid_of(second)
            finally:
                os.kill(pid, signal.SIGCONT)
            assert other not in (pid, server.pid)
            assert pid_of(later) in (pid, other)
            assert pid_of(first) == pid
