"""Idle connections, held by as many processes as the limit of open files asks for.

``python -m bench.holding PORT FIRST COUNT BODY`` is one of them: it connects, makes a request on each connection and
says ``held``; for a line that it reads it makes one more request on each and says ``answered``. It ends with its
input, or with the reason of a failure.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.load import ask_again, idle_connections
from bench.servers import ROOT, Failed

CONNECTIONS_A_PROCESS = 15_000  # of the 20,000 files that one may often have open
_HELD, _ANSWERED = "held", "answered"


class Held:
    """The processes that hold the connections."""

    def __init__(self, processes: list["subprocess.Popen[str]"]) -> None:
        """Each has been started."""
        self._processes = processes

    def expect(self, word: str) -> None:
        """Wait for each to say ``word``. Raises Failed with what it says instead."""
        for process in self._processes:
            assert process.stdout is not None
            if (told := process.stdout.readline().strip()) != word:
                raise Failed(told or "a process with idle connections ended")

    def ask_again(self) -> None:
        """Make one more request on each connection. Raises Failed unless every one is answered as before."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        self.expect(_ANSWERED)


@contextmanager
def holding(port: int, count: int, body: bytes) -> Iterator[Held]:
    """Hold ``count`` connections, each of which has made one request and was answered with ``body``.

    Raises Failed when one was not.
    """
    with ExitStack() as started:
        processes = []
        for first in range(0, count, CONNECTIONS_A_PROCESS):
            share = min(CONNECTIONS_A_PROCESS, count - first)
            command = [
                sys.executable,
                "-m",
                "bench.holding",
                str(port),
                str(first),
                str(share),
                body.decode(),
            ]
            pipe = subprocess.PIPE
            process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
            processes.append(started.enter_context(process))
            started.callback(process.kill)
        held = Held(processes)
        held.expect(_HELD)
        yield held


def _hold(port: int, first: int, count: int, body: bytes) -> None:
    with idle_connections(port, count, body, first) as connections:
        print(_HELD, flush=True)
        for _ in sys.stdin:
            ask_again(connections, body)
            print(_ANSWERED, flush=True)


if __name__ == "__main__":
    try:
        _hold(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode())
    except Failed as failure:
        print(failure)
