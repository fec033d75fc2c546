"""The StreamedInbox: order, the end and the errors, memory, waiting and waking."""

import random
from collections.abc import Callable, Iterator
from threading import Thread

import pytest

from aiowsgi.http.messages import HTTPError
from aiowsgi.wsgi.bridge import ClientDisconnected
from aiowsgi.wsgi.pool import Job
from aiowsgi.wsgi.streamed import ContentError, StreamedInbox
from tests.turned_loop import WAIT, TurnedLoop


class Reading(Job):
    """A thread that does something with the stream."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.result: object = None
        self.done = False

    def run(self) -> None:
        self.result = self.work()
        self.done = True

    def failed(self, error: BaseException) -> None:
        self.result = error
        self.done = True


class Reader:
    """The connection's side: it is told, and keeps what it was told of."""

    def __init__(self, loop: TurnedLoop, memory: int = 100) -> None:
        self.loop = loop
        self.stream = StreamedInbox(loop.pool, self, memory)
        self.told: list[bool] = []  # whether the thread waited

    def stream_ready(self, stream: StreamedInbox) -> None:
        assert stream is self.stream
        self.told.append(stream.waits)

    def read(self, work: Callable[[], object]) -> Reading:
        reading = Reading(work)
        self.loop.pool.submit(reading)
        self.loop.turn()
        return reading


@pytest.fixture
def loop() -> Iterator[TurnedLoop]:
    with TurnedLoop() as loop:
        yield loop


def end_of(reader: Reader, reading: Reading) -> object:
    """Return what a thread has come to, once it has."""
    reader.loop.pool.close(WAIT)
    assert reading.done
    return reading.result


def test_what_has_come_is_read_in_order_by_every_method_of_pep_3333(loop: TurnedLoop) -> None:
    reader = Reader(loop)
    for piece in (b"one\ntw", b"o\n", b"three\nfour", b"\nfive\nsix"):
        reader.stream.add(piece)
    reader.stream.end()
    with reader.stream.open() as content:
        assert content.readline() == b"one\n"
        assert content.read(2) == b"tw"
        assert content.readline(1) == b"o"
        assert content.readlines(1) == [b"\n", b"three\n"]
        assert next(content) == b"four\n"
        buffer = bytearray(3)
        assert content.readinto(buffer) == 3  # type: ignore[attr-defined]
        assert bytes(buffer) == b"fiv"
        assert content.read() == b"e\nsix"
        assert content.read() == content.read(1) == content.readline() == b""
        assert list(content) == []
    assert reader.stream.closed
    assert reader.told == []


def test_the_same_bytes_come_out_whatever_the_sizes(loop: TurnedLoop) -> None:
    sizes = random.Random(1)
    data = sizes.randbytes(300_000)
    reader = Reader(loop, memory=1 << 20)
    position = 0
    while position < len(data):
        size = sizes.choice((0, 1, 100, 70_000))
        reader.stream.add(data[position : position + size])
        position += size
    reader.stream.end()
    read = b""
    with reader.stream.open() as content:
        while piece := content.read(sizes.choice((1, 1000, 65_536, 100_000))):
            read += piece
    assert read == data


def test_a_thread_waits_for_as_much_as_it_asks_for_and_the_loop_is_told(loop: TurnedLoop) -> None:
    reader = Reader(loop)
    reading = reader.read(lambda: reader.stream.open().read(4))
    loop.until(lambda: reader.told)
    assert reader.told == [True]
    reader.stream.add(b"ab")
    loop.until(lambda: len(reader.told) == 2)
    assert not reading.done
    reader.stream.add(b"cdef")
    assert end_of(reader, reading) == b"abcd"
    assert not reader.stream.waits


def test_what_there_is_can_be_read_without_waiting_for_more(loop: TurnedLoop) -> None:
    reader = Reader(loop)
    reader.stream.add(b"ab")
    assert reader.stream.open().read1(100) == b"ab"  # type: ignore[attr-defined]
    assert reader.told == []


@pytest.mark.parametrize("method", ["read", "readline", "readlines"])
def test_content_that_breaks_off_never_looks_as_if_it_had_ended(loop: TurnedLoop, method: str) -> None:
    reader = Reader(loop)
    reader.stream.add(b"begun")
    content = reader.stream.open()
    reading = reader.read(getattr(content, method))
    loop.until(lambda: reader.told)
    reader.stream.fail()
    assert isinstance(end_of(reader, reading), ClientDisconnected)
    with pytest.raises(ClientDisconnected):  # whenever it tries again
        content.read(1)


def test_what_is_wrong_is_told_behind_the_pieces_and_every_time(loop: TurnedLoop) -> None:
    reader = Reader(loop)
    reader.stream.add(b"good")
    answer = HTTPError(413)
    reader.stream.fail(answer)
    reader.stream.fail()  # it has left, too: but that was not why
    content = reader.stream.open()
    assert content.read(4) == b"good"
    for _ in range(2):
        with pytest.raises(ContentError, match=r"^413 ") as raised:
            content.read(1)
        assert raised.value.answer is answer
        assert isinstance(raised.value, OSError)


def test_content_that_has_ended_does_not_fail_any_more(loop: TurnedLoop) -> None:
    reader = Reader(loop)
    reader.stream.add(b"whole")
    reader.stream.end()
    reader.stream.fail()
    assert not reader.stream.failed
    assert reader.stream.open().read() == b"whole"


def test_the_loop_that_has_paused_is_told_once_half_of_the_memory_is_free(loop: TurnedLoop) -> None:
    reader = Reader(loop, memory=1000)
    stream = reader.stream
    for _ in range(11):
        assert not stream.is_full
        stream.add(b"x" * 36)  # each costs 64 more
    assert stream.is_full
    stream.paused = True
    for _ in range(5):
        stream.readinto(bytearray(36))
        assert loop.idle
    stream.readinto(bytearray(36))
    assert stream.has_room
    loop.turn()
    assert reader.told == [False]


def test_small_pieces_cost_what_they_are(loop: TurnedLoop) -> None:
    stream = Reader(loop, memory=1000).stream
    for _ in range(16):
        stream.add(b"x")
    assert stream.is_full


def test_nothing_is_lost_and_nobody_sleeps_whoever_is_faster(loop: TurnedLoop) -> None:
    """The loop adds and pauses as a connection does, at the same time as a thread reads."""
    sizes = random.Random(2)
    data = sizes.randbytes(2_000_000)
    reader = Reader(loop, memory=5000)
    stream = reader.stream

    def resume(stream: StreamedInbox) -> None:
        if stream.paused and stream.has_room:
            stream.paused = False

    reader.stream_ready = resume  # type: ignore[method-assign]
    content = stream.open()
    reading = reader.read(lambda: b"".join(iter(lambda: content.read(777), b"")))
    position = 0
    while position < len(data):
        if stream.paused:
            loop.turn()
            continue
        size = sizes.choice((1, 500, 3000))
        stream.add(data[position : position + size])
        position += size
        if stream.is_full:
            stream.paused = True
            resume(stream)
    stream.end()
    assert end_of(reader, reading) == data


def test_a_thread_that_reads_while_the_end_comes_is_woken(loop: TurnedLoop) -> None:
    for _ in range(200):
        reader = Reader(loop)
        content = reader.stream.open()
        thread = Thread(target=content.read)
        thread.start()
        reader.stream.end()
        thread.join(WAIT)
        assert not thread.is_alive()
