"""How many connections the limit of open files allows, and whether descriptors are left."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aiowsgi.config import Limits
from aiowsgi.server.descriptors import MOST_CONNECTIONS, are_left, hold_standard, most_connections


@contextmanager
def open_files(most: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("files", "connections"), [(64, 32), (256, 128), (1024, 896), (8000, 7000)])
def test_connections_leave_some_of_the_open_files_to_others(files: int, connections: int) -> None:
    with open_files(files):
        assert most_connections(Limits()) == min(connections, MOST_CONNECTIONS)


def test_fewer_may_be_asked_for_and_more_are_not_given(caplog: pytest.LogCaptureFixture) -> None:
    with open_files(1024):
        assert most_connections(Limits(connections=10)) == 10
        assert not caplog.messages
        assert most_connections(Limits(connections=1000)) == 896
    assert caplog.messages == ["1024 open files allow for 896 connections, not 1000"]


def test_descriptors_that_are_left_are_counted_and_not_kept() -> None:
    before = os.listdir("/dev/fd")
    assert are_left(8)
    lowest = os.dup(0)
    os.close(lowest)
    with open_files(lowest + 4):
        taken = [os.dup(0) for _ in range(4) if are_left(1)]
        assert not are_left(1)
        for descriptor in taken[:2]:
            os.close(descriptor)
        assert are_left(2)
        assert not are_left(4)
        for descriptor in taken[2:]:
            os.close(descriptor)
    assert os.listdir("/dev/fd") == before


def test_closed_standard_streams_are_held_by_the_file_that_is_none() -> None:
    pid = os.fork()
    if pid == 0:
        os.closerange(0, 3)
        hold_standard()
        held = all(os.path.samestat(os.fstat(number), os.stat(os.devnull)) for number in range(3))
        os._exit(0 if held and os.get_inheritable(1) else 1)
    assert os.waitpid(pid, 0)[1] == 0
