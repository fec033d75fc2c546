"""The supervisor, with real processes and real signals."""

import itertools
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import Program, Start, starting


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


@pytest.fixture
def supervise(start: Start) -> Start:
    """Start ``tests.supervised`` with the given arguments."""

    def supervise(*arguments: str) -> Program:
        program = start("-m", "tests.supervised", *arguments)
        program.out.until("said before the fork")  # once; a worker that wrote it again would fail the tests
        return program

    return supervise


def pid_in(line: str) -> int:
    return int(line.split()[1])


def test_says_that_it_has_started_when_all_workers_are_ready(supervise: Start) -> None:
    program = supervise("drain", "3")
    program.out.until("started")
    program.send(signal.SIGTERM)
    assert sum(line.startswith("drained") for line in program.out.rest()) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_lets_the_workers_drain_and_leaves_nothing_behind(supervise: Start, number: signal.Signals) -> None:
    program = supervise("drain", "2")
    serving = {pid_in(program.out.until("serving")) for _ in range(2)}
    program.out.until("started")
    program.send(number)
    drained = {pid_in(program.out.until("drained")) for _ in range(2)}
    assert drained == serving
    assert program.out.rest() == []
    assert program.status() == 0


def test_workers_ignore_the_sigint_that_a_terminal_sends_to_all(supervise: Start) -> None:
    program = supervise("drain", "2")
    program.out.until("started")
    program.send_group(signal.SIGINT)
    assert sum(line.startswith("drained") for line in program.out.rest()) == 2
    assert program.status() == 0


def test_replaces_a_worker_that_dies(supervise: Start) -> None:
    program = supervise("drain", "1")
    killed = pid_in(program.out.until("serving"))
    program.out.until("started")
    os.kill(killed, signal.SIGKILL)
    assert program.err.until("ended") == (
        f"ERROR worker {killed} was ended by signal 9 (Killed); the next one starts in 0.1 s"
    )
    replacement = pid_in(program.out.until("serving"))
    assert program.err.until("ready") == f"INFO worker {replacement} is ready"
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {replacement}"]
    assert program.status() == 0


def test_a_worker_that_dies_again_and_again_is_started_after_growing_pauses(supervise: Start) -> None:
    program = supervise("leave", "1")
    times = [float(program.out.until("leaving").split()[1]) for _ in range(4)]
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert pause >= least
    program.err.until(r"exited with status 0; the next one starts in 0\.8 s")
    program.send(signal.SIGTERM)  # with no worker at the moment
    assert program.status() == 0


def test_an_exception_at_the_first_start_is_shown_once_and_stops_everything(supervise: Start) -> None:
    program = supervise("fail", "3")
    first, *_, last = lines = program.err.rest()
    assert first == "Traceback (most recent call last):"
    assert last == "ValueError: the application is broken"
    assert lines.count(last) == 1
    assert program.status() == 2
    assert program.out.rest() == []


def test_system_exit_at_the_first_start_is_a_failure_too(supervise: Start) -> None:
    program = supervise("leave_by_exit", "1")
    assert program.err.until("SystemExit") == "SystemExit: out of luck"
    assert program.out.rest() == []
    assert program.status() == 2


def test_shows_all_of_what_a_worker_tells_and_nothing_more(supervise: Start) -> None:
    program = supervise("tell", "1")
    assert program.err.rest() == [*["a line"] * 50_000, "the last line"]
    assert program.out.rest() == []
    assert program.status() == 2


def test_a_worker_that_reports_without_an_end_is_ended_and_replaced(supervise: Start) -> None:
    program = supervise("babble", "1")
    first = pid_in(program.out.until("serving"))
    program.err.until(rf"ERROR worker {first} was ended by signal 9 \(Killed\); the next one starts in")
    assert program.err.until("").startswith("it has reported without an end, and was killed: ")
    assert pid_in(program.out.until("serving")) != first
    program.send(signal.SIGTERM)
    assert program.status() == 0


def test_a_worker_that_dies_silently_at_the_first_start_is_a_failure(supervise: Start) -> None:
    program = supervise("crash", "1")
    line = program.err.until("ended")
    assert re.fullmatch(r"aiowsgi: worker \d+ was ended by signal 9 \(Killed\) before it was ready", line)
    assert program.out.rest() == []
    assert program.status() == 2


def test_a_worker_that_serves_drains_when_another_one_fails_to_start(supervise: Start) -> None:
    program = supervise("one_fails", "2")
    serving = pid_in(program.out.until("serving"))
    program.err.until("^ValueError: the application is broken")
    assert program.out.rest() == [f"drained {serving}"]
    assert program.status() == 2


def test_no_process_to_be_had_at_the_first_start_is_one_line(supervise: Start) -> None:
    program = supervise("drain", "2", "--no-more-descriptors")
    assert program.err.rest() == ["aiowsgi: no worker can be started: Too many open files"]
    assert program.status() == 2


