"""Workers whose event loops hang, in real servers."""

import os
import signal
from pathlib import Path

import pytest

from tests.server import RunningServer
from tests.thread_server import LOOPS, Peer, get

# /hang holds the interpreter for ever, so that not even the event loop goes on; /slow waits for the pipe.
APPLICATION = """\
import os, re

def application(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        re.match("(a+)+$", "a" * 64 + "b")
    if environ["PATH_INFO"] == "/slow":
        print("entered", flush=True)
        open("pipe").read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""


class ImpatientServer(RunningServer):
    """One that looks for silent workers more often."""

    def __init__(self, *arguments: str, look: float, cwd: Path) -> None:
        super().__init__(*arguments, cwd=cwd)
        program = f"""\
from aiowsgi.cli import main
from aiowsgi.process import silence
silence.LOOK = {look}
main()
"""
        where = self._command.index("-m")
        self._command[where : where + 2] = ["-c", program]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize(
    "arguments", [*(("--loop", loop) for loop in LOOPS), ("--preload",)], ids=[*LOOPS, "preloaded"]
)
def test_a_worker_whose_loop_hangs_is_killed_and_replaced(project: Path, arguments: tuple[str, ...]) -> None:
    with ImpatientServer("app", *arguments, look=1.0, cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as peer, Peer(address) as hangs:
            pid = int(peer.get("/").content)
            hangs.send(get("/hang"))
            server.until(rf"worker {pid} has said nothing for 3 s, as its event loop hangs, and is killed")
            server.until(r'^ +File ".*app\.py", line \d+ in application$')
            assert hangs.rest() == b""
        server.until(rf"worker {pid} was ended by signal 9 ")
        with Peer(address) as peer:
            assert int(peer.get("/").content) != pid


def test_a_worker_that_drains_at_its_leisure_is_not_taken_for_silent(project: Path) -> None:
    with ImpatientServer("app", look=1.0, cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as slow, Peer(address) as idle:
            pid = int(idle.get("/").content)
            slow.send(get("/slow"))
            server.until("^entered$")
            os.kill(server.pid, signal.SIGTTIN)
            other = int(server.until(r"worker (\d+) is ready")[1])
            os.kill(pid, signal.SIGTERM)  # not by its supervisor, which sets no time for it then
            assert idle.rest() == b""
            with Peer(address) as hangs:
                hangs.send(get("/hang"))
                server.until(rf"worker {other} has said nothing")
            (project / "pipe").write_text("go on")
            assert slow.answer().status == 200
        assert f"worker {pid} has said nothing" not in server.log()
