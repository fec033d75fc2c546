"""The replacing of workers, with real processes and real signals: see tests/supervised.py for what they do."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress

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
        return start("-m", "tests.supervised", *arguments)

    return supervise


def pid_in(line: str) -> int:
    return int(line.split()[1])


def begun(program: Program, count: int) -> list[int]:
    pids = [pid_in(program.out.until("serving")) for _ in range(count)]
    program.out.until("started")
    return pids


def until_ended(pid: int) -> None:
    """Wait until a worker has been reaped."""
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, 0)


def test_a_worker_that_asks_for_it_is_replaced_and_stops_when_the_next_one_is_ready(supervise: Start) -> None:
    program = supervise("wish", "1", "--steady", "0")
    [first] = begun(program, 1)
    os.kill(first, signal.SIGUSR1)
    assert program.err.until("INFO") == f"INFO worker {first} is replaced: it has had enough"
    second = pid_in(program.out.until(""))
    assert program.err.until("INFO") == f"INFO worker {second} is ready"
    assert program.out.until("") == f"drained {first}"
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {second}"]
    assert program.status() == 0


def test_workers_that_ask_for_it_soon_after_their_starts_are_replaced_after_growing_pauses(
    supervise: Start,
) -> None:
    program = supervise("wish", "1")
    [worker] = begun(program, 1)
    for pause in ("0.1", "0.2", "0.4"):
        os.kill(worker, signal.SIGUSR1)
        line = program.err.until("WARNING")
        assert line.startswith(f"WARNING worker {worker} is replaced: it has had enough, ")
        assert line.endswith(f" s after it was ready; the next one starts in {pause} s")
        worker = pid_in(program.out.until("serving"))
    program.send(signal.SIGTERM)
    assert program.status() == 0


def test_a_worker_serves_while_the_one_in_its_stead_loads_however_often_it_asks(supervise: Start) -> None:
    program = supervise("load_slowly", "1")
    [first] = begun(program, 1)
    os.kill(first, signal.SIGUSR1)
    second = pid_in(program.out.until("loading"))
    os.kill(first, signal.SIGUSR1)
    os.kill(second, signal.SIGUSR2)
    assert program.out.until("") == f"serving {second}"
    assert program.out.until("") == f"drained {first}"
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {second}"]


def test_the_one_in_its_stead_that_fails_leaves_it_serving_and_is_tried_again(supervise: Start) -> None:
    program = supervise("wish_in_vain", "1", "--steady", "0")
    [first] = begun(program, 1)
    os.kill(first, signal.SIGUSR1)
    program.err.until(
        rf"ERROR worker \d+ exited with status 2; worker {first} serves on; the next one starts in 0\.1 s"
    )
    program.err.until("^ValueError: the application is broken for now")
    second = pid_in(program.out.until("serving"))
    assert program.out.until("") == f"drained {first}"
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {second}"]


def test_a_worker_that_dies_while_the_one_in_its_stead_loads_has_no_third(supervise: Start) -> None:
    program = supervise("load_slowly", "1")
    [first] = begun(program, 1)
    os.kill(first, signal.SIGUSR1)
    second = pid_in(program.out.until("loading"))
    os.kill(first, signal.SIGKILL)
    program.err.until(rf"ERROR worker {first} was ended by .*; the next one is starting already")
    os.kill(second, signal.SIGUSR2)
    assert program.out.until("") == f"serving {second}"
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {second}"]
    assert program.status() == 0


def test_one_that_was_replaced_and_does_not_stop_in_time_is_killed(supervise: Start) -> None:
    program = supervise("cling", "1", "--graceful", "0.1")
    [first] = begun(program, 1)
    program.send(signal.SIGHUP)
    program.err.until(f"WARNING worker {first} has not stopped in time and is killed")
    program.send(signal.SIGTERM)
    program.err.until("has not stopped in time and is killed")
    assert program.status() == 0


def test_a_reload_replaces_one_after_the_other(supervise: Start) -> None:
    program = supervise("drain", "3")
    before = begun(program, 3)
    program.send(signal.SIGHUP)
    after = []
    for _ in before:
        line = program.err.until("ready")  # and the next one is forked then
        after.append(int(line.split()[2]))
    program.err.until("INFO reloaded")
    said = [program.out.until("") for _ in range(6)]
    assert {pid_in(line) for line in said if line.startswith("serving")} == set(after)
    assert {pid_in(line) for line in said if line.startswith("drained")} == set(before)
    program.send(signal.SIGTERM)
    assert {pid_in(line) for line in program.out.rest()} == set(after)
    assert program.status() == 0


def test_a_reload_that_fails_is_given_up_and_all_serve_on(supervise: Start) -> None:
    program = supervise("serve_with_token", "2", "--tokens", "2")
    before = begun(program, 2)
    program.send(signal.SIGHUP)
    assert int(program.err.until(r"exited with status 2; worker \d+ serves on$").split()[-3]) in before
    program.err.until("^ValueError: the application is broken now")
    program.err.until("ERROR the reload is given up")
    program.send(signal.SIGTERM)
    assert {pid_in(line) for line in program.out.rest()} == set(before)
    assert program.status() == 0


def test_a_reload_whose_new_workers_die_soon_is_given_up_and_the_others_serve_on(supervise: Start) -> None:
    program = supervise("load_slowly", "2", "--tokens", "2")
    before = begun(program, 2)
    program.send(signal.SIGHUP)
    third = pid_in(program.out.until("loading"))
    os.kill(third, signal.SIGUSR2)
    assert program.out.until("") == f"serving {third}"
    said = {name: int(pid) for name, pid in (program.out.until("").split() for _ in range(2))}
    fourth = said["loading"]
    os.kill(third, signal.SIGKILL)
    program.err.until(rf"ERROR worker {third} was ended by .*; the next one starts in 0\.1 s")
    assert program.err.until("") == "ERROR the reload is given up"
    fifth = pid_in(program.out.until("loading"))
    os.kill(fifth, signal.SIGUSR2)
    assert program.out.until("") == f"serving {fifth}"
    until_ended(fourth)
    program.send(signal.SIGTERM)
    [left] = {*before} - {said["drained"]}
    assert {*program.out.rest()} == {f"drained {left}", f"drained {fifth}"}


def test_a_reload_has_not_succeeded_where_no_worker_could_start(supervise: Start) -> None:
    program = supervise("fail_slowly", "1")
    [first] = begun(program, 1)
    program.send(signal.SIGHUP)
    second = pid_in(program.out.until("loading"))
    os.kill(first, signal.SIGKILL)
    program.err.until(rf"ERROR worker {first} was ended by .*; the next one is starting already")
    os.kill(second, signal.SIGUSR2)
    program.err.until(rf"ERROR worker {second} exited with status 2; the next one starts in 0\.1 s")
    assert program.err.until("reload") == "ERROR the reload is given up"


def test_a_reload_starts_at_once_what_waits_for_its_pause_to_end(supervise: Start) -> None:
    program = supervise("drain", "2", "--pause", "3600")
    first, _ = begun(program, 2)
    os.kill(first, signal.SIGKILL)
    program.err.until("the next one starts in 3600 s")
    program.send(signal.SIGHUP)
    for _ in range(2):
        program.err.until(r"INFO worker \d+ is ready")
    assert program.err.until("") == "INFO reloaded"
    program.send(signal.SIGTERM)
    assert program.status() == 0


def test_a_reload_during_a_reload_begins_again_at_once(supervise: Start) -> None:
    program = supervise("load_slowly", "1")
    [first] = begun(program, 1)
    program.send(signal.SIGHUP)
    second = pid_in(program.out.until("loading"))
    program.send(signal.SIGHUP)
    third = pid_in(program.out.until("loading"))
    until_ended(second)
    os.kill(third, signal.SIGUSR2)
    program.err.until("INFO reloaded")
    program.send(signal.SIGTERM)
    assert {*program.out.rest()} == {f"serving {third}", f"drained {first}", f"drained {third}"}
    assert program.status() == 0


def test_one_that_is_not_ready_in_time_is_stopped_and_fails_the_reload(supervise: Start) -> None:
    program = supervise("load_through_sigterm", "1", "--later-patience", "1", "--graceful", "0.1")
    [first] = begun(program, 1)
    program.send(signal.SIGHUP)
    second = pid_in(program.out.until("loading"))  # within that second, or it would not heed the SIGTERM
    assert program.err.until("ERROR") == (
        f"ERROR worker {second} is not ready after 1 s and is stopped; worker {first} serves on"
    )
    assert program.err.until("") == "ERROR the reload is given up"
    assert program.err.until("") == f"WARNING worker {second} has not stopped in time and is killed"
    program.send(signal.SIGTERM)
    assert {*program.out.rest()} <= {f"drained {first}"}  # which has 0.1 s for it, too
    assert program.status() == 0


def test_one_that_is_not_ready_in_time_is_tried_again_where_nobody_serves(supervise: Start) -> None:
    program = supervise("load_slowly", "1", "--later-patience", "0.1")
    [first] = begun(program, 1)
    os.kill(first, signal.SIGKILL)
    line = r"ERROR worker \d+ is not ready after .*; the next one starts in "
    late = {program.err.until(line + pause).split()[2] for pause in (r"0\.2 s", r"0\.4 s")}
    assert len(late) == 2


def test_the_first_one_that_is_not_ready_in_time_is_a_failed_start(supervise: Start) -> None:
    program = supervise("load_for_ever", "1", "--first-patience", "0.1")
    [line] = program.err.rest()
    assert re.fullmatch(r"aiowsgi: worker \d+ is not ready after 0\.1 s and is stopped", line)
    assert program.status() == 2


def test_who_becomes_ready_when_all_stop_takes_over_from_nobody(supervise: Start) -> None:
    program = supervise("load_through_sigterm", "1")
    [first] = begun(program, 1)
    program.send(signal.SIGHUP)
    second = pid_in(program.out.until("loading"))
    program.send(signal.SIGTERM)
    assert program.out.until("") == f"drained {first}"
    until_ended(first)
    os.kill(second, signal.SIGUSR2)
    assert program.out.rest() == [f"serving {second}", f"drained {second}"]
    assert program.status() == 0


def test_one_more_and_one_fewer(supervise: Start) -> None:
    program = supervise("drain", "1")
    [first] = begun(program, 1)
    program.send(signal.SIGTTIN)
    program.err.until("INFO workers: 2")
    second = pid_in(program.out.until("serving"))
    program.err.until(f"INFO worker {second} is ready")
    program.send(signal.SIGTTOU)
    assert program.err.until("workers") == "INFO workers: 1"
    assert program.out.until("") == f"drained {second}"
    program.send(signal.SIGTTOU)
    assert program.err.until("workers") == "INFO workers: 1"
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {first}"]
    assert program.status() == 0


def test_one_fewer_takes_away_what_does_not_serve(supervise: Start) -> None:
    program = supervise("drain", "2", "--pause", "3600")
    first, second = sorted(begun(program, 2))
    os.kill(first, signal.SIGKILL)
    program.err.until("the next one starts in 3600 s")
    program.send(signal.SIGTTOU)
    program.err.until("INFO workers: 1")
    program.send(signal.SIGHUP)  # which starts whatever is missing
    third = pid_in(program.out.until(""))
    program.err.until("INFO reloaded")
    program.send(signal.SIGTERM)
    assert {*program.out.rest()} == {f"drained {second}", f"drained {third}"}
    assert program.status() == 0


def test_one_fewer_during_the_start_is_the_end_of_the_start_if_the_others_are_ready(supervise: Start) -> None:
    program = supervise("load_slowly", "2", "--log-level", "DEBUG")
    said = {name: int(pid) for name, pid in (program.out.until("serving|loading").split() for _ in range(2))}
    first = said["serving"]
    program.err.until(f"worker {first} is ready$")  # it says that it serves before it reports
    program.send(signal.SIGTTOU)
    assert program.out.until("") == "started"
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {first}"]
    assert program.status() == 0


def test_nobody_is_taken_away_from_a_server_that_stops(supervise: Start) -> None:
    program = supervise("cling", "3")
    clinging = begun(program, 3)
    program.send(signal.SIGTERM)
    for _ in clinging:
        program.out.until("clinging")
    for worker in clinging[:2]:
        os.kill(worker, signal.SIGKILL)
        until_ended(worker)
    for number in (signal.SIGTTOU, signal.SIGTTIN):
        program.send(number)
        program.err.until("WARNING the number of workers stays: the server is about to stop$")
    os.kill(clinging[2], 0)
    program.send(signal.SIGTERM)  # the second one
    assert program.status() == 0


def test_workers_ignore_the_sighup_that_a_closing_terminal_sends_to_all(supervise: Start) -> None:
    program = supervise("drain", "1")
    [first] = begun(program, 1)
    program.send_group(signal.SIGHUP)
    assert pid_in(program.err.until("ready").removeprefix("INFO ")) != first
    assert program.out.until("drained") == f"drained {first}"
    program.send(signal.SIGTERM)
    assert program.status() == 0


def test_stopping_ends_both_of_a_place(supervise: Start) -> None:
    program = supervise("load_slowly", "1")
    [first] = begun(program, 1)
    program.send(signal.SIGHUP)
    program.out.until("loading")
    program.send(signal.SIGTERM)
    assert program.out.rest() == [f"drained {first}"]
    assert program.status() == 0
