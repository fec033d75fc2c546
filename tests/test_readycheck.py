"""What a worker asks itself before it serves."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from aiowsgi.server.readycheck import NotReadyError, check
from aiowsgi.wsgi.environ import server_environ
from tests.server import RunningServer
from tests.thread_server import LOOPS
from tests.wire_client import Applied, Gate, Server, echo

ENVIRON = server_environ("127.0.0.1", "80", "http", False)


async def test_a_worker_that_answers_is_ready() -> None:
    with Server(Applied(echo)) as server:
        await check(server.shared, ENVIRON, "/ready?deep=1")


@pytest.mark.parametrize(
    ("status", "ready"), [("399 Odd", True), ("400 Bad", False), ("503 No database", False)]
)
async def test_the_status_decides(status: str, ready: bool) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, [("Content-Type", "text/plain")])
        return [b""]

    with Server(Applied(application)) as server:
        if ready:
            await check(server.shared, ENVIRON, "/r")
        else:
            with pytest.raises(NotReadyError) as caught:
                await check(server.shared, ENVIRON, "/r")
            assert str(caught.value) == f"--ready-check /r was answered HTTP/1.1 {status}"


async def test_an_answer_that_does_not_come_is_waited_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aiowsgi.server.readycheck.PATIENCE", 0.01)
    gate = Gate()
    with Server(Applied(gate)) as server:
        with pytest.raises(NotReadyError) as caught:
            await check(server.shared, ENVIRON, "/r")
        assert str(caught.value) == "--ready-check /r was not answered in 0.01 s"
        gate.open.set()


# From when on there is a pipe, the answer waits for it.
WAITING = """\
import os

def application(environ, start_response):
    if os.path.exists("pipe"):
        print("asked", flush=True)
        open("pipe").read()
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_does_not_wait_for_the_answer(tmp_path: Path, loop: str) -> None:
    (tmp_path / "app.py").write_text(WAITING)
    with RunningServer("app", "--loop", loop, "--ready-check", "/", cwd=tmp_path) as server:
        os.mkfifo(tmp_path / "pipe")
        os.kill(server.pid, signal.SIGHUP)
        server.until("^asked$")
        assert server.stop() == 0
        assert "not stopped in time" not in server.log()
