"""The process beside the workers."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.programs import Program, Start, starting


@pytest.fixture
def supervise() -> Iterator[Start]:
    with starting() as start:

        def supervise(*arguments: str) -> Program:
            return start("-m", "tests.supervised", "drain", "1", *arguments)

        yield supervise


def test_it_ends_with_the_supervisor(supervise: Start) -> None:
    program = supervise("--helper", "help")
    helping, started = sorted(program.out.until("helping|started") for _ in range(2))  # in whatever order
    assert started == "started"
    pid = int(helping.split()[1])
    program.send_group(signal.SIGINT)  # as a terminal does
    rest = program.out.rest()
    assert [line.split()[0] for line in rest] == ["drained"]
    assert program.status() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_that_it_dies_is_told_once_and_changes_nothing_else(supervise: Start) -> None:
    program = supervise("--helper", "help")
    os.kill(int(program.out.until("helping").split()[1]), signal.SIGKILL)
    assert program.err.until("ERROR") == (
        "ERROR changes of files are not noticed any more: who watched is gone"
    )
    program.send(signal.SIGTERM)
    assert program.status() == 0
    assert "ERROR" not in "".join(program.err.rest())


def test_what_it_fails_by_is_told(supervise: Start) -> None:
    program = supervise("--helper", "help_badly")
    program.err.until("ValueError: no help")
    program.send(signal.SIGTERM)
    assert program.status() == 0
