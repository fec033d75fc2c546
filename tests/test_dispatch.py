"""Fair dispatch: a free thread of any worker is used, beside another worker with none."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event

import pytest

from aiowsgi.server.dispatch import Dispatch
from aiowsgi.server.doors import Doors
from aiowsgi.server.lateness import Lateness
from aiowsgi.wsgi.callpool import CallPool, _Post
from aiowsgi.wsgi.pool import Pool
from tests.crowd import Crowd
from tests.server import RunningServer
from tests.thread_server import LOOPS, Peer
from tests.thread_server import get as request
from tests.wire_client import WAIT, Applied, Gate, Server

# A request with a query is held until the file of that name, a pipe, was written to. Every answer tells the worker.
APPLICATION = """\
import os

def application(environ, start_response):
    name = environ["QUERY_STRING"]
    if name:
        os.write(1, f"held {name} {os.getpid()}\\n".encode())
        with open(name) as pipe:
            pipe.read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
THREADS = 4

# Seconds in which an answer has to come. It is 0.1 where nothing else runs; but whoever comes to the worker whose
# threads are held waits until the test ends, for the test itself waits for the answers, and 30 s at the most.
PROMPT = 10.0


class Site:
    """A server of two workers, and the requests that are held there."""

    def __init__(self, server: RunningServer, folder: Path, stack: ExitStack) -> None:
        self.server = server
        self._folder = folder
        self._stack = stack
        self._count = 0

    def come(self) -> Peer:
        return self._stack.enter_context(Peer(("127.0.0.1", self.server.port)))

    def come_to_one(self, count: int) -> tuple[int, list[Peer]]:
        """Return a worker and so many connections to it, on which nothing is going on."""
        peers: dict[int, list[Peer]] = {}
        while True:
            peer = self.come()
            pid = worker(peer)
            peers.setdefault(pid, []).append(peer)
            if len(peers[pid]) == count:
                return pid, peers[pid]

    def hold(self, peer: Peer, pid: int) -> str:
        """Have ``peer`` send a request that a thread of the worker ``pid`` is held by; return its name."""
        name = self.send(peer)
        self.server.until(rf"held {name} {pid}$")
        return name

    def send(self, peer: Peer) -> str:
        self._count += 1
        name = f"pipe{self._count}"
        os.mkfifo(self._folder / name)
        peer.send(request(f"/?{name}"))
        return name

    def release(self, *names: str) -> None:
        for name in names:
            (self._folder / name).write_text("go")

    def saturate(self) -> tuple[int, list[Peer], list[str]]:
        """Hold all threads of one worker, until it leaves whoever comes to the other.

        Returns it, its connections, of which the last is not in use, and the names of the requests.
        """
        pid, peers = self.come_to_one(THREADS + 2)
        names = [self.hold(peer, pid) for peer in peers[:THREADS]]
        self.until(pid, "whoever comes is left to other workers")
        return pid, peers, names

    def until(self, pid: int, words: str, times: int = 1) -> None:
        """Wait for what a worker says in the log."""
        self.server.until(rf"\[{pid}\] .*{words}$", times)

    def other(self, pid: int) -> int:
        """Return the worker that serves whoever comes, which is not ``pid``."""
        with Peer(("127.0.0.1", self.server.port)) as peer:
            found = worker(peer)
        assert found != pid
        return found

    async def ask(self, count: int) -> None:
        """Have so many requests on new connections answered promptly, two at a time.

        Where fewer than three threads are free, a machine that stops for a moment has all workers wait, and accept.
        """
        async with Crowd(self.server.port, steady=0, hasty=2).asking() as crowd:
            await crowd.more(count)
        assert crowd.failures == []
        assert crowd.slowest < PROMPT


def worker(peer: Peer) -> int:
    return int(peer.get("/").content)


