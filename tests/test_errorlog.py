"""The error log: its records in order, and a standard error that nobody reads, by itself and in real workers."""

import io
import logging
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import TextIO

import pytest

from aiowsgi.observe.errorlog import PATIENCE, ErrorLog, has_descriptor, tell
from aiowsgi.observe.writing import MOST_LINES
from aiowsgi.wsgi.serial import OneThread
from tests.programs import Program, Start, starting
from tests.test_writing import fill, read
from tests.thread_server import LOOPS, Peer
from tests.turned_loop import WAIT

ROOT = Path(__file__).parent.parent


class Stream:
    """Text into a pipe, as standard error often is."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.reader, writer = os.pipe()
        self.text: TextIO = open(writer, "w", encoding=encoding)

    def lines(self, most: int = 65536) -> list[str]:
        return os.read(self.reader, most).decode().splitlines()


@pytest.fixture
def stream() -> Iterator[Stream]:
    stream = Stream()
    yield stream
    stream.text.close()
    os.close(stream.reader)


def logger_on(stream: Stream) -> tuple[logging.Logger, ErrorLog]:
    log, logger = ErrorLog(stream.text.fileno(), stream.text.encoding), logging.Logger("alone")
    logger.addHandler(log)
    return logger, log


@contextmanager
def threaded(log: ErrorLog) -> Iterator[None]:
    """Have ``log`` write in a thread inside the block; behind it, it has done."""
    thread = OneThread("log")
    log.begin(thread.submit)
    yield
    log.end()
    assert thread.close(WAIT)


def test_records_are_written_at_once_without_a_thread(stream: Stream) -> None:
    logger, log = logger_on(stream)
    logger.error("before")
    assert stream.lines() == ["before"]
    with threaded(log):
        pass
    logger.error("behind")
    assert stream.lines() == ["behind"]


def test_records_of_many_threads_are_all_written_each_threads_in_order(stream: Stream) -> None:
    logger, log = logger_on(stream)

    def work(name: str) -> None:
        for number in range(200):
            logger.error("%s %d", name, number)

    with threaded(log):
        threads = [Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    lines = stream.lines()
    for name in "abcd":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(200)]


def test_who_logs_does_not_wait_for_the_reader_and_all_that_may_wait_is_written_in_order(
    stream: Stream,
) -> None:
    full = fill(stream.text.fileno())
    logger, log = logger_on(stream)
    with threaded(log):
        logger.error("first")  # the thread has it, or will have
        for number in range(MOST_LINES - 1):
            logger.error("%d", number)
        assert read(stream.reader, full) == bytes(full)
        text = b""
        while text.count(b"\n") < MOST_LINES:
            text += os.read(stream.reader, 65536)
    assert text.decode().splitlines() == ["first", *map(str, range(MOST_LINES - 1))]


def test_records_past_the_bound_are_counted_and_the_next_one_tells(stream: Stream) -> None:
    full = fill(stream.text.fileno())
    logged = 2 * MOST_LINES + 100  # a batch may be on its way to the pipe, and another one waits
    logger, log = logger_on(stream)
    with threaded(log):
        for number in range(logged):
            logger.error("%d", number)
        assert read(stream.reader, full) == bytes(full)
        text = b""
        while not text.endswith(b" records were left out\n"):
            text += os.read(stream.reader, 65536)
        logger.error("later")
    *lines, told = text.decode().splitlines()
    assert lines == [*map(str, range(len(lines)))]
    assert told == f"{logged - len(lines)} records were left out"
    assert stream.lines() == ["later"]


def test_a_reader_that_has_gone_is_nobodys_trouble(stream: Stream) -> None:
    logger, log = logger_on(stream)
    os.close(stream.reader)
    with threaded(log):
        for _ in range(3):
            logger.error("lost")
    logger.error("lost")
    stream.reader = os.open(f"/dev/fd/{stream.text.fileno()}", os.O_RDONLY)
    logger.error("later")
    logger.error("last")
    assert stream.lines() == ["4 records were left out", "later", "last"]


def test_without_a_thread_who_logs_waits_for_the_reader_once_and_not_for_ever(stream: Stream) -> None:
    full = fill(stream.text.fileno())
    logger, _ = logger_on(stream)
    begin = monotonic()
    for _ in range(1000):
        logger.error("lost")
    assert monotonic() - begin < 5 * PATIENCE
    assert read(stream.reader, full) == bytes(full)
    logger.error("later")
    assert stream.lines() == ["1000 records were left out", "later"]


def test_nobody_waits_for_the_record_of_another_thread_to_be_formatted(stream: Stream) -> None:
    entered, go_on = Event(), Event()

    class Slow:
        def __str__(self) -> str:
            entered.set()
            assert go_on.wait(WAIT)
            return "slow"

    logger, log = logger_on(stream)
    with threaded(log):
        thread = Thread(target=logger.error, args=(Slow(),))
        thread.start()
        assert entered.wait(WAIT)
        logger.error("quick")
        go_on.set()
        thread.join(WAIT)
    assert stream.lines() == ["quick", "slow"]


def test_filters_are_heeded(stream: Stream) -> None:
    logger, log = logger_on(stream)
    log.addFilter(lambda record: record.getMessage() != "secret")
    logger.error("secret")
    logger.error("not secret")
    assert stream.lines() == ["not secret"]


def test_a_traceback_goes_with_its_record(stream: Stream) -> None:
    logger, log = logger_on(stream)
    with threaded(log):
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("failed")
    first, second, *_, last = stream.lines()
    assert (first, second, last) == ("failed", "Traceback (most recent call last):", "ValueError: broken")


def test_a_record_that_cannot_be_formatted_says_where_it_comes_from(stream: Stream) -> None:
    logger, log = logger_on(stream)
    with threaded(log):
        logger.error("%d", "text")
        logger.error("next")
    first, *_, reason, last = stream.lines()
    assert re.fullmatch(rf"{re.escape(__file__)}:\d+: a record that cannot be formatted", first)
    assert reason.startswith("TypeError: ")
    assert last == "next"


def test_text_that_the_stream_cannot_hold_is_escaped() -> None:
    stream = Stream("ascii")
    logger, _ = logger_on(stream)
    with stream.text:
        logger.error("\xe4\u20ac\udc80")
    assert stream.lines() == ["\\xe4\\u20ac\\udc80"]
    os.close(stream.reader)


def test_it_goes_on_when_a_program_has_all_handlers_closed(stream: Stream) -> None:
    logger, log = logger_on(stream)
    with threaded(log):
        log.flush()
        log.close()
        logger.error("and on")
    assert stream.lines() == ["and on"]


def test_a_closed_descriptor_is_nobodys_trouble() -> None:
    stream = Stream()
    logger, log = logger_on(stream)
    stream.text.close()
    os.close(stream.reader)
    logger.error("lost")
    with threaded(log):
        logger.error("lost")


def test_a_descriptor_that_is_another_files_by_now_is_not_written_to(stream: Stream) -> None:
    logger, log = logger_on(stream)
    whole = os.dup(stream.text.fileno())
    other = Stream()
    os.dup2(other.text.fileno(), stream.text.fileno())
    with threaded(log):
        logger.error("lost")
    logger.error("lost, too")
    os.dup2(whole, stream.text.fileno())
    other.text.close()
    assert other.lines() == []
    logger.error("later")
    assert stream.lines() == ["2 records were left out", "later"]
    os.close(other.reader)
    os.close(whole)


def test_a_stream_has_a_descriptor_or_not(stream: Stream) -> None:
    assert has_descriptor(stream.text)
    stream.text.close()
    assert not has_descriptor(stream.text)
    assert not has_descriptor(io.StringIO())
    assert not has_descriptor(None)


# In workers.


APPLICATION = """\
import logging, os

