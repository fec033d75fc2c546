"""The benchmark's own arithmetic, and that it leaves nothing running. No load is made here."""

import io
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from select import select
from typing import Any

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.applications import LARGE, MEBIBYTE, hello_or_mebibyte, stream, upload
from bench.certificate import write_certificate
from bench.crowd import Crowd, Slow, crowd
from bench.files import PREFIX, SIZES, content, write_files
from bench.holding import holding
from bench.load import WrkResult, ask_again, idle_connections, read_wrk, wrk_command
from bench.loads import Plan
from bench.measure import cpu_seconds, private_bytes
from bench.readers import Pace, Reader, reading
from bench.report import Column, Outcome, facts, ratio, table
from bench.running import running
from bench.scenarios import SCENARIOS
from bench.servers import (
    FILE_SERVERS,
    FULL_SERVERS,
    HOST,
    WSGI_SERVERS,
    Failed,
    Server,
    Site,
    as_typed,
    file_site,
    url,
)
from bench.turns import Turns, after, take_turns
from bench.uploads import upload_once
from tests.server import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc and pins processes to cores")

RATE = Column("rate", "requests/s")
P50 = Column("p50", "p50 µs", ",.1f")

WRK_OUTPUT = """\
Running 2s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.21ms    5.11ms  60.02ms   99.50%
    Req/Sec    20.10k     1.02k   21.00k    50.00%
  Latency Distribution
     50%  670.00us
     75%    1.01ms
     90%    2.00ms
     99%    1.25s
  40123 requests in 2.01s, 3.90MB read
Requests/sec:  19961.69
Transfer/sec:      1.94MB
"""


def test_wrk_output_gives_counts_bytes_and_microseconds() -> None:
    assert read_wrk(WRK_OUTPUT) == WrkResult(
        40123, 19961.69, bytes_per_second=1.94 * 1024**2, p50=670.0, p99=1_250_000.0
    )


@pytest.mark.parametrize(
    "fault", ["Socket errors: connect 0, read 3, write 0, timeout 1", "Non-2xx or 3xx responses: 12"]
)
def test_one_fault_that_wrk_met_makes_its_figures_invalid(fault: str) -> None:
    with pytest.raises(Failed, match=fault):
        read_wrk(WRK_OUTPUT.replace("Requests/sec", f"  {fault}\nRequests/sec"))


def test_no_answers_are_no_figures() -> None:
    with pytest.raises(Failed, match="no answers"):
        read_wrk(WRK_OUTPUT.replace("40123 requests", "0 requests"))


def test_output_that_is_not_wrks_is_no_figure() -> None:
    with pytest.raises(Failed, match="requests in"):
        read_wrk("something else\n")


def test_wrk_is_pinned_and_given_further_options() -> None:
    command = wrk_command("http://127.0.0.1:8000/", 64, 3, 1, ("--script", "a.lua"))
    assert " ".join(command) == (
        "taskset -c 1 wrk --threads 1 --connections 64 --duration 3s --latency --script a.lua"
        " http://127.0.0.1:8000/"
    )


def test_ratio_is_taken_within_a_round_so_a_slower_machine_in_one_round_does_not_count() -> None:
    ours = Outcome([{"rate": 200.0}, {"rate": 20.0}, {"rate": 220.0}])
    peer = Outcome([{"rate": 100.0}, {"rate": 10.0}, {"rate": 100.0}])
    assert ratio(ours, peer, "rate") == 2.0


def test_no_ratio_with_a_server_that_failed() -> None:
    good = Outcome([{"rate": 1.0}])
    assert ratio(good, Outcome([], "died"), "rate") is None
    assert ratio(Outcome([{"rate": 1.0}], "died later"), good, "rate") is None


def test_no_ratio_with_a_server_whose_figure_is_nothing() -> None:
    assert ratio(Outcome([{"growth": 1.0}]), Outcome([{"growth": 0.0}]), "growth") is None
    assert ratio(Outcome([{"growth": 0.0}]), Outcome([{"growth": 1.0}]), "growth") == 0.0


def test_table_has_medians_spread_ratio_and_the_reason_of_a_failure() -> None:
    outcomes = {
        "aiowsgi": Outcome([{"rate": 3000.0, "p50": 1.0}, {"rate": 1000.0, "p50": 3.0}]),
        "peer": Outcome([{"rate": 1500.0, "p50": 10.0}, {"rate": 1000.0, "p50": 20.0}]),
        "other": Outcome([], "it crashed"),
    }
    assert table((RATE, P50), RATE, outcomes, "aiowsgi") == [
        "| server | requests/s | p50 µs | requests/s: lowest to highest | requests/s: aiowsgi / this |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| aiowsgi | 2,000 | 2.0 | 1,000 to 3,000 | 1.00 |",
        "| peer | 1,250 | 15.0 | 1,000 to 1,500 | 1.50 |",
        "| other | invalid | invalid | invalid | - |",
        "",
        "- other has no figures: it crashed",
        "",
    ]


