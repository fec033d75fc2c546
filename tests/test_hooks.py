"""The hooks: when and where they are called, and what becomes of mistakes in them."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from aiowsgi import RequestEnd, make_server
from aiowsgi.config import ConfigError
from aiowsgi.site.hooks import HookError, find_hook
from tests.commands import aiowsgi
from tests.programs import Program, Start, starting
from tests.server import ROOT, RunningServer
from tests.test_docs import blocks
from tests.test_embedded import running
from tests.thread_server import Peer, get, serving
from tests.wire_client import WAIT, echo

HOOKS = """\
import os, sys, threading

CODE = "first"

def say(what):
    loaded = "with" if "app" in sys.modules else "without"
    write(f"{what} {os.getpid()} of {os.getppid()} {CODE} {loaded} application")

def write(line):  # at once, so that the lines of several workers do not mix
    os.write(1, f"{line}\\n".encode())

def start():
    os.environ["SET_AT_START"] = "yes"
    say("start")

def worker_start():
    say("worker_start")

def worker_stop():
    say("worker_stop")

def request_end(end):
    write(f"{end.status} {end.method} {end.path} {threading.current_thread().name}")

def wait():
    write("waiting")
    open("pipe").read()

def fail():
    raise ValueError("as it was asked to")

def fail_at(end):
    raise ValueError("as it was asked to")

def leave():
    raise SystemExit(7)

async def later(): ...

nothing = None
"""
APPLICATION = """\
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ.get("SET_AT_START", "no").encode()]
"""
ALL = (
    *("--on-start", "hooks:start", "--on-worker-start", "hooks:worker_start"),
    *("--on-worker-stop", "hooks:worker_stop", "--on-request-end", "hooks:request_end"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    (tmp_path / "hooks.py").write_text(HOOKS)
    return tmp_path


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


def serve(start: Start, folder: Path, *arguments: str) -> Program:
    """Run ``aiowsgi serve`` there, which may fail."""
    command = ["serve", "app:application", "--bind", "127.0.0.1:0", *arguments]
    code = f"import os, sys; os.chdir({str(folder)!r}); sys.path.insert(0, {str(ROOT)!r});"
    return start("-c", f"{code} from aiowsgi.cli import main; sys.exit(main({command!r}))")


def test_hooks_are_called_in_their_order(folder: Path) -> None:
    with RunningServer("app:application", *ALL, cwd=folder) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/a/path?query").content == b"yes"
            server.until(r"^200 GET /a/path aiowsgi-1$")
        server.stop()
        said = re.findall(r"^(start|listening|worker_start|worker_stop|\d+ GET).*$", server.log(), re.M)
        assert said == ["start", "worker_start", "listening", "200 GET", "worker_stop"]
        assert re.search(rf"^start {server.pid} of \d+ first without application$", server.log(), re.M)
        pid = server.until(rf"^worker_start (\d+) of {server.pid} first with application$")[1]
        server.until(rf"^worker_stop {pid} of {server.pid} first with application$")


HANGING = """\
import threading, time

def request_end(end):
    print("told", flush=True)
    threading.Event().wait()

def worker_stop():
    time.sleep(1)
    print("has stopped", flush=True)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        print("entered", flush=True)
        threading.Event().wait()
    start_response("200 OK", [("Content-Length", "0")])
    return []
