"""The Inbox and the Outbox: order, memory, the temporary file, waiting and waking."""

import gc
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

import pytest

from aiowsgi.http.messages import FileRange
from aiowsgi.wsgi import bridge
from aiowsgi.wsgi.bridge import SLICE, ClientDisconnected, Inbox, Outbox
from aiowsgi.wsgi.pool import Job
from tests.full_disk import ROOM, full_disk, run_alone
from tests.turned_loop import WAIT, Receiver, TurnedLoop, read


@pytest.fixture
def no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary files have a folder that is not there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))


# Inbox


def test_an_empty_inbox_is_an_empty_file() -> None:
    with Inbox().open() as content:
        assert content.read() == b""
        assert content.readline() == b""
        assert list(content) == []


def test_content_in_memory_is_counted_and_read_in_order() -> None:
    inbox = Inbox()
    inbox.add(b"one ")
    inbox.add(b"two")
    assert (inbox.size, inbox.held) == (7, 7 + 2 * 64)
    with inbox.open() as content:
        assert content.read() == b"one two"


def test_content_goes_on_in_the_file_and_is_read_in_order() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.add(b"%d," % number)
        inbox.spill()
        assert inbox.held == 0
        inbox.add(b"%d;" % number)
        assert (inbox.size, inbox.held) == (4 * number + 4, 2 + 64)
    with inbox.open() as content:
        assert content.read() == b"0,0;1,1;2,2;"


def test_content_that_nobody_reads_leaves_no_open_file() -> None:
    inbox = Inbox()
    inbox.add(b"x" * 100_000)
    inbox.spill()
    del inbox
    gc.collect()  # a file left open would warn now, and warnings are errors


@pytest.mark.usefixtures("no_disk")
def test_spilling_without_a_disk_is_an_oserror() -> None:
    inbox = Inbox()
    inbox.add(b"x")
    with pytest.raises(OSError, match="missing"):
        inbox.spill()


def overfill_inboxes() -> None:
    with full_disk():
        for size in (1, 1000):
            inbox = Inbox()
            inbox.add(b"x" * ROOM)
            inbox.spill()
            inbox.add(b"x" * size)
            try:
                inbox.open()
            except OSError as error:
                print(error.strerror)  # noqa: T201 - for the test's own process
            del inbox


def test_a_disk_that_fills_up_is_an_oserror_and_nothing_more() -> None:
    done = run_alone(overfill_inboxes)
    assert done.stdout == "File too large\n" * 2
    assert done.stderr == ""


# Outbox: order, and the end


def test_pieces_come_in_order_and_the_end_behind_them() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool)
        receiver.outbox.send(b"one")
        receiver.outbox.send(b"two")
        loop.turn()
        assert receiver.pieces == [b"one", b"two"]
        assert not receiver.ended
        receiver.outbox.finish(b"three", keep_alive=True)
        loop.turn()
        assert receiver.pieces == [b"one", b"two", b"three"]
        assert receiver.ended
        assert receiver.outbox.keep_alive
        assert not receiver.outbox.cut
        assert loop.idle


def test_the_end_may_come_alone() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool)
        receiver.outbox.finish(keep_alive=False)
        loop.turn()
        assert receiver.ended
        assert receiver.pieces == []
        assert not receiver.outbox.keep_alive


def test_the_loop_is_told_once_of_all_that_waits_and_again_after_it_has_looked() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool)
        for _ in range(10):
            receiver.outbox.send(b".")
        assert loop.wakes == 1
        loop.turn()
        assert (receiver.told, receiver.data) == (1, b"." * 10)
        receiver.outbox.send(b"!")
        loop.turn()
        assert (receiver.told, receiver.data) == (2, b"." * 10 + b"!")


def test_an_answer_that_breaks_off_is_cut_behind_what_was_sent() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool)
        receiver.outbox.send(b"some")
        receiver.outbox.break_off()
        loop.turn()
        assert receiver.pieces == [b"some"]
        assert receiver.ended
        assert receiver.outbox.cut
        assert not receiver.outbox.keep_alive


