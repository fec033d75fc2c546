"""Workers whose event loops hang, in real servers."""

import os
import signal
from contextlib import ExitStack
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

    def __init__(self, *arguments: str, cwd: Path) -> None:
        super().__init__(*arguments, cwd=cwd)
        self.first("from aiowsgi.process import silence", "silence.LOOK = 0.5")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_a_worker_whose_loop_hangs_is_killed_and_replaced(project: Path) -> None:
    cases = [*(("--loop", loop) for loop in LOOPS), ("--preload",)]
    with ExitStack() as stack:  # all at once, since it is a wait for the most part
        servers = [stack.enter_context(ImpatientServer("app", *case, cwd=project)) for case in cases]
        hanging = [stack.enter_context(Peer(("127.0.0.1", server.port))) for server in servers]
        pids = [int(peer.get("/").content) for peer in hanging]
        for peer in hanging:
            peer.send(get("/hang"))
        for server, peer, pid in zip(servers, hanging, pids, strict=True):
            server.until(rf"worker {pid} has said nothing for 1\.5 s, as its event loop hangs, and is killed")
            server.until(r'^ +File ".*app\.py", line \d+ in application$')
            assert peer.rest() == b""
            server.until(rf"worker {pid} was ended by signal 9 ")
            with Peer(("127.0.0.1", server.port)) as another:
                assert int(another.get("/").content) != pid


def test_a_worker_that_drains_at_its_leisure_is_not_taken_for_silent(project: Path) -> None:
    with ImpatientServer("app", cwd=project) as server:
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