"""


def test_what_hangs_leaves_time_for_the_last_hook(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANGING)
    hooks = ("--on-request-end", "app:request_end", "--on-worker-stop", "app:worker_stop")
    with (
        RunningServer("app", *hooks, "--graceful-timeout", "0.1", cwd=tmp_path) as server,
        Peer(("127.0.0.1", server.port)) as peer,
    ):
        peer.get("/")
        server.until("^told$")
        peer.send(get("/hang"))
        server.until("^entered$")
        server.stop()
        server.until("^has stopped$")


def test_each_worker_has_its_hooks_where_the_application_is_preloaded(folder: Path) -> None:
    options = ("--preload", "--workers", "2", *ALL)
    with RunningServer("app:application", *options, cwd=folder) as server:
        server.stop()
        started, stopped = (
            re.findall(rf"^{what} (\d+) of \d+ first with application$", server.log(), re.M)
            for what in ("worker_start", "worker_stop")
        )
        assert len(set(started)) == 2
        assert sorted(started) == sorted(stopped)


def test_modules_of_on_start_are_loaded_anew_by_workers(folder: Path) -> None:
    with RunningServer("app:application", *ALL, cwd=folder) as server:
        (folder / "hooks.py").write_text(HOOKS.replace('"first"', '"the second"'))
        os.kill(server.pid, signal.SIGHUP)
        server.until(r"\breloaded$")
        server.until(r"^worker_start \d+ of \d+ the second with application$")
        server.until(r"^worker_stop \d+ of \d+ first with application$")


def test_a_reload_with_a_hook_that_fails_is_given_up(folder: Path) -> None:
    with RunningServer("app:application", *ALL, cwd=folder) as server:
        (folder / "hooks.py").write_text(HOOKS.replace('say("worker_start")', "fail()"))
        os.kill(server.pid, signal.SIGHUP)
        server.until("^aiowsgi: on_worker_start: 'hooks:worker_start' raised ValueError$")
        server.until("the reload is given up$")
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 200


def test_a_worker_whose_supervisor_has_died_still_stops_in_order(start: Start, folder: Path) -> None:
    program = serve(start, folder, *ALL)
    pid = program.out.until("^worker_start ").split()[1]
    program.err.until("^listening on ")
    program.send(signal.SIGKILL)
    program.out.until(f"^worker_stop {pid} ")


WAITING = ("--on-start", "hooks:wait", "--bind", "unix:socket", "--pid-file", "pid", "--control", "control")


def test_a_server_that_is_stopped_while_on_start_runs_leaves_nothing(start: Start, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    program = serve(start, folder, *WAITING)
    program.out.until("^waiting$")
    files = {"socket", "pid", "control"}
    assert {path.name for path in folder.iterdir()} >= files
    program.send(signal.SIGTERM)
    assert program.status() == 0
    assert program.err.until("").endswith("stopped before the start")
    assert program.err.rest() == []
    assert files.isdisjoint(path.name for path in folder.iterdir())


def test_what_is_asked_for_while_on_start_runs_is_done_behind_it(start: Start, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    log = folder / "access"
    program = serve(start, folder, *WAITING, "--access-log", "access")
    program.out.until("^waiting$")
    log.rename(folder / "moved")
    for number in (signal.SIGUSR1, signal.SIGTTIN, signal.SIGHUP):
        program.send(number)
    (folder / "pipe").write_text("go on")
    program.err.until("reloaded$")
    with Peer(str(folder / "socket")) as peer:
        assert peer.get("/").status == 200
    told = aiowsgi("status", "--json", "--control", str(folder / "control")).answer
    assert [worker["state"] for worker in told["workers"]].count("serving") == 2
    program.send(signal.SIGTERM)
    assert program.status() == 0
    assert (folder / "moved").read_text() == ""
    assert log.read_text().count("GET / ") == 1


MISTAKES = [
    ("--on-start", "nowhere:start", "on_start: there is no module 'nowhere' in FOLDER"),
    ("--on-start", "hooks:no", "on_start: module 'hooks' has no 'no'; its callables are: say, "),
    ("--on-worker-start", "nowhere:start", "on_worker_start: there is no module 'nowhere' in FOLDER"),
    ("--on-worker-start", "hooks:CODE.no", "on_worker_start: an object of type 'str' has no 'no'"),
    (
        *("--on-worker-start", "hooks:nothing"),
        "on_worker_start: 'hooks:nothing' is an object of type 'NoneType', not a function",
    ),
    (
        *("--on-worker-stop", "hooks:request_end"),
        "on_worker_stop: 'hooks:request_end' is called with no arguments and takes others",
    ),
    (
        *("--on-request-end", "hooks:start"),
        "on_request_end: 'hooks:start' is called with 1 argument and takes others",
    ),
    (
        *("--on-request-end", "hooks:later"),
        "on_request_end: 'hooks:later' is a coroutine function, which nobody awaits",
    ),
]


def test_a_mistake_is_one_line_and_a_failed_start(start: Start, folder: Path) -> None:
    # All at once, here and below: a start is a wait for the most part where there are several processors.
    programs = [serve(start, folder, option, hook, "--log-level", "warning") for option, hook, _ in MISTAKES]
    for program, (_, _, line) in zip(programs, MISTAKES, strict=True):
        assert program.status() == 2
        (said,) = program.err.rest()
        assert said.startswith("aiowsgi: " + line.replace("FOLDER", str(folder)))
        assert program.out.rest() == []


def test_a_hook_that_fails_is_a_failed_start_with_its_traceback(start: Start, folder: Path) -> None:
    failures = {"hooks:fail": "ValueError", "hooks:leave": "SystemExit"}
    cases = [(option, hook) for option in ("--on-start", "--on-worker-start") for hook in failures]
    programs = [serve(start, folder, option, hook, "--log-level", "warning") for option, hook in cases]
    for program, (option, hook) in zip(programs, cases, strict=True):
        assert program.status() == 2
        first, *_, last = program.err.rest()
        assert first == "Traceback (most recent call last):"
        assert last == f"aiowsgi: {option[2:].replace('-', '_')}: '{hook}' raised {failures[hook]}"


def test_what_is_raised_at_the_end_of_a_worker_is_logged(folder: Path) -> None:
    with RunningServer("app:application", "--on-worker-stop", "hooks:fail", cwd=folder) as server:
        assert server.stop() == 0
        server.until("ERROR aiowsgi.hooks: on_worker_stop: 'hooks:fail' raised ValueError$")
        server.until("^ValueError: as it was asked to$")


def test_what_is_raised_behind_an_answer_is_logged_and_breaks_nothing(folder: Path) -> None:
    with RunningServer("app:application", "--on-request-end", "hooks:fail_at", cwd=folder) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            for _ in range(20):
                assert peer.get("/").status == 200
            server.until("ERROR aiowsgi.hooks: on_request_end has failed 1 times$")
            server.until("^ValueError: as it was asked to$")
        server.stop()
        assert server.log().count("Traceback") == 1


def test_the_example_of_the_manual_works(folder: Path) -> None:
    page = ROOT / "docs" / "processes.md"
    (code,) = [block for block in blocks(page, "python") if block.startswith("# telemetry.py\n")]
    (settings,) = [block for block in blocks(page, "toml") if "telemetry:start" in block]
    (folder / "telemetry.py").write_text(code)
    (folder / "aiowsgi.toml").write_text(settings)
    with RunningServer("app:application", cwd=folder) as server:
        with Peer(("127.0.0.1", server.port)) as peer:
            assert [peer.get("/").status for _ in range(3)] == [200] * 3
        server.stop()
        told = json.loads(server.until(r"^\{.*\}$")[0])
        assert told["answers"] == {"200": 3}
        assert 0 < told["longest_wait"] < WAIT


# In a program.

PROGRAM = """\
from aiowsgi import serve