def test_a_replacement_that_fails_to_start_is_logged_and_tried_again(supervise: Start) -> None:
    program = supervise("every_other_fails", "1")
    first = pid_in(program.out.until("serving"))
    program.out.until("started")
    os.kill(first, signal.SIGKILL)
    program.err.until(r"exited with status 2; the next one starts in 0\.2 s")
    program.err.until("^ValueError: the application is broken for now")
    second = pid_in(program.out.until("serving"))
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {second}"]
    assert program.status() == 0


def test_a_worker_that_fails_while_it_drains_is_logged(supervise: Start) -> None:
    program = supervise("break_later", "1")
    program.out.until("started")
    program.send(signal.SIGTERM)
    program.err.until(r"ERROR worker \d+ exited with status 2")
    program.err.until("^ValueError: cannot drain")
    assert program.status() == 0


def test_sigterm_ends_workers_that_still_load(supervise: Start) -> None:
    program = supervise("load_for_ever", "2")
    program.out.until("loading")
    program.out.until("loading")
    program.send(signal.SIGTERM)
    assert program.out.rest() == []
    assert program.status() == 0


def test_kills_a_worker_that_does_not_stop_in_time(supervise: Start) -> None:
    program = supervise("cling", "1", "--graceful", "0.1")
    clinging = pid_in(program.out.until("serving"))
    program.out.until("started")
    program.send(signal.SIGTERM)
    assert program.err.until("WARNING").endswith(f"worker {clinging} has not stopped in time and is killed")
    assert {*program.out.rest()} <= {f"clinging {clinging}"}  # it may be killed before it has said so
    assert program.status() == 0


def test_a_time_longer_than_the_system_can_wait_is_waited_for(supervise: Start) -> None:
    program = supervise("drain", "1", "--graceful", "3e6", "--delay", "3e6")
    program.out.until("started")
    program.send(signal.SIGTERM)
    assert program.err.until("stopping") == "INFO stopping in 3e+06 s"
    program.send(signal.SIGHUP)  # it is heard, so the loop goes on
    program.send(signal.SIGTERM)
    assert program.err.until("") == "INFO stopping"
    assert program.out.rest()[-1].startswith("drained")
    assert program.status() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_kills_at_once_when_asked_twice(supervise: Start, number: signal.Signals) -> None:
    program = supervise("cling", "2", "--graceful", "3600")
    program.out.until("started")
    program.send(signal.SIGTERM)
    program.out.until("clinging")
    program.out.until("clinging")
    program.send(number)
    assert program.out.rest() == []
    assert program.status() == 0


def test_serves_on_for_its_delay_and_a_second_signal_ends_that(supervise: Start) -> None:
    program = supervise("drain", "2", "--delay", "3600")
    program.out.until("started")
    program.send(signal.SIGTERM)
    assert program.err.until("stopping") == "INFO stopping in 3600 s"
    program.send(signal.SIGHUP)  # nobody new is started
    program.send(signal.SIGTERM)
    assert program.err.until("") == "INFO stopping"
    assert sum(line.startswith("drained") for line in program.out.rest()) == 2
    assert program.status() == 0


def test_drains_when_its_delay_is_over(supervise: Start) -> None:
    program = supervise("drain", "1", "--delay", "0.01")
    program.out.until("started")
    program.send(signal.SIGTERM)
    program.err.until("INFO stopping in 0.01 s")
    program.err.until("INFO stopping$")
    assert program.out.rest()[-1].startswith("drained")
    assert program.status() == 0


def test_sigint_has_no_delay(supervise: Start) -> None:
    program = supervise("drain", "1", "--delay", "3600")
    program.out.until("started")
    program.send(signal.SIGINT)
    assert program.err.until("stopping") == "INFO stopping"
    assert program.status() == 0


def test_workers_see_the_death_of_the_supervisor(supervise: Start) -> None:
    program = supervise("orphan", "2")
    program.out.until("started")
    program.send(signal.SIGKILL)
    assert sum(line.startswith("orphaned") for line in program.out.rest()) == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system has to see to it")
def test_workers_that_still_load_end_with_the_supervisor(supervise: Start) -> None:
    program = supervise("load_for_ever", "2")
    program.out.until("loading")
    program.out.until("loading")
    program.send(signal.SIGKILL)
    assert program.out.rest() == []


def test_a_failure_of_the_supervisor_itself_leaves_nothing_behind(supervise: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    program = supervise("drain", "2", "--bind", f"unix:{path}", "--fail-when-started")
    program.err.until("^RuntimeError: the supervisor is broken")
    assert all(line.startswith("serving") for line in program.out.rest())
    assert program.status() == 1
    assert not path.exists()


def test_closes_the_listeners_before_the_workers_drain(supervise: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    program = supervise("cling", "1", "--bind", f"unix:{path}")
    program.out.until("started")
    assert path.is_socket()
    program.send(signal.SIGTERM)
    program.out.until("clinging")
    assert not path.exists()
