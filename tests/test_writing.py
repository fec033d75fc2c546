"""Lines on their way to a descriptor: their bounds, and pipes that are full, shared, or gone."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from aiowsgi.observe.writing import MOST_BYTES, MOST_LINES, WaitingLines, write_lines
from tests.turned_loop import WAIT


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def fill(descriptor: int) -> int:
    """Write to a pipe what it takes; return how much that was."""
    os.set_blocking(descriptor, False)
    size = 0
    with suppress(BlockingIOError):
        while True:
            size += os.write(descriptor, bytes(512))
    os.set_blocking(descriptor, True)
    return size


def read(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, size - len(data))
    return data


def test_lines_are_taken_in_order_and_once() -> None:
    waiting = WaitingLines()
    assert not waiting
    for line in (b"1\n", b"2\n"):
        assert waiting.has_room()
        waiting.add(line)
    assert waiting
    assert waiting.take() == ([b"1\n", b"2\n"], 0)
    assert not waiting
    assert waiting.take() == ([], 0)


@pytest.mark.parametrize(
    ("line", "most"), [(b"\n", MOST_LINES), (b"x" * 99_999 + b"\n", MOST_BYTES // 100_000 + 1)]
)
def test_no_more_lines_or_bytes_wait_than_may(line: bytes, most: int) -> None:
    waiting = WaitingLines()
    for _ in range(most + 3):
        if waiting.has_room():
            waiting.add(line)
    assert waiting.take() == ([line] * most, 3)
    assert waiting.has_room()


def test_one_line_may_be_of_any_length() -> None:
    waiting = WaitingLines()
    assert waiting.has_room()
    waiting.add(bytes(2 * MOST_BYTES))
    assert not waiting.has_room()


def test_a_file_gets_them_all(tmp_path: Path) -> None:
    lines = [b"%d\n" % number for number in range(10_000)]
    with open(tmp_path / "log", "wb", buffering=0) as file:
        write_lines(file.fileno(), lines)
        write_lines(file.fileno(), lines, 0.0)
    assert (tmp_path / "log").read_bytes() == 2 * b"".join(lines)


def test_a_pipe_gets_them_all_as_fast_as_it_is_read(pipe: tuple[int, int]) -> None:
    lines = [b"x" * size + b"\n" for size in (*range(1000), 100_000)]
    whole = b"".join(lines)
    for patience in (None, WAIT):
        writer = Thread(target=write_lines, args=(pipe[1], lines, patience))
        writer.start()
        assert read(pipe[0], len(whole)) == whole
        writer.join(WAIT)
        assert not writer.is_alive()


def test_lines_of_several_writers_do_not_mix(pipe: tuple[int, int]) -> None:
    writers = [
        Thread(target=write_lines, args=(pipe[1], [letter * size + b"\n" for size in range(1, 500)]))
        for letter in (b"a", b"b", b"c")
    ]
    for writer in writers:
        writer.start()
    text = read(pipe[0], 3 * sum(range(2, 501)))
    assert all(len(set(line)) == 1 for line in text.splitlines())


@pytest.mark.parametrize("patience", [None, WAIT])
def test_a_pipe_that_somebody_has_made_non_blocking_is_waited_for(
    pipe: tuple[int, int], patience: float | None
) -> None:
    os.set_blocking(pipe[1], False)
    lines = [b"x" * 999 + b"\n"] * 1000
    writer = Thread(target=write_lines, args=(pipe[1], lines, patience))
    writer.start()
    assert read(pipe[0], 1_000_000) == b"".join(lines)
    writer.join(WAIT)
    assert not writer.is_alive()


@pytest.mark.parametrize("patience", [0.0, 0.01])
def test_a_pipe_that_nobody_reads_is_given_up(pipe: tuple[int, int], patience: float) -> None:
    size = fill(pipe[1])
    with pytest.raises(TimeoutError):
        write_lines(pipe[1], [b"x\n"], patience)
    assert read(pipe[0], size) == bytes(size)
    write_lines(pipe[1], [b"y\n"], patience)
    assert os.read(pipe[0], 100) == b"y\n"


@pytest.mark.parametrize("patience", [None, 0.0])
def test_a_pipe_without_a_reader_is_an_oserror(pipe: tuple[int, int], patience: float | None) -> None:
    os.close(pipe[0])
    with pytest.raises(BrokenPipeError):
        write_lines(pipe[1], [b"x\n"], patience)
