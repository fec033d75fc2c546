"""Dropping rights: real processes, and what the system says of them."""

import functools
import operator
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory

import pytest

from aiowsgi import make_server
from aiowsgi.config import ConfigError
from tests.server import PATIENCE, ROOT, RunningServer
from tests.thread_server import Peer
from tests.wire_client import echo

grp = pytest.importorskip("grp", reason="this system has no users")
pwd = pytest.importorskip("pwd", reason="this system has no users")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change to another user")
UNABLE_TO_KILL = ("setpriv", "--bounding-set=-kill", "--inh-caps=-kill")
with_setpriv = pytest.mark.skipif(
    which("setpriv") is None
    or subprocess.run([*UNABLE_TO_KILL, "true"], capture_output=True).returncode != 0,
    reason="needs a process that is started with certain capabilities",
)
NOBODY = pwd.getpwnam("nobody")
# Somebody whom nobody knows.
STRANGER = 54321

# What a process may do was settled before the module is imported: it says so then.
APPLICATION = """\
import os

AT_IMPORT = f"{os.getresuid()} {os.getresgid()} {sorted(os.getgroups())}"

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    with open("made-by-the-application", "w"):
        pass
    return [f"{os.getpid()}\\n{AT_IMPORT}\\n{os.environ['HOME']}".encode()]
"""


@pytest.fixture
def project() -> Iterator[Path]:
    """A folder that everybody may read and write; those of pytest are its own user's alone."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "app.py").write_text(APPLICATION)
        yield folder


def capabilities(process: Path) -> int:
    """Return those that a process, or a thread, has by now or can get."""
    found = re.findall(r"^Cap(?:Inh|Prm|Eff|Amb):\s*(\w+)$", (process / "status").read_text(), re.MULTILINE)
    assert len(found) == 4
    return int(functools.reduce(operator.or_, (int(one, 16) for one in found)))


def ids(pid: int) -> tuple[set[int], set[int], set[int], int, int]:
    """Return the user ids, group ids, supplementary groups, capabilities and umask of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    users, groups, others = ({int(number) for number in status[name]} for name in ("Uid", "Gid", "Groups"))
    return users, groups, others, capabilities(Path(f"/proc/{pid}")), int(status["Umask"][0], 8)


def ask(address: tuple[str, int] | str) -> list[str]:
    """Return what the application says: its process, what that might do at the import, and where its home is."""
    with Peer(address) as peer:
        return peer.get("/").content.decode().splitlines()


@as_root
@pytest.mark.parametrize("option", ["--preload", "--no-preload"])
def test_workers_have_the_rights_of_the_user_alone_before_the_application_is_imported(
    option: str, project: Path
) -> None:
    with RunningServer("app", option, "--user", "nobody", "--workers", "2", cwd=project) as server:
        worker, at_import, home = ask(("127.0.0.1", server.port))
        uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
        groups = set(os.getgrouplist("nobody", gid))
        assert ids(int(worker))[:4] == ({uid}, {gid}, groups, 0)
        assert at_import == f"{(uid,) * 3} {(gid,) * 3} {sorted(groups)}"
        assert home == NOBODY.pw_dir
        assert (project / "made-by-the-application").stat().st_uid == uid
        assert ids(server.pid)[0] == {0}  # which has to remove a socket's file, say
        server.stop()
        assert "as root" not in server.log()


@as_root
def test_a_worker_that_takes_the_place_of_another_has_no_more_rights(project: Path) -> None:
    with RunningServer("app", "--user", "nobody", cwd=project) as server:
        os.kill(int(ask(("127.0.0.1", server.port))[0]), signal.SIGKILL)
        server.until("is ready")
        assert ids(int(ask(("127.0.0.1", server.port))[0]))[0] == {NOBODY.pw_uid}


