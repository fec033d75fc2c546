"""Files that an application answers with: those that go by sendfile(2), and those that are read."""

import gzip
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from io import BufferedReader, BytesIO, FileIO
from pathlib import Path
from tempfile import NamedTemporaryFile, SpooledTemporaryFile, TemporaryFile
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from aiowsgi.wsgi.application import SMALL_FILE
from aiowsgi.wsgi.regularfile import regular_file
from tests.calls import GET, GET_1_0, HEAD, PLAIN, ask, call, messages
from tests.server import RunningServer
from tests.thread_server import Peer, get, serving
from tests.turned_loop import TurnedLoop, read

LARGE = bytes(range(256)) * (SMALL_FILE // 64)  # four times what is read at once


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "aiowsgi")
    return caplog


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def wrapping(
    make: Callable[[], Any], *fields: tuple[str, str], status: str = "200 OK", written: bytes = b""
) -> WSGIApplication:
    """Return an application that answers with what ``make`` returns, by way of the file wrapper."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        write = start_response(status, [*PLAIN, *fields])
        if written:
            write(written)
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](make(), 1000)
        return wrapped

    return application


# What is a regular file


class Shouting(BufferedReader):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).upper()


class ShoutingRaw(FileIO):
    def readinto(self, buffer: Any, /) -> int:
        count = super().readinto(buffer)
        assert count is not None
        buffer[:count] = bytes(buffer[:count]).upper()
        return count


class Decorated:
    """Has everything that a file has, and another way to read."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        return data.upper()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def spooled(path: Path) -> Any:
    file = SpooledTemporaryFile()
    file.write(path.read_bytes())
    file.seek(0)
    return file


def piped(path: Path) -> Any:
    ours, theirs = os.pipe()
    os.write(theirs, path.read_bytes())
    os.close(theirs)
    return open(ours, "rb")


READ = {
    "BytesIO": lambda path: BytesIO(path.read_bytes()),
    "a compressed file": lambda path: gzip.open(path.with_suffix(".gz")),
    "a buffer over a compressed file": lambda path: BufferedReader(gzip.open(path.with_suffix(".gz"))),
    "a subclass": lambda path: Shouting(FileIO(path)),
    "a subclass below a buffer": lambda path: BufferedReader(ShoutingRaw(path)),
    "a decorated file": lambda path: Decorated(open(path, "rb")),
    "a spooled file": spooled,
    "a pipe": piped,
}


@pytest.mark.parametrize("kind", READ)
def test_whatever_reads_for_itself_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"text" * 1000)
    path.with_suffix(".gz").write_bytes(gzip.compress(b"text" * 1000))
    with closing(READ[kind](path)) as file:
        assert regular_file(file) is None
    answer = ask(wrapping(lambda: READ[kind](path)))
    assert answer.content.lower() == b"text" * 1000
    assert answer.ranges == 0


def test_what_has_read_only_is_read() -> None:
    assert regular_file(object()) is None
    assert regular_file(None) is None


def opened(path: Path) -> Any:
    return open(path, "rb")


def opened_for_both(path: Path) -> Any:
    return open(path, "r+b")


def unbuffered(path: Path) -> Any:
    return open(path, "rb", buffering=0)


def named_temporary(path: Path) -> Any:
    file = NamedTemporaryFile()
    file.write(path.read_bytes())
    file.seek(0)
    return file


def temporary(path: Path) -> Any:
    file = TemporaryFile()
    file.write(path.read_bytes())
    file.seek(0)
    return file


KINDS = [opened, opened_for_both, unbuffered, named_temporary, temporary]


@pytest.mark.parametrize("make", KINDS)
def test_a_regular_file_is_sent_from_where_it_stands(make: Callable[[Path], Any], large: Path) -> None:
    with make(large) as file:
        file.read(10)
        found = regular_file(file)
        assert found is not None
        assert (found.offset, found.length) == (10, len(LARGE) - 10)
        part = found.range(20)
    assert read(part) == LARGE[10:30], "though the file is closed"
    answer = ask(wrapping(lambda: make(large)))
    assert answer.content == LARGE
    assert answer.fields["content-length"] == str(len(LARGE))
    assert answer.ranges == 1


