"""Processes that an application forks from a worker, in real servers: they end by themselves, and hold nothing up."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.server import RunningServer
from tests.thread_server import LOOPS, Peer, get

APPLICATION = """\
import json, multiprocessing, os, signal, subprocess, sys, time

forking = multiprocessing.get_context("fork")

def rest():
    signal.pause()

def square(number):
    return number * number

def terminated():
    child = forking.Process(target=rest)
    child.start()
    child.terminate()
    child.join(10)
    return child.exitcode

def pooled():
    with forking.Pool(2) as pool:
        return pool.map(square, [1, 2, 3])

def started():
    child = forking.Process(target=rest)
    child.start()
    return child.pid

def grown():
    # What such a process forks in turn has the handler that it has set.
    ours, theirs = forking.Pipe()
    def parent():
        signal.signal(signal.SIGTERM, lambda *_: theirs.send("handled"))
        if os.fork() == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        os.wait()
    child = forking.Process(target=parent)
    child.start()
    child.join(10)
    return ours.recv()

def interrupted():
    statuses = []
    for number in (signal.SIGINT, signal.SIGHUP):
        program = subprocess.Popen(["sleep", "60"])
        program.send_signal(number)
        statuses.append(program.wait(10))
    return statuses

def ended(pid):
    # Not for ever, should it live on.
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "lives on"

def forked(how):
    pid = os.fork()
    if pid == 0:
        print("says", how)
        if how == "exits":
            sys.exit(3)
        if how == "leaves":
            sys.exit("left")
        if how == "raises":
            raise ValueError("of the child")
        return None
    return ended(pid)

def streamed(environ, start_response):
    # The child goes on with the answer, and leaves in its middle.
    start_response("200 OK", [])
    yield b"a"
    pid = os.fork()
    if pid == 0:
        yield b"b"
        sys.exit()
    yield str(ended(pid)).encode()

def application(environ, start_response):
    if environ["PATH_INFO"] == "/streamed":
        return streamed(environ, start_response)
    if environ["PATH_INFO"].startswith("/forked/"):
        result = forked(environ["PATH_INFO"][8:])
        start_response("200 OK", [])
        return [json.dumps(result).encode()]
    does = [terminated, pooled, started, interrupted, grown]
    result = {each.__name__: each for each in does}.get(environ["PATH_INFO"][1:], list)()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "result": result}).encode()]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def told(peer: Peer, path: str) -> Any:
    return json.loads(peer.get(path).content)


@contextmanager
def ending(pid: int) -> Iterator[None]:
    """Have a process that rests end behind the block, however that ends."""
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_a_sigterm_for_a_child_ends_it_and_not_its_worker(
    project: Path, loop: str, preload: tuple[str, ...]
) -> None:
    with (
        RunningServer("app", "--loop", loop, *preload, cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        # Again and again, for it may come before the child has done anything.
        pids = set()
        for _ in range(20):
            answer = told(peer, "/terminated")
            assert answer["result"] == -signal.SIGTERM
            pids.add(answer["pid"])
        assert len(pids) == 1


def test_a_pool_of_processes_works_and_ends(project: Path, loop: str) -> None:
    with (
        RunningServer("app", "--loop", loop, cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        answers = [told(peer, "/pooled") for _ in range(2)]
        assert [answer["result"] for answer in answers] == [[1, 4, 9]] * 2
        assert len({answer["pid"] for answer in answers}) == 1


def test_what_a_request_forks_ends_with_its_call(project: Path, loop: str) -> None:
    with RunningServer("app", "--loop", loop, cwd=project) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            for how, status in {"exits": 3, "leaves": 1, "raises": 1, "returns": 0}.items():
                assert told(peer, f"/forked/{how}") == status
                server.until(f"^says {how}$")
            assert peer.get("/streamed").content == b"a0"
        server.until("^left$")
        server.until("^ValueError: of the child$")
        server.stop()
        assert " ERROR " not in server.log()


@pytest.mark.parametrize(
    "arguments", [("forks",), ("forks", "--preload"), ("app", "--on-worker-start", "forks:fork")]
)
@pytest.mark.parametrize("end", ["sys.exit()", "raise ValueError('of the child')", "pass"])
def test_what_the_import_forks_ends_with_it(project: Path, arguments: tuple[str, ...], end: str) -> None:
    (project / "forks.py").write_text(f"""\
import os, sys
from app import application

def fork():
    if os.fork() == 0:
        {end}
    else:
        os.wait()

if {arguments[0] == "forks"}:
    fork()
""")
    with RunningServer(*arguments, cwd=project) as server, Peer(("127.0.0.1", server.port)) as peer:
        told(peer, "/")
        assert ("ValueError: of the child" in server.log()) == end.startswith("raise")


def test_a_program_can_be_interrupted(project: Path, loop: str) -> None:
    with (
        RunningServer("app", "--loop", loop, cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        assert told(peer, "/interrupted")["result"] == [-signal.SIGINT, -signal.SIGHUP]


def test_a_worker_takes_no_notice_of_the_signals_of_a_terminal(project: Path, loop: str) -> None:
    with (
        RunningServer("app", "--loop", loop, cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        pid = told(peer, "/")["pid"]
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(pid, number)
            assert told(peer, "/")["pid"] == pid


def test_a_child_of_a_child_has_its_handlers(project: Path, loop: str) -> None:
    with (
        RunningServer("app", "--loop", loop, cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        assert told(peer, "/grown")["result"] == "handled"


@pytest.mark.parametrize(
    "asked",
    [
        get("/started", "Connection: close"),
        b"GET /started HTTP/1.0\r\nHost: x\r\n\r\n",
    ],
)
def test_a_child_keeps_no_connection_open(project: Path, loop: str, asked: bytes) -> None:
    with (
        RunningServer("app", "--loop", loop, cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        peer.send(asked)
        answer = peer.answer()
        with ending(json.loads(answer.content)["result"]):
            assert peer.rest() == b""


@pytest.mark.parametrize("address", ["127.0.0.1:0", "0.0.0.0:0", "unix:web.sock"])
def test_a_child_keeps_no_listening_socket_open(project: Path, loop: str, address: str) -> None:
    with RunningServer("app", "--loop", loop, "--bind", address, cwd=project) as server:
        target = str(project / "web.sock") if address.startswith("unix") else ("127.0.0.1", server.port)
        # The file of the socket is removed at the end, but by another name it can be asked for.
        if isinstance(target, str):
            os.link(target, project / "link")
        with Peer(target) as peer:
            pid = told(peer, "/started")["result"]
        with ending(pid):
            os.kill(server.pid, signal.SIGTERM)
            server.until("stopping$")
            os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
            with pytest.raises(ConnectionRefusedError):
                Peer(str(project / "link") if isinstance(target, str) else target)
