"""--preload: a whole server, real signals, and what the system says of its memory."""

import asyncio
import os
import re
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.crowd import Crowd, CrowdedServer
from tests.server import PATIENCE, RunningServer
from tests.test_logfiles import lines
from tests.test_reload import LOADING, check, until, write
from tests.thread_server import Peer

linux = pytest.mark.skipif(
    not os.path.exists("/proc/self/smaps_rollup"), reason="looks at processes in /proc"
)
pytestmark = linux

DATA = 60 << 20  # bytes

# Modules and data as a large application has them: objects, each with a count of references.
LARGE = f"""\
import os

print(f"imported by {{os.getpid()}}\\n", end="", flush=True)
data = [bytes(1000) + b"%d" % number for number in range({DATA // 1050})]

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"first %d" % os.getpid()]
"""


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def preloader(server: RunningServer) -> int:
    (pid,) = (child for child in children(server.pid) if not is_gone(child))
    return pid


def wait_for(condition: Callable[[], bool]) -> None:
    end = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < end
        sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def until_gone(*pids: int) -> None:
    wait_for(lambda: all(map(is_gone, pids)))


def answer(server: RunningServer) -> tuple[str, int]:
    """Return which code answers, and in which process."""
    with Peer(("127.0.0.1", server.port)) as peer:
        code, pid = peer.get("/").content.decode().split()
    return code, int(pid)