@as_root
@with_setpriv
@pytest.mark.parametrize("user", ["nobody", str(STRANGER)], ids=["another user", "the same user"])
@pytest.mark.parametrize("option", ["--preload", "--no-preload"])
def test_no_capability_is_left_of_those_that_another_user_was_given(
    option: str, user: str, project: Path
) -> None:
    given = "+setuid,+setgid,+kill,+dac_read_search,+dac_override"
    launcher = ["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    launcher += [f"--inh-caps={given}", f"--ambient-caps={given}"]
    arguments = ("app", option, "--user", user, "--group", str(STRANGER + 1))
    with RunningServer(*arguments, cwd=project, launcher=launcher) as server:
        worker = ask(("127.0.0.1", server.port))[0]
        threads = list(Path(f"/proc/{worker}/task").iterdir())
        assert len(threads) > 1
        assert {capabilities(thread) for thread in threads} == {0}
        assert capabilities(Path(f"/proc/{server.pid}")) != 0
        users, groups = ids(int(worker))[:2]
        assert users == {NOBODY.pw_uid if user == "nobody" else STRANGER}
        assert groups == {STRANGER + 1}


@as_root
def test_numbers_need_no_entry_in_the_systems_table(project: Path) -> None:
    arguments = ("app", "--user", str(STRANGER), "--group", str(STRANGER + 1))
    with RunningServer(*arguments, cwd=project) as server:
        worker = int(ask(("127.0.0.1", server.port))[0])
        assert ids(worker)[:4] == ({STRANGER}, {STRANGER + 1}, {STRANGER + 1}, 0)


@as_root
def test_a_group_alone_leaves_the_user_and_no_other_group(project: Path) -> None:
    with RunningServer("app", "--group", str(STRANGER), cwd=project) as server:
        worker = int(ask(("127.0.0.1", server.port))[0])
        assert ids(worker)[:3] == ({0}, {STRANGER}, {STRANGER})
        server.until("WARNING aiowsgi.serving: the workers run as root")


@as_root
def test_a_socket_file_is_the_users_under_the_umask_and_is_removed_by_the_supervisor(project: Path) -> None:
    folder = project / "run"
    folder.mkdir(0o755)  # where the user may make and remove nothing
    path = folder / "site.sock"
    arguments = ("--bind", f"unix:{path}", "--user", "nobody", "--group", str(STRANGER), "--umask", "007")
    with RunningServer("app", *arguments, cwd=project):
        found = path.stat()
        assert (found.st_uid, found.st_gid) == (NOBODY.pw_uid, STRANGER)
        assert stat.S_IMODE(found.st_mode) == 0o770
        assert ids(int(ask(str(path))[0]))[4] == 0o007
        assert stat.S_IMODE((project / "made-by-the-application").stat().st_mode) == 0o660
    assert not path.exists()


@as_root
def test_a_log_is_opened_before_rights_are_dropped_and_a_new_one_is_the_users(project: Path) -> None:
    folder = project / "log"
    folder.mkdir(0o700)
    new, old = folder / "new", folder / "old"
    old.write_text("before\n")
    old.chmod(0o600)
    for log in (new, old):
        with RunningServer("app", "--user", "nobody", "--access-log", str(log), cwd=project) as server:
            ask(("127.0.0.1", server.port))
        assert log.read_text().splitlines()[-1].startswith("127.0.0.1 ")
    assert (new.stat().st_uid, new.stat().st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert old.stat().st_uid == 0


@as_root
def test_no_new_log_is_made_through_a_link_and_given_away(project: Path) -> None:
    prey = project / "prey"
    prey.write_text("")
    (project / "log").symlink_to(prey)
    with RunningServer("app", "--user", "nobody", "--access-log", "log", cwd=project):
        pass
    assert prey.stat().st_uid == 0


def serve(project: Path, *arguments: str, before: str = "", launcher: Sequence[str] = ()) -> tuple[int, str]:
    """Return the exit status of a server that cannot start, and what it said."""
    # What is imported before may be out of reach behind it: Python may be installed in a home folder.
    code = f"import encodings.idna, os, sys; from aiowsgi.cli import main; {before}sys.exit(main())"
    command = [*launcher, sys.executable, "-c", code, "serve", "app", "--bind", "127.0.0.1:0", *arguments]
    # Without coverage, which could not write down what it has seen once the rights are gone, and would say so.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment = {**inherited, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stderr


@as_root
def test_who_may_not_change_to_the_user_is_told_so_in_one_line(project: Path) -> None:
    # What a container's root may not do is not seen before it is tried.
    before = f"os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER}); "
    line = "aiowsgi: this process may not change to user 65534 and group 65534: Operation not permitted\n"
    assert serve(project, "--user", "65534", "--group", "65534", before=before) == (2, line)


@as_root
@with_setpriv
@pytest.mark.parametrize("option", ["--preload", "--no-preload"])
def test_who_could_not_signal_the_user_is_told_so_in_one_line(option: str, project: Path) -> None:
    line = (
        "aiowsgi: this process may not change to user 65534 and group 65534:"
        " without CAP_KILL the supervisor could not stop it then\n"
    )
    arguments = (option, "--workers", "2", "--user", "65534", "--group", "65534")
    assert serve(project, *arguments, launcher=UNABLE_TO_KILL) == (2, line)


@as_root
@with_setpriv
def test_who_stays_the_same_user_need_not_signal_others(project: Path) -> None:
    arguments = ("app", "--user", "root", "--group", str(STRANGER))
    with RunningServer(*arguments, cwd=project, launcher=UNABLE_TO_KILL) as server:
        worker = int(ask(("127.0.0.1", server.port))[0])
        assert ids(worker)[:2] == ({0}, {STRANGER})


@as_root
def test_who_may_not_give_away_a_socket_file_leaves_none(project: Path) -> None:
    before = f"os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER}); "
    path = project / "socket"
    status, said = serve(project, "--user", "65534", "--group", "65534", f"--bind=unix:{path}", before=before)
    line = (
        "aiowsgi: this process may not give a file to user 65534 and group 65534: Operation not permitted\n"
    )
    assert (status, said) == (2, line)
    assert not path.exists()


NAMES = {
    ("--user", "nobody-at-all"): "there is no user nobody-at-all",
    ("--user", "4294967295"): "there is no user 4294967295",  # to the system: leave it as it is
    ("--user", "0x0"): "there is no user 0x0",
    ("--user", "nobody", "--group", "-1"): "there is no group -1",
    ("--group", "nobody-at-all"): "there is no group nobody-at-all",
    ("--user", "54321"): "user 54321 is not in the system's table, so --group is needed, too",
}


def test_names_that_nobody_has_are_one_line(project: Path) -> None:
    with ThreadPoolExecutor() as threads:  # all at once, as a start takes its time
        told = dict(zip(NAMES, threads.map(lambda name: serve(project, *name), NAMES), strict=True))
    assert told == {name: (2, f"aiowsgi: {line}\n") for name, line in NAMES.items()}


@as_root
def test_a_folder_that_the_user_may_not_read_is_named_as_such(project: Path) -> None:
    project.chmod(0o700)
    status, said = serve(project, "--user", "nobody")
    assert status == 2
    assert said.endswith(f"aiowsgi: there is no module 'app' in {project}, which this user may not read\n")


def test_who_has_these_rights_already_may_say_so(project: Path) -> None:
    account = pwd.getpwuid(os.geteuid())
    with RunningServer("app", "--user", account.pw_name, "--group", str(os.getegid()), cwd=project) as server:
        ask(("127.0.0.1", server.port))
        server.stop()
        assert "WARNING" not in server.log()


@as_root
def test_without_user_root_is_warned_of(project: Path) -> None:
    with RunningServer("app", cwd=project) as server:
        server.until(
            "WARNING aiowsgi.serving: the workers run as root; --user names somebody who may do less$"
        )


def test_make_server_leaves_the_process_as_it_is_and_says_so() -> None:
    with pytest.raises(ConfigError, match=r"user: expected in a call of serve"):
        make_server("127.0.0.1", 0, echo, user="nobody")
