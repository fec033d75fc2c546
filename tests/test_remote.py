"""The commands' end of the control socket, with something else than a server at the other one."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import pytest

from aiowsgi.process.remote import RemoteError, ask, await_end
from tests.commands import aiowsgi
from tests.users import NOBODY, another_user

STRANGER = 54321  # somebody whom nobody knows


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen()
        yield listener


def answer(listener: socket.socket, data: bytes) -> Thread:
    """Accept one client, read its command and send ``data``."""

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            assert client.recv(4096) == b'{"command": "status"}\n'
            client.sendall(data)

    thread = Thread(target=serve)
    thread.start()
    return thread


def refusal(path: Path | str, patience: float | None = None) -> str:
    with pytest.raises(RemoteError) as refused:
        ask(str(path), {"command": "status"}, patience)
    return str(refused.value)


def test_an_answer_is_an_object(listener: socket.socket) -> None:
    thread = answer(listener, b'{"pid": 7}\n')
    assert ask(listener.getsockname(), {"command": "status"}) == {"pid": 7}
    thread.join()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "has ended meanwhile"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak as this one"),
        (b"[7]\n", "does not speak as this one"),
        (b'{"pid": 7', "does not speak as this one"),
        (b"[" * 100_000 + b"\n", "does not speak as this one"),
        (b"\xff\n", "does not speak as this one"),
    ],
    ids=["nothing", "HTTP", "no object", "half of it", "deep", "no text"],
)
def test_what_is_no_answer_is_told_in_one_line(listener: socket.socket, data: bytes, said: str) -> None:
    thread = answer(listener, data)
    path = listener.getsockname()
    assert refusal(path) == f"the server with the control socket {path} {said}"
    thread.join()


def test_one_that_is_silent_is_not_waited_for_without_end(listener: socket.socket) -> None:
    path = listener.getsockname()
    assert refusal(path, 0.1) == f"the server with the control socket {path} does not answer"


def test_where_no_server_is_there_may_be_others(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for missing in ("control", "missing/control", "file/control", "file"):
        path = tmp_path / missing
        assert refusal(path) == f"no server has the control socket {path}"
    for number in range(10):
        (tmp_path / f"aiowsgi-800{number}.sock").touch()
    names = ", ".join(f"aiowsgi-800{number}.sock" for number in range(8))
    path = tmp_path / "control"
    assert refusal(path).endswith(f"{path}; --control names another, and there are {names}")


def test_a_path_that_is_too_long_is_told() -> None:
    path = "/" + "a" * 200
    assert refusal(path) == f"the control socket {path} cannot be used: AF_UNIX path too long"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_the_socket_of_another_user_is_told(listener: socket.socket, tmp_path: Path) -> None:
    path = listener.getsockname()
    os.chmod(path, 0o600)
    os.seteuid(65534)
    try:
        assert refusal(path) == f"the control socket {path} is another user's"
    finally:
        os.seteuid(0)


@pytest.mark.skipif(
    os.geteuid() != 0 or sys.platform != "linux", reason="only Linux tells, and only to root's tests"
)
def test_nobody_is_answered_by_a_stranger_but_root() -> None:
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        os.chmod(folder, 0o777)
        path = f"{folder}/control"
        with another_user():
            listener.bind(path)
            os.chmod(path, 0o777)
            listener.listen()
        with another_user(STRANGER):
            assert refusal(path, 1.0) == f"the control socket {path} is another user's"
        listener.accept()[0].close()
        for asker in (0, NOBODY):
            thread = answer(listener, b'{"pid": 7}\n')
            with another_user(asker):
                assert ask(path, {"command": "status"}) == {"pid": 7}
            thread.join()
    with TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        os.chmod(folder, 0o755)
        path = f"{folder}/control"
        listener.bind(path)
        os.chmod(path, 0o777)
        listener.listen()
        thread = answer(listener, b'{"pid": 7}\n')
        with another_user():
            assert ask(path, {"command": "status"}) == {"pid": 7}
        thread.join()


@pytest.mark.parametrize("json", [(), ("--json",)], ids=["for people", "JSON"])
def test_no_answer_commands_a_terminal(listener: socket.socket, json: tuple[str, ...]) -> None:
    said = '{"error": "\\u001b]0;title\\u0007 \\u202e\\r\\nan \\u00e4nd"}\n'
    thread = answer(listener, said.encode())
    told = aiowsgi("status", "--control", listener.getsockname(), *json)
    thread.join()
    assert told.status == 1
    if json:
        assert told.out == said
    else:
        assert told.err == "aiowsgi: \\x1b]0;title\\x07 \\u202e\\r\nan änd\n"


def test_the_end_of_a_process_is_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        await_end(process.pid)
        if hasattr(os, "pidfd_open"):
            assert os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    await_end(process.pid)  # there is none any more
