"""What systemd is told, by a whole server: a real datagram socket stands for systemd. And the units of the manual."""

import math
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from aiowsgi.process.notify import Manager, take_manager
from tests.server import ROOT, RunningServer
from tests.systemd import Notified

ECHO = "tests.wire_client:echo"
UNIT = re.compile(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_systemd_is_told_of_the_start_and_the_end(tmp_path: Path) -> None:
    with Notified(tmp_path / "notify") as notified:
        options = ("--workers", "2", "--drain-delay", "0.1", "--graceful-timeout", "6")
        with RunningServer(ECHO, *options, NOTIFY_SOCKET=notified.address) as server:
            assert notified.next() == ("STATUS=starting, workers: 0", server.pid)
            notified.until("READY=1")
            assert notified.next() == ("STATUS=serving, workers: 2", server.pid)
            assert server.stop() == 0
            # The delay, the graceful timeout, and as long again as it takes to kill who does not heed that.
            assert notified.next() == ("STOPPING=1\nEXTEND_TIMEOUT_USEC=11100000", server.pid)
            assert notified.next() == ("STATUS=stopping, workers: 2", server.pid)


def test_a_reload_begins_with_its_time_and_ends_with_ready_however_it_ends(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def application(environ, start_response): ...\n")
    with (
        Notified(f"@{tmp_path}") as notified,
        RunningServer("app", cwd=tmp_path, NOTIFY_SOCKET=notified.address) as server,
    ):
        notified.until("STATUS=serving, workers: 1")
        times = []
        for file, text, ending in [
            ("aiowsgi.toml", "max_fields = 1\n", "serving"),
            ("app.py", "import no_such_module_anywhere\n", "serving with what was loaded before"),
            ("aiowsgi.toml", "max_fields = 0\n", "serving with the settings from before"),
        ]:
            (tmp_path / file).write_text(text)
            os.kill(server.pid, signal.SIGHUP)
            message, _ = notified.until(r"RELOADING=1\nMONOTONIC_USEC=\d+")
            times.append(int(message.rpartition("=")[2]))
            notified.until("READY=1")
            message, _ = notified.until(rf"STATUS={ending}, workers: \d")
        assert times == sorted(times)


def test_the_watchdog_hears_of_the_supervisor_while_nothing_else_happens(tmp_path: Path) -> None:
    with (
        Notified(tmp_path / "notify") as notified,
        RunningServer(ECHO, NOTIFY_SOCKET=notified.address, WATCHDOG_USEC="100000") as server,
    ):
        for _ in range(5):
            assert notified.until("WATCHDOG=1")[1] == server.pid


def test_an_application_does_not_see_whom_the_server_tells(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import os\n"
        "assert not {'NOTIFY_SOCKET', 'WATCHDOG_USEC'} & {*os.environ}\n"
        "def application(environ, start_response): ...\n"
    )
    with (
        Notified(tmp_path / "notify") as notified,
        RunningServer("app", cwd=tmp_path, NOTIFY_SOCKET=notified.address, WATCHDOG_USEC="1000000"),
    ):
        notified.until("READY=1")


def test_a_manager_that_has_gone_costs_a_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Manager(str(tmp_path / "nobody")).ready()
    assert caplog.messages == ["systemd was not told READY=1: No such file or directory"]


def test_the_watchdog_is_this_process_own_and_what_is_not_understood_counts_as_absent() -> None:
    def watched(**variables: str) -> bool:
        environ = {"NOTIFY_SOCKET": "@nobody-at-all", **variables}
        manager = take_manager(environ)
        assert environ == {}
        return manager.beat() < math.inf

    assert watched(WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    assert not watched(WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getppid()))
    assert not watched(WATCHDOG_USEC="often")
    assert not watched(WATCHDOG_USEC="0")
    assert not watched()
    assert not watched(NOTIFY_SOCKET="vsock:2:1", WATCHDOG_USEC="20000000")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_no_mistake_in_the_units_of_the_manual(tmp_path: Path) -> None:
    units = dict(UNIT.findall((ROOT / "docs" / "processes.md").read_text("utf-8")))
    assert set(units) == {"site.service", "site.socket"}
    for name, text in units.items():
        # What it runs is not installed here.
        (tmp_path / name).write_text(
            re.sub("^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.MULTILINE)
        )
    command = ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in units)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "site." in line] == []
