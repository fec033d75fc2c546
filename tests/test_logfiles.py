"""SIGUSR1 and the log file: each line is in one of the files, and whole."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.commands import aiowsgi
from tests.crowd import Crowd
from tests.server import RunningServer
from tests.test_accesslog import LINE
from tests.thread_server import Peer

APPLICATION = """\
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
AGAIN = "the log file is open anew$"

as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may change to another user"
)


@pytest.fixture
def project() -> Iterator[Path]:
    """A folder that everybody may read, with one that is its owner's alone."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "app.py").write_text(APPLICATION)
        (folder / "logs").mkdir(mode=0o700)
        yield folder


def lines(file: Path) -> list[str]:
    text = file.read_text()
    assert text.endswith("\n")
    return text.splitlines()


async def test_no_line_is_lost_nor_torn_when_the_file_is_moved_again_and_again(project: Path) -> None:
    log = project / "logs" / "access"
    with RunningServer("app", "--workers", "2", "--access-log", str(log), cwd=project) as server:
        async with Crowd(server.port).asking() as crowd:
            for number in range(1, 6):
                await crowd.more()
                log.rename(log.with_suffix(f".{number}"))
                os.kill(server.pid, signal.SIGUSR1)
                await asyncio.to_thread(server.until, AGAIN, number)
            await crowd.more()
        assert crowd.failures == []
        server.stop()
    files = [*(log.with_suffix(f".{number}") for number in range(1, 6)), log]
    found = [lines(file) for file in files]
    assert all(found)
    assert sum(map(len, found)) == crowd.answers
    assert all(LINE.fullmatch(line) for each in found for line in each)


@as_root
def test_workers_of_another_user_go_on_in_a_folder_that_is_roots_alone(project: Path) -> None:
    log = project / "logs" / "access"
    with RunningServer("app", "--user", "nobody", "--access-log", str(log), cwd=project) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.get("/1")
            log.rename(log.with_suffix(".1"))
            os.kill(server.pid, signal.SIGUSR1)
            server.until(AGAIN)
            peer.get("/2")
        server.stop()
    assert [line.split()[6] for line in lines(log.with_suffix(".1")) + lines(log)] == ["/1", "/2"]


def test_a_worker_that_is_loading_goes_on_in_the_new_file(project: Path) -> None:
    log = project / "logs" / "access"
    with RunningServer("app", "--access-log", str(log), cwd=project) as server:

        def pid() -> bytes:
            with Peer(("127.0.0.1", server.port)) as peer:
                return peer.get("/").content

        first = pid()
        os.mkfifo(project / "pipe")
        (project / "app.py").write_text("print('loading', flush=True)\nopen('pipe').read()\n" + APPLICATION)
        os.kill(server.pid, signal.SIGHUP)
        server.until("^loading$")
        log.rename(log.with_suffix(".1"))
        os.kill(server.pid, signal.SIGUSR1)
        server.until(AGAIN)
        (project / "pipe").write_text("go")
        server.until(r"\breloaded$")
        asked = 1
        while pid() == first:
            asked += 1
        server.stop()
    assert len(lines(log.with_suffix(".1"))) == 1
    assert len(lines(log)) == asked


def test_a_file_that_cannot_be_opened_leaves_the_one_before(project: Path) -> None:
    log = project / "logs" / "access"
    with RunningServer("app", "--access-log", str(log), cwd=project) as server:
        (project / "logs").rename(project / "moved")
        os.kill(server.pid, signal.SIGUSR1)
        server.until("the access log goes on in the file so far: .*No such file or directory")
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.get("/")
    assert len(lines(project / "moved" / "access")) == 1


def test_a_fifo_that_nobody_reads_any_more_keeps_nobody_waiting(project: Path) -> None:
    log = project / "logs" / "access"
    os.mkfifo(log)
    refused = aiowsgi("serve", "app", "--bind", "127.0.0.1:0", "--access-log", str(log), cwd=project)
    reason = f"access log {log} cannot be opened: it is a FIFO that nobody reads, or a socket"
    assert (refused.status, refused.line) == (2, f"aiowsgi: {reason}")
    reader = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
    with RunningServer("app", "--access-log", str(log), cwd=project) as server:
        os.kill(server.pid, signal.SIGUSR1)
        server.until(AGAIN)
        os.close(reader)
        os.kill(server.pid, signal.SIGUSR1)
        server.until(f"the access log goes on in the file so far: {reason}$")
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 200


@pytest.mark.parametrize("options", [(), ("--access-log", "-")])
def test_without_a_file_there_is_nothing_to_do(project: Path, options: tuple[str, ...]) -> None:
    with RunningServer("app", *options, cwd=project) as server:
        os.kill(server.pid, signal.SIGUSR1)
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 200