def test_table_without_ours_has_no_ratio() -> None:
    lines = table((RATE,), RATE, {"peer": Outcome([{"rate": 5.0}])}, "aiowsgi")
    assert lines[2] == "| peer | 5 | 5 to 5 |"


def test_facts_are_a_table_of_two_columns() -> None:
    assert facts({"kernel": "Linux 6"}) == ["|  |  |", "| --- | --- |", "| kernel | Linux 6 |", ""]


def test_memory_and_cpu_are_those_of_the_whole_tree() -> None:
    program = "import os; n = sum(range(3_000_000)); os.write(1, b'.'); os.read(0, 1)"
    # A shell that waits for the program: the tree is two processes, and the program is its one worker.
    command = ["sh", "-c", '"$0" -c "$1"; exit', sys.executable, program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None
        shell.stdout.read(1)
        assert cpu_seconds(shell.pid) > 0
        assert private_bytes(shell.pid) > 1024**2
        shell.stdin.write(b".")


class Hello(BaseHTTPRequestHandler):
    """Keeps its connections, except for the client that is told otherwise."""

    protocol_version = "HTTP/1.1"
    keeps = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        if not self.keeps:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"hello")

    def do_POST(self) -> None:
        answer = str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Closing(Hello):
    keeps = False


class ThreadServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that leave are no errors here."""


@contextmanager
def served(handler: type[Hello]) -> Iterator[int]:
    with ThreadServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_idle_connections_are_asked_twice_each() -> None:
    with served(Hello) as port, idle_connections(port, 3, b"hello") as connections:
        assert len(connections) == 3
        ask_again(connections, b"hello")


def test_idle_connections_that_no_longer_answer_are_counted() -> None:
    with served(Hello) as port, idle_connections(port, 3, b"hello") as connections:
        connections[1].close()
        with pytest.raises(Failed, match="2 of 3 still answer"):
            ask_again(connections, b"hello")


def test_a_server_that_closes_cannot_hold_idle_connections() -> None:
    with (
        served(Closing) as port,
        pytest.raises(Failed, match=r"connection 1 of 3: .*not kept"),
        idle_connections(port, 3, b"hello"),
    ):
        pass


def test_a_wrong_body_is_no_answer() -> None:
    with (
        served(Hello) as port,
        pytest.raises(Failed, match=r"connection 1 of 1: .*hello"),
        idle_connections(port, 1, b"Hello"),
    ):
        pass


def test_connections_held_by_processes_are_asked_twice_each() -> None:
    with served(Hello) as port, holding(port, 3, b"hello") as held:
        held.ask_again()


def test_a_process_that_cannot_hold_its_connections_tells_why() -> None:
    with (
        served(Closing) as port,
        pytest.raises(Failed, match=r"connection 1 of 3: .*not kept"),
        holding(port, 3, b"hello"),
    ):
        pass


def test_uploads_are_answered_with_their_size_on_one_connection() -> None:
    with served(Hello) as port, socket.create_connection((HOST, port), timeout=10) as connection:
        upload_once(connection, 1024**2 + 1)
        upload_once(connection, 10)


@pytest.mark.parametrize(
    ("received", "told"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n9", "answered 200 b'9', connection kept"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n10", "connection closed"),
        (b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", "answered 413"),
        (b"", "an upload: "),
    ],
)
def test_an_upload_that_is_not_answered_with_its_size_makes_the_figures_invalid(
    received: bytes, told: str
) -> None:
    client, server = socket.socketpair()
    with client, server:
        server.sendall(received)
        server.shutdown(socket.SHUT_WR)
        with pytest.raises(Failed, match=told):
            upload_once(client, 10)


def test_what_is_served_has_the_sizes_that_are_told() -> None:
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "CONTENT_LENGTH": ""}
    environ["wsgi.input"] = io.BytesIO()

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        assert status == "200 OK"

    assert b"".join(hello_or_mebibyte(environ, start_response)) == b"Hello, world!"
    assert b"".join(hello_or_mebibyte(environ | {"PATH_INFO": "/mebibyte"}, start_response)) == MEBIBYTE
    assert sum(len(piece) for piece in stream(environ, start_response)) == LARGE
    content = {"CONTENT_LENGTH": "100000", "wsgi.input": io.BytesIO(bytes(100_001))}
    assert b"".join(upload(environ | content, start_response)) == b"100000"


class Counted:
    """A client that notes its turns."""

    def __init__(self, name: str, turns: list[str]) -> None:
        self.name = name
        self.turns = turns

    def turn(self) -> None:
        self.turns.append(self.name)


def test_turns_are_spread_over_the_interval_and_groups_take_them_as_they_are_due() -> None:
    turns: list[str] = []
    often = Turns([Counted("a", turns), Counted("b", turns)], 0.004)
    seldom = Turns([Counted("c", turns)], 0.1)
    often.begin()
    seldom.begin()
    first = often.due
    take_turns([often, seldom], lambda: len(turns) == 9)
    assert "".join(turns).replace("c", "") == "abababab"
    assert turns.index("c") <= 1
    assert often.due == pytest.approx(first + 8 * 0.002)


BODY = b"0123456789abcdef" * 1024
PACE = Pace(size=5000, interval=0.001)


class File(Hello):
    """Answers for BODY in the way that the path names; after "stops" it waits until the client has left."""

    def do_GET(self) -> None:
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(BODY)))
        if self.path == "/silent":
            self.rfile.read(1)
            return
        self.end_headers()
        self.wfile.write(
            {"/whole": BODY, "/other": BODY[:6000] + b"x" + BODY[6001:]}.get(self.path, BODY[:6000])
        )
        if self.path == "/stops":
            self.rfile.read(1)


def unfinished(readers: list[Reader]) -> bool:
    return any(reader.taken < len(BODY) for reader in readers)


def test_readers_take_the_whole_file_at_their_pace() -> None:
    with served(File) as port, reading(port, "/whole", BODY, 3, PACE) as readers:
        begun = time.monotonic()
        readers.go_on_until(lambda: not unfinished(readers.readers))
        assert time.monotonic() - begun > 2 * PACE.interval  # its last third has to wait for the third turn
        assert [reader.taken for reader in readers.readers] == [len(BODY)] * 3
        readers.check()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/other", "reader at byte .*: other bytes than the file's"),
        ("/closed", "reader at byte 6,000: the connection was closed"),
        ("/missing", "answered b'HTTP/1.1 404"),
        ("/silent", "reader 1 of 3: no answer within 0 seconds"),
    ],
)
def test_a_reader_that_does_not_get_its_file_makes_the_figures_invalid(path: str, told: str) -> None:
    with (
        served(File) as port,
        pytest.raises(Failed, match=told),
        reading(port, path, BODY, 3, PACE, seconds=0.1 if path == "/silent" else 10) as readers,
    ):
        readers.go_on_until(lambda: not unfinished(readers.readers))


def test_readers_that_starve_are_counted() -> None:
    with served(File) as port, reading(port, "/stops", BODY, 3, PACE) as readers:
        readers.go_on_until(lambda: all(reader.wanted == len(BODY) for reader in readers.readers))
        with pytest.raises(Failed, match="3 of 3 readers got less than half"):
            readers.check()


HEAD = Slow("slow heads", 3, b"GET /whole HTTP/1.1\r\n", b"X-Slow: very\r\n", 0.001)
ANSWERED = Slow("quick heads", 2, b"GET /whole HTTP/1.1\r\n\r\n", b"", 0.001)


def is_well(slow: Crowd) -> bool:
    try:
        slow.check()
    except Failed:
        return False
    return True


def test_a_crowd_is_slow_in_each_way() -> None:
    with served(File) as port, crowd(port, "/whole", BODY, 2, [HEAD]) as slow:
        late = after(PATIENCE)
        slow.go_on_until(lambda: late() or is_well(slow))
        slow.check()


def check_until_one_fails(slow: Crowd) -> None:
    while True:
        slow.check()


def test_the_slow_that_are_answered_are_counted() -> None:
    with (
        served(File) as port,
        crowd(port, "/whole", BODY, 2, [ANSWERED, HEAD]) as slow,
        pytest.raises(Failed, match="quick heads were answered or closed"),
    ):
        check_until_one_fails(slow)


def test_the_files_have_their_sizes_and_are_the_same_at_each_run(tmp_path: Path) -> None:
    write_files(tmp_path, ["13b.txt", "10k.txt"])
    for name in ("13b.txt", "10k.txt"):
        written = (tmp_path / PREFIX / name).read_bytes()
        assert len(written) == SIZES[name]
        assert written == content(name)


SITE = Site("bench.applications:hello", b"Hello, world!")


def wsgiref(site: Site, port: int) -> list[str]:
    module, _, name = site.application.partition(":")
    serve = f"make_server('127.0.0.1', {port}, {name}).serve_forever()"
    return ["-c", f"from wsgiref.simple_server import make_server; from {module} import {name}; {serve}"]


# A server with a child that ignores SIGTERM; both hold the file argv[1] open.
WITH_CHILD = """
import os, signal, sys
os.write(os.open(sys.argv[1], os.O_WRONLY), b".")
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
exec(sys.argv[2])
"""


@pytest.fixture
def core() -> int:
    return min(os.sched_getaffinity(0))


def test_a_started_server_answers_and_all_its_processes_end(tmp_path: Path, core: int) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as held:
        server = Server(
            "parent", "os", lambda site, port: ["-c", WITH_CHILD, str(pipe), wsgiref(site, port)[1]]
        )
        with running(server, SITE, core):
            assert held.read(1) == b"."
        assert select([held], [], [], 10)[0]
        assert held.read(1) == b""  # the end of the file: no process holds it


@pytest.mark.parametrize("server", FULL_SERVERS, ids=lambda server: server.name)
def test_each_server_with_tls_answers_with_our_certificate(server: Server, tmp_path: Path, core: int) -> None:
    if not server.installed() or shutil.which("openssl") is None:
        pytest.skip("it is not installed, or openssl is not")
    write_certificate(tmp_path, HOST)
    site = replace(SITE, tls=True, folder=tmp_path)
    with running(server, site, core) as started:
        assert url(started.site, started.port).startswith("https://")


def test_a_server_with_a_wrong_answer_is_not_measured(core: int) -> None:
    wrong = Site("bench.applications:hello", b"something else")
    with pytest.raises(Failed, match="not 200"), running(Server("wsgiref", "wsgiref", wsgiref), wrong, core):
        pass


@pytest.mark.parametrize("server", FILE_SERVERS, ids=lambda server: server.name)
def test_each_server_of_files_answers_with_the_bytes_of_the_file(
    server: Server, tmp_path: Path, core: int
) -> None:
    if not server.installed():
        pytest.skip("it is not installed")
    write_files(tmp_path, ["10k.txt"])
    site = replace(file_site("10k.txt"), folder=tmp_path)
    with running(server, site, core) as started:
        body = site.expected()
        assert len(body) == 10 * 1024
        with reading(started.port, site.path, body, 2, PACE) as readers:
            readers.go_on_until(lambda: all(reader.taken == len(body) for reader in readers.readers))
    assert server.version()[0].isdigit()


def test_a_server_of_files_with_other_bytes_is_not_measured(tmp_path: Path, core: int) -> None:
    write_files(tmp_path, ["10k.txt"])
    site = replace(file_site("10k.txt"), folder=tmp_path)
    hello = Server("wsgiref", "wsgiref", lambda _site, port: wsgiref(SITE, port))
    with pytest.raises(Failed, match="answered 200 b'Hello, world!' of 13 bytes"), running(hello, site, core):
        pass


def test_a_server_that_does_not_start_is_told_with_its_last_line(core: int) -> None:
    dies = Server("dies", "sys", lambda _site, _port: ["-c", "raise SystemExit('the port is taken')"])
    with pytest.raises(Failed, match=r"ended with status 1 .*the port is taken"), running(dies, SITE, core):
        pass


def test_installed_is_what_can_be_imported() -> None:
    assert Server("wsgiref", "wsgiref", wsgiref).installed()
    assert not Server("none", "no_such_package.module", wsgiref).installed()


def test_commands_are_shown_without_the_path_to_python() -> None:
    for server in WSGI_SERVERS:
        assert as_typed(server.command(SITE, 8000, 1)).startswith("taskset -c 1 python -")
    for server in FILE_SERVERS:
        shown = as_typed(server.command(file_site("10k.txt"), 8000, 1))
        assert shown.startswith("taskset -c 1 python -m ")
        assert " files" in shown or "files(" in shown


def test_each_scenario_has_figures_for_its_ratio_and_a_command() -> None:
    plan = Plan(rounds=1, seconds=1, connections=None, server_core=1, load_core=0, folder=Path("files"))
    for scenario in SCENARIOS:
        assert scenario.load.compared in scenario.load.columns
        assert str(scenario.load.connections(plan)) in scenario.load.command(scenario.site, plan).replace(
            ",", ""
        )


def test_help_names_every_scenario_and_server() -> None:
    told = CliRunner().invoke(main, ["--help"])
    assert told.exit_code == 0
    for name in [scenario.name for scenario in SCENARIOS] + [
        server.name for server in WSGI_SERVERS + FILE_SERVERS
    ]:
        assert name in told.output
