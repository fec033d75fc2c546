"""``make_server`` and ``serve``: the server inside a program, as ``wsgiref.simple_server`` would be."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread, Timer
from typing import IO, Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import httpx
import pytest

from aiowsgi import make_server
from aiowsgi.config import ConfigError
from aiowsgi.process.embedded import WSGIServer
from tests.server import PATIENCE, ROOT
from tests.thread_server import LOOPS, Peer, forever, get, serving
from tests.wire_client import WAIT, answering, echo


def url_of(server: WSGIServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@contextmanager
def running(program: str, folder: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run a program in a process, and give it with its standard output and error; it is gone behind the block."""
    (folder / "program.py").write_text(program)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    end = Timer(PATIENCE, os.killpg, [process.pid, signal.SIGKILL])
    end.start()
    with process.stdout:
        try:
            yield process, process.stdout
        finally:
            end.cancel()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Have SIGINT reach the programs: what a shell runs in the background ignores it, with all its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


TUTORIAL = """\
from aiowsgi import make_server

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<h1>Hello, %b!</h1>" % (environ["PATH_INFO"][1:] or "web").encode()]

httpd = make_server("", 0, application)
print("serving on port", httpd.server_port, flush=True)
httpd.serve_forever()
"""


def test_the_program_of_the_tutorials_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    with running(TUTORIAL, tmp_path) as (process, output):
        port = int(output.readline().removeprefix("serving on port "))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            assert client.get("/").text == "<h1>Hello, web!</h1>"
            assert client.get("/Jane").text == "<h1>Hello, Jane!</h1>"
            process.send_signal(signal.SIGINT)
            lines = output.read().splitlines()
        assert process.wait(WAIT) == -signal.SIGINT
    # As wsgiref's: whoever wants it quiet catches it.
    assert lines[0] == "Traceback (most recent call last):"
    assert "KeyboardInterrupt" in lines


def test_an_interrupted_server_may_be_used_again(tmp_path: Path) -> None:
    program = TUTORIAL.replace(
        "httpd.serve_forever()\n",
        """\
for _ in range(2):
    try:
        httpd.serve_forever()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
httpd.server_close()
""",
    )
    with running(program, tmp_path) as (process, output):
        port = int(output.readline().removeprefix("serving on port "))
        for _ in range(2):
            with Peer(("127.0.0.1", port)) as idle:
                assert idle.get("/").status == 200
                process.send_signal(signal.SIGINT)
                assert output.readline() == "interrupted\n"
                assert idle.rest() == b""
        assert process.wait(WAIT) == 0
        assert output.read() == ""


@pytest.mark.parametrize("loop", LOOPS)
def test_it_serves_from_a_thread_as_a_context_manager(loop: str) -> None:
    with make_server("127.0.0.1", 0, echo, loop=loop) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        assert httpx.post(f"{url_of(server)}/x", content=b"content").text == "POST /x content."
        server.shutdown()
        thread.join(WAIT)
        assert not thread.is_alive()
        assert server.fileno() >= 0
    assert server.fileno() == -1
    with pytest.raises(httpx.ConnectError):
        httpx.get(url_of(server))


def test_the_names_of_wsgirefs_server_are_there() -> None:
    with make_server("127.0.0.1", 0, echo) as server:
        assert server.server_port > 0
        assert server.server_address == ("127.0.0.1", server.server_port)
        assert server.server_name == "127.0.0.1"
        assert server.get_app() is echo


@pytest.mark.parametrize("host", ["", "localhost"])
def test_every_address_of_a_host_has_the_same_port(host: str) -> None:
    with serving(echo, host) as server:
        assert httpx.get(f"{url_of(server)}/4").text == "GET /4 ."
        assert server.server_address[1] == server.server_port


def test_an_ipv6_address_needs_no_brackets() -> None:
    with serving(echo, "::1") as server:
        assert server.server_name == "::1"
        with Peer(("::1", server.server_port)) as peer:
            assert peer.get("/6").content == b"GET /6 ."


def test_the_application_can_be_exchanged_while_it_serves() -> None:
    with serving(answering(b"first")) as server, Peer(server.server_address) as peer:
        assert peer.get("/").content == b"first"
        server.set_app(answering(b"second"))
        assert peer.get("/").content == b"second"


def test_a_client_may_connect_before_anybody_serves() -> None:
    with make_server("127.0.0.1", 0, echo) as server, Peer(server.server_address) as peer:
        peer.send(get("/early"))
        with forever(server):
            assert peer.answer().content == b"GET /early ."


@pytest.mark.parametrize("loop", LOOPS)
def test_serving_again_after_a_shutdown(loop: str) -> None:
    with make_server("127.0.0.1", 0, echo, loop=loop) as server:
        for path in ("/1", "/2", "/3"):
            with forever(server), Peer(server.server_address) as peer:
                assert peer.get(path).content == f"GET {path} .".encode()


def test_a_shutdown_that_comes_first_ends_the_next_serving_at_once() -> None:
    with make_server("127.0.0.1", 0, echo) as server:
        server.shutdown()
        server.serve_forever()
        with forever(server), Peer(server.server_address) as peer:
            assert peer.get("/").status == 200


def test_a_shutdown_after_the_end_returns_at_once() -> None:
    with make_server("127.0.0.1", 0, echo) as server:
        with forever(server):
            pass
        server.shutdown()


def test_a_shutdown_at_any_moment_of_the_start_stops_it() -> None:
    with make_server("127.0.0.1", 0, echo) as server:
        for _ in range(20):
            with forever(server):
                pass


