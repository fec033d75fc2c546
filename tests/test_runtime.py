"""Where a server leaves its control socket and its PID file, and what is in their place already."""

import os
import signal
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from aiowsgi.process.runtime import PidFile, control_path, open_control
from aiowsgi.server.listeners import close_listeners
from tests.commands import OperatedServer, aiowsgi
from tests.contained import ContainedServer, contained
from tests.programs import starting
from tests.server import RunningServer
from tests.users import another_user


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "html").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("127.0.0.1:8000", "/run/user/7/aiowsgi-8000.sock"),
        (":80", "/run/user/7/aiowsgi-80.sock"),
        ("tls:0.0.0.0:8443", "/run/user/7/aiowsgi-8443.sock"),
        ("http://[::]:80", "/run/user/7/aiowsgi-80.sock"),
        ("localhost:80", "/run/user/7/aiowsgi-80.sock"),
        ("127.0.0.2:8000", "/run/user/7/aiowsgi-127.0.0.2-8000.sock"),
        ("example.org:80", "/run/user/7/aiowsgi-example.org-80.sock"),
        ("tls:[::1]:8443", "/run/user/7/aiowsgi-::1-8443.sock"),
        ("https://[::1]:8443", "/run/user/7/aiowsgi-::1-8443.sock"),
        ("http://127.0.0.1:8000", "/run/user/7/aiowsgi-8000.sock"),
        ("unix:/srv/site.sock", "/srv/site.sock.control"),
        ("tls:unix:/srv/site.sock", "/srv/site.sock.control"),
        ("unix:@site/one", "/run/user/7/aiowsgi-@site-one.sock"),
    ],
)
def test_the_first_address_names_the_control_socket(
    address: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert control_path(None, address) == path
    assert control_path("/a/control", address) == "/a/control"
    assert control_path("none", address) is None


def test_without_a_runtime_folder_it_is_run_for_root_and_a_temporary_one_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/a")
    user = os.geteuid()
    folder = "/run" if user == 0 else f"/a/aiowsgi-{user}"
    assert control_path(None, ":80") == f"{folder}/aiowsgi-80.sock"


def test_whoever_is_not_root_has_a_folder_that_nobody_else_may_enter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with TemporaryDirectory() as temporary:
        os.chmod(temporary, 0o1777)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setenv("TMPDIR", temporary)
        with another_user():
            folder = Path(temporary, f"aiowsgi-{os.geteuid()}")
            listeners = [open_control(None, ":80", [])]
            assert stat.S_IMODE(folder.lstat().st_mode) == 0o700
            assert (folder / "aiowsgi-80.sock").is_socket()
            close_listeners(filter(None, listeners))
            assert list(folder.iterdir()) == []
            folder.chmod(0o777)
            assert open_control(None, ":80", []) is None
            folder.rmdir()
            folder.symlink_to("/")
            assert open_control(None, ":80", []) is None
    refused = f"no control socket: folder {folder} is not this user's alone"
    assert [record.getMessage() for record in caplog.records] == [refused] * 2


def test_a_command_finds_the_server_by_what_the_server_was_told(project: Path, tmp_path: Path) -> None:
    variables = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with RunningServer(cwd=project, XDG_RUNTIME_DIR=str(tmp_path)) as server:
        path = tmp_path / f"aiowsgi-{server.port}.sock"
        server.until(f"^control socket {path}$")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        bind = f"127.0.0.1:{server.port}"
        assert aiowsgi("status", cwd=project, AIOWSGI_BIND=bind, **variables).status == 0
        (project / "aiowsgi.toml").write_text(f'bind = "{bind}"\n')
        assert aiowsgi("status", cwd=project, **variables).status == 0
        elsewhere = aiowsgi("status", cwd=project, AIOWSGI_BIND="127.0.0.1:1", **variables)
        assert (elsewhere.status, elsewhere.line) == (
            2,
            f"aiowsgi: no server has the control socket {tmp_path}/aiowsgi-1.sock;"
            f" --control names another, and there are {path.name}",
        )
        (project / "aiowsgi.toml").write_text("control = 1\n")
        mistake = aiowsgi("status", cwd=project, **variables)
        assert (mistake.status, mistake.line) == (
            2,
            'aiowsgi: aiowsgi.toml: control: expected the path of a socket to be, or "none", got 1',
        )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.1 is the only one of its network")
def test_servers_with_one_port_at_two_addresses_have_a_control_socket_each(
    project: Path, tmp_path: Path
) -> None:
    variables = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with RunningServer(cwd=project, XDG_RUNTIME_DIR=str(tmp_path)) as first:
        binds = [f"127.0.0.{number}:{first.port}" for number in (1, 2)]
        with RunningServer("--bind", binds[1], cwd=project, XDG_RUNTIME_DIR=str(tmp_path)) as second:
            for bind, server in zip(binds, (first, second), strict=True):
                told = aiowsgi("status", "--json", cwd=project, AIOWSGI_BIND=bind, **variables)
                assert told.answer["pid"] == server.pid


def test_a_name_is_that_of_the_control_socket_whatever_it_stands_for(project: Path, tmp_path: Path) -> None:
    variables = {"XDG_RUNTIME_DIR": str(tmp_path)}
    with RunningServer("--bind", "127.1:0", cwd=project, XDG_RUNTIME_DIR=str(tmp_path)) as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        told = aiowsgi("status", cwd=project, AIOWSGI_BIND=f"127.1:{server.port}", **variables)
        assert told.status == 0


def test_beside_a_unix_socket_it_has_that_ones_name(project: Path) -> None:
    with RunningServer("--bind", "unix:site.sock", cwd=project):
        assert aiowsgi("status", cwd=project, AIOWSGI_BIND="unix:site.sock").status == 0
    assert list(project.glob("site*")) == []


def test_there_need_not_be_any(project: Path) -> None:
    with RunningServer("--control", "none", cwd=project) as server:
        assert "control socket" not in server.log()
        told = aiowsgi("status", "--control", "none")
        assert (told.status, told.line) == (2, "aiowsgi: the settings say that there is no control socket")


def test_one_that_a_killed_server_has_left_is_taken_over(project: Path) -> None:
    path = project / "control"
    with starting() as start:
        options = ("--bind", "127.0.0.1:0", "--html", str(project / "html"), "--control", str(path))
        killed = start("-m", "aiowsgi", "serve", *options)
        killed.err.until("^listening on")
        killed.send(signal.SIGKILL)
        killed.status()
        assert path.exists()
        told = aiowsgi("status", "--control", str(path))
        assert (told.status, told.line) == (2, f"aiowsgi: no server has the control socket {path}")
        with OperatedServer(cwd=project) as server:
            assert server.answer("status")["pid"] == server.pid
    assert not path.exists()


def test_one_that_somebody_listens_on_is_refused_and_they_are_not_disturbed(project: Path) -> None:
    with OperatedServer(cwd=project) as server:
        second = aiowsgi("serve", "--bind", "127.0.0.1:0", "--control", "control", cwd=project)
        assert (second.status, second.line) == (
            2,
            f"aiowsgi: control socket unix:{server.control} is taken by another process",
        )
        assert server.answer("status")["pid"] == server.pid


def test_by_default_a_server_goes_without_where_it_cannot_have_one(project: Path) -> None:
    missing = project / "missing"
    with RunningServer(cwd=project, XDG_RUNTIME_DIR=str(missing)) as server:
        path = missing / f"aiowsgi-{server.port}.sock"
        server.until(f"no control socket: unix:{path} is in a folder that does not exist$")


@contained
def test_on_a_read_only_file_system_it_serves_without_one(project: Path) -> None:
    with ContainedServer(cwd=project, read_only=True) as server:
        server.until(r"no control socket: unix:\S+ is on a read-only file system$")


REFUSED = {
    "a folder that is not there": ("missing/control", "is in a folder that does not exist"),
    "a file": ("file", "is a file and not a socket"),
    "a folder where nobody may write": ("/proc/control", "is in a folder that does not exist"),
    "a name that is too long": ("a" * 200, "cannot be listened on: AF_UNIX path too long"),
}


@pytest.mark.parametrize(("path", "reason"), REFUSED.values(), ids=REFUSED)
def test_one_that_was_asked_for_and_cannot_be_had_is_one_line(project: Path, path: str, reason: str) -> None:
    (project / "file").write_text("mine")
    ended = aiowsgi("serve", "--bind", "127.0.0.1:0", "--control", path, cwd=project)
    assert (ended.status, ended.line) == (2, f"aiowsgi: control socket unix:{project / path} {reason}")
    assert (project / "file").read_text() == "mine"


def test_a_pid_file_is_there_while_the_server_is(project: Path) -> None:
    path = project / "pid"
    with RunningServer("--pid-file", "pid", cwd=project) as server:
        assert path.read_text() == f"{server.pid}\n"
    assert not path.exists()


def test_a_pid_file_is_written_through_no_link(project: Path) -> None:
    prey, path = project / "prey", project / "pid"
    prey.write_text("mine")
    # Its own number is known to whoever has started it, and easily guessed by others.
    launcher = ["sh", "-c", 'ln -s prey "pid.$$" && exec "$@"', "sh"]
    with RunningServer("--pid-file", "pid", cwd=project, launcher=launcher) as server:
        assert path.read_text() == f"{server.pid}\n"
        assert not path.is_symlink()
    assert prey.read_text() == "mine"
    assert sorted(each.name for each in project.iterdir()) == ["html", "prey"]


def test_the_umask_is_that_of_the_pid_file_too(project: Path) -> None:
    (project / "app.py").write_text("def application(environ, start_response): ...\n")
    with RunningServer("app", "--umask", "027", "--pid-file", "pid", cwd=project) as server:
        assert stat.S_IMODE((project / "pid").stat().st_mode) == 0o640
        os.kill(server.pid, signal.SIGUSR2)
        server.follow()
        assert stat.S_IMODE((project / "pid").stat().st_mode) == 0o640


def test_a_new_server_that_is_killed_while_it_loads_leaves_no_file(project: Path) -> None:
    (project / "app.py").write_text("def application(environ, start_response): ...\n")
    os.mkfifo(project / "pipe")
    with OperatedServer("app", "--pid-file", "pid", "--bind", "unix:socket", cwd=project) as server:
        there = {each.name for each in project.iterdir()}
        (project / "app.py").write_text("print('loading', flush=True)\nopen('pipe').read()\n")
        os.kill(server.pid, signal.SIGUSR2)
        new = int(server.until(r"upgrading: process (\d+) starts")[1])
        server.until("^loading$")
        os.kill(new, signal.SIGKILL)
        server.until(rf"process {new} was ended by signal 9")
        assert {each.name for each in project.iterdir()} == there
        os.close(
            os.open(project / "pipe", os.O_RDWR)
        )  # a worker of it that is left goes on, and sees that it is alone


@pytest.mark.parametrize("left", ["", "2147483646\n"], ids=["nothing", "a dead process"])
def test_a_pid_file_that_was_left_is_replaced(project: Path, left: str) -> None:
    path = project / "pid"
    path.write_text(left)
    with RunningServer("--pid-file", "pid", cwd=project) as server:
        assert path.read_text() == f"{server.pid}\n"
    assert not path.exists()


def test_a_pid_file_of_another_server_stays(project: Path) -> None:
    path = project / "pid"
    with RunningServer("--pid-file", "pid", cwd=project):
        path.write_text("1\n")
    assert path.read_text() == "1\n"


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (f"{os.getpid()}\n", f"is that of process {os.getpid()}, which is running"),
        ("my diary\n", "cannot be written: it holds something else than a process id"),
        ("-1\n", "cannot be written: it holds something else than a process id"),
    ],
    ids=["a living process", "no number", "a group"],
)
def test_a_pid_file_that_is_not_a_dead_servers_is_refused(project: Path, held: str, reason: str) -> None:
    path = project / "pid"
    path.write_text(held)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # The port is taken, which is not found out any more.
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = aiowsgi("serve", "--bind", bind, "--pid-file", "pid", cwd=project)
    assert (ended.status, ended.line) == (2, f"aiowsgi: PID file {path} {reason}")
    assert path.read_text() == held