def test_a_ready_file_is_put_with_its_end_behind_it(tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(b"0123456789")
    with TurnedLoop() as loop, open(tmp_path / "page", "rb") as file:
        receiver = Receiver(loop.pool, memory=0, file=0)
        receiver.outbox.put([FileRange(file, 2, 5)], keep_alive=True)
        receiver.take_all()
        assert receiver.pieces == [b"23456"]
        assert receiver.ended
        assert receiver.outbox.keep_alive


def test_what_waits_is_taken_in_runs_of_so_many_bytes_and_pieces_and_up_to_a_file() -> None:
    with TurnedLoop() as loop, open(__file__, "rb") as file:
        outbox = Receiver(loop.pool).outbox
        large = b"x" * (bridge.RUN // 2)
        outbox.put(
            [large] * 3 + [b"."] * (bridge.RUN_PIECES + 1) + [FileRange(file, 0, 1), b"!"], keep_alive=True
        )

        def run() -> list[bytes]:
            piece = outbox.take()
            assert isinstance(piece, bytes)
            return outbox.take_run(piece)

        assert run() == [large] * 2
        assert run() == [large] + [b"."] * (bridge.RUN_PIECES - 1)
        assert run() == [b"."] * 2
        assert isinstance(outbox.take(), FileRange)
        assert run() == [b"!"]


def test_a_large_chunk_is_not_copied_and_costs_what_it_is() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool, memory=1000)
        data = b"x" * 999
        receiver.outbox.send_chunk(b"3e7\r\n", data)
        loop.turn()
        assert receiver.pieces == [b"3e7\r\n", data, b"\r\n"]
        assert receiver.pieces[1] is data
        receiver.blocked = True
        receiver.outbox.send_chunk(b"3e7\r\n", data)
        receiver.outbox.send_chunk(b"3e7\r\n", data)  # goes on in the file
        receiver.take_all()
        assert receiver.ranges == 1
        assert receiver.data == (b"3e7\r\n" + data + b"\r\n") * 3
        receiver.outbox.abandon()
        with pytest.raises(ClientDisconnected):
            receiver.outbox.send_chunk(b"3e7\r\n", data)


# Outbox: the temporary file


def behind(loop: TurnedLoop, memory: int = 100, file: int = 1 << 20) -> Receiver:
    """Return one whose client takes nothing, with one piece more in memory than there may be."""
    receiver = Receiver(loop.pool, memory, file)
    receiver.blocked = True
    receiver.outbox.send(b"a" * (memory + 1))
    return receiver


def test_past_its_memory_an_answer_goes_on_in_one_range_of_a_file() -> None:
    with TurnedLoop() as loop:
        receiver = behind(loop)
        small = [b"%d " % number for number in range(1000)]
        for piece in small:
            receiver.outbox.send(piece)
        receiver.outbox.finish(b"end", keep_alive=True)
        receiver.take_all()
        assert receiver.pieces == [b"a" * 101, b"".join(small) + b"end"]
        assert receiver.ranges == 1
        assert receiver.ended


@pytest.mark.parametrize("way", ["send", "send_chunk", "finish"])
def test_a_piece_that_is_larger_than_there_is_memory_for_goes_on_in_the_file_too(way: str) -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool, memory=1000)
        receiver.blocked = True
        data = random.Random(1).randbytes(1 << 20)
        if way == "send_chunk":
            receiver.outbox.send_chunk(b"", data)
        else:
            getattr(receiver.outbox, way)(data)
        assert sum(len(piece) for piece in receiver.outbox.pieces if isinstance(piece, bytes)) == SLICE
        receiver.take_all()
        assert receiver.data.removesuffix(b"\r\n") == data
        assert receiver.ranges == 1


def test_a_client_that_has_caught_up_gets_pieces_from_memory_again() -> None:
    with TurnedLoop() as loop:
        receiver = behind(loop)
        receiver.outbox.send(b"in the file")
        receiver.take_all()
        receiver.outbox.send(b"in memory")
        receiver.take_all()
        assert receiver.ranges == 1
        assert receiver.pieces[1:] == [b"in the file", b"in memory"]


def test_order_holds_where_memory_and_file_take_turns() -> None:
    with TurnedLoop() as loop:
        receiver = behind(loop, memory=100)
        expected = receiver.outbox.take()
        assert isinstance(expected, bytes)
        receiver.keep(expected)
        receiver.outbox.send(b"[file]")  # what was taken still counts until it is off
        receiver.outbox.took(expected)
        receiver.outbox.send(b"[memory]")
        receiver.outbox.send(b"[memory too]")
        receiver.outbox.send(b"[file again]")
        receiver.take_all()
        assert receiver.pieces[1:] == [b"[file]", b"[memory]", b"[memory too]", b"[file again]"]
        assert receiver.ranges == 2


