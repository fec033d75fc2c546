"""The bound of a worker's connections, and what it does without descriptors."""

import asyncio
import os
import select
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiowsgi.http.states import State
from aiowsgi.server.admission import Admission
from aiowsgi.server.doors import Doors
from aiowsgi.server.shared import Served
from tests.server import RunningServer
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, Applied, Client, Gate, Server, echo

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Crowd:
    """An in-memory server behind an Admission, whose doors lead nowhere."""

    def __init__(self, server: Server, most: int) -> None:
        self.server = server
        self.doors = Doors(server.shared.loop)
        self.admission = Admission(server.shared, self.doors, most)
        self._clients: list[Client] = []

    async def open(self) -> None:
        await self.doors.open([])

    def pass_time(self, seconds: float) -> None:
        self.server.pass_time(seconds)
        self.admission.sweep()

    async def come(self) -> Client:
        assert not self.doors.shut

        def connect() -> asyncio.Protocol:
            self._clients.append(self.server.connect())
            return self._clients[-1].connection

        self.admission.guard(connect)()
        await asyncio.sleep(0)  # for the doors to be shut, if they are to be
        return self._clients[-1]

    async def until_open(self) -> None:
        async with asyncio.timeout(WAIT):
            while self.doors.shut:
                await asyncio.sleep(0)


async def test_the_longest_idle_makes_room_and_nobody_else() -> None:
    with Server(Applied(echo)) as server:
        crowd = Crowd(server, 3)
        await crowd.open()
        first, second, third = [await crowd.come() for _ in range(3)]
        assert crowd.doors.shut  # for none has been idle for long
        crowd.pass_time(1)
        second.send(GET)
        await second.receive(b".")
        first.send(GET[:-1])  # has begun a request
        crowd.pass_time(1)
        await crowd.until_open()  # third is idle
        await crowd.come()
        await third.until(lambda: third.lost)
        assert crowd.doors.shut  # the next would have to be second, which is not idle for long
        assert [client.lost for client in (first, second)] == [False, False]
        crowd.pass_time(1)
        await crowd.until_open()
        await crowd.come()
        await second.until(lambda: second.lost)
        assert not first.lost


async def test_who_was_idle_and_is_busy_again_is_left_alone() -> None:
    gate = Gate()
    with Server(Applied(gate)) as server:
        crowd = Crowd(server, 2)
        await crowd.open()
        first, second = await crowd.come(), await crowd.come()
        crowd.pass_time(2)
        await crowd.until_open()
        for client in (first, second):
            client.send(GET)
        newcomer = await crowd.come()  # comes where room was expected, and is one too many
        assert crowd.doors.shut
        assert not newcomer.lost
        gate.open.set()
        await first.receive(b".")
        assert first.state == second.state == State.IDLE or await second.receive(b".")


async def test_it_is_opened_when_a_connection_has_ended() -> None:
    with Server(Applied(echo)) as server:
        crowd = Crowd(server, 2)
        await crowd.open()
        first, _ = await crowd.come(), await crowd.come()
        assert crowd.doors.shut
        first.lose()
        await crowd.until_open()
        await crowd.come()
        assert crowd.doors.shut


async def test_a_worker_that_drains_opens_no_more() -> None:
    with Server(Applied(echo)) as server:
        crowd = Crowd(server, 1)
        await crowd.open()
        client = await crowd.come()
        server.shared.draining = True
        client.lose()
        crowd.pass_time(10)
        await crowd.doors.close()
        assert crowd.doors.shut


class Silent(Served):
    """A connection that is always idle, and counts how often it was asked."""

    asked = 0

    def __init__(self, connections: dict[Served, None]) -> None:
        self.deadline = 0.0
        self._connections = connections
        connections[self] = None

    def idles(self) -> bool:
        Silent.asked += 1
        return self in self._connections

    def expire(self) -> None: ...

    def look(self) -> None: ...

    def make_room(self) -> None:
        self._connections.pop(self, None)

    def drain(self) -> None: ...

    def abort(self) -> None: ...