def private(pid: int) -> int:
    """Return the bytes of memory that a process does not share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(
        int(size) << 10 for size in re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB$", text, re.MULTILINE)
    )


def test_the_application_is_imported_once_and_its_memory_is_shared(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LARGE)
    sizes = {}
    for option in ("--preload", "--no-preload"):
        with RunningServer("app", option, "--workers", "3", cwd=tmp_path) as server:
            parent = preloader(server) if option == "--preload" else server.pid
            workers = children(parent)
            assert len(workers) == 3
            for _ in range(10):
                assert answer(server)[1] in workers
            sizes[option] = max(map(private, workers))
            importers = [int(pid) for pid in re.findall(r"imported by (\d+)", server.log())]
            assert sorted(importers) == ([parent] if option == "--preload" else sorted(workers))
    assert sizes["--no-preload"] > DATA
    assert sizes["--preload"] < DATA / 4


async def test_reloads_of_what_is_preloaded_cost_nobody_a_request_nor_a_moment(tmp_path: Path) -> None:
    write(tmp_path)
    with CrowdedServer("app:application", "--preload", "--workers", "2", cwd=tmp_path) as server:
        write(tmp_path, seconds=LOADING)
        async with Crowd(server.port).asking() as crowd:
            await crowd.more()
            for number in range(1, 3):
                before = preloader(server)
                os.kill(server.pid, signal.SIGHUP)
                await until(server, r"\breloaded$", number)
                await asyncio.to_thread(until_gone, before)
            await crowd.more()
        check(crowd)
        assert len(re.findall(r"preloader \d+ is ready", server.log())) == 2


def test_code_that_cannot_start_leaves_the_preloaded_serving(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer("app:application", "--preload", "--workers", "2", cwd=tmp_path) as server:
        before = preloader(server)
        (tmp_path / "app.py").write_text("import no_such_module_anywhere\n")
        os.kill(server.pid, signal.SIGHUP)
        server.until("the reload is given up$")
        server.until("No module named 'no_such_module_anywhere'")
        assert preloader(server) == before
        assert answer(server)[0] == "first"
        write(tmp_path, "second")
        os.kill(server.pid, signal.SIGHUP)
        server.until(r"\breloaded$")
        wait_for(lambda: answer(server)[0] == "second")


def test_a_first_start_that_fails_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import no_such_module_anywhere\n")
    with pytest.raises(AssertionError) as error, RunningServer("app", "--preload", cwd=tmp_path):
        pass
    assert str(error.value).count("aiowsgi: importing 'app' raised ModuleNotFoundError") == 1


def test_workers_that_fail_their_ready_check_fail_the_start(tmp_path: Path) -> None:
    write(tmp_path)
    options = ("--preload", "--workers", "2", "--ready-check", "/broken")
    with pytest.raises(AssertionError) as error, RunningServer("app:application", *options, cwd=tmp_path):
        pass
    assert str(error.value).count("--ready-check /broken was answered HTTP/1.1 500 Broken") == 1


def test_a_worker_that_dies_is_forked_again_without_an_import(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LARGE)
    with RunningServer("app", "--preload", "--workers", "2", cwd=tmp_path) as server:
        before, parent = answer(server)[1], preloader(server)
        os.kill(before, signal.SIGKILL)
        server.until(rf"worker {before} was ended by signal 9")
        server.until(r"worker \d+ is ready")
        assert preloader(server) == parent
        assert len(children(parent)) == 2
        assert server.log().count("imported by") == 1


def test_a_preloader_that_dies_is_replaced_and_its_workers_end(tmp_path: Path) -> None:
    write(tmp_path)
    options = ("--preload", "--workers", "2", "--health-path", "/health")
    with RunningServer("app:application", *options, cwd=tmp_path) as server:
        before = preloader(server)
        workers = children(before)
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 200
            os.kill(before, signal.SIGKILL)
            server.until(rf"preloader {before} was ended by signal 9 \(Killed\); the next one starts")
        server.until(r"preloader \d+ is ready")
        until_gone(*workers)
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/health").status == 200
        assert len(children(preloader(server))) == 2


def test_one_more_and_one_fewer_are_forked_and_a_reload_keeps_the_number(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer("app:application", "--preload", "--workers", "2", cwd=tmp_path) as server:

        def until_workers(count: int) -> None:
            wait_for(lambda: len(children(preloader(server))) == count)

        os.kill(server.pid, signal.SIGTTIN)
        server.until("workers: 3$")
        until_workers(3)
        before = preloader(server)
        os.kill(server.pid, signal.SIGHUP)
        server.until(r"\breloaded$")
        until_gone(before)
        until_workers(3)
        for number in (2, 1):
            os.kill(server.pid, signal.SIGTTOU)
            server.until(f"workers: {number}$")
            until_workers(number)
        os.kill(server.pid, signal.SIGTTOU)
        server.until("workers: 1$", 2)
        assert answer(server)[0] == "first"


def test_recycled_workers_come_from_the_same_memory(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LARGE)
    options = ("--preload", "--max-requests", "5", "--max-requests-jitter", "0")
    with RunningServer("app", *options, cwd=tmp_path) as server:
        parent = preloader(server)
        with Peer(("127.0.0.1", server.port)) as peer:
            for _ in range(5):
                peer.get("/")
        server.until(r"worker \d+ is replaced: it has had \d+ requests")
        server.until(r"worker \d+ is ready")
        assert preloader(server) == parent
        assert server.log().count("imported by") == 1


def test_it_stops_and_nothing_is_left(tmp_path: Path) -> None:
    write(tmp_path, slow=0.5)
    path = tmp_path / "socket"
    options = ("--preload", "--workers", "2", "--bind", f"unix:{path}")
    with RunningServer("app:application", *options, cwd=tmp_path) as server:
        parent = preloader(server)
        everybody = [parent, *children(parent)]
        with Peer(str(path)) as peer:
            peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            server.until("^entered$")
            os.kill(server.pid, signal.SIGTERM)
            assert peer.answer().status == 200
        until_gone(server.pid)
        assert server.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in everybody)
        assert not path.exists()
        assert re.findall(r"stopping$", server.log(), re.MULTILINE) == ["stopping"]


def test_a_sigterm_to_all_processes_cuts_nobody(tmp_path: Path) -> None:
    write(tmp_path, slow=1)
    with RunningServer("app:application", "--preload", cwd=tmp_path) as server:
        parent = preloader(server)
        (worker,) = children(parent)
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            server.until("^entered$")
            os.kill(server.pid, signal.SIGTERM)
            server.until("stopping$")
            while not select.select([peer.socket], [], [], 0.01)[0]:  # as often as it takes to be heard twice
                for pid in (parent, worker):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
            assert peer.answer().status == 200
        assert server.stop() == 0


def test_two_signals_end_all_at_once(tmp_path: Path) -> None:
    write(tmp_path, slow=60)
    with RunningServer("app:application", "--preload", "--workers", "2", cwd=tmp_path) as server:
        parent = preloader(server)
        everybody = [parent, *children(parent)]
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            server.until("^entered$")
            os.kill(server.pid, signal.SIGTERM)
            server.until("stopping$")
            assert server.stop() == 0
        until_gone(*everybody)


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    write(tmp_path)

    def serve_and_kill() -> None:
        options = ("--preload", "--workers", "2")
        with RunningServer("app:application", *options, cwd=tmp_path) as server:
            parent = preloader(server)
            everybody = [parent, *children(parent)]
            os.kill(server.pid, signal.SIGKILL)
            until_gone(*everybody)

    with pytest.raises(AssertionError, match="exit status -9"):
        serve_and_kill()


async def test_the_log_file_is_opened_anew_for_preloaded_workers_too(tmp_path: Path) -> None:
    write(tmp_path)
    log = tmp_path / "access"
    options = ("--preload", "--workers", "2", "--access-log", str(log))
    with CrowdedServer("app:application", *options, cwd=tmp_path) as server:
        async with Crowd(server.port).asking() as crowd:
            await crowd.more()
            log.rename(log.with_suffix(".1"))
            os.kill(server.pid, signal.SIGUSR1)
            await until(server, "the log file is open anew$")
            os.kill(
                (await asyncio.to_thread(answer, server))[1], signal.SIGKILL
            )  # the next one has it from the start
            await until(server, r"worker \d+ is ready")
            moved = log.with_suffix(".1").stat().st_size
            await crowd.more()
        assert server.stop() == 0
    assert log.with_suffix(".1").stat().st_size == moved
    assert len(lines(log)) > 100


def test_threads_that_the_import_has_started_are_told_of(tmp_path: Path) -> None:
    write(tmp_path)
    text = (tmp_path / "app.py").read_text()
    start = "import threading\nthreading.Thread(target=threading.Event().wait, name='metrics', daemon=True).start()\n"
    (tmp_path / "app.py").write_text(start + text)
    options = ("--preload", "--workers", "2")
    # Python itself warns of a fork with threads from 3.12 on.
    with RunningServer("app:application", *options, cwd=tmp_path, PYTHONWARNINGS="error") as server:
        server.until("has started threads while it was imported, which no worker has: metrics$")
        assert answer(server)[0] == "first"