def test_what_was_written_and_not_flushed_is_sent(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w+b") as file:
        file.write(b"0123456789")
        file.seek(0)
        file.read(1)
        found = regular_file(file)
        assert found is not None
        assert read(found.range(found.length)) == b"123456789"


def test_a_file_that_is_not_for_reading_is_the_application_s_mistake(large: Path) -> None:
    with (
        open(large, "r+b", buffering=0) as file,
        open(file.fileno(), "wb", buffering=0, closefd=False) as out,
    ):
        assert regular_file(out) is None
        assert ask(wrapping(lambda: out)).status == 500


def test_a_closed_file_is_the_application_s_mistake(large: Path) -> None:
    file = open(large, "rb")
    file.close()
    assert ask(wrapping(lambda: file)).status == 500


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("path", ["/proc/self/status", "/sys/kernel/mm/transparent_hugepage/enabled"])
def test_a_file_whose_size_is_a_fable_is_read(path: str) -> None:
    if not os.path.exists(path):
        pytest.skip("this kernel has no such file")
    answer = ask(wrapping(lambda: open(path, "rb")))
    assert answer.content
    assert answer.whole


# What becomes of it


def test_a_file_without_a_content_length_gets_one(large: Path) -> None:
    for head in GET, GET_1_0:
        answer = ask(wrapping(lambda: open(large, "rb")), head)
        assert answer.fields["content-length"] == str(len(LARGE))
        assert answer.content == LARGE
        assert answer.whole


@pytest.mark.parametrize("size", [0, 1, SMALL_FILE, SMALL_FILE + 1])
@pytest.mark.parametrize("method", [GET, HEAD])
def test_files_of_any_size(size: int, method: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LARGE[:size])
    answer = ask(wrapping(lambda: open(tmp_path / "file", "rb")), method)
    assert answer.content == (LARGE[:size] if method == GET else b"")
    if size or method == GET:  # an empty answer to HEAD does not tell how long GET's would be
        assert answer.fields["content-length"] == str(size)
    assert answer.whole
    assert answer.keep_alive


@pytest.mark.parametrize("declared", [0, 5, SMALL_FILE, SMALL_FILE + 5])
def test_as_much_is_sent_as_was_declared(declared: int, large: Path, log: pytest.LogCaptureFixture) -> None:
    answer = ask(wrapping(lambda: open(large, "rb"), ("Content-Length", str(declared))))
    assert answer.content == LARGE[:declared]
    assert answer.whole
    assert messages(log) == []


@pytest.mark.parametrize("size", [10, SMALL_FILE * 2])
def test_a_file_with_less_than_was_declared_cuts_the_answer(
    size: int, tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(LARGE[:size])
    answer = ask(wrapping(lambda: open(tmp_path / "file", "rb"), ("Content-Length", str(size + 7))))
    assert answer.content == LARGE[:size]
    assert not answer.whole
    assert answer.cut
    assert "7 are missing" in messages(log)[0]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_content_has_none(status: str, large: Path) -> None:
    answer = ask(wrapping(lambda: open(large, "rb"), status=status))
    assert answer.status == int(status[:3])
    assert answer.content == b""
    assert "content-length" not in answer.fields
    assert answer.keep_alive


def test_head_is_answered_with_the_head_of_get(large: Path) -> None:
    whole, head = (ask(wrapping(lambda: open(large, "rb")), method) for method in (GET, HEAD))
    assert head.content == b""
    assert head.ranges == 0
    assert head.fields.keys() == whole.fields.keys()
    assert head.fields["content-length"] == str(len(LARGE))


def test_the_application_answers_ranges_itself(large: Path) -> None:
    def part() -> Any:
        file = open(large, "rb")
        file.seek(100)
        return file

    fields = [("Content-Range", f"bytes 100-199/{len(LARGE)}"), ("Content-Length", "100")]
    answer = ask(wrapping(part, *fields, status="206 Partial Content"))
    assert (answer.status, answer.content) == (206, LARGE[100:200])
    ranged = b"GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n"
    ignored = ask(wrapping(lambda: open(large, "rb")), ranged)
    assert (ignored.status, ignored.content) == (200, LARGE)


def test_a_file_behind_what_was_written_is_read(large: Path) -> None:
    answer = ask(wrapping(lambda: open(large, "rb"), written=b"before "))
    assert answer.content == b"before " + LARGE
    assert answer.ranges == 0


def test_start_response_has_to_come_first(large: Path) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](open(large, "rb"))
        return wrapped

    assert ask(application).status == 500


def test_the_file_is_closed_before_it_is_sent(large: Path) -> None:
    files: list[Any] = []

    def remembered() -> Any:
        files.append(open(large, "rb"))
        return files[0]

    with TurnedLoop() as loop:
        receiver = call(loop, wrapping(remembered))
        receiver.blocked = True
        loop.until(lambda: receiver.outbox.ended)
        assert loop.pool.close(10.0)
        assert files[0].closed, "the call is over"
        receiver.take_all()
        assert receiver.data.endswith(LARGE)


def test_a_file_whose_client_has_left_is_closed(large: Path, log: pytest.LogCaptureFixture) -> None:
    files: list[Any] = []
    with TurnedLoop() as loop:

        def leaving() -> Any:
            receiver.outbox.abandon()
            files.append(open(large, "rb"))
            return files[0]

        receiver = call(loop, wrapping(leaving))
        assert loop.pool.close(10.0)
    assert files[0].closed
    assert messages(log) == []


# On real sockets


def open_files(path: Path) -> int:
    """Return how many descriptors of this process lead to ``path``."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found += os.readlink(f"/proc/self/fd/{name}") == str(path)
    return found


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    """A file that no socket's buffers hold."""
    path = tmp_path / "huge"
    with open(path, "wb") as file:
        file.truncate(16 << 20)
        file.seek(-3, os.SEEK_END)
        file.write(b"end")
    return path


def site(huge: Path) -> WSGIApplication:
    file_application = wrapping(lambda: open(huge, "rb"))

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/file":
            return file_application(environ, start_response)
        start_response("200 OK", PLAIN)
        return [b"hello"]

    return application


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_slow_readers_hold_no_thread(loop: str, huge: Path) -> None:
    with serving(site(huge), threads=1, loop=loop) as server:
        slow = [Peer(server.server_address, 4096) for _ in range(3)]
        for peer in slow:
            peer.send(get("/file"))
            assert b"Content-Length: 16777216\r\n" in peer.until(b"\r\n\r\n")
        with Peer(server.server_address) as quick:
            assert quick.get("/").content == b"hello"
            assert quick.get("/file").content.endswith(b"\0end")
            assert quick.get("/").content == b"hello"
        for peer in slow:
            assert peer.read(16777216).endswith(b"\0end")
            peer.socket.close()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_no_descriptor_is_left_when_clients_leave(huge: Path) -> None:
    with serving(site(huge), threads=1) as server:
        for _ in range(5):
            peer = Peer(server.server_address, 4096)
            peer.send(get("/file"))
            peer.until(b"\r\n\r\n")
            peer.reset()
        with Peer(server.server_address) as last:
            assert last.get("/file").status == 200  # behind those
    assert open_files(huge) == 0


def test_a_file_that_shrinks_cuts_the_connection(huge: Path) -> None:
    with serving(site(huge)) as server, Peer(server.server_address, 4096) as peer:
        peer.send(get("/file"))
        peer.until(b"\r\n\r\n")
        os.truncate(huge, 1 << 20)
        assert len(peer.rest()) < 16 << 20
        with Peer(server.server_address) as another:
            assert len(another.get("/file").content) == 1 << 20


SCRIPT = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    mode = "r" if environ["PATH_INFO"] == "/text" else "rb"
    return environ["wsgi.file_wrapper"](open(__file__.replace("script.py", "data.txt"), mode))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[RunningServer]:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "data.txt").write_bytes(b"0123456789" * 20_000)
    with RunningServer("--apps", str(tmp_path), cwd=tmp_path) as server:
        yield server


def test_a_script_s_file_is_sent_too(scripts: RunningServer) -> None:
    with Peer(("127.0.0.1", scripts.port)) as peer:
        binary = peer.get("/script.py")
        assert binary.fields["content-length"] == "200000"
        text = peer.get("/script.py/text")
        assert "content-length" not in text.fields
        assert binary.content == text.content == b"0123456789" * 20_000
