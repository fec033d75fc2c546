"""The commands for a server that runs: status, reload, workers, stacks, drain and stop."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.commands import Command, OperatedServer, aiowsgi
from tests.test_reload import until_true
from tests.thread_server import Peer, get

# /slow waits for the pipe, in the line that says so: whoever has read it may look at the stack; /hang holds the
# interpreter for ever, so that not even the event loop goes on. A line is one write, or a log's may come in between.
APPLICATION = """\
import os, re

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        print("entered\\n", end="", flush=True) or open("pipe").read()
    if environ["PATH_INFO"] == "/hang":
        print("entered\\n", end="", flush=True)
        re.match("(a+)+$", "a" * 64 + "b")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % os.getpid()]
"""
LOADING = "print('loading\\n', end='', flush=True) or open('pipe').read()\n" + APPLICATION


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def release(project: Path) -> None:
    """Let go of who waits for the pipe."""
    (project / "pipe").write_text("go on\n")


def test_status_tells_programs_of_each_worker(project: Path) -> None:
    with OperatedServer("app", "--workers", "2", cwd=project) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            pid = int(peer.get("/").content)
            peer.send(get("/slow"))
            server.until("^entered$")
            told = server.answer("status")
            release(project)
            assert peer.answer().status == 200
        assert (told["pid"], told["phase"]) == (server.pid, "serving")
        assert told["addresses"] == [server.url]
        assert told["uptime"] > 0
        workers = {worker["pid"]: worker for worker in told["workers"]}
        assert len(workers) == 2
        figures = workers[pid]
        assert (figures["state"], figures["answers"], figures["generation"]) == ("serving", True, 0)
        assert [figures[name] for name in ("requests", "connections", "busy", "threads", "queue")] == [
            2,
            1,
            1,
            4,
            0,
        ]
        assert 0 < figures["age"] < told["uptime"]
        if os.path.exists("/proc/self/smaps_rollup"):
            assert 1 << 20 < figures["private_memory"] < 1 << 30
            assert figures["shared_memory"] > 1 << 20


def test_status_is_a_table_for_people(project: Path) -> None:
    with OperatedServer("app", cwd=project) as server:
        told = server.told("status")
        assert (told.status, told.err) == (0, "")
        first, address, head, row = told.out.splitlines()
        assert re.fullmatch(rf"aiowsgi \S+, PID {server.pid}, serving, up \d+ s", first)
        assert address.strip() == server.url
        assert head.split() == [
            *("PID", "state", "age", "generation", "requests"),
            *("connections", "busy", "queue", "private", "shared"),
        ]
        assert re.match(r" *\d+  serving +\d+ s +0 +0 +0 +0/4 +0 ", row)
        assert row.index("serving") == head.index("state")


def test_a_reload_is_waited_for(project: Path) -> None:
    with OperatedServer("app", "--workers", "2", cwd=project) as server:
        told = server.told("reload")
        assert (told.status, told.out, told.err) == (0, "reloaded, workers: 2\n", "")
        serving = [worker for worker in server.answer("status")["workers"] if worker["state"] == "serving"]
        assert [worker["generation"] for worker in serving] == [1, 1]


def test_a_reload_that_fails_says_why(project: Path) -> None:
    with OperatedServer("app", "--workers", "2", cwd=project) as server:
        (project / "app.py").write_text("def broken():\n    return 1 / 0\n\nbroken()\n")
        told = server.told("reload")
        assert (told.status, told.out) == (1, "")
        first, *lines = told.err.splitlines()
        assert re.fullmatch(r"aiowsgi: worker \d+ exited with status 2", first)
        assert lines[0] == "Traceback (most recent call last):"
        assert "    return 1 / 0" in lines
        assert lines[-1] == "aiowsgi: importing 'app' raised ZeroDivisionError: division by zero"
        (project / "aiowsgi.toml").write_text("threads = 0\n")
        told = server.told("reload")
        assert told.status == 1
        assert told.line == "aiowsgi: aiowsgi.toml: threads: expected a whole number of at least 1, got 0"
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 200


def test_workers_are_added_and_taken_away_but_for_the_last(project: Path) -> None:
    with OperatedServer("app", cwd=project) as server:
        assert server.told("workers", "+2").out == "workers: 3\n"
        server.until(r"worker \d+ is ready$", 2)
        assert server.answer("workers", "-1") == {"workers": 2}
        told = server.told("workers", "-2")
        assert (told.status, told.line) == (1, "aiowsgi: of 2 workers one has to stay")
        told = server.told("workers", "3")
        assert told.status == 2
        assert "expected +N or -N, got '3'" in told.line


def test_nothing_is_done_to_the_workers_while_the_server_is_upgraded(project: Path) -> None:
    with OperatedServer("app", cwd=project) as server:
        (project / "app.py").write_text(LOADING)
        os.kill(server.pid, signal.SIGUSR2)
        server.until("^loading$")
        for command in (["workers", "+1"], ["reload"]):
            told = server.told(*command)
            assert (told.status, told.line) == (1, "aiowsgi: an upgrade is going on")
        release(project)
        server.follow()


def test_the_number_of_workers_stays_while_the_server_stops(project: Path) -> None:
    with (
        OperatedServer("app", cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        peer.send(get("/slow"))
        server.until("^entered$")
        os.kill(server.pid, signal.SIGTERM)
        server.until("stopping$")
        told = server.told("workers", "+1")
        assert (told.status, told.line) == (1, "aiowsgi: the server is about to stop")
        release(project)
        assert peer.answer().status == 200


def test_fewer_workers_do_not_disturb_a_preloader_whose_last_worker_still_answers(project: Path) -> None:
    with (
        OperatedServer("app", "--workers", "3", "--preload", cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        busy = int(peer.get("/").content)
        peer.send(get("/slow"))
        server.until("^entered$")
        assert server.told("reload").status == 0

        def it_alone_drains() -> bool:
            rows = server.answer("status")["workers"]
            return [row["pid"] for row in rows if row["kind"] == "worker" and row["generation"] == 0] == [
                busy
            ]

        until_true(it_alone_drains)
        assert server.answer("workers", "-2") == {"workers": 1}
        until_true(it_alone_drains)  # which is asked behind it
        release(project)
        assert peer.answer().status == 200


def test_stacks_tell_what_each_thread_does_and_for_whom(project: Path) -> None:
    with (
        OperatedServer("app", cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        peer.send(get("/slow?really=1"))
        server.until("^entered$")
        [worker] = server.answer("stacks")["workers"]
        [serving] = [thread for thread in worker["threads"] if thread["request"]]
        assert serving["request"] == "GET /slow?really=1"
        assert serving["seconds"] >= 0
        assert serving["stack"][-1] == [str(project / "app.py"), 5, "application"]
        assert {thread["name"] for thread in worker["threads"]} >= {"MainThread", "aiowsgi-call-4"}
        shown = server.told("stacks").out
        release(project)
        assert peer.answer().status == 200
    assert re.search(r"^  aiowsgi-call-\d: GET /slow\?really=1, \d+\.\d s ago$", shown, re.MULTILINE)
    assert re.search(
        r'^    File ".*app\.py", line 5, in application\n      print\("entered', shown, re.MULTILINE
    )
    assert re.search(r"^  idle: MainThread, ", shown, re.MULTILINE)


def test_a_worker_whose_loop_hangs_is_shown_and_stalls_nobody(project: Path) -> None:
    with (
        OperatedServer("app", "--workers", "2", cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        pid = int(peer.get("/").content)
        peer.send(get("/hang"))
        server.until("^entered$")
        # At once: each waits for the worker until its patience ends.
        status, stacks = (Command(name, "--control", str(server.control)) for name in ("status", "stacks"))
        shown = status.ended().out
        assert re.search(rf"^ *{pid}  serving, silent +\d+ s +0( +-){{6}}$", shown, re.MULTILINE)
        assert re.search(r"^ *\d+  serving  +\d+ s +0 +0 +0 +0/4 ", shown, re.MULTILINE)
        shown = stacks.ended().out
        assert re.search(rf"^worker {pid}, serving, \d+ s old: does not answer$", shown, re.MULTILINE)
        assert re.search(r"^ +File .*app\.py\", line \d+ in application$", shown, re.MULTILINE)
        os.kill(pid, signal.SIGKILL)  # it would not drain
        server.until(rf"worker {pid} was ended by signal 9")


def test_a_preloader_is_shown_with_its_workers(project: Path) -> None:
    with OperatedServer("app", "--workers", "2", "--preload", cwd=project) as server:
        assert server.told("reload").status == 0
        rows = [row for row in server.answer("status")["workers"] if row["generation"] == 1]
        assert [row["kind"] for row in rows] == ["preloader", "worker", "worker"]
        assert [row["requests"] for row in rows] == [None, 0, 0]
        assert all(row["answers"] for row in rows)
        if os.path.exists("/proc/self/smaps_rollup"):
            assert all(row["shared_memory"] > row["private_memory"] > 0 for row in rows)
        assert "preloader, serving" in server.told("status").out
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.send(get("/slow"))
            server.until("^entered$")
            shown = server.told("stacks").out
            release(project)
            assert peer.answer().status == 200
        assert re.search(rf"^preloader {rows[0]['pid']}, serving, \d+ s old: waits$", shown, re.MULTILINE)
        assert re.search(r"^  aiowsgi-call-\d: GET /slow, ", shown, re.MULTILINE)


def test_a_worker_that_still_loads_is_shown_without_a_wait(project: Path) -> None:
    with OperatedServer("app", cwd=project) as server:
        (project / "app.py").write_text(LOADING)
        reload = Command("reload", "--control", str(server.control))
        server.until("^loading$")
        workers = {worker["state"]: worker for worker in server.answer("stacks")["workers"]}
        assert set(workers) == {"serving", "starting"}
        assert re.search(r"app\.py\", line 1 in <module>", workers["starting"]["shown"])
        assert re.search(r"^ *\d+ +starting +\d+ s +1( +-){6}$", server.told("status").out, re.MULTILINE)
        release(project)
        assert reload.ended().status == 0


def test_drain_serves_on_and_says_that_nobody_should_come(project: Path) -> None:
    options = ("--health-path", "/health", "--drain-delay", "3600")
    with (
        OperatedServer("app", *options, cwd=project) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        assert peer.get("/health").status == 200
        assert server.answer("drain") == {"phase": "draining"}
        assert peer.get("/health").status == 503
        answer = peer.get("/")
        assert answer.status == 200
        assert "connection" not in answer.fields
        told = server.told("reload")
        assert (told.status, told.line) == (1, "aiowsgi: the server is about to stop")
        assert server.told("drain").out == "draining: aiowsgi stop is the next step\n"
        # Everybody has had time to notice, so there is no further delay.
        assert server.told("stop").status == 0


def test_stop_waits_until_the_server_is_gone(project: Path) -> None:
    options = ("--pid-file", "pid", "--bind", "unix:site.sock", "--workers", "2")
    with OperatedServer("app", *options, cwd=project) as server:
        with Peer(str(project / "site.sock")) as peer:
            peer.send(get("/slow"))
            server.until("^entered$")
            stop = Command("stop", "--control", str(server.control))
            server.until("stopping$")
            release(project)
            assert peer.answer().status == 200
        ended = stop.ended()
        assert (ended.status, ended.out, ended.err) == (0, "stopped\n", "")
        assert os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        assert sorted(path.name for path in project.iterdir() if path.name[0] != "_") == ["app.py", "pipe"]
        told = server.told("status")
        assert (told.status, told.line) == (2, f"aiowsgi: no server has the control socket {server.control}")


def test_stop_heeds_the_delay_of_sigterm_and_asked_twice_cuts_nobody(project: Path) -> None:
    options = ("--health-path", "/health", "--drain-delay", "3600")
    with OperatedServer("app", *options, cwd=project) as server:
        first = Command("stop", "--control", str(server.control))
        server.until("stopping in 3600 s$")
        second = Command("stop", "--control", str(server.control), "--json")
        assert server.answer("status")["phase"] == "stopping"
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/health").status == 503
            peer.send(get("/slow"))
            server.until("^entered$")
            os.kill(server.pid, signal.SIGINT)
            server.until("stopping$")
            third = Command("stop", "--control", str(server.control))
            server.until_asked(3)
            assert server.answer("status")["phase"] == "stopping"
            release(project)
            assert peer.answer().status == 200
        assert [first.ended().status, third.ended().status] == [0, 0]
        assert second.ended().answer == {"stopped": server.pid}


def test_a_server_that_has_stopped_does_not_answer(project: Path) -> None:
    with OperatedServer("app", cwd=project) as server:
        (project / "app.py").write_text(LOADING)
        reload = Command("reload", "--control", str(server.control))
        server.until("^loading$")
        assert server.stop() == 0
        ended = reload.ended()
        assert ended.status == 2
        assert (
            ended.line == f"aiowsgi: the server with the control socket {server.control} has ended meanwhile"
        )


def test_an_unknown_command_is_one_line(project: Path) -> None:
    ended = aiowsgi("frobnicate")
    assert ended.status == 2
    assert ended.line == "aiowsgi: No such command 'frobnicate'. Try \"aiowsgi --help\"."


def test_after_an_upgrade_the_new_server_has_the_control_socket_and_the_pid_file(project: Path) -> None:
    path = project / "pid"
    with OperatedServer("app", "--pid-file", "pid", cwd=project) as server:
        old = server.pid
        # One that cannot start takes nothing over.
        (project / "app.py").write_text("1 / 0\n")
        os.kill(old, signal.SIGUSR2)
        server.until(r"process \d+ exited with status 2; this one serves on$")
        assert server.answer("status")["pid"] == old
        assert path.read_text() == f"{old}\n"
        # While one starts, it is the old one that is asked.
        (project / "app.py").write_text(LOADING)
        os.kill(old, signal.SIGUSR2)
        server.until("^loading$")
        assert [server.answer("status")["pid"] for _ in range(3)] == [old] * 3
        release(project)
        new = server.follow()
        assert server.answer("status")["pid"] == new
        assert path.read_text() == f"{new}\n"
        assert server.told("stop").status == 0
        assert not path.exists()
        assert not server.control.exists()
        assert sorted(each.name for each in project.iterdir() if each.name[0] != "_") == ["app.py", "pipe"]