logger = logging.getLogger("app")
logger.warning("loaded")

def fail(environ, start_response):
    raise ValueError("x" * 20_000)

def log(environ, start_response):
    for number in range(100):
        logger.warning("%s %d", environ["PATH_INFO"], number)
    print("so much is in the buffer")
    start_response("200 OK", [])
    return [b"logged"]

def fork(environ, start_response):
    logger.warning("before the fork")
    child = os.fork()
    if child == 0:
        logger.warning("in the fork")
        os._exit(0)
    os.waitpid(child, 0)
    start_response("200 OK", [])
    return [b"forked"]

def close(environ, start_response):
    for number in (0, 1, 2):
        os.close(number)
    start_response("200 OK", [])
    return [b"closed"]

def configure(environ, start_response):
    from logging.config import dictConfig

    handlers = {"own": {"class": "logging.StreamHandler", "formatter": "own"}}
    formatters = {"own": {"format": "own %(name)s: %(message)s"}}
    root = {"level": "INFO", "handlers": ["own"]}
    dictConfig({"version": 1, "formatters": formatters, "handlers": handlers, "root": root})
    start_response("200 OK", [])
    return [b"configured"]

def configured():
    configure(None, print)
    return application

def leave():
    logger.warning("leaving")
    raise SystemExit("out of luck")

def application(environ, start_response):
    return globals()[environ["PATH_INFO"].split("/")[1]](environ, start_response)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Serve ``app`` with the given arguments; standard output and error are read only where a test does."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(APPLICATION)
    with starting() as start:
        yield lambda *arguments: start("-m", "aiowsgi", "serve", *arguments, "--bind", "127.0.0.1:0")


def address(program: Program) -> tuple[str, int]:
    url = program.err.until("listening on").removeprefix("listening on http://")
    host, port = url.split(":")
    return host, int(port)


def end(program: Program) -> list[str]:
    """Have it stopped; return the rest of what it logs."""
    program.send(signal.SIGTERM)
    lines = program.err.rest()
    assert program.status() == 0
    return lines


def logged(program: Program) -> list[str]:
    """Have it stopped; return what the application has logged since its import, which may be told of late."""
    lines = [line.partition(" WARNING app: ")[2] for line in end(program) if " WARNING app: " in line]
    return [line for line in lines if line != "loaded"]


