"""What ``aiowsgi serve`` does with its settings, with real processes and real signals."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.programs import PATIENCE, Start, starting

RUN = """
import os, sys
from aiowsgi.config import Config
from aiowsgi.process.serving import run
sys.path.insert(0, ".")
if "import limits" in sys.argv:
    import limits
if "blocked" in sys.argv:
    import signal
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD])
if "no fork" in sys.argv:
    del os.fork
sys.exit(run(Config(app=sys.argv[1], bind=(sys.argv[2],), workers=int(sys.argv[3]))))
"""
GREETING = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""

# As gevent.monkey.patch_all leaves it: what is started runs when another one switches to it.
GREEN = """
import _thread, threading

def start(function, *arguments, **named):
    return 0

for name in ("start_new_thread", "start_joinable_thread"):
    if hasattr(_thread, name):
        setattr(_thread, name, start)
        setattr(threading, f"_{name}", start)

def application(*arguments):
    assert not arguments
"""


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


@pytest.fixture
def run(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Run an application of the folder ``tmp_path``: its name, where to bind, the number of workers."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "greeting.py").write_text(GREETING)
    (tmp_path / "broken.py").write_text("import no_such_module_anywhere\n")
    return lambda *arguments: start("-c", RUN, *arguments)


def test_signals_that_were_blocked_at_the_start_are_heard(run: Start) -> None:
    program = run("greeting", "127.0.0.1:0", "1", "blocked")
    program.err.until("greeting$")
    program.send(signal.SIGHUP)
    program.err.until("reloaded$")
    program.send(signal.SIGTERM)
    assert program.status() == 0


def test_run_tells_where_it_listens_and_serves(run: Start) -> None:
    program = run("greeting", "127.0.0.1:0", "2")
    assert re.fullmatch(r"aiowsgi \S+, workers: 2, threads in each: 4", program.err.until("aiowsgi"))
    url = program.err.until("listening on").removeprefix("listening on ")
    assert program.err.until("greeting").split() == ["/", "application", "greeting"]
    assert httpx.get(url).text == "hello"
    program.send(signal.SIGTERM)
    assert program.status() == 0
    assert program.out.rest() == []


def test_run_answers_what_is_in_flight_when_it_is_stopped(run: Start, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "def application(environ, start_response):\n"
        "    print('asked', flush=True)\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [environ['wsgi.input'].read(), open('fifo', 'rb').read()]\n"
    )
    os.mkfifo(tmp_path / "fifo")
    program = run("slow", "127.0.0.1:0", "1")
    address = program.err.until("listening on").removeprefix("listening on http://").split(":")
    with socket.create_connection((address[0], int(address[1])), PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        program.out.until("asked")
        program.send_group(signal.SIGINT)
        program.err.until("stopping")
        (tmp_path / "fifo").write_bytes(b"the answer")
        with client.makefile("rb") as answer:
            assert b"the answer" in answer.read()
    assert program.status() == 0


def test_run_shows_the_failed_import_of_an_application_once(run: Start) -> None:
    program = run("broken", "127.0.0.1:0", "3")
    lines = program.err.rest()
    assert sum(line.startswith("ModuleNotFoundError") for line in lines) == 1
    assert lines[-1].startswith("aiowsgi: importing 'broken' raised ModuleNotFoundError")
    assert program.status() == 2
    assert program.out.rest() == []


def test_run_tells_in_one_line_that_there_is_no_application(run: Start) -> None:
    program = run("absent", "127.0.0.1:0", "1")
    (line,) = program.err.rest()
    assert line.startswith("aiowsgi: there is no module 'absent'")
    assert program.status() == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("green",),
        ("green", "--preload"),
        ("green", "--reload"),
        ("greeting", "--on-worker-start", "green:application"),
    ],
)
def test_threads_that_are_replaced_are_a_failed_start_and_one_line(
    start: Start, run: Start, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "green.py").write_text(GREEN)
    program = start("-m", "aiowsgi", "serve", *arguments, "--bind", "127.0.0.1:0", "--control", "none")
    *_, line = program.err.rest()
    assert line.startswith("aiowsgi: threads were replaced by others, as gevent.monkey.patch_all and ")
    assert program.status() == 2


def test_run_tells_in_one_line_that_the_port_is_taken(run: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        program = run("greeting", address, "1")
        assert program.err.rest() == [f"aiowsgi: {address} is taken by another process"]
    assert program.status() == 2


def test_run_without_fork_serves_in_its_own_process(run: Start, tmp_path: Path) -> None:
    program = run("greeting", "127.0.0.1:0", "1", "no fork")
    url = program.err.until("listening on").removeprefix("listening on ")
    assert httpx.get(url).text == "hello"
    program.send(signal.SIGINT)
    assert program.status() == 0


def test_run_without_fork_tells_of_a_failed_start(run: Start) -> None:
    program = run("absent", "127.0.0.1:0", "1", "no fork")
    (line,) = program.err.rest()
    assert line.startswith("aiowsgi: there is no module 'absent'")
    assert program.status() == 2


def test_run_ends_when_its_supervisor_is_killed(run: Start) -> None:
    program = run("greeting", "127.0.0.1:0", "2")
    program.err.until("listening on")
    program.send(signal.SIGKILL)
    assert program.out.rest() == []  # every process has closed it


def test_workers_may_open_as_many_files_as_the_hard_limit_allows(run: Start, tmp_path: Path) -> None:
    (tmp_path / "limits.py").write_text(
        "import resource\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))\n"  # imported by the parent, before it runs
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "    return [b'as many' if soft == hard else b'fewer']\n"
    )
    program = run("limits:application", "127.0.0.1:0", "1", "import limits")
    assert httpx.get(program.err.until("listening on").removeprefix("listening on ")).text == "as many"
