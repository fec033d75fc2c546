"""What a process that the application forks from a worker has to shed, because it is the worker's own.

Such a process, of ``multiprocessing`` most often, begins as a copy of its worker. As that it would write each signal
that it gets to a descriptor at which the worker's event loop reads, so that the worker drained instead of it; and it
would keep open what the worker closes: the connections of clients, and a port that nobody serves any more.
"""

import os
import signal
import socket
from collections.abc import Collection, Iterable
from contextlib import suppress
from contextvars import ContextVar

# Guarantees:
#
# - A SIGTERM for the new process ends it, however early it comes, and never reaches the worker.
# - Of the sockets with the address of a listener, those that were accepted from it included, none stays open in it. A
#   number stays in use, for /dev/null, as there are objects in this process that may close it again.
# - It inherits nothing else than before: what it forks in turn has its handlers.


class Offspring:
    """What is done at each fork of this process, which is a worker, from ``watch`` on."""

    def __init__(self, listeners: Iterable[socket.socket]) -> None:
        self._addresses = {_address(listener) for listener in listeners}
        self._mask: ContextVar[Collection[int]] = ContextVar("mask")  # of the thread that forks
        self._begun = False  # this is such a process

    def watch(self) -> None:
        """Begin; it has no end, as Python knows none."""
        os.register_at_fork(
            before=self._hold_signals, after_in_parent=self._release_signals, after_in_child=self._begin
        )

    def _hold_signals(self) -> None:
        self._mask.set(signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]))

    def _release_signals(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask.get())

    def _begin(self) -> None:
        try:
            if not self._begun:
                self._begun = True
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                self._let_go()
        finally:
            self._release_signals()

    def _let_go(self) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # it is no socket, or has listed the others
                if self._is_ours(int(name)):
                    os.dup2(null, int(name), inheritable=False)
        os.close(null)

    def _is_ours(self, descriptor: int) -> bool:
        """Raises OSError where it is no socket."""
        sock = socket.socket(fileno=descriptor)
        try:
            address = _address(sock)
        finally:
            sock.detach()
        return address in self._addresses or (isinstance(address, tuple) and address[1] in self._addresses)


def _address(sock: socket.socket) -> object:
    """Return the address of its own end; of one that listens for all addresses the port alone."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return name
    host, port = name[:2]
    return port if host in ("0.0.0.0", "::") else (host, port)