@pytest.fixture(params=LOOPS)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "app.py").write_text(APPLICATION)
    settings = {"workers": 2, "threads": THREADS, "loop": request.param, "log_level": "debug"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    with RunningServer("app:application", *options, cwd=tmp_path) as server, ExitStack() as stack:
        yield Site(server, tmp_path, stack)


async def test_whoever_comes_is_served_where_a_thread_is_free(site: Site) -> None:
    pid, peers, names = site.saturate()
    other = site.other(pid)
    more = site.come()
    names.append(site.hold(more, other))
    await site.ask(200)
    site.release(*names)
    for peer in (*peers[:THREADS], more):
        assert peer.answer().status == 200
    site.until(pid, "accepting again")


def test_a_client_that_waits_at_a_worker_without_a_free_thread_is_sent_on(site: Site) -> None:
    pid, (*held, stuck, last), names = site.saturate()
    stuck.send(request("/"))
    site.until(pid, "1 clients that wait are told to come back elsewhere")
    names.append(site.send(last))  # will have the thread behind it
    site.until(pid, "1 clients that wait are told to come back elsewhere", 2)
    site.release(names.pop(0))
    answer = stuck.answer()
    assert int(answer.content) == pid
    assert answer.fields["connection"] == "close"
    assert stuck.rest() == b""
    assert "connection" not in held[0].answer().fields
    site.server.until(rf"held {names[-1]} {pid}$")
    site.other(pid)
    site.release(*names)
    assert [peer.answer().fields.get("connection") for peer in held[1:]] == [None] * 3
    assert last.answer().fields["connection"] == "close"


def test_files_are_served_on_where_no_thread_is_free(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "page.txt").write_text("a page")
    options = ("--static", "/static=public", "--workers", "2", "--log-level", "debug")
    with (
        RunningServer("app:application", *options, cwd=tmp_path) as server,
        ExitStack() as stack,
    ):
        site = Site(server, tmp_path, stack)
        _, peers, names = site.saturate()
        for _ in range(2):
            answer = peers[-1].get("/static/page.txt")
            assert answer.content == b"a page"
            assert "connection" not in answer.fields
        site.release(*names)


async def test_where_all_threads_are_taken_all_wait_and_nobody_is_refused(site: Site) -> None:
    pid, _, names = site.saturate()
    other = site.other(pid)
    names += [site.hold(site.come(), other) for _ in range(THREADS)]
    site.until(pid, "accepting again")
    waiting = [site.come() for _ in range(100)]
    for peer in waiting:
        peer.send(request("/"))
    site.release(*names)
    answers = [peer.answer() for peer in waiting]
    assert {answer.status for answer in answers} == {200}
    assert {int(answer.content) for answer in answers} <= {pid, other}


async def test_a_worker_that_is_killed_is_not_waited_for(site: Site) -> None:
    pid, peers, names = site.saturate()
    other = site.other(pid)
    os.kill(other, signal.SIGKILL)
    site.until(pid, "accepting again")
    site.server.until(r"worker \d+ is ready$")
    site.until(pid, "whoever comes is left to other workers", 2)
    await site.ask(50)
    site.release(*names)
    for peer in peers[:THREADS]:
        assert peer.answer().status == 200


async def test_one_that_leaves_whoever_comes_to_others_may_be_killed(site: Site) -> None:
    pid, _, _ = site.saturate()
    os.kill(pid, signal.SIGKILL)
    await site.ask(50)
    site.server.until(r"worker \d+ is ready$")
    await site.ask(50)


async def test_one_that_is_stopped_is_not_waited_for(site: Site) -> None:
    pid, _, names = site.saturate()
    other = site.other(pid)
    os.kill(other, signal.SIGSTOP)
    site.until(pid, "accepting again")
    peer = site.come()
    peer.send(request("/"))
    site.release(*names)
    assert int(peer.answer().content) == pid
    os.kill(other, signal.SIGCONT)
    assert len(re.findall("Traceback", site.server.log())) == 0


# In memory.


class LatePool(CallPool):
    """Its threads take nothing before they may: a busy system does not let them."""

    come = Event()

    def _work(self, post: _Post) -> None:
        assert LatePool.come.wait(WAIT)
        super()._work(post)


async def test_a_thread_that_takes_its_call_late_is_not_taken_for_a_free_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aiowsgi.server.lateness.FRESH", 60.0)
    gate = Gate()
    with Server(Applied(gate), threads=1, make_pools=(LatePool, Pool)) as server:
        doors, lateness = Doors(server.shared.loop), Lateness()
        await doors.open([])
        lateness.tell(os.getppid(), 0.0)
        dispatch = Dispatch(server.shared, doors, lateness)
        dispatch.begin()
        client = server.connect()
        client.send(request("/"))
        await client.until_true(lambda: server.pool.watch is None)  # it is queued
        await client.until_true(lambda: server.pool.watch is not None)  # and was looked for
        server.now = 1.0
        LatePool.come.set()
        await client.until_true(lambda: doors.shut)
        gate.open.set()
        await client.receive(b".")
        await client.until_true(lambda: not doors.shut)
        dispatch.end()