def test_what_was_taken_from_the_file_is_not_written_over() -> None:
    """sendfile(2) lends the file's pages to the socket: the client receives what they hold *then*."""
    with TurnedLoop() as loop:
        receiver = behind(loop)
        receiver.outbox.send(b"first")
        while (piece := receiver.outbox.take()) is not None:
            receiver.outbox.took(piece)
            if isinstance(piece, FileRange):
                first = piece
        receiver.outbox.send(b"b" * 101)
        receiver.outbox.send(b"second")
        receiver.take_all()
        assert receiver.pieces == [b"b" * 101, b"second"]
        assert read(first) == b"first"


def test_the_file_is_closed_when_its_last_range_is_gone() -> None:
    with TurnedLoop() as loop:
        receiver = behind(loop)
        receiver.outbox.send(b"in the file")
        receiver.outbox.take()
        piece = receiver.outbox.take()
        assert isinstance(piece, FileRange)
        descriptor = piece.file.fileno()
        loop.turn()
        del receiver
        gc.collect()
        assert read(piece) == b"in the file"  # the range alone keeps it open
        del piece
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


# Outbox: waiting


class Sending(Job):
    """Sends many pieces of ten bytes, and tells what became of it."""

    def __init__(self, outbox: Outbox, count: int) -> None:
        self._outbox = outbox
        self._count = count
        self.outcome: SimpleQueue[BaseException | None] = SimpleQueue()

    def run(self) -> None:
        for number in range(self._count):
            self._outbox.send(b"%09d " % number)
        self._outbox.finish(keep_alive=True)
        self.outcome.put(None)

    def failed(self, error: BaseException) -> None:
        self.outcome.put(error)


def numbers(count: int) -> bytes:
    return b"".join(b"%09d " % number for number in range(count))


def take_without_having_it(loop: TurnedLoop, receiver: Receiver, size: int) -> list[bytes | FileRange]:
    """Take ``size`` bytes that the client does not have yet: they still count."""
    pieces: list[bytes | FileRange] = []
    while sum(len(piece) for piece in pieces) < size:
        piece = receiver.outbox.take()
        if piece is None:
            loop.turn()
        else:
            pieces.append(piece)
    return pieces


def waiting(loop: TurnedLoop) -> tuple[Receiver, Sending, list[bytes | FileRange]]:
    """Return an Outbox whose thread waits, and the pieces that it waits for the client to have."""
    receiver = Receiver(loop.pool, memory=100, file=300)
    receiver.blocked = True
    job = Sending(receiver.outbox, 100)
    loop.pool.submit(job)
    # Two pieces, which count 148 bytes, are past the memory; 30 more fill the file.
    held = take_without_having_it(loop, receiver, 320)
    return receiver, job, held


def test_past_memory_and_file_the_thread_waits_until_the_client_has_taken_enough() -> None:
    with TurnedLoop() as loop:
        receiver, job, held = waiting(loop)
        ahead = 148 + 300
        for piece in held:
            # How many ranges the file is taken in is chance, so enough may be taken before the last of them.
            if ahead > 100:
                assert receiver.outbox.take() is None
                assert job.outcome.empty()
            receiver.keep(piece)
            receiver.outbox.took(piece)
            ahead -= 74 if isinstance(piece, bytes) else len(piece)
        assert receiver.data == numbers(32)
        receiver.blocked = False
        receiver.take_all()
        loop.until(lambda: receiver.ended)
        assert receiver.data == numbers(100)
        assert job.outcome.get(timeout=WAIT) is None


def test_a_thread_that_waits_learns_that_the_client_has_left() -> None:
    with TurnedLoop() as loop:
        receiver, job, _ = waiting(loop)
        receiver.outbox.abandon()
        assert isinstance(job.outcome.get(timeout=WAIT), ClientDisconnected)


def test_after_the_client_has_left_a_piece_is_refused_and_the_end_is_not() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool)
        receiver.outbox.send(b"one")
        receiver.outbox.abandon()
        with pytest.raises(ClientDisconnected):
            receiver.outbox.send(b"two")
        receiver.outbox.finish(b"end", keep_alive=True)
        receiver.outbox.break_off()


def test_the_last_piece_waits_like_any_other() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool, memory=0, file=0)
        receiver.blocked = True
        receiver.outbox.send(b"a")
        end = Thread(target=receiver.outbox.finish, args=(b"z",), kwargs={"keep_alive": True})
        end.start()
        piece = receiver.outbox.take()
        assert piece == b"a"
        assert receiver.outbox.take() is None
        assert not receiver.outbox.ended
        receiver.outbox.took(piece)
        end.join(WAIT)
        receiver.take_all()
        assert receiver.pieces == [b"z"]
        assert receiver.ended


