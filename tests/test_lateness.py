"""How far behind each worker is, and who is believed."""

import os
import subprocess
import sys

import pytest

from aiowsgi.server.lateness import Lateness

SELF, PARENT, FIRST = os.getpid(), os.getppid(), 1  # processes that live


def ended() -> int:
    """Return the id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def test_each_worker_sees_what_the_others_have_said() -> None:
    lateness = Lateness()
    lateness.tell(SELF, 1.0)
    lateness.tell(PARENT, 2.0)
    lateness.tell(SELF, 3.0)
    assert list(lateness.others(SELF)) == [2.0]
    assert list(lateness.others(PARENT)) == [3.0]
    assert sorted(lateness.others(FIRST)) == [2.0, 3.0]


def test_one_that_has_ended_is_not_believed() -> None:
    lateness = Lateness()
    lateness.tell(ended(), 0.0)
    assert list(lateness.others(SELF)) == []


def test_one_that_has_not_said_so_anew_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    lateness = Lateness()
    lateness.tell(PARENT, 0.0)
    monkeypatch.setattr("aiowsgi.server.lateness.FRESH", -1.0)
    assert list(lateness.others(SELF)) == [0.0]
    lateness.tell(PARENT, 0.0)
    assert list(lateness.others(SELF)) == []


def test_lines_of_those_that_have_ended_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lateness = Lateness()
    living = {SELF, PARENT}
    monkeypatch.setattr("aiowsgi.server.lateness.lives", living.__contains__)
    for pid in range(10_000_000, 10_001_000):
        living.add(pid)
        lateness.tell(pid, 0.5)
        living.remove(pid)
    for pid in (SELF, PARENT):
        lateness.tell(pid, 1.5)
    assert list(lateness.others(SELF)) == [1.5]


def test_one_for_whom_there_is_no_line_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    lateness = Lateness()
    monkeypatch.setattr("aiowsgi.server.lateness.lives", lambda pid: True)
    for pid in range(1, 1001):
        lateness.tell(pid, 0.0)
    assert len(list(lateness.others(0))) == 170
    lateness.tell(SELF, 0.0)
    assert len(list(lateness.others(0))) == 170


def test_one_whose_line_was_taken_takes_another(monkeypatch: pytest.MonkeyPatch) -> None:
    lateness = Lateness()
    monkeypatch.setattr("aiowsgi.server.lateness.lives", lambda pid: True)
    first, second = 1000, 1170  # would take the same line
    lateness.tell(first, 1.0)
    words = lateness._words
    words[words.tolist().index(first)] = second  # at the same time
    lateness.tell(second, 2.0)
    lateness.tell(first, 3.0)
    assert list(lateness.others(first)) == [2.0]
    assert list(lateness.others(second)) == [3.0]
