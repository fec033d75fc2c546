"""In a container: as its first process, on a file system that nobody may write to, with the logs of containers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.contained import UNSHARE, ContainedServer, contained, first_process
from tests.programs import Start, starting
from tests.server import PATIENCE, ROOT, RunningServer
from tests.thread_server import Peer, get

pytestmark = contained

APPLICATION = """\
import os, subprocess

def application(environ, start_response):
    if environ["PATH_INFO"] == "/orphan":  # it lives until somebody has written to the pipe
        subprocess.run(["sh", "-c", "cat pipe > /dev/null &"], check=True)
    if environ["PATH_INFO"] == "/pipe":
        print("entered", flush=True)
        open("pipe").read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d %d" % (os.getpid(), len(environ["wsgi.input"].read()))]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


def until(condition: Callable[[], bool]) -> None:
    """Wait for what the processes of others come to."""
    end = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < end
        sleep(0.01)


def post(size: int) -> bytes:
    return b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)


def test_the_first_process_buries_orphans_and_replaces_workers(project: Path) -> None:
    with ContainedServer("app", "--workers", "2", cwd=project) as server:
        workers = server.children()
        assert len(workers) == 2
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/orphan").status == 200
        (orphan,) = server.children() - workers
        (project / "pipe").write_text("enough")
        until(lambda: server.children() == workers)
        assert not Path(f"/proc/{orphan}").exists()
        os.kill(workers.pop(), signal.SIGKILL)
        server.until(r"worker \d+ was ended by signal 9 \(Killed\)")
        server.until(r"worker \d+ is ready")
        assert len(server.children()) == 2


def test_the_workers_of_a_preloader_that_died_become_orphans_and_are_buried(project: Path) -> None:
    with ContainedServer("app", "--preload", "--workers", "2", cwd=project) as server:
        (preloader,) = server.children()
        os.kill(preloader, signal.SIGKILL)
        server.until(r"preloader \d+ was ended by signal 9 \(Killed\)")
        server.until(r"preloader \d+ is ready")
        until(lambda: len(server.children()) == 1)
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_while_the_application_loads(
    project: Path, start: Start, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "slow.py").write_text("print('loading', flush=True)\nopen('pipe').read()\n")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(project)
    serve = (sys.executable, "-m", "aiowsgi", "serve", "slow", "--bind", "127.0.0.1:0")
    program = start("-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])", *UNSHARE, *serve)
    program.out.until("loading")
    os.kill(first_process(program.pid), number)
    assert program.out.rest() == []
    assert program.status() == 0


def test_it_stops_while_its_own_modules_load(
    project: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "h11.py").write_text("print('loading', flush=True)\nopen('pipe').read()\n")
    monkeypatch.setenv("PYTHONPATH", f"{project}{os.pathsep}{ROOT}")
    monkeypatch.chdir(project)
    for name in [name for name in os.environ if name.startswith("COVERAGE")]:
        monkeypatch.delenv(name)  # which would handle SIGTERM by itself
    serve = (sys.executable, "-m", "aiowsgi", "serve", "app")
    program = start("-c", "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])", *UNSHARE, *serve)
    program.out.until("loading")
    os.kill(first_process(program.pid), signal.SIGTERM)
    assert program.out.rest() == []
    assert program.status() == 128 + signal.SIGTERM


def test_what_is_in_flight_is_answered_when_it_is_stopped(project: Path) -> None:
    with ContainedServer("app", cwd=project) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(("127.0.0.1", server.port))) for _ in range(10)]
        for peer in peers:
            peer.send(post(100))
        os.kill(server.pid, signal.SIGTERM)
        assert [peer.answer().status for peer in peers] == [200] * 10
        server.until("stopping$")


def test_a_read_only_file_system_is_enough(project: Path) -> None:
    with ContainedServer("app", "--access-log", "-", cwd=project, read_only=True) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.send(post(200_000))
            assert peer.answer().content.endswith(b" 200000")
            os.kill(server.pid, signal.SIGHUP)
            server.until(r"\breloaded$")
        server.until('"POST /upload HTTP/1.1" 200')


def test_without_a_folder_for_temporary_files_long_uploads_are_refused_and_a_line_says_why(
    project: Path,
) -> None:
    with ContainedServer("app", cwd=project, read_only=True) as server:
        server.until("no folder for temporary files can be written")
        with Peer(("127.0.0.1", server.port)) as peer, Peer(("127.0.0.1", server.port)) as other:
            peer.send(post(1_000_000)[:400_000])
            assert peer.answer().status == 507
            other.send(post(200_000))
            assert other.answer().status == 200
        server.until(r"POST /upload: .*No usable temporary directory")


def test_a_stop_cuts_nobody_where_a_socket_file_cannot_be_removed(project: Path) -> None:
    folder = project / "mounted"
    folder.mkdir()
    mounted = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder))
    options = ("app", "--bind", "127.0.0.1:0", "--bind", f"unix:{folder}/socket")
    with (
        RunningServer(*options, cwd=project, launcher=mounted) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        peer.send(get("/pipe"))
        server.until("^entered$")
        inside = ("nsenter", "--mount", "--target", str(server.pid))
        subprocess.run([*inside, "mount", "-o", "remount,ro", str(folder)], check=True)
        os.kill(server.pid, signal.SIGTERM)
        server.until("socket file .*/mounted/socket cannot be removed: Read-only file system$")
        server.until("stopping$")
        (project / "pipe").write_text("go on")
        assert peer.answer().status == 200
