"""Upgrades: a whole server gives way to another one, on the same sockets, or serves on where there is none."""

import os
import re
import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.commands import OperatedServer
from tests.contained import ContainedServer, contained
from tests.crowd import Crowd, CrowdedServer
from tests.programs import starting
from tests.server import ROOT, RunningServer
from tests.systemd import Notified, launcher
from tests.test_reload import LOADING, check, until, until_true, write
from tests.thread_server import LOOPS, Peer, get

HANGING = "import os\nos.write(1, b'loading\\n')\nopen('fifo').read()\n"
OPTIONS = ("app:application", "--workers", "2")

# It answers when somebody has written to the pipe.
WAITING = """\
import os

def application(environ, start_response):
    os.write(1, b"entered\\n")
    open("pipe").read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered"]
"""

# Only the first worker that loads it gets any further.
FOR_ONE = """\
import os, signal

try:
    os.mkdir("taken")
except FileExistsError:
    os.write(1, b"loading\\n")
    signal.pause()
"""


def answer(server: RunningServer) -> str:
    """Return which code has answered a request on a new connection."""
    with Peer(("127.0.0.1", server.port)) as peer:
        return peer.get("/").content.decode().split()[0]


def answers(server: RunningServer, code: str) -> None:
    """See that this code comes to answer, and no other does any more."""
    until_true(lambda: {answer(server) for _ in range(20)} == {code})


def begin(server: RunningServer, number: int = 1) -> int:
    """Begin an upgrade, the ``number``th one, and return the new process."""
    os.kill(server.pid, signal.SIGUSR2)
    return int(server.until(r"upgrading: process (\d+) starts", number)[1])


@pytest.mark.parametrize("loop", LOOPS)
async def test_an_upgrade_costs_nobody_a_request_nor_a_moment(loop: str, tmp_path: Path) -> None:
    write(tmp_path)
    with CrowdedServer(*OPTIONS, "--loop", loop, cwd=tmp_path) as server:
        async with Crowd(server.port).asking() as crowd:
            await crowd.more()
            write(tmp_path, "second", seconds=LOADING)
            begin(server)
            await until(server, "upgraded: process")
            server.follow()
            await crowd.more(500)
        check(crowd)
        answers(server, "second")


def test_an_upgrade_follows_the_one_before_and_the_last_server_removes_the_socket_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "socket"
    write(tmp_path, "0")
    with RunningServer(*OPTIONS, "--bind", "127.0.0.1:0", "--bind", f"unix:{path}", cwd=tmp_path) as server:
        file, pids = path.stat().st_ino, {server.pid}
        for number in range(1, 3):
            write(tmp_path, str(number))
            begin(server, number)
            pids.add(server.follow())
            answers(server, str(number))
            server.until(f"^listening on {server.url}$", number + 1)
            with Peer(str(path)) as peer:
                assert peer.get("/").status == 200
            assert path.stat().st_ino == file
        assert len(pids) == 3
    assert not path.exists()