async def test_idle_connections_are_looked_for_once_in_a_sweep() -> None:
    with Server(Applied(echo)) as server:
        crowd = Crowd(server, 100)
        await crowd.open()
        for _ in range(100):
            Silent(server.shared.connections)
        server.shared.turn(1.0)
        for _ in range(50):
            await crowd.come()
            crowd.admission._consider()
            await crowd.until_open()
        assert Silent.asked < 100 + 5 * 50


# On the wire.


def test_at_the_bound_the_longest_idle_is_closed_for_a_newcomer(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowsgi.server.worker.SWEEP", 0.01)
    monkeypatch.setattr("aiowsgi.server.admission.IDLE", 0.02)
    with serving(echo, loop=loop, max_connections=3) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.server_address)) for _ in range(3)]
        for peer in reversed(peers):
            peer.get("/")
        for number in range(10):
            newcomer = stack.enter_context(Peer(server.server_address))
            assert newcomer.get(f"/{number}").status == 200
            closed = select.select(peers_open(peers), [], [], WAIT)[0]
            assert closed
            peers = [peer for peer in peers if peer.socket not in closed]
            peers.append(newcomer)


def peers_open(peers: list[Peer]) -> list[socket.socket]:
    return [peer.socket for peer in peers]


def test_where_none_is_idle_a_newcomer_waits(loop: str) -> None:
    gate = Gate()
    with serving(gate, loop=loop, max_connections=2, threads=4) as server, ExitStack() as stack:
        busy = [stack.enter_context(Peer(server.server_address)) for _ in range(2)]
        for peer in busy:
            peer.send(get("/busy", "Connection: close"))
            assert gate.entered.wait(WAIT)
            gate.entered.clear()
        waiting = [stack.enter_context(Peer(server.server_address)) for _ in range(10)]
        for peer in waiting:
            peer.send(get("/waiting", "Connection: close"))
        assert not gate.entered.wait(0.1)
        gate.open.set()
        for peer in [*busy, *waiting]:
            assert peer.answer().status == 200


def test_idle_connections_take_nothing_from_the_requests(loop: str) -> None:
    with serving(echo, loop=loop, max_queue=1, threads=1) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(server.server_address)) for _ in range(200)]
        for peer in peers:
            assert peer.get("/once").status == 200
        for peer in peers:
            assert peer.get("/again").status == 200


HOG = """\
import os

taken = []

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/take":
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
    while path == "/give" and taken:
        os.close(taken.pop())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


class Limited(RunningServer):
    """A server whose processes may have ``files`` open, each."""

    def __init__(self, files: int, *arguments: str, cwd: Path) -> None:
        super().__init__(*arguments, cwd=cwd)
        self._command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *self._command]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the CPU time in /proc")
def test_without_descriptors_nothing_spins_and_who_comes_waits(loop: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HOG)
    with Limited(100, "app:application", "--loop", loop, cwd=tmp_path) as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        first = stack.enter_context(Peer(address))
        pid = int(first.get("/take").content)
        first.send(get("/give")[:-2])  # for it would be closed to make room if it were idle
        server.until("no file can be opened any more: with 1 connections")
        before = cpu_seconds(pid)
        waiting = [stack.enter_context(Peer(address)) for _ in range(20)]
        for peer in waiting:
            peer.send(get("/", "Connection: close"))
        assert not select.select(peers_open(waiting), [], [], 1.5)[0]
        assert cpu_seconds(pid) - before < 0.3
        first.send(b"\r\n")
        assert first.answer().status == 200
        for peer in waiting:
            assert int(peer.answer().content) == pid
        with Peer(address) as later:
            assert int(later.get("/").content) == pid
        assert server.log().count("no file can be opened") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the CPU time in /proc")
def test_a_crowd_larger_than_the_open_files_is_served_in_turn(loop: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HOG)
    with Limited(64, "app:application", "--loop", loop, cwd=tmp_path) as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        silent = [stack.enter_context(Peer(address)) for _ in range(32)]
        pid = int(silent[0].get("/").content)
        before = cpu_seconds(pid)
        waiting = [stack.enter_context(Peer(address)) for _ in range(100)]
        for peer in waiting:
            peer.send(get("/", "Connection: close"))
        for peer in waiting:
            assert int(peer.answer().content) == pid  # as the silent ones have to make room
        assert cpu_seconds(pid) - before < 1
        assert "no file can be opened" not in server.log()
