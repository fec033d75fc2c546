"""The control socket: each connection brings a command, as one line of JSON, and gets one line of JSON for it.

    {"command": "workers", "change": 1}
    {"workers": 5}

What a command does is told in ``process/commands.py``; ``process/remote.py`` is the other end.
"""

import json
import math
import selectors
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from aiowsgi.server.listeners import Listener, close_listeners, leave_listeners

MOST = 32  # clients at a time
LONGEST = 4096  # bytes of a command
PATIENCE = 5.0  # seconds for a client to send its command, and for one to take the answer
PAUSE = 1.0  # seconds until it is tried again to accept, where that has failed

Reply = Callable[[dict[str, object]], None]  # called once, with the answer, at once or later
Do = Callable[[dict[str, object], Reply], None]  # what a command asks for


class _State(IntEnum):
    """In the order in which clients have to go where there are too many."""

    RECEIVING = 0  # until its command has come
    SENDING = 1  # until it has taken the answer
    WAITING = 2  # for the answer, however long that takes


@dataclass(eq=False, slots=True)
class _Client:
    sock: socket.socket
    deadline: float  # on the monotonic clock
    state: _State = _State.RECEIVING
    data: bytes = b""  # that has come, or is to be sent


class Control:
    """The clients of the control socket.

    Guarantees:
    - Nothing waits for a client: sockets do not block, and each state but waiting has its deadline.
    - There are never more than MOST clients, nor more than LONGEST bytes of a command. For one client more the oldest
      one goes that has not sent its command yet, if there is any: so whoever sends one is heard in any crowd.
    - A command that has come is carried out whether its client stays or not.
    - Who may connect is said by the rights of the socket's file.
    """

    def __init__(self, listener: Listener, selector: selectors.BaseSelector, do: Do) -> None:
        """Accept on ``listener``, unless it is still another process's: then from ``open`` on.

        The keys of ``selector`` have functions as their data, to be called while they are registered.
        """
        self._listener = listener
        self._selector = selector
        self._do = do
        self._clients: dict[_Client, None] = {}  # the oldest first
        self._accepts_at = math.inf  # on the monotonic clock, where it does not accept for now
        self._is_open = False
        if listener.removes:
            self.open()

    def open(self) -> None:
        """Accept from now on; nothing to do if that is so already."""
        if not self._is_open:
            self._is_open = True
            self._watch()

    def leave(self) -> None:
        """Accept nobody any more, and leave the socket's file to another process; who is here stays."""
        with suppress(KeyError):  # it does not accept for now
            self._selector.unregister(self._listener)
        self._accepts_at = math.inf
        leave_listeners([self._listener])

    def due(self) -> float:
        """Return when there will be something to do, on the monotonic clock; infinity if nothing is known of."""
        return min(self._accepts_at, *(client.deadline for client in self._clients), math.inf)

    def act(self) -> None:
        """Do what is due by now."""
        now = time.monotonic()
        for client in [client for client in self._clients if client.deadline <= now]:
            self._drop(client)
        if self._accepts_at <= now:
            self._accepts_at = math.inf
            self._watch()

    def close(self) -> None:
        """Close all, and remove the file. Answers that were given just now are sent, as far as that goes at once."""
        for client in list(self._clients):
            if client.state is _State.SENDING:
                self._send(client)
        close_listeners([self._listener])
        self.abandon()

    def abandon(self) -> None:
        """Close all, as a process does that was forked and has no use for it, and leave the file."""
        for client in self._clients:
            client.sock.close()
        self._clients.clear()
        self._listener.close()

    def _watch(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError:  # no descriptor or memory is left; the listener would be reported again and again
            self._selector.unregister(self._listener)
            self._accepts_at = time.monotonic() + PAUSE
            return
        if len(self._clients) >= MOST:
            self._drop(min(self._clients, key=lambda client: client.state))
        sock.setblocking(False)
        client = _Client(sock, time.monotonic() + PATIENCE)
        self._clients[client] = None
        self._selector.register(sock, selectors.EVENT_READ, partial(self._receive, client))

    def _receive(self, client: _Client) -> None:
        try:
            data = client.sock.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.data += data
        line, newline, _ = client.data.partition(b"\n")
        if newline or len(line) >= LONGEST:
            self._selector.unregister(client.sock)
            client.state, client.deadline, client.data = _State.WAITING, math.inf, b""
            self._obey(line if newline else b"", partial(self._answer, client))
        elif not data:
            self._drop(client)

    def _obey(self, line: bytes, reply: Reply) -> None:
        try:
            command = json.loads(line)
        except (ValueError, RecursionError):
            command = None
        if isinstance(command, dict):
            self._do(command, reply)
        else:
            reply({"error": f"a command is a line of at most {LONGEST} bytes with an object of JSON"})

    def _answer(self, client: _Client, answer: dict[str, object]) -> None:
        if client not in self._clients:
            return
        client.state, client.deadline = _State.SENDING, time.monotonic() + PATIENCE
        client.data = json.dumps(answer).encode() + b"\n"
        self._selector.register(client.sock, selectors.EVENT_WRITE, partial(self._send, client))

    def _send(self, client: _Client) -> None:
        try:
            client.data = client.data[client.sock.send(client.data) :]
        except BlockingIOError:
            return
        except OSError:  # it has left
            client.data = b""
        if not client.data:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        del self._clients[client]
        with suppress(KeyError):
            self._selector.unregister(client.sock)
        client.sock.close()