def test_a_client_that_keeps_up_is_waited_for_and_needs_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bridge, "PATIENCE", WAIT)
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool, memory=100)
        job = Sending(receiver.outbox, 1000)
        loop.pool.submit(job)
        loop.until(lambda: receiver.ended)
        assert receiver.data == numbers(1000)
        assert receiver.ranges == 0
        assert job.outcome.get(timeout=WAIT) is None


def test_a_client_that_lags_is_waited_for_once_and_not_for_each_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float | None] = []

    class Watched(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return super().wait(timeout)

    monkeypatch.setattr(bridge, "Event", Watched)
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool, memory=100)
        receiver.blocked = True
        job = Sending(receiver.outbox, 1000)
        loop.pool.submit(job)
        loop.turn()
        assert job.outcome.get(timeout=WAIT) is None  # the thread is done, and the client has nothing yet
        assert waits == [bridge.PATIENCE]
        receiver.take_all()
        assert receiver.data == numbers(1000)


@pytest.mark.usefixtures("no_disk")
def test_without_a_disk_the_thread_waits_and_nothing_is_lost() -> None:
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool, memory=100)
        job = Sending(receiver.outbox, 1000)
        loop.pool.submit(job)
        loop.until(lambda: receiver.ended)
        assert receiver.data == numbers(1000)
        assert receiver.ranges == 0
        assert job.outcome.get(timeout=WAIT) is None


def send_in_chunks(outbox: Outbox, data: bytes) -> None:
    outbox.send_chunk(b"", data)
    outbox.finish()


@pytest.mark.usefixtures("no_disk")
@pytest.mark.parametrize("give", [Outbox.finish, send_in_chunks])
def test_without_a_disk_no_thread_waits_with_a_large_piece_that_it_would_only_keep(
    give: Callable[[Outbox, bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "PATIENCE", 0.0)
    data = random.Random(1).randbytes(4 * SLICE + 1)
    with TurnedLoop() as loop:
        receiver = Receiver(loop.pool, memory=SLICE)
        receiver.blocked = True
        give(receiver.outbox, data)  # a thread that waited here would wait for ever
        receiver.take_all()
        assert receiver.ended
        assert receiver.ranges == 0
        assert receiver.data.removesuffix(b"\r\n") == data


def overfill_an_outbox() -> None:
    with TurnedLoop() as loop, full_disk():
        receiver = Receiver(loop.pool, memory=100)
        receiver.blocked = True
        loop.pool.submit(Sending(receiver.outbox, 2000))
        for piece in take_without_having_it(loop, receiver, 2 * 10 + ROOM // 10 * 10):
            receiver.keep(piece)
            receiver.outbox.took(piece)
        receiver.blocked = False
        receiver.take_all()
        loop.until(lambda: receiver.ended)
        assert receiver.data == numbers(2000)


def test_on_a_disk_that_fills_up_the_thread_waits_and_nothing_is_lost() -> None:
    done = run_alone(overfill_an_outbox)
    assert done.returncode == 0, done.stderr


# Under load


@pytest.mark.parametrize(("memory", "file"), [(0, 0), (200, 0), (200, 1000), (2000, 500), (1 << 20, 0)])
def test_nothing_is_lost_or_moved_whoever_is_faster(memory: int, file: int) -> None:
    """Both sides at full speed, switched as often as can be; a lost wake-up would be the end of the test."""
    choose = random.Random(memory + file)
    pieces = [choose.randbytes(choose.choice((1, 30, 300))) for _ in range(1500)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with TurnedLoop() as loop:
            receiver = Receiver(loop.pool, memory, file)
            loop.pool.submit(SendingAll(receiver.outbox, pieces))
            loop.until(lambda: receiver.ended)
    finally:
        sys.setswitchinterval(interval)
    assert receiver.data == b"".join(pieces)


class SendingAll(Job):
    def __init__(self, outbox: Outbox, pieces: list[bytes]) -> None:
        self._outbox = outbox
        self._pieces = pieces

    def run(self) -> None:
        for piece in self._pieces:
            self._outbox.send(piece)
        self._outbox.finish(b"", keep_alive=True)

    def failed(self, error: BaseException) -> None:
        raise error


def test_no_thread_is_left_waiting_however_the_client_leaves() -> None:
    with TurnedLoop(threads=4) as loop:
        jobs = []
        for taken in range(200):
            receiver = Receiver(loop.pool, memory=0, file=20)
            job = Sending(receiver.outbox, 1_000_000)
            loop.pool.submit(job)
            loop.turn()
            for _ in range(taken):
                receiver.take_all()
            receiver.outbox.abandon()
            jobs.append(job)
        for job in jobs:
            assert isinstance(job.outcome.get(timeout=WAIT), ClientDisconnected)