def make_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # a /dev/null of its own
    except PermissionError:
        pytest.skip("only root makes devices, and not in every container")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, make_device], ids=["folder", "FIFO", "device"])
def test_a_pid_file_takes_the_place_of_no_device(project: Path, make: Callable[[Path], None]) -> None:
    path = project / "pid"
    make(path)
    before = path.lstat()
    ended = aiowsgi("serve", "--bind", "127.0.0.1:0", "--pid-file", "pid", cwd=project)
    assert (ended.status, ended.line) == (
        2,
        f"aiowsgi: PID file {path} cannot be written: it is no regular file",
    )
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_nor_does_it_if_that_has_come_later(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = project / "pid"
    file = PidFile(str(path))
    os.mkfifo(path)
    file.claim()
    file.close()
    assert path.is_fifo()
    assert [record.getMessage() for record in caplog.records] == [
        f"PID file {path} cannot be written: it is no regular file"
    ]
    assert [each.name for each in project.iterdir() if each.name != "html"] == ["pid"]


def test_a_pid_file_that_cannot_be_written_is_one_line(project: Path) -> None:
    path = project / "missing" / "pid"
    ended = aiowsgi("serve", "--bind", "127.0.0.1:0", "--pid-file", str(path), cwd=project)
    assert (ended.status, ended.line) == (
        2,
        f"aiowsgi: PID file {path} cannot be written: No such file or directory",
    )


def test_a_server_that_cannot_start_leaves_no_pid_file(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        assert aiowsgi("serve", "--bind", bind, "--pid-file", "pid", cwd=project).status == 2
    assert not (project / "pid").exists()
