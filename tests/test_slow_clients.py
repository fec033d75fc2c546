"""Slow clients by the hundred, as slowhttptest makes them: nobody else waits for them, and nothing of them is left."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from time import monotonic

import pytest

from tests.held_site import LARGE, held
from tests.server import PATIENCE, RunningServer
from tests.thread_server import Peer

KINDS = ("files", "sockets", "threads")
SECONDS = 60  # of an attack, at the most: it ends when all has been seen
CLIENTS = 100  # of each kind
ROUNDS = 10  # at the least
# Seconds that another client may wait for three answers, half of the time. It waits a thousandth of that; that nobody
# ever waits longer, no machine with other things to do can promise.
USUAL = 5.0

needs_slowhttptest = pytest.mark.skipif(
    shutil.which("slowhttptest") is None, reason="there is no slowhttptest"
)

# Each with the path that costs the server most.
ATTACKS = [
    (["-H", "-i", "1"], "/"),  # heads
    (["-B", "-i", "1", "-s", "100000"], "/read"),  # content
    (["-X", "-k", "3", "-n", "1"], "/large"),  # answers of an application, read
    (["-X", "-k", "3", "-n", "1"], "/files/large.bin"),  # a file, read
    (["-R", "-a", "1", "-b", "3000"], "/files/large.bin"),  # thousands of ranges
]


@contextmanager
def attacks(port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Have all of them run at once inside the block."""
    with ExitStack() as stack:
        processes = []
        for options, path in ATTACKS:
            command = ["slowhttptest", "-c", str(CLIENTS), "-r", "1000", "-l", str(SECONDS), *options]
            command += ["-u", f"http://127.0.0.1:{port}{path}"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        yield processes


@needs_slowhttptest
def test_slow_clients_hold_up_nobody_and_leave_nothing(tmp_path: Path) -> None:
    files, temporary = tmp_path / "files", tmp_path / "temporary"
    files.mkdir()
    temporary.mkdir()
    (files / "large.bin").write_bytes(LARGE)
    arguments = ["tests.held_site:application", "--static", f"/files={files}", "--threads", "2"]
    with RunningServer(*arguments, TMPDIR=str(temporary)) as server:
        address = ("127.0.0.1", server.port)
        with Peer(address) as peer:
            peer.get("/files/large.bin")  # which stays open
            before = held(peer)
            most, waits = 0, list[float]()
            with attacks(server.port) as processes:
                while most <= 3 * CLIENTS or len(waits) < ROUNDS:  # the ranges are answered at once
                    assert any(process.poll() is None for process in processes)
                    begin = monotonic()
                    assert peer.get("/files/large.bin").content == LARGE
                    most = max(most, held(peer)["sockets"])
                    with Peer(address) as other:
                        assert other.get("/").content == b"hello"
                    waits.append(monotonic() - begin)
            assert median(waits) < USUAL
            end = monotonic() + PATIENCE
            while (after := held(peer, "?collect"))["sockets"] > before["sockets"] and monotonic() < end:
                pass
            assert [after[name] for name in KINDS] == [before[name] for name in KINDS]
            assert list(temporary.iterdir()) == []
        assert "Traceback" not in server.log()
