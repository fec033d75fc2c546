"""Applications that hang, in real processes: what their clients, the log and everybody else see of it."""

import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.server import RunningServer
from tests.thread_server import Peer, get, serving
from tests.wire_client import WAIT, Gate, echo

APPLICATION = """\
import json, os, threading
from pathlib import Path

def hang_here(number):
    # Until the test opens the other end.
    with open(f"leave-{number}"):
        pass

def ticks():
    while not Path("stop").exists():
        yield b"tick"
        threading.Event().wait(0.05)
    yield b"last"

def application(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "application/json")])
    if path.startswith("/hang/"):
        hang_here(path.removeprefix("/hang/"))
    if path == "/ticks":
        return ticks()
    threads = sorted(thread.name for thread in threading.enumerate())
    return [json.dumps({"pid": os.getpid(), "threads": threads}).encode()]
"""

TIMEOUT = ("--request-timeout", "1", "--graceful-timeout", "5")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    for number in range(5):
        os.mkfifo(tmp_path / f"leave-{number}")
    return tmp_path


def let_go(project: Path, number: int) -> None:
    """Let a call that hangs go on."""
    with open(project / f"leave-{number}", "w"):
        pass


def pid_of(peer: Peer) -> int:
    pid: int = json.loads(peer.get("/").content)["pid"]
    return pid


def threads_of(peer: Peer) -> list[str]:
    """Return the names of the threads for applications."""
    names = json.loads(peer.get("/").content)["threads"]
    return [name for name in names if name.startswith("aiowsgi-call-")]


def ask_until(condition: Callable[[], bool]) -> None:
    """Ask again and again until ``condition()``, by which another process tells of itself."""
    end = monotonic() + WAIT
    while not condition():
        assert monotonic() < end


def test_the_client_is_answered_the_log_tells_where_and_another_thread_stands_in(project: Path) -> None:
    with RunningServer("app:application", "--threads", "1", *TIMEOUT, cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as hangs, Peer(address) as other:
            pid = pid_of(other)
            assert threads_of(other) == ["aiowsgi-call-1"]
            hangs.send(get("/hang/0"))
            other.send(get("/"))  # waits for a thread
            answer = hangs.answer()
            assert answer.status == 504
            assert "connection" not in answer.fields
            assert other.answer().status == 200
            server.until(
                r"GET /hang/0 has got no further for \d s and is given up; its thread, aiowsgi-call-1, "
            )
            server.until(r'^  File ".*app\.py", line \d+, in hang_here$')
            assert hangs.get("/").status == 200
            assert threads_of(other) == ["aiowsgi-call-1", "aiowsgi-call-2"]
            let_go(project, 0)
            server.until("GET /hang/0 has come back")
            ask_until(lambda: threads_of(other) == ["aiowsgi-call-2"])
            assert pid_of(other) == pid
            assert hangs.get("/").status == 200


def test_past_the_cap_the_worker_is_replaced_while_its_other_requests_go_on(project: Path) -> None:
    with (
        RunningServer("app:application", "--threads", "3", *TIMEOUT, cwd=project) as server,
        ExitStack() as stack,
    ):
        address = ("127.0.0.1", server.port)
        with Peer(address) as first, Peer(address) as ticking:
            pid = pid_of(first)
            hanging = [stack.enter_context(Peer(address)) for _ in range(4)]
            for number, peer in enumerate(hanging):
                peer.send(get(f"/hang/{number}"))
            assert [peer.answer().status for peer in hanging] == [504] * 4
            for peer in (first, *hanging):
                peer.socket.close()  # or the worker waits for that when it drains
            # Of six threads two are left, and of these one is busy.
            ticking.send(get("/ticks"))
            ticking.until(b"tick")
            server.until("so many threads hang that no more can stand in for them")
            server.until(rf"worker {pid} is replaced: too many of its threads hang")
            following = int(server.until(r"worker (\d+) is ready")[1])

            def answers() -> bool:
                # The one before closes, when it begins to drain, what has sent no request yet.
                with suppress(ConnectionError), Peer(address) as peer:
                    return pid_of(peer) == following
                return False

            ask_until(answers)
            ticking.until(b"tick")
            ticking.until(b"tick")
            (project / "stop").touch()
            ticking.until(b"last")
            assert ticking.rest().endswith(b"\r\n0\r\n\r\n")
            server.until(
                r"a thread is left behind: GET /hang/0 has got no further for \d+ s, in aiowsgi-call-\d"
            )
            server.until(r"a thread is left behind: GET /hang/3 ")
            server.until("in hang_here$", 8)
        with Peer(address) as peer:
            assert pid_of(peer) == following
            assert threads_of(peer) == ["aiowsgi-call-1", "aiowsgi-call-2", "aiowsgi-call-3"]


def test_where_nobody_can_replace_it_a_worker_goes_on_with_what_it_has(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiowsgi.server.worker.SWEEP", 0.05)
    gates = {"/first": Gate(), "/second": Gate()}

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return gates.get(environ["PATH_INFO"], echo)(environ, start_response)

    with (
        serving(application, threads=1, request_timeout=0.5) as server,
        Peer(server.server_address) as peer,
        Peer(server.server_address) as other,
    ):
        assert peer.get("/first").status == 504
        assert peer.get("/second").status == 504
        other.send(get("/other"))
        gates["/first"].open.set()
        gates["/second"].open.set()
        assert other.answer().content == b"GET /other ."
    assert "so many threads hang that no more can stand in for them" in caplog.messages
