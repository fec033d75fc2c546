"""Files on the wire: whole, in parts, in order, to slow readers, and what is left when something breaks."""

import asyncio
import errno
import gc
import os
import resource
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from threading import Event
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx
import pytest

from aiowsgi.http.messages import FileRange
from aiowsgi.process.embedded import WSGIServer
from aiowsgi.server.sendfile import HAVE_SENDFILE, SLICE, FileSender
from aiowsgi.site.opening import OpenFile
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, echo

BIG = 5 * 1024 * 1024 + 1
SMALL_BUFFER = 4096  # SO_RCVBUF of a slow reader, in bytes

WAYS = [(loop, way) for loop in LOOPS for way in ("sendfile", "reads") if HAVE_SENDFILE or way == "reads"]


@pytest.fixture(params=WAYS, ids="-".join)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each loop, with sendfile(2) and without it."""
    name, way = request.param
    monkeypatch.setattr("aiowsgi.server.sending.HAVE_SENDFILE", way == "sendfile")
    return str(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large files, and one that the server keeps in memory."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "big").write_bytes(os.urandom(BIG))
    for letter in "abc":
        (folder / letter).write_bytes(letter.encode() * 1_000_000 + os.urandom(10))
    (folder / "in-memory").write_bytes(os.urandom(60 * 1024))
    (folder / "70K").write_bytes(os.urandom(70 * 1024))
    return folder


@contextmanager
def files_of(folder: Path, loop: str) -> Iterator[WSGIServer]:
    with serving(echo, loop=loop, static=[f"/files={folder}"]) as server:
        yield server


def descriptors() -> set[str]:
    gc.collect()
    return set(os.listdir("/dev/fd"))


def test_a_large_file_arrives_as_it_is(folder: Path, loop: str) -> None:
    content = (folder / "big").read_bytes()
    with files_of(folder, loop) as server, Peer(server.server_address) as peer:
        for _ in range(2):
            assert peer.get("/files/big").content == content
        peer.send(get("/files/big", "Connection: close"))
        assert peer.answer().content == content
        assert peer.rest() == b""


def test_httpx_gets_a_large_file(folder: Path, loop: str) -> None:
    with files_of(folder, loop) as server:
        response = httpx.get(f"http://127.0.0.1:{server.server_port}/files/big")
    assert response.content == (folder / "big").read_bytes()


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, 1),
        (1, SLICE + 1),
        (BIG - 1, BIG),
        (SLICE, 3 * SLICE),
        (12345, BIG),
    ],
)
def test_a_part_of_a_large_file_arrives_as_it_is(folder: Path, loop: str, start: int, stop: int) -> None:
    content = (folder / "big").read_bytes()
    with files_of(folder, loop) as server, Peer(server.server_address) as peer:
        peer.send(get("/files/big", f"Range: bytes={start}-{stop - 1}"))
        answer = peer.answer()
        assert answer.status == 206
        assert answer.fields["content-range"] == f"bytes {start}-{stop - 1}/{BIG}"
        assert answer.content == content[start:stop]
        assert peer.get("/after").content == b"GET /after ."


def test_head_of_a_large_file_sends_nothing_of_it(folder: Path, loop: str) -> None:
    with files_of(folder, loop) as server, Peer(server.server_address) as peer:
        for _ in range(2):
            peer.send(b"HEAD /files/big HTTP/1.1\r\nHost: a\r\n\r\n" + get("/after"))
            assert peer.answer("HEAD").fields["content-length"] == str(BIG)
            assert peer.answer().content == b"GET /after ."


def test_pipelined_files_come_in_order_with_what_is_between_them(folder: Path, loop: str) -> None:
    with files_of(folder, loop) as server, Peer(server.server_address) as peer:
        peer.send(
            get("/files/a")
            + get("/between")
            + get("/files/b", "Range: bytes=-10")
            + get("/files/none")
            + b"HEAD /files/a HTTP/1.1\r\nHost: a\r\n\r\n"
            + get("/files/c")
            + get("/files/b")
        )
        assert peer.answer().content == (folder / "a").read_bytes()
        assert peer.answer().content == b"GET /between ."
        assert peer.answer().content == (folder / "b").read_bytes()[-10:]
        assert peer.answer().status == 404
        assert peer.answer("HEAD").status == 200
        assert peer.answer().content == (folder / "c").read_bytes()
        assert peer.answer().content == (folder / "b").read_bytes()


@pytest.mark.parametrize("stop", [1, 70 * 1024])
def test_thousands_of_pipelined_files_do_not_nest(folder: Path, loop: str, stop: int) -> None:
    content = (folder / "70K").read_bytes()[:stop]
    with files_of(folder, loop) as server, Peer(server.server_address) as peer:
        peer.send(get("/files/70K", f"Range: bytes=0-{stop - 1}") * 2000)
        for _ in range(2000):
            answer = peer.answer()
            assert answer.status == 206
            assert answer.content == content


def test_a_client_that_sends_no_more_and_reads_late_gets_every_file(folder: Path, loop: str) -> None:
    names = ["in-memory", "in-memory", "in-memory", "70K"] * 50
    with files_of(folder, loop) as server, Peer(server.server_address, SMALL_BUFFER) as peer:
        assert peer.get("/files/in-memory").status == 200  # it is known from now on
        peer.send(b"".join(get(f"/files/{name}") for name in names))
        peer.send_eof()
        for name in names:
            assert peer.answer().content == (folder / name).read_bytes()
        assert peer.rest() == b""


def test_a_slow_reader_holds_up_nobody_and_gets_it_all(folder: Path, loop: str) -> None:
    content = (folder / "big").read_bytes()
    with (
        files_of(folder, loop) as server,
        Peer(server.server_address, SMALL_BUFFER) as slow,
        Peer(server.server_address) as other,
    ):
        slow.send(get("/files/big"))
        slow.until(b"\r\n\r\n")
        begun = b""
        for _ in range(10):
            begun += slow.read(1000)
            assert other.get("/other").content == b"GET /other ."
            assert other.get("/files/a").content == (folder / "a").read_bytes()
        assert begun + slow.read(BIG - len(begun)) == content


def test_what_an_application_gave_is_sent_from_a_file_to_a_slow_reader(loop: str) -> None:
    content = os.urandom(4_000_000)
    closed = Event()

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]
        closed.set()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", str(len(content)))])
        return pieces()

    with (
        serving(application, loop=loop, threads=1) as server,
        Peer(server.server_address, SMALL_BUFFER) as slow,
    ):
        slow.send(get("/") + get("/"))
        slow.until(b"\r\n\r\n")
        assert closed.wait(WAIT)  # with its client far behind
        assert slow.read(len(content)) == content
        assert slow.answer().content == content


# What breaks.


def test_a_file_that_shrinks_ends_the_connection_and_is_logged(
    tmp_path: Path, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    size = 64 * 1024 * 1024  # more than any socket's buffer
    with open(tmp_path / "shrinks", "wb") as file:
        file.truncate(size)  # which takes no disk
        with files_of(tmp_path, loop) as server, Peer(server.server_address, SMALL_BUFFER) as peer:
            peer.send(get("/files/shrinks") + get("/never"))
            peer.until(b"\r\n\r\n")
            peer.read(1000)
            file.truncate(100_000)
            received = 0
            with suppress(ConnectionResetError):
                while piece := peer.socket.recv(1 << 20):
                    assert not piece.strip(b"\0")
                    received += len(piece)
            assert received < size - 1000
            with Peer(server.server_address) as other:
                assert other.get("/other").content == b"GET /other ."
    (record,) = caplog.records
    assert record.getMessage() == (
        "GET /files/shrinks: a file could not be sent to its end: it has become shorter"
    )


def test_clients_that_leave_in_the_middle_leave_nothing_open_and_are_no_failure(
    folder: Path, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = descriptors()
    with files_of(folder, loop) as server:
        for number in range(10):
            with Peer(server.server_address, SMALL_BUFFER) as peer:
                peer.send(get("/files/big") * 2)
                peer.until(b"\r\n\r\n")
                peer.read(1000)
                if number % 2:
                    peer.reset()
    # Drained by now: every connection has come to its end.
    del server
    assert descriptors() == before
    assert not caplog.records


@asynccontextmanager
async def full_socket() -> AsyncIterator[asyncio.Transport]:
    """A transport whose client takes nothing."""
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
        with suppress(BlockingIOError):
            while True:
                os.write(ours.fileno(), bytes(65536))
        yield transport
        transport.abort()


@pytest.mark.skipif(not HAVE_SENDFILE, reason="needs sendfile(2)")
async def test_a_sender_whose_socket_is_full_has_its_deadline(folder: Path) -> None:
    """Even when nothing can be sent at first, or a client that stops right then would stay for ever."""
    async with full_socket() as transport:
        told: list[object] = []
        content = FileRange(OpenFile(os.fsencode(folder / "big")), 0, 10)
        loop = asyncio.get_running_loop()
        sender = FileSender(loop, transport, content, told.append, lambda _: told.append(True))
        sender.start()
        assert told == [0]
        sender.cancel()


@pytest.mark.skipif(not HAVE_SENDFILE, reason="needs sendfile(2)")
async def test_a_sender_tells_of_each_slice_that_was_taken(folder: Path) -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        progress: list[int] = []
        end: asyncio.Future[BaseException | None] = loop.create_future()
        content = FileRange(OpenFile(os.fsencode(folder / "big")), 0, 3 * SLICE)
        FileSender(loop, transport, content, progress.append, end.set_result).start()
        left = content.count
        while left:
            left -= len(await loop.sock_recv(theirs, left))
        assert await end is None
        assert len(progress) >= 3
        assert sum(progress) == content.count
        transport.abort()


@pytest.mark.skipif(not HAVE_SENDFILE, reason="needs sendfile(2)")
async def test_a_sender_that_gets_no_descriptor_says_so(folder: Path) -> None:
    async with full_socket() as transport:
        loop = asyncio.get_running_loop()
        end: asyncio.Future[BaseException | None] = loop.create_future()
        content = FileRange(OpenFile(os.fsencode(folder / "big")), 0, 10)
        sender = FileSender(loop, transport, content, lambda _: None, end.set_result)
        with no_more_descriptors():
            sender.start()
        error = await end
        assert isinstance(error, OSError)
        assert error.errno == errno.EMFILE


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_content_that_comes_behind_the_early_answer_of_a_file_is_read_past(
    folder: Path, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    with files_of(folder, loop) as server, Peer(server.server_address, SMALL_BUFFER) as peer:
        # The one in front has the file known, and for a second answers come at once then.
        peer.send(b"HEAD /files/big HTTP/1.1\r\nHost: a\r\n\r\n" + get("/files/big", "Content-Length: 20"))
        assert peer.answer("HEAD").status == 200
        head = peer.until(b"\r\n\r\n")
        peer.send(b"GET / HTTP/1.1\r\n")
        peer.send(b"\r\n\r\n" + get("/behind"))
        assert b"\r\nConnection: close" not in head
        assert peer.read(BIG) == (folder / "big").read_bytes()
        assert peer.answer().content == b"GET /behind ."
    assert not caplog.records
