"""The access log: its lines, whatever clients send, and a descriptor that is slow, full or gone."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from aiowsgi.config import Limits
from aiowsgi.http.messages import Request
from aiowsgi.http.parser import Parser
from aiowsgi.observe.accesslog import LONGEST_VALUE, AccessLog, open_log
from aiowsgi.observe.writing import MOST_LINES
from tests.full_disk import ROOM, full_disk, run_alone
from tests.turned_loop import TurnedLoop

LINE = re.compile(
    r'(\S+) - - \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+)'
    r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)" (\d+\.\d{4})'
)


def request(*fields: bytes, target: bytes = b"/") -> Request:
    found = Parser(Limits()).head(
        b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: a", *fields, b"", b""])
    )
    assert found is not None
    return found[0]


def log_on(loop: TurnedLoop, descriptor: int) -> AccessLog:
    return AccessLog(descriptor, loop.pool.submit, loop.pool.hand_over)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def logged(asked: Request, pipe: tuple[int, int], client: str = "192.0.2.1") -> str:
    """Return what is written for one request."""
    with TurnedLoop() as loop:
        log_on(loop, pipe[1]).write(client, asked, 200, 1234, 0.00125)
        loop.turn()
    return os.read(pipe[0], 65536).decode("ascii")


def test_a_line_is_in_the_combined_format_with_the_seconds_behind_it(pipe: tuple[int, int]) -> None:
    text = logged(request(b"Referer: http://b/", b"User-Agent: curl/8", target=b"/x?y=z"), pipe)
    match = LINE.fullmatch(text.removesuffix("\n"))
    assert match is not None
    client, _, *others = match.groups()
    assert client == "192.0.2.1"
    assert others == ["GET /x?y=z HTTP/1.1", "200", "1234", "http://b/", "curl/8", "0.0013"]


def test_what_is_not_known_is_a_dash(pipe: tuple[int, int]) -> None:
    match = LINE.fullmatch(logged(request(), pipe, client="").removesuffix("\n"))
    assert match is not None
    assert (match[1], match[6], match[7]) == ("-", "-", "-")


@pytest.mark.parametrize(
    "text",
    ['"', "\\", '\\"', '" 200 0 "', "\x1b[2J", "\x9b2J", "\xe4\xff", "\t", "a\nb", "a\r\nb", "\x85", "\x00"],
)
def test_no_client_can_end_its_text_or_the_line_or_command_a_terminal(
    text: str, pipe: tuple[int, int]
) -> None:
    asked = request()
    asked.target = "/" + text  # none of the worst gets past the parser; the log does not count on that
    asked.fields["HTTP_USER_AGENT"] = asked.fields["HTTP_REFERER"] = text
    line = logged(asked, pipe)
    assert line.endswith("\n")
    assert all(" " <= character <= "~" for character in line[:-1])
    match = LINE.fullmatch(line[:-1])
    assert match is not None
    for group in (match[6], match[7]):
        assert group.replace('\\"', '"').encode("ascii").decode("unicode_escape") == text


def test_lines_that_come_while_a_batch_is_written_make_the_next_one(pipe: tuple[int, int]) -> None:
    with TurnedLoop() as loop:
        log = log_on(loop, pipe[1])
        for number in range(5):
            log.write("client", request(target=b"/%d" % number), 200, 0, 0.0)
        loop.turn()  # the first goes to the thread alone
        loop.turn()  # it comes back, and the others go together
        loop.turn()
        loop.turn()
        assert loop.wakes == 2
        assert loop.idle
        log.write("client", request(target=b"/5"), 200, 0, 0.0)
        loop.turn()
        loop.turn()
    lines = os.read(pipe[0], 65536).decode("ascii").splitlines()
    assert [int(line.split("/")[3].split()[0]) for line in lines] == list(range(6))


def test_lines_past_the_most_that_may_wait_are_counted_and_left_out(tmp_path: Path) -> None:
    asked = request()
    with TurnedLoop() as loop, open(tmp_path / "log", "w+b", buffering=0) as file:
        log = log_on(loop, file.fileno())
        for _ in range(1 + MOST_LINES + 7):  # the first is not waiting, it is being written
            log.write("client", asked, 200, 0, 0.0)
        for _ in range(4):
            loop.turn()
        assert loop.idle
        lines = (tmp_path / "log").read_text().splitlines()
        assert len(lines) == 1 + MOST_LINES + 1
        assert re.fullmatch(r"- - - \[[^]]+\] 7 lines were left out", lines[-1])
        log.write("client", asked, 200, 0, 0.0)
        loop.turn()
        loop.turn()
        assert LINE.fullmatch((tmp_path / "log").read_text().splitlines()[-1])  # told once


def test_a_reader_that_is_slow_holds_the_thread_and_not_the_loop(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    asked = request(b"User-Agent: " + b"x" * 8000)
    with TurnedLoop() as loop:
        log = log_on(loop, writer)
        for _ in range(100):  # far more than a pipe holds
            log.write("client", asked, 200, 0, 0.0)
        loop.turn()
        loop.turn()
        loop.turn()
        text = b""
        while text.count(b"\n") < 100:
            text += os.read(reader, 65536)
        loop.turn()
        assert loop.idle
    assert all(LINE.fullmatch(line) for line in text.decode("ascii").splitlines())


def test_a_long_value_is_cut(pipe: tuple[int, int]) -> None:
    text = logged(request(b"Referer: " + b"~" * 9999, b"User-Agent: " + b"^" * 9999), pipe)
    assert (text.count("~"), text.count("^")) == (LONGEST_VALUE, LONGEST_VALUE)


def test_a_target_is_kept_whole(pipe: tuple[int, int]) -> None:
    target = b"/" + b"a" * 8000
    assert f'"GET {target.decode()} HTTP/1.1"' in logged(request(target=target), pipe)


def test_what_still_waits_is_written_by_the_thread_before_it_ends(tmp_path: Path) -> None:
    asked = request()
    with open(tmp_path / "log", "w+b", buffering=0) as file:
        with TurnedLoop() as loop:
            log = log_on(loop, file.fileno())
            for _ in range(1 + MOST_LINES + 2):
                log.write("client", asked, 200, 0, 0.0)
            log.finish()
        while not loop.idle:
            loop.turn()  # what comes back behind the end makes no difference
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 1 + MOST_LINES + 1
    assert lines[-1].endswith("] 2 lines were left out")


def log_on_a_full_disk() -> None:
    with TemporaryFile() as file, full_disk(), TurnedLoop() as loop:
        log = log_on(loop, file.fileno())
        asked = request(b"User-Agent: " + b"x" * 500)
        for _ in range(ROOM // 500 + 1):
            log.write("client", asked, 200, 0, 0.0)
        for _ in range(4):  # there and back, twice
            loop.turn()


def test_a_batch_that_is_written_in_part_is_not_taken_for_written() -> None:
    done = run_alone(log_on_a_full_disk)
    assert done.returncode == 0, done.stderr
    assert "its lines are left out: [Errno 27] File too large" in done.stderr  # by logging's last resort


def test_a_log_that_cannot_be_written_is_told_of_once_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "log").touch()
    descriptor = os.open(tmp_path / "log", os.O_RDONLY)
    with TurnedLoop() as loop:
        log = log_on(loop, descriptor)
        for _ in range(3):
            log.write("client", request(), 200, 0, 0.0)
            loop.turn()
            loop.turn()
        assert [record.getMessage() for record in caplog.records] == [
            "the access log cannot be written, and its lines are left out: [Errno 9] Bad file descriptor"
        ]
        with open(tmp_path / "log", "ab") as file:
            os.dup2(file.fileno(), descriptor)
        for _ in range(2):
            log.write("client", request(), 200, 0, 0.0)
            loop.turn()
            loop.turn()
    os.close(descriptor)
    first, told, second = (tmp_path / "log").read_text().splitlines()
    assert LINE.fullmatch(first)
    assert told.endswith("] 3 lines were left out")
    assert LINE.fullmatch(second)
    assert caplog.records[0].levelno == logging.ERROR


def test_the_next_file_has_what_is_noted_behind_the_change_and_the_one_before_the_rest(
    tmp_path: Path,
) -> None:
    files = [open_log(str(tmp_path / name)) for name in ("first", "second")]
    done: list[bool] = []
    with TurnedLoop() as loop:
        log = log_on(loop, files[0])
        log.write("192.0.2.1", request(target=b"/1"), 200, 0, 0)  # on its way at once
        log.write("192.0.2.1", request(target=b"/2"), 200, 0, 0)
        log.go_on(files[1], lambda: done.append(True))
        loop.until(lambda: done)
        log.write("192.0.2.1", request(target=b"/3"), 200, 0, 0)
        log.finish()
    os.close(files[0])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(files[1])
    targets = [re.findall(r"GET (\S+)", (tmp_path / name).read_text()) for name in ("first", "second")]
    assert targets == [["/1"], ["/2", "/3"]]