def say(what):
    print(what, flush=True)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"it"]

serve(
    application,
    bind=["127.0.0.1:0"],
    on_start=lambda: say("start"),
    on_worker_start=lambda: say("worker_start"),
    on_worker_stop=lambda: say("worker_stop"),
    on_request_end=lambda end: say(end.path),
)
"""


def test_a_program_gives_functions(folder: Path) -> None:
    with running(PROGRAM, folder) as (process, output):
        said = []
        for line in output:
            said.append(line.strip())
            if found := re.match(r"listening on http://127\.0\.0\.1:(\d+)$", line):
                with Peer(("127.0.0.1", int(found[1]))) as peer:
                    assert peer.get("/x").content == b"it"
                process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    words = ("start", "worker_start", "/x", "worker_stop")
    assert [line for line in said if line in words] == list(words)


def test_make_server_takes_what_is_not_of_the_process() -> None:
    ends: list[RequestEnd] = []
    told = Event()

    def note(end: RequestEnd) -> None:
        ends.append(end)
        told.set()

    with serving(echo, on_request_end=note) as server, Peer(server.server_address) as peer:
        peer.send(get("/x"))
        assert peer.answer().status == 200
        assert told.wait(WAIT)
    assert [end.path for end in ends] == ["/x"]
    for setting in ("on_start", "on_worker_start", "on_worker_stop"):
        given: dict[str, Any] = {setting: note}
        with pytest.raises(ConfigError, match=f"{setting}: expected in a call of serve"):
            make_server("127.0.0.1", 0, echo, **given)
    with pytest.raises(HookError, match=r"on_request_end: .* is called with 1 argument and takes others"):
        make_server("127.0.0.1", 0, echo, on_request_end=lambda: None)


def test_what_tells_nothing_of_its_parameters_is_taken_as_it_is() -> None:
    assert find_hook("on_start", None) is None
    assert find_hook("on_request_end", "builtins:print", None) is print
    assert find_hook("on_request_end", dict.fromkeys, None) is not None
