"""Systemd, played for a server: the sockets that it passes on, and the datagrams that it is told by."""

import re
import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from types import TracebackType
from typing import Self

from tests.server import PATIENCE

# Becomes the given command, with the descriptors where systemd passes them, and the variables that tell of them.
_LAUNCH = """
import fcntl, os, sys
names, descriptors, *command = sys.argv[1:]
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in descriptors.split(",")]
for place, descriptor in enumerate(high, 3):
    os.dup2(descriptor, place)
    os.close(descriptor)
os.environ |= {"LISTEN_FDS": str(len(high)), "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": names}
os.execv(command[0], command)
"""


def launcher(sockets: Sequence[socket.socket], *names: str) -> tuple[str, ...]:
    """Return the command that passes ``sockets`` on, which it has to have open, by their ``names``."""
    numbers = ",".join(str(sock.fileno()) for sock in sockets)
    return (sys.executable, "-c", _LAUNCH, ":".join(names or ["site.socket"] * len(sockets)), numbers)


class Notified:
    """A context manager: who listens at NOTIFY_SOCKET. As systemd, it takes each message at once."""

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(self.address.replace("@", "\0"))
        self._messages: SimpleQueue[tuple[str, int]] = SimpleQueue()
        self._thread = Thread(target=self._receive, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self._socket.getsockname())
        self._thread.join(PATIENCE)
        self._socket.close()

    def _receive(self) -> None:
        while True:
            data, (credentials, *_), *_ = self._socket.recvmsg(4096, 64)
            if not data:
                return
            self._messages.put((data.decode(), struct.unpack("iII", credentials[2])[0]))

    def next(self) -> tuple[str, int]:
        """Return a message, and the process that has sent it."""
        return self._messages.get(timeout=PATIENCE)

    def until(self, pattern: str) -> tuple[str, int]:
        """Return the first message, of those not yet read, that is ``pattern`` from its beginning to its end."""
        end = monotonic() + PATIENCE
        seen = []
        while monotonic() < end:
            message, process = self.next()
            seen.append(message)
            if re.fullmatch(pattern, message):
                return message, process
        raise AssertionError(f"no {pattern!r} in {seen}")
