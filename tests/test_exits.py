"""The end of a worker: what its application has begun, and what it has registered for its exit, in real servers."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.programs import starting
from tests.server import ROOT, RunningServer
from tests.thread_server import LOOPS, Peer

APPLICATION = """\
import atexit, os, signal, threading
from concurrent.futures import ThreadPoolExecutor

executor = ThreadPoolExecutor(1)
process = os.getpid()

def say(line):
    os.write(1, f"{line}\\n".encode())

def exits(name):
    say(f"{name} exits" if os.getpid() == process else f"{name} exits in a worker")

atexit.register(exits, "import")

def job(name):
    gate = os.open("gate", os.O_RDONLY)
    os.read(gate, 1)
    say(f"{name} is done")

def work():
    executor.submit(job, "executor")
    threading.Thread(target=job, args=["thread"]).start()
    threading.Thread(target=job, args=["daemon"], daemon=True).start()

def hang():
    threading.Thread(target=signal.pause, name="endless").start()

def hang_at_exit():
    atexit.register(signal.pause)

def fail():
    raise ValueError("out of luck")

def application(environ, start_response):
    {"work": work, "hang": hang, "hang_at_exit": hang_at_exit}.get(environ["PATH_INFO"][1:], list)()
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    os.mkfifo(tmp_path / "gate")
    return tmp_path


@contextmanager
def gate(project: Path) -> Iterator[int]:
    """Where each byte lets a job go on."""
    descriptor = os.open(project / "gate", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def ask(server: RunningServer, path: str) -> int:
    """Return the id of the process that has answered."""
    with Peer(("127.0.0.1", server.port)) as peer:
        return int(peer.get(path).content)


def ended(server: RunningServer) -> list[str]:
    """Have it stopped; return what the application has said."""
    assert server.stop() == 0
    return [line for line in server.log().splitlines() if line.endswith((" done", " exits", "in a worker"))]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_worker_that_stops_lets_its_application_finish(project: Path, loop: str) -> None:
    with gate(project) as descriptor, RunningServer("app", "--loop", loop, cwd=project) as server:
        ask(server, "/work")
        os.kill(server.pid, signal.SIGTERM)
        server.until("stopping$")
        os.write(descriptor, b"...")
        os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
        *jobs, last = ended(server)
    assert {"executor is done", "thread is done"} <= set(jobs)
    assert last == "import exits"


def test_so_does_one_whose_place_another_takes(project: Path) -> None:
    with gate(project) as descriptor, RunningServer("app", cwd=project) as server:
        ask(server, "/work")
        os.kill(server.pid, signal.SIGHUP)
        server.until("reloaded")
        os.write(descriptor, b"...")
        server.until("^executor is done$")
        server.until("^thread is done$")
        server.until("^import exits$")
        assert ended(server).count("import exits") == 2


def test_workers_of_a_preloaded_application_call_what_it_has_registered(project: Path) -> None:
    with RunningServer("app", "--preload", cwd=project) as server:
        ask(server, "/")
        assert ended(server) == ["import exits in a worker", "import exits"]


def test_a_start_that_fails_calls_it_too(project: Path) -> None:
    server = RunningServer("app:fail()", cwd=project)
    with pytest.raises(AssertionError), server:
        pass
    assert "import exits\n" in server.log()


def test_threads_that_do_not_end_are_left_behind_after_the_graceful_timeout(project: Path) -> None:
    with RunningServer("app", "--graceful-timeout", "1", cwd=project) as server:
        ask(server, "/hang")
        assert ended(server) == ["import exits"]
        server.until(r"threads of the application have not ended, and are left behind: endless$")


def test_what_hangs_at_the_exit_is_killed(project: Path) -> None:
    with RunningServer("app", "--graceful-timeout", "0.5", cwd=project) as server:
        pid = ask(server, "/hang_at_exit")
        assert ended(server) == []
        server.until(rf"worker {pid}\b.* killed")


def test_a_worker_whose_supervisor_has_died_does_not_hang_at_its_exit_for_ever(project: Path) -> None:
    with RunningServer("app", "--graceful-timeout", "0.5", cwd=project) as server:
        ask(server, "/hang_at_exit")
        os.kill(server.pid, signal.SIGKILL)
        server.adopt(server.pid, -signal.SIGKILL)
        assert server.stop() == -signal.SIGKILL


PROGRAM = """
import atexit, sys
from aiowsgi import serve
atexit.register(print, "the program exits")
sys.path.insert(0, ".")
serve("app", bind="127.0.0.1:0", workers=2)
"""


def test_what_a_program_has_registered_is_not_called_by_workers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(project)
    with starting() as start:
        program = start("-c", PROGRAM)
        program.err.until("listening on")
        program.send(signal.SIGTERM)
        assert program.out.rest() == ["import exits", "import exits", "the program exits"]
        assert program.status() == 0
