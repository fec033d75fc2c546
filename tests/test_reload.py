"""Reload, recycling and stopping under load: a whole server, real signals, and clients that never stop asking."""

import asyncio
import os
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.crowd import Crowd, CrowdedServer
from tests.server import PATIENCE, RunningServer
from tests.thread_server import Peer, get

# It takes as long to import as many do, and as much of a processor. It says which code of it answers.
APPLICATION = """\
import os, time

end = time.monotonic() + {seconds}
while time.monotonic() < end:
    pass

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("entered", flush=True)
        time.sleep({slow})
    status = "500 Broken" if environ["PATH_INFO"] == "/broken" else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [b"{code} %d" % os.getpid()]
"""
LOADING = 1.5  # seconds

# Seconds in which each answer has to come: less than the application takes to load, which is what whoever waits for a
# worker to load would wait. Where nothing else runs it is below 0.2: PROMPT=0.2 by hand.
PROMPT = float(os.environ.get("PROMPT", "1.4"))


def write(folder: Path, code: str = "first", seconds: float = 0.0, slow: float = 0.0) -> None:
    (folder / "app.py").write_text(APPLICATION.format(code=code, seconds=seconds, slow=slow))


def ready(server: RunningServer) -> int:
    """Count the workers that have become ready since the start."""
    return len(re.findall(r"worker \d+ is ready", server.log()))


async def until(server: RunningServer, pattern: str, times: int = 1) -> None:
    await asyncio.to_thread(server.until, pattern, times)


def until_true(answers: Callable[[], bool]) -> None:
    """Ask until the new one ``answers``: the worker before it may accept somebody until it has closed."""
    end = monotonic() + PATIENCE
    while monotonic() < end:
        with suppress(ConnectionError):  # it has closed before the request came
            if answers():
                return
    raise AssertionError("only the one before has answered")


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def check(crowd: Crowd) -> None:
    assert crowd.failures == []
    assert crowd.slowest < PROMPT


async def test_ten_reloads_cost_nobody_a_request_nor_a_moment(tmp_path: Path) -> None:
    write(tmp_path)
    with CrowdedServer("app:application", "--workers", "2", cwd=tmp_path) as server:
        async with Crowd(server.port).asking() as crowd:
            await crowd.more()
            for number in range(1, 11):
                write(tmp_path, seconds=LOADING if number == 5 else 0)
                os.kill(server.pid, signal.SIGHUP)
                await until(server, r"\breloaded$", number)
            await crowd.more()
        check(crowd)
        assert ready(server) == 20


async def test_recycling_costs_nobody_a_request_nor_a_moment(tmp_path: Path) -> None:
    write(tmp_path)
    options = ("--workers", "2", "--max-requests", "500")
    with CrowdedServer("app:application", *options, cwd=tmp_path) as server:
        write(tmp_path, seconds=LOADING)
        async with Crowd(server.port).asking() as crowd:
            await until(server, r"worker \d+ is ready$", 3)
            await crowd.more()
        check(crowd)
        server.until(r"worker \d+ is replaced: it has had \d+ requests")


async def test_one_more_and_one_fewer_cost_nobody_a_request_nor_a_moment(tmp_path: Path) -> None:
    write(tmp_path)
    with CrowdedServer("app:application", "--workers", "2", cwd=tmp_path) as server:
        write(tmp_path, seconds=LOADING)
        async with Crowd(server.port).asking() as crowd:
            os.kill(server.pid, signal.SIGTTIN)
            await until(server, r"worker \d+ is ready$", 1)
            await crowd.more()
            os.kill(server.pid, signal.SIGTTOU)
            await until(server, "workers: 2$")
            await crowd.more(500)
        check(crowd)