def test_a_worker_serves_on_and_ends_in_time_while_nobody_reads_what_it_says(start: Start) -> None:
    program = start("app", "--access-log", "-", "--graceful-timeout", "60")
    server = address(program)
    long = "/fail?" + "a" * 4000
    with Peer(server) as peer:
        for _ in range(600):  # 12 MB, and so more than the pipe and all that may wait
            assert peer.get(long).status == 500
        # What the loop itself has to log.
        with Peer(server) as leaver:
            leaver.send(b"POST /log HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        for _ in range(10):
            assert peer.get("/log").content == b"logged"
    program.send(signal.SIGTERM)
    begin = monotonic()
    assert program.status() == 0
    assert monotonic() - begin < 10


def test_a_reader_that_comes_late_is_told_how_many_records_there_would_have_been(start: Start) -> None:
    program = start("app", "--threads", "1")
    with Peer(address(program)) as peer:
        for _ in range(600):
            assert peer.get("/fail").status == 500
    lines: list[str] = []
    while not lines or "records were left out" not in lines[-1]:
        lines.append(program.err.until(""))
    count = re.search(r" WARNING aiowsgi\.errorlog: (\d+) records were left out$", lines[-1])
    assert count is not None
    assert sum("GET /fail: ValueError" in line for line in lines) + int(count[1]) == 600
    end(program)


def test_all_records_come_in_order(start: Start) -> None:
    program = start("app", "--threads", "1")
    with Peer(address(program)) as peer:
        for number in range(20):  # more than the pipe holds
            assert peer.get(f"/log/{number}/{'a' * 100}").status == 200
    assert logged(program) == [
        f"/log/{number}/{'a' * 100} {line}" for number in range(20) for line in range(100)
    ]


def test_what_a_process_logs_that_an_application_has_forked_is_written_once(start: Start) -> None:
    program = start("app")
    with Peer(address(program)) as peer:
        assert peer.get("/fork").content == b"forked"
    assert sorted(logged(program)) == ["before the fork", "in the fork"]  # the thread may be the later one


@pytest.mark.parametrize("loop", LOOPS)
def test_no_client_gets_the_log_where_an_application_has_closed_the_standard_streams(
    start: Start, loop: str
) -> None:
    program = start("app", "--loop", loop, "--access-log", "-")
    server = address(program)
    with ExitStack() as stack:
        peer = stack.enter_context(Peer(server))
        assert peer.get("/close").content == b"closed"
        others = [stack.enter_context(Peer(server)) for _ in range(4)]
        for each in [*others, peer]:
            assert each.get("/fail").status == 500
        assert sum("GET /fail: ValueError" in line for line in end(program)) == 5
        assert [each.rest() for each in others] == [b""] * 4
    assert sum('"GET /fail HTTP/1.1" 500' in line for line in program.out.rest()) == 5


@pytest.mark.parametrize("name", ["app", "app:configured()"])
def test_no_configuration_of_an_application_silences_the_server(start: Start, name: str) -> None:
    program = start(name)
    with Peer(address(program)) as peer:
        if name == "app":
            assert peer.get("/configure").content == b"configured"
        assert peer.get("/fail").status == 500
    lines = end(program)
    told = [line for line in lines if line.startswith("own ")]
    assert told == ["own aiowsgi.application: GET /fail: ValueError"]
    assert "Traceback (most recent call last):" in lines


def test_a_level_silences_the_server(start: Start, tmp_path: Path) -> None:
    with (tmp_path / "app.py").open("a") as file:
        file.write("\nlogging.getLogger('aiowsgi.application').setLevel(logging.CRITICAL)\n")
    program = start("app")
    with Peer(address(program)) as peer:
        assert peer.get("/fail").status == 500
    assert not any("ValueError" in line for line in end(program))


def test_what_was_logged_before_a_failure_is_written(start: Start) -> None:
    program = start("app:leave()")
    lines = program.err.rest()
    assert [line.partition(" WARNING app: ")[2] for line in lines[:2]] == ["loaded", "leaving"]
    assert lines[-1].endswith(" raised SystemExit: out of luck")
    assert program.status() == 2


def test_a_line_of_the_log_is_bounded_whatever_a_client_asks_for(start: Start) -> None:
    program = start("app")
    with Peer(address(program)) as peer:
        assert peer.get("/no?" + "a" * 8000).status == 500
        peer.send(b"M" * 4000 + b" /no HTTP/1.1\r\nHost: a\r\n\r\n")
        assert peer.answer().status == 500
    first, second = (line for line in end(program) if line.endswith("KeyError"))
    assert first.endswith(" ERROR aiowsgi.application: GET /no?" + "a" * 196 + "...: KeyError")
    assert second.endswith(" ERROR aiowsgi.application: " + "M" * 200 + "... /no: KeyError")


def test_what_is_told_goes_to_whatever_stands_for_standard_error() -> None:
    with redirect_stderr(io.StringIO()) as text:
        tell("a line\n")
    assert text.getvalue() == "a line\n"
    with redirect_stderr(None):
        tell("nobody hears it")