def test_shutdown_returns_when_what_was_asked_is_answered() -> None:
    entered, leave = Event(), Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entered.set()
        assert leave.wait(WAIT)
        return echo(environ, start_response)

    with (
        make_server("127.0.0.1", 0, application) as server,
        Peer(server.server_address) as peer,
        forever(server),
    ):
        peer.send(get("/last"))
        assert entered.wait(WAIT)
        stopping = Thread(target=server.shutdown)
        stopping.start()
        leave.set()
        assert peer.answer().content == b"GET /last ."
        assert peer.rest() == b""
        peer.socket.close()
        stopping.join(WAIT)
        assert not stopping.is_alive()


def test_what_is_mounted_beside_the_application_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_once.py").write_text(
        "made = []\n"
        "def factory():\n"
        "    made.append(1)\n"
        "    return lambda environ, start_response: start_response('200 OK', []) and [str(len(made)).encode()]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with make_server("127.0.0.1", 0, echo, mount=["/made=made_once:factory()"]) as server:
        for _ in range(2):
            with forever(server), Peer(server.server_address) as peer:
                assert peer.get("/made").content == b"1"


# One request at a time.


@pytest.mark.parametrize("loop", LOOPS)
def test_handle_request_answers_one_request_and_returns(loop: str) -> None:
    with make_server("127.0.0.1", 0, echo, loop=loop) as server:
        for path in ("/1", "/2"):
            with Peer(server.server_address) as peer:
                peer.send(get(path))
                handling = Thread(target=server.handle_request)
                handling.start()
                assert peer.answer().content == f"GET {path} .".encode()
                assert peer.rest() == b""
                peer.socket.close()
                handling.join(WAIT)
                assert not handling.is_alive()
        with forever(server), Peer(server.server_address) as peer:
            assert peer.get("/1").status == peer.get("/2").status == 200


def test_handle_request_waits_for_the_request_and_finishes_its_answer() -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"a", b"streamed", b"answer"])

    with make_server("127.0.0.1", 0, application) as server:
        handling = Thread(target=server.handle_request)
        handling.start()
        assert httpx.get(url_of(server)).text == "astreamedanswer"
        handling.join(WAIT)
        assert not handling.is_alive()


def test_an_interrupted_handle_request_leaves_a_server_that_serves(tmp_path: Path) -> None:
    program = TUTORIAL.replace(
        "httpd.serve_forever()\n",
        """\
try:
    httpd.handle_request()
except KeyboardInterrupt:
    print("interrupted", flush=True)
httpd.serve_forever()
""",
    )
    with running(program, tmp_path) as (process, output):
        port = int(output.readline().removeprefix("serving on port "))
        with Peer(("127.0.0.1", port)) as early:
            early.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")  # no application is called for it
            assert early.answer().status == 200
            process.send_signal(signal.SIGINT)
            assert output.readline() == "interrupted\n"
        with Peer(("127.0.0.1", port)) as peer:
            assert peer.get("/").status == peer.get("/").status == 200


# What cannot be.


def test_a_port_that_is_taken_is_an_oserror_of_one_line() -> None:
    with make_server("127.0.0.1", 0, echo) as server:
        with pytest.raises(OSError, match=r"^127\.0\.0\.1:[0-9]+ is taken by another process$"):
            make_server("127.0.0.1", server.server_port, echo)
        with forever(server):
            assert httpx.get(url_of(server)).status_code == 200


def test_a_mistake_in_a_setting_is_told_in_the_words_of_the_command_line() -> None:
    with pytest.raises(ConfigError, match=r"^--threads: expected a whole number of at least 1, got 0$"):
        make_server("127.0.0.1", 0, echo, threads=0)
    with pytest.raises(ConfigError, match=r"^--thread: .* did you mean --threads\?$"):
        make_server("127.0.0.1", 0, echo, thread=4)
    with pytest.raises(ConfigError, match=r"^reload: expected an application by its name, "):
        make_server("127.0.0.1", 0, echo, reload=True)


def test_an_application_that_gives_text_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("200 OK", [("Content-Type", "text/html")])
        return "<h1>Hello, web!</h1>"

    with serving(cast(WSGIApplication, application)) as server:
        answer = httpx.get(f"{url_of(server)}/text")
    assert answer.status_code == 500
    assert "Hello" not in answer.text
    assert "GET /text: PEP 3333 asks for bytes as the body, not str" in caplog.text


def test_the_folders_of_a_site_are_served_only_where_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "a.txt").write_text("file")
    monkeypatch.chdir(tmp_path)
    with serving(echo) as server:
        assert httpx.get(f"{url_of(server)}/a.txt").text == "GET /a.txt ."
    with serving(echo, static=["/static=html"]) as server:
        assert httpx.get(f"{url_of(server)}/static/a.txt").text == "file"


# aiowsgi.serve


SERVE = """\
import aiowsgi

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"served ", str(environ["wsgi.multiprocess"]).encode()]

if __name__ == "__main__":
    status = aiowsgi.serve({application}, bind=["127.0.0.1:0", "127.0.0.1:0"], workers=2)
    print("status", status, flush=True)
"""


@pytest.mark.parametrize("application", ["application", '"program:application"'])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_blocks_until_a_signal(tmp_path: Path, number: signal.Signals, application: str) -> None:
    program = SERVE.replace("{application}", application)
    with running(program, tmp_path) as (process, output):
        lines = iter(output.readline, "")
        listening = (re.match(r"listening on (.*)", line) for line in lines)
        url = next(found[1] for found in listening if found)
        assert httpx.get(url).text == "served True"
        process.send_signal(number)
        assert [line for line in lines if line.startswith("status")] == ["status 0\n"]
        assert process.wait(WAIT) == 0