async def test_whoever_is_served_by_a_worker_that_is_killed_is_served_at_once_by_another(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    with RunningServer("app:application", "--workers", "2", cwd=tmp_path) as server:
        write(tmp_path, seconds=LOADING)
        address = ("127.0.0.1", server.port)
        with Peer(address) as peer:
            pid = int(peer.get("/").content.split()[1])
            os.kill(pid, signal.SIGKILL)
            assert peer.rest() == b""
        begin = monotonic()
        with Peer(address) as peer:
            assert int(peer.get("/").content.split()[1]) != pid
        assert monotonic() - begin < PROMPT
        server.until(rf"worker {pid} was ended by signal 9")
        server.until(r"worker \d+ is ready")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_file_of_a_socket_stays_for_the_next_worker(tmp_path: Path, loop: str) -> None:
    write(tmp_path)
    path = tmp_path / "socket"
    with RunningServer("app:application", "--loop", loop, "--bind", f"unix:{path}", cwd=tmp_path) as server:
        for times in (1, 2):
            with Peer(str(path)) as peer:
                pid = int(peer.get("/").content.split()[1])
            os.kill(server.pid, signal.SIGHUP)
            server.until(r"\breloaded$", times)
            until_true(partial(has_ended, pid))  # so it has closed its sockets
            assert path.is_socket()
    assert not path.exists()


def test_code_that_cannot_start_leaves_the_old_one_serving(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer("app:application", "--workers", "2", cwd=tmp_path) as server:
        (tmp_path / "app.py").write_text("import no_such_module_anywhere\n")
        os.kill(server.pid, signal.SIGHUP)
        server.until("the reload is given up$")
        server.until("No module named 'no_such_module_anywhere'")
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").content.startswith(b"first")
        write(tmp_path, "second")
        os.kill(server.pid, signal.SIGHUP)
        server.until(r"\breloaded$")

        def answers() -> bool:
            with Peer(("127.0.0.1", server.port)) as peer:
                return peer.get("/").content.startswith(b"second")

        until_true(answers)


def test_a_worker_that_does_not_answer_its_ready_check_is_not_ready(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer("app:application", "--ready-check", "/?deep=1", cwd=tmp_path) as server:
        text = (tmp_path / "app.py").read_text().replace('== "/broken"', '== "/"')
        (tmp_path / "app.py").write_text(text)
        os.kill(server.pid, signal.SIGHUP)
        server.until(r"^aiowsgi: --ready-check /\?deep=1 was answered HTTP/1\.1 500 Broken$")
        server.until("the reload is given up$")
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 200


def test_a_reload_reads_the_settings_again(tmp_path: Path) -> None:
    write(tmp_path)
    settings = tmp_path / "aiowsgi.toml"
    settings.write_text("max_fields = 1\n")
    with RunningServer("app:application", cwd=tmp_path) as server:

        def status() -> int:
            with Peer(("127.0.0.1", server.port)) as peer:
                peer.send(get("/", "X: 1"))
                return peer.answer().status

        assert status() == 431
        settings.write_text("max_fields = 0\n")
        os.kill(server.pid, signal.SIGHUP)
        server.until("no reload: aiowsgi.toml: max_fields: expected a whole number of at least 1, got 0$")
        settings.write_text("max_fields = 2\nworkers = 7\n")
        os.kill(server.pid, signal.SIGHUP)
        server.until("workers has changed, which counts from the next start on$")
        server.until(r"\breloaded$")
        until_true(lambda: status() == 200)


def test_all_that_is_in_flight_is_answered_when_it_is_stopped(tmp_path: Path) -> None:
    write(tmp_path, slow=1)
    options = ("--workers", "2", "--threads", "20")
    with RunningServer("app:application", *options, cwd=tmp_path) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(("127.0.0.1", server.port))) for _ in range(20)]
        for peer in peers:
            peer.send(get("/slow"))
        # Some of them are still in the backlog, or in the buffers of the sockets.
        os.kill(server.pid, signal.SIGTERM)
        answers = [peer.answer() for peer in peers]
        assert {answer.status for answer in answers} == {200}
        assert {answer.fields["connection"] for answer in answers} == {"close"}


def test_it_serves_on_for_a_while_after_sigterm_and_says_that_it_will_not(tmp_path: Path) -> None:
    write(tmp_path)
    options = ("--health-path", "/health", "--drain-delay", "60", "--workers", "2")
    with RunningServer("app:application", *options, cwd=tmp_path) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as peer:
            assert peer.get("/health").status == 200
            assert peer.get("/health/below").content.startswith(b"first")
            os.kill(server.pid, signal.SIGTERM)
            server.until("stopping in 60 s$")
            answer = peer.get("/health")
            assert (answer.status, answer.content) == (503, b"stopping\n")
            answer = peer.get("/")
            assert answer.status == 200
            assert "connection" not in answer.fields
        with Peer(address) as peer:  # somebody new
            assert peer.get("/").status == 200
        os.kill(server.pid, signal.SIGINT)
        server.until("stopping$")


def test_what_does_not_end_in_time_is_logged_with_its_stack(tmp_path: Path) -> None:
    write(tmp_path, slow=60)
    with (
        RunningServer("app:application", "--graceful-timeout", "0.1", cwd=tmp_path) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        peer.send(get("/slow"))
        server.until("^entered$")
        os.kill(server.pid, signal.SIGTERM)
        server.until("1 connections did not end in time and are cut$")
        server.until(r"File .*app\.py\", line \d+, in application$")
        assert peer.rest() == b""


def test_who_waits_in_the_backlog_when_the_server_stops_is_answered(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer("app:application", cwd=tmp_path) as server, ExitStack() as stack:
        address = ("127.0.0.1", server.port)
        with Peer(address) as peer:
            pid = int(peer.get("/").content.split()[1])
        os.kill(pid, signal.SIGSTOP)
        peers = [stack.enter_context(Peer(address)) for _ in range(50)]
        for peer in peers:
            peer.send(get("/"))
        os.kill(server.pid, signal.SIGTERM)
        server.until("stopping$")
        os.kill(pid, signal.SIGCONT)
        assert [peer.answer().status for peer in peers] == [200] * 50


# By hand for longer: TIMES=200.
async def test_reload_after_reload_nothing_grows(tmp_path: Path) -> None:
    times = int(os.environ.get("TIMES", "10"))
    write(tmp_path)
    with RunningServer("app:application", "--workers", "2", cwd=tmp_path) as server:
        seen = []
        for number in range(1, times + 1):
            os.kill(server.pid, signal.SIGHUP)
            await until(server, r"\breloaded$", number)
            if number in (times // 2, times):
                seen.append(await asyncio.to_thread(measure, server))
        before, after = seen
        assert after[:3] == before[:3]
        assert after[3] - before[3] < 1024 * 1024  # malloc takes half of that at once


def measure(server: RunningServer) -> tuple[int, int, int, int]:
    """Return how many descriptors, threads and children the supervisor has, and its memory in bytes.

    Children are counted with zombies, once there are two.
    """
    process = Path(f"/proc/{server.pid}")
    end = monotonic() + PATIENCE
    while len(children := (process / "task" / str(server.pid) / "children").read_text().split()) > 2:
        assert monotonic() < end, children
        sleep(0.01)
    resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(os.listdir(process / "fd")), len(os.listdir(process / "task")), len(children), resident