def test_code_that_cannot_start_leaves_the_old_server_serving(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    write(tmp_path)
    with RunningServer(*OPTIONS, "--bind", "127.0.0.1:0", "--bind", f"unix:{path}", cwd=tmp_path) as server:
        (tmp_path / "app.py").write_text("import no_such_module_anywhere\n")
        new = begin(server)
        server.until(rf"process {new} exited with status 2; this one serves on$")
        server.until("No module named 'no_such_module_anywhere'")
        answers(server, "first")
        (tmp_path / "aiowsgi.toml").write_text("max_fields = 0\n")
        new = begin(server, 2)
        server.until("^aiowsgi: aiowsgi.toml: max_fields: expected")
        server.until(rf"process {new} exited with status 2; this one serves on$")
        answers(server, "first")
        (tmp_path / "aiowsgi.toml").write_text("max_fields = 10\n")
        write(tmp_path, "second")
        begin(server, 3)
        server.follow()
        answers(server, "second")
        assert path.is_socket()
    assert not path.exists()


def test_a_new_server_that_is_killed_while_it_loads_leaves_the_old_one_serving(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer(*OPTIONS, cwd=tmp_path) as server:
        (tmp_path / "app.py").write_text(HANGING)
        os.mkfifo(tmp_path / "fifo")
        new = begin(server)
        server.until("^loading$", 2)
        os.kill(server.pid, signal.SIGUSR2)
        server.until("no upgrade: one is going on already$")
        os.kill(new, signal.SIGKILL)
        server.until(rf"process {new} was ended by signal 9 \(Killed\); this one serves on$")
        answers(server, "first")
    # Behind the block no process is left, nor are the workers of the new server, which were loading.


def test_the_end_of_the_old_server_is_that_of_the_new_one_while_that_is_not_ready(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer(*OPTIONS, "--drain-delay", "0.1", cwd=tmp_path) as server:
        (tmp_path / "app.py").write_text(HANGING)
        os.mkfifo(tmp_path / "fifo")
        begin(server)
        server.until("^loading$", 2)
        assert server.stop() == 0  # and no process is left
        assert "serves on" not in server.log()


def test_a_sigterm_to_all_processes_cuts_nobody_whom_a_new_server_serves_already(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path)
    settings = tmp_path / "aiowsgi.toml"
    settings.write_text("bind = ['127.0.0.1:0']\n")
    with RunningServer(*OPTIONS, "--drain-delay", "3600", cwd=tmp_path, bind=False) as server:
        (tmp_path / "app.py").write_text(FOR_ONE + WAITING)
        settings.write_text(f"bind = ['127.0.0.1:0', 'unix:{tmp_path}/new']\n")
        new = begin(server)
        server.until("^loading$")
        with Peer(str(tmp_path / "new")) as peer:
            peer.send(get("/"))
            server.until("^entered$")
            os.kill(new, signal.SIGTERM)
            server.until("stopping$")  # without a delay: the old one serves on
            os.kill(server.pid, signal.SIGTERM)
            server.until("stopping in 3600 s$")  # it has asked the new one by then
            os.kill(new, signal.SIGTTIN)
            server.until("the number of workers stays")  # which has heard both by then
            (tmp_path / "pipe").write_text("go on")
            assert peer.answer().status == 200


@pytest.mark.parametrize("times", [1, 2])
def test_a_sigterm_for_a_server_that_gives_way_cuts_nobody_and_a_second_one_does(
    times: int, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "app.py").write_text(WAITING)
    with RunningServer(*OPTIONS, cwd=tmp_path) as server, Peer(("127.0.0.1", server.port)) as peer:
        peer.send(get("/"))
        server.until("^entered$")
        old = server.pid
        begin(server)
        server.follow()
        for _ in range(times):
            os.kill(old, signal.SIGTERM)
            server.until("stopping$")
        if times == 1:
            (tmp_path / "pipe").write_text("go on")
            assert peer.answer().status == 200
        else:
            with pytest.raises(ConnectionError):
                peer.answer()


def test_a_server_that_is_to_drain_does_so_and_gives_up_its_upgrade(tmp_path: Path) -> None:
    write(tmp_path)
    with (
        Notified(tmp_path / "notify") as notified,
        OperatedServer(
            *("app:application", "--health-path", "/health"),
            cwd=tmp_path,
            NOTIFY_SOCKET=notified.address,
        ) as server,
    ):
        (tmp_path / "app.py").write_text(HANGING)
        os.mkfifo(tmp_path / "fifo")
        begin(server)
        server.until("^loading$")
        server.answer("drain")
        notified.until("STATUS=draining, workers: 1")
        notified.until("READY=1")  # the upgrade has ended
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/health").status == 503
            assert peer.get("/").content.startswith(b"first")
        assert server.told("stop").status == 0
        notified.until("STATUS=stopping, workers: 1")
        assert "upgraded" not in server.log()


def test_a_log_file_that_is_moved_during_an_upgrade_is_opened_anew_by_the_new_server_too(
    tmp_path: Path,
) -> None:
    log, moved = tmp_path / "access", tmp_path / "moved"
    write(tmp_path)
    with RunningServer("app:application", "--access-log", str(log), cwd=tmp_path) as server:
        os.mkfifo(tmp_path / "fifo")
        write(tmp_path, "second")
        (tmp_path / "app.py").write_text(HANGING + (tmp_path / "app.py").read_text())
        begin(server)
        server.until("^loading$")  # the new server has opened the file before
        log.rename(moved)
        os.kill(server.pid, signal.SIGUSR1)
        server.until("the log file is open anew$")
        (tmp_path / "fifo").write_text("go on")
        server.follow()
        server.until("the log file is open anew$", 2)
        before = moved.read_text()
        answers(server, "second")
        server.stop()
    assert moved.read_text() == before
    assert len(log.read_text().splitlines()) >= 20


def test_a_new_server_takes_over_from_an_old_one_that_is_killed_meanwhile(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer("app:application", cwd=tmp_path) as server:
        os.mkfifo(tmp_path / "fifo")
        write(tmp_path, "second")
        (tmp_path / "app.py").write_text(HANGING + (tmp_path / "app.py").read_text())
        new = begin(server)
        server.until("^loading$")
        os.kill(server.pid, signal.SIGKILL)
        server.adopt(new, -signal.SIGKILL)
        (tmp_path / "fifo").write_text("go on")
        server.until("^listening on", 2)
        answers(server, "second")


def test_the_addresses_are_those_of_the_new_settings(tmp_path: Path) -> None:
    write(tmp_path)
    kept, left, added = (tmp_path / name for name in ("kept", "left", "added"))
    settings = tmp_path / "aiowsgi.toml"
    settings.write_text(f"bind = ['127.0.0.1:0', 'unix:{kept}', 'unix:{left}']\n")
    with RunningServer(*OPTIONS, cwd=tmp_path, bind=False) as server:
        port = server.port
        settings.write_text(f"bind = ['unix:{kept}', 'unix:{added}', '127.0.0.1:0']\n")
        begin(server)
        server.follow()
        assert server.port == port
        answers(server, "first")
        for path in (kept, added):
            with Peer(str(path)) as peer:
                assert peer.get("/").status == 200
        assert not left.exists()
    assert not kept.exists()
    assert not added.exists()


def test_what_is_in_flight_is_answered_by_the_old_server_and_the_health_path_says_nothing(
    tmp_path: Path,
) -> None:
    write(tmp_path, slow=1)
    with (
        RunningServer(*OPTIONS, "--health-path", "/health", "--threads", "10", cwd=tmp_path) as server,
        ExitStack() as stack,
    ):
        address = ("127.0.0.1", server.port)
        peers = [stack.enter_context(Peer(address)) for _ in range(10)]
        for peer in peers:
            peer.send(get("/slow"))
        idle = stack.enter_context(Peer(address))
        assert idle.get("/health").status == 200
        server.until("entered", 10)
        begin(server)
        server.follow()
        while "connection" not in (response := idle.get("/health")).fields:  # its worker does not drain yet
            assert response.status == 200
        assert (response.status, response.fields["connection"]) == (200, "close")
        assert [peer.answer().status for peer in peers] == [200] * 10


def test_systemd_follows_an_upgrade_and_its_sockets_are_handed_on(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "socket"
    with Notified(tmp_path / "notify") as notified, socket.socket(socket.AF_UNIX) as given:
        given.bind(str(path))
        given.listen()
        with RunningServer(
            *OPTIONS,
            cwd=tmp_path,
            launcher=launcher([given]),
            descriptors=[given.fileno()],
            NOTIFY_SOCKET=notified.address,
            WATCHDOG_USEC="200000",
        ) as server:
            notified.until("STATUS=serving, workers: 2")
            for number in (1, 2):
                old = server.pid
                begin(server, number)
                assert notified.until(r"RELOADING=1\nMONOTONIC_USEC=\d+")[1] == old
                new = server.follow()
                # The old one is believed because it is the service, and the new one because that was said of it.
                assert notified.until(rf"MAINPID={new}\nREADY=1")[1] == old
                assert notified.until("READY=1")[1] == new
                assert notified.until("STATUS=serving, workers: 2")[1] == new
                assert notified.until("WATCHDOG=1")[1] == new
            (tmp_path / "app.py").write_text("import no_such_module_anywhere\n")
            begin(server, 3)
            notified.until(r"RELOADING=1\nMONOTONIC_USEC=\d+")
            notified.until("READY=1")
            notified.until("STATUS=serving on, for the upgrade has failed, workers: 2")
            with Peer(str(path)) as peer:
                assert peer.get("/").status == 200
        notified.until(r"STOPPING=1\nEXTEND_TIMEOUT_USEC=\d+")
        assert path.is_socket()


def test_a_supervisor_of_which_no_process_can_be_had_serves_on() -> None:
    with starting() as start:
        program = start("-m", "tests.supervised", "drain", "1")
        program.out.until("started")
        program.send(signal.SIGUSR2)
        line = program.err.until("the new server")
        assert line == "ERROR the new server cannot be started: Too many open files; this one serves on"
        program.out.until("^upgraded 0$")
        program.send(signal.SIGTERM)
        assert program.out.rest()[-1].startswith("drained")
        assert program.status() == 0


@pytest.mark.parametrize("more", [(), (signal.SIGTERM,)], ids=["in time", "at once when asked twice"])
def test_a_new_server_that_does_not_stop_is_killed(more: tuple[signal.Signals, ...]) -> None:
    with starting() as start:
        options = (
            "--graceful",
            "3600" if more else "0.1",
            "--successor",
            "load_through_sigterm",
            "--tokens",
            "0",
        )
        program = start("-m", "tests.supervised", "drain", "1", *options)
        program.out.until("started")
        program.send(signal.SIGUSR2)
        program.out.until("loading")
        program.send(signal.SIGUSR2)
        program.err.until("WARNING no upgrade: one is going on already$")
        program.send(signal.SIGTERM)
        if more:
            program.out.until("drained")
            program.send(signal.SIGUSR2)
            program.err.until("WARNING no upgrade: one is going on already$")
        for number in more:
            program.send(number)
        if not more:
            program.err.until(r"WARNING process \d+ has not stopped in time and is killed$")
        assert [line for line in program.out.rest() if not line.startswith("drained")] == ["upgraded 0"]
        assert program.status() == 0


def test_a_supervisor_gives_way_and_leaves_nothing_behind_but_the_new_server(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with starting() as start:
        options = ("--bind", f"unix:{path}", "--successor", "orphan")
        program = start("-m", "tests.supervised", "drain", "2", *options)
        program.out.until("started")
        program.send(signal.SIGUSR2)
        new = int(program.out.until("upgraded").split()[1])
        assert program.status() == 0
        assert path.is_socket()
        left = sorted(re.sub(r" \d+$", "", line) for line in program.out.rest())
        assert left == ["a child is left", "drained", "drained", "orphaned"]
        assert program.err.until("upgraded") == f"INFO upgraded: process {new} serves, and this one ends"


PROGRAM = """
import aiowsgi, sys
import aiowsgi.process.upgrade
aiowsgi.process.upgrade.PATIENCE = float(sys.argv[1])

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [open("code").read().encode()]

if open("code").read() == "slow":
    print("hanging", flush=True)
    open("fifo").read()
sys.exit(aiowsgi.serve(application, bind=["127.0.0.1:0"]))
"""


def test_a_program_is_upgraded_and_one_that_is_not_ready_in_time_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    os.mkfifo(tmp_path / "fifo")
    program_file = tmp_path / "program.py"
    program_file.write_text(
        PROGRAM.replace('"fifo"', f'"{tmp_path}/fifo"').replace('"code"', f'"{tmp_path}/code"')
    )
    (tmp_path / "code").write_text("first")
    with starting() as start:
        program = start(str(program_file), "0.1")
        port = int(program.err.until("listening on").rpartition(":")[2])
        (tmp_path / "code").write_text("slow")
        program.send(signal.SIGUSR2)
        program.err.until(r"process \d+ is not ready after 0\.1 s and is stopped; this one serves on$")
        (tmp_path / "code").write_text("second")
        with Peer(("127.0.0.1", port)) as peer:
            assert peer.get("/").content == b"second"
        program.send(signal.SIGTERM)
        assert program.status() == 0


@contained
def test_the_first_process_of_a_container_serves_on_and_says_why(tmp_path: Path) -> None:
    write(tmp_path)
    with ContainedServer(*OPTIONS, cwd=tmp_path) as server:
        os.kill(server.pid, signal.SIGUSR2)
        server.until("no upgrade: the first process of a container is its life; start another container$")
        answers(server, "first")


def test_what_is_preloaded_is_upgraded(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer(*OPTIONS, "--preload", cwd=tmp_path) as server:
        for number, code in enumerate(["second", "third"], 1):
            write(tmp_path, code)
            begin(server, number)
            server.follow()
            answers(server, code)


def test_a_server_whose_command_or_folder_is_gone_serves_on(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder)
    with RunningServer(*OPTIONS, cwd=folder) as server:
        folder.rename(tmp_path / "other")
        new = begin(server)
        server.until(rf"process {new} exited with status 2; this one serves on$")
        server.until(rf"^{re.escape(str(folder))}: No such file or directory$")
        answers(server, "first")


def test_a_link_to_the_release_is_followed_anew(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, name)
    link = tmp_path / "current"
    link.symlink_to("first")
    with RunningServer(*OPTIONS, cwd=link, PWD=str(link)) as server:
        answers(server, "first")
        link.unlink()
        link.symlink_to("second")
        begin(server)
        server.follow()
        answers(server, "second")
