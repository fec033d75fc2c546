"""What systemd is told of the server, as to a service of Type=notify or notify-reload: sd_notify(3).

A message is a datagram of lines, and nobody answers it.
"""

import logging
import math
import os
import socket
import time
from collections.abc import MutableMapping

logger = logging.getLogger("aiowsgi.notify")

PATIENCE = 1.0  # seconds for systemd to have room for a message; it has more than a hundred places


class Manager:
    """The service manager that wants to be told; without an ``address`` there is none, and nothing is sent.

    Guarantees:
    - No message costs more than a second, whatever the other side does, and none raises.
    - STATUS is sent when it has changed, WATCHDOG twice in each of its periods.
    """

    def __init__(self, address: str = "", watchdog: float = math.inf) -> None:
        """Tell who listens at ``address``, and that this process is alive once in each ``watchdog`` seconds."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._period = watchdog / 2
        self._beats_at = -math.inf if watchdog < math.inf else math.inf
        self._status = ""

    def ready(self) -> None:
        """All workers are ready, at the start or behind a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """What was asked for by a signal begins; ``ready`` follows, however it ends."""
        # The time, of the clock that systemd reads, says that the signal was not one before.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def follow(self, pid: int) -> None:
        """Another process is the service from now on, and what was asked for by a signal is done."""
        self._send(f"MAINPID={pid}", "READY=1")

    def stopping(self, seconds: float) -> None:
        """The server ends, and may take so many ``seconds`` for it, whatever TimeoutStopSec= says."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={math.ceil(seconds * 1e6)}")

    def status(self, line: str) -> None:
        """Have ``line`` shown by systemctl status."""
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def beat(self) -> float:
        """Tell that this process is alive if it is time to, and return when it will be, on the monotonic clock."""
        now = time.monotonic()
        if self._beats_at <= now:
            self._beats_at = now + self._period
            self._send("WATCHDOG=1")
        return self._beats_at

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(PATIENCE)
                sock.sendto("\n".join(lines).encode(errors="backslashreplace"), self._address)
        except OSError as error:
            logger.warning("systemd was not told %s: %s", lines[0], error.strerror or error)


def take_manager(environ: MutableMapping[str, str]) -> Manager:
    """Return who is to be told, and remove the variables: what the workers start is not the service.

    What is not understood counts as absent, as in sd_notify(3): a server serves without a manager, too.
    """
    address = environ.pop("NOTIFY_SOCKET", "")
    period, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return Manager()
    watched = (
        process in ("", str(os.getpid())) and period.isascii() and period.isdecimal() and int(period[:15])
    )
    return Manager(address, int(period[:15]) / 1e6 if watched else math.inf)
