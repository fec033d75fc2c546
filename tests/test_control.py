"""The control socket, with raw sockets at it and a real supervisor behind it (see tests/supervised.py)."""

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiowsgi.process.control import LONGEST, MOST
from tests.programs import PATIENCE, Program, Start, starting


@pytest.fixture
def start() -> Iterator[Start]:
    with starting() as start:
        yield start


class Supervised:
    """``tests.supervised`` with a control socket."""

    def __init__(self, start: Start, folder: Path, *arguments: str) -> None:
        self.path = folder / "control"
        self.program: Program = start("-m", "tests.supervised", *arguments, "--control", str(self.path))
        self.serving = int(self.program.out.until("serving").split()[1])  # the first worker
        self.program.out.until("started")

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(PATIENCE)
        sock.connect(str(self.path))
        return sock

    def send(self, data: bytes) -> object:
        """Return what is answered to ``data``; None where the connection ends instead."""
        with self.connect() as sock:
            sock.sendall(data)
            return answer(sock)

    def ask(self, command: str, **details: object) -> object:
        return self.send(json.dumps({"command": command, **details}).encode() + b"\n")

    def stop(self) -> None:
        """Stop it, and see that nothing is left."""
        self.program.send(signal.SIGTERM)
        assert [line for line in self.program.out.rest() if "left" in line] == []
        assert self.program.status() == 0
        assert not self.path.exists()


def answer(sock: socket.socket) -> object:
    with sock.makefile("rb") as file:
        line = file.readline()
    return json.loads(line) if line else None


@pytest.fixture
def supervised(start: Start, tmp_path: Path) -> Supervised:
    return Supervised(start, tmp_path, "drain", "1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """One for all tests that it has to come through as if nothing had happened."""
    with starting() as start:
        supervised = Supervised(start, tmp_path_factory.mktemp("undisturbed"), "drain", "1")
        yield supervised
        assert supervised.ask("workers", change=1) == {"workers": 2}
        supervised.stop()


def test_the_socket_is_for_its_user_alone_and_gone_at_the_end(supervised: Supervised) -> None:
    mode = supervised.path.lstat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    supervised.stop()


NONSENSE = {
    "nothing": b"\n",
    "a word": b"status\n",
    "no object": b'["status"]\n',
    "no text": b"\xff\xfe\n",
    "deep": b"[" * (LONGEST - 2) + b"\n",
    "too long": b'"' + b"a" * (2 * LONGEST),
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("data", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_told_what_is_expected(undisturbed: Supervised, data: bytes) -> None:
    error = "a command is a line of at most 4096 bytes with an object of JSON"
    assert undisturbed.send(data) == {"error": error}


COMMANDS = {
    "no command": {},
    "an unknown one": {"command": "frobnicate"},
    "no text": {"command": ["status"]},
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_what_is_no_command_is_told_which_there_are(
    undisturbed: Supervised, command: dict[str, object]
) -> None:
    expected = {"error": "expected one of the commands status, stacks, workers, reload, drain, stop"}
    assert undisturbed.send(json.dumps(command).encode() + b"\n") == expected


@pytest.mark.parametrize("change", [None, 0, "+1", 1.5, 101, -101, 10**30, True])
def test_a_change_that_is_none_changes_nothing(undisturbed: Supervised, change: object) -> None:
    expected = {"error": "expected a change from 1 to 100, or the same below 0"}
    assert undisturbed.ask("workers", change=change) == expected


def test_a_thousand_silent_clients_and_half_a_command_keep_nobody_from_being_heard(
    supervised: Supervised,
) -> None:
    with ExitStack() as stack:
        silent = []
        for number in range(1000):
            silent.append(stack.enter_context(supervised.connect()))
            if number % 2:
                silent[-1].sendall(b'{"command": "sta')
        supervised.ask("workers", change=1)
        assert supervised.ask("workers", change=1) == {"workers": 3}
        # The descriptors of few are held, and those who had to go have been told.
        assert len(os.listdir(f"/proc/{supervised.program.pid}/fd")) < MOST + 40
        assert silent[0].recv(1) == b""
    supervised.stop()


def test_a_client_that_is_silent_is_not_waited_for_without_end(start: Start, tmp_path: Path) -> None:
    supervised = Supervised(start, tmp_path, "drain", "1", "--patience", "0.5")
    with supervised.connect() as sock:
        sock.sendall(b'{"command"')
        assert sock.recv(1) == b""
    supervised.stop()


def test_one_that_sends_no_more_is_answered_all_the_same(supervised: Supervised) -> None:
    with supervised.connect() as sock:
        sock.sendall(b'{"command": "drain"}\n')
        sock.shutdown(socket.SHUT_WR)
        assert answer(sock) == {"phase": "draining"}
    with supervised.connect() as sock:
        sock.sendall(b'{"command": "drain"}')
        sock.shutdown(socket.SHUT_WR)
        assert answer(sock) is None
    supervised.stop()


def test_clients_that_do_not_read_stall_nobody(supervised: Supervised) -> None:
    with ExitStack() as stack:
        for _ in range(2 * MOST):
            sock = stack.enter_context(supervised.connect())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            sock.sendall(b'{"command": "stacks"}\n')
        assert supervised.ask("workers", change=1) == {"workers": 2}
    supervised.stop()


def test_one_that_leaves_before_its_answer_disturbs_nobody(start: Start, tmp_path: Path) -> None:
    supervised = Supervised(start, tmp_path, "load_slowly", "1")
    with supervised.connect() as sock:
        sock.sendall(b'{"command": "reload"}\n')
        pid = int(supervised.program.out.until("loading").split()[1])
    os.kill(pid, signal.SIGUSR2)
    supervised.program.err.until("reloaded$")
    assert supervised.ask("workers", change=1) == {"workers": 2}
    supervised.program.out.until("loading")
    supervised.stop()


def test_who_comes_in_the_very_moment_of_an_upgrade_disturbs_nobody(start: Start, tmp_path: Path) -> None:
    supervised = Supervised(start, tmp_path, "drain", "1", "--successor", "take_over")
    program = supervised.program
    program.send(signal.SIGUSR2)
    new = int(program.out.until("loading").split()[1])
    program.send(signal.SIGSTOP)
    os.waitid(os.P_PID, program.pid, os.WSTOPPED)
    os.kill(new, signal.SIGUSR2)
    program.out.until(f"ready {new}")
    with supervised.connect():  # what it finds when it goes on is this, behind the report of the new server
        program.send(signal.SIGCONT)
        assert program.err.until("upgraded") == f"INFO upgraded: process {new} serves, and this one ends"
    assert program.out.until("drained")
    assert program.status() == 0


def test_those_who_wait_for_the_end_are_told_of_it_and_those_for_a_reload_that_it_will_not_end(
    start: Start, tmp_path: Path
) -> None:
    supervised = Supervised(start, tmp_path, "load_slowly", "1")
    with supervised.connect() as reloading, supervised.connect() as first, supervised.connect() as second:
        reloading.sendall(b'{"command": "reload"}\n')
        supervised.program.out.until("loading")
        os.kill(supervised.serving, signal.SIGSTOP)  # so that it does not end before all have asked
        first.sendall(b'{"command": "stop"}\n')
        supervised.program.err.until("stopping$")
        second.sendall(b'{"command": "stop"}\n')
        assert supervised.ask("drain") == {"phase": "stopping"}
        os.kill(supervised.serving, signal.SIGCONT)
        stopped = {"stopped": supervised.program.pid}
        assert answer(first) == answer(second) == stopped
        assert answer(reloading) is None
    assert supervised.program.status() == 0
    assert not supervised.path.exists()
