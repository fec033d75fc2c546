"""Temporary files: without a name, without room, and without the event loop."""

import errno
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from aiowsgi.config import Limits
from aiowsgi.wsgi.spool import LARGE, Spool, are_left_behind, close_left_behind, refusal
from tests.server import RunningServer
from tests.thread_server import Peer, get
from tests.wire_client import WAIT, Applied, Server, echo

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at a process in /proc")


def is_open(number: int) -> bool:
    return number in map(int, os.listdir("/dev/fd"))


def test_it_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool()
    spool.write(b"0123")
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(spool.fileno()).st_nlink == 0
    assert os.pread(spool.fileno(), 10, 0) == b"0123"


def test_a_small_one_is_closed_when_it_is_let_go_and_a_large_one_soon() -> None:
    small, large = Spool(), Spool()
    small.write(b"x" * 100)
    large.write_at(LARGE - 1, b"x")
    numbers = small.fileno(), large.fileno()
    del small, large
    assert [is_open(number) for number in numbers] == [False, True]
    assert are_left_behind()
    close_left_behind()
    assert not is_open(numbers[1])
    assert not are_left_behind()


def test_who_detaches_it_has_it() -> None:
    spool = Spool()
    spool.write(b"x" * LARGE)
    number = spool.detach()
    del spool
    assert is_open(number)
    assert not are_left_behind()
    os.close(number)


def test_the_answer_says_whether_it_may_help_to_ask_again() -> None:
    assert refusal(OSError(errno.ENOSPC, "")).status == 507
    for number in (errno.EMFILE, errno.ENFILE):
        error = refusal(OSError(number, ""))
        assert (error.status, error.fields) == (503, [("Retry-After", "1")])


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_content_that_no_descriptor_is_left_for_is_503(caplog: pytest.LogCaptureFixture) -> None:
    with Server(Applied(echo), limits=Limits(content_memory=1000)) as server:
        client, other = server.connect(), server.connect()
        with no_descriptor_left():
            client.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + b"x" * 5000)
            answer = await client.closed()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in answer
        other.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + b"x" * 4000)
        await other.until_reading()
        other.send(b"x" * 1000)
        assert (await other.receive(b"x.")).startswith(b"HTTP/1.1 200 ")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("POST /up: [Errno 24] Too many open files")


async def test_an_answer_that_no_descriptor_is_left_for_is_cut_and_holds_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pieces = (b"x" * 1000 for _ in range(1000))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [])
        return pieces if environ["PATH_INFO"] == "/long" else [b"short."]

    with Server(Applied(application), threads=1, limits=Limits(response_memory=2000)) as server:
        slow, other = server.connect(), server.connect()
        slow.transport.blocked = True
        with no_descriptor_left():
            slow.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
            other.send(b"GET /short HTTP/1.1\r\nHost: a\r\n\r\n")
            await other.receive(b"short.")
        slow.transport.blocked = False
        slow.transport.take(len(slow.transport.held))
        await slow.until(lambda: slow.lost)
        assert not slow.sent.endswith(b"\r\n0\r\n\r\n")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("GET /long: [Errno 24] Too many open files")


# Real processes.


APPLICATION = """\
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/long":
        return (bytes([65 + number % 26]) * 10000 for number in range(1000))
    return [str(os.getpid()).encode()]
"""


class FullDisk(RunningServer):
    """A server none of whose files may grow past a few blocks."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        super().__init__(*arguments, cwd=cwd)
        self._command = ["sh", "-c", 'ulimit -f 8 && exec "$@"', "sh", *self._command]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APPLICATION)
    return tmp_path


def post(size: int) -> bytes:
    return b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


def test_a_full_disk_is_the_matter_of_one_request(project: Path) -> None:
    with FullDisk("app:application", "--max-body-memory", "64K", cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as other, Peer(address) as halfway:
            halfway.send(post(60_000) + b"x" * 30_000)
            for _ in range(3):
                with Peer(address) as peer:
                    peer.send(post(1_000_000) + b"x" * 100_000)
                    answer = peer.answer()
                    assert answer.status == 507
                    assert answer.fields["connection"] == "close"
                assert other.get("/").status == 200
            halfway.send(b"x" * 30_000)
            assert halfway.answer().status == 200
        server.until("POST /upload: .*File too large")


def test_an_answer_needs_no_disk(project: Path) -> None:
    with FullDisk("app:application", "--max-response-memory", "64K", cwd=project) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address, receive_buffer=4096) as slow, Peer(address) as other:
            slow.send(get("/long"))
            server.until("the rest of an answer waits in its thread for its client: .*File too large")
            assert other.get("/").status == 200
            content = slow.answer().content
        assert content == b"".join(bytes([65 + number % 26]) * 10000 for number in range(1000))
        assert server.log().count("the rest of an answer") == 1


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process does, while ``condition`` keeps asking it."""
    end = monotonic() + WAIT
    while not condition():
        assert monotonic() < end


def target(path: Path) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:  # closed since the folder was read
        return ""


@linux
def test_a_large_one_is_closed_by_a_thread_soon_after_its_client_has_left(project: Path) -> None:
    with RunningServer("app:application", cwd=project) as server, Peer(("127.0.0.1", server.port)) as other:
        pid = int(other.get("/").content)

        def spools() -> int:
            assert other.get("/").status == 200
            return sum("(deleted)" in target(path) for path in Path(f"/proc/{pid}/fd").iterdir())

        assert spools() == 0
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.send(post(20_000_000) + bytes(LARGE + 1_000_000))
            until(lambda: spools() == 1)
            peer.reset()
        until(lambda: spools() == 0)
