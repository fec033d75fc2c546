"""A client that asks at a fixed rate, whether it is answered or not, as a crowd of people does.

wrk asks again only when it is answered, so a server that is slow is asked less: it cannot be overloaded.
"""

import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.servers import HOST, Failed

MOST_CONNECTIONS = 4000  # open at once; who would be one more is not asked for, and counts as not answered
_PATIENCE = 5.0  # seconds behind the last request, for what is not answered by then


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: its status, 0 where the connection was closed, and the seconds until its end."""

    status: int
    seconds: float


class _Connection:
    """One that is kept from answer to answer."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=_PATIENCE)
        self.socket.setblocking(False)
        self.asked: float | None = (
            None  # when it was time to ask; None between an answer and the next request
        )
        self._received = b""

    def ask(self, request: bytes, due: float) -> None:
        self.asked = due
        self.socket.send(request)

    def receive(self) -> int | None:
        """Return the status of the answer, None while it has not come whole, 0 if the server has closed."""
        try:
            piece = self.socket.recv(65536)
        except BlockingIOError:
            return None
        except OSError:
            return 0
        self._received += piece
        head, end, content = self._received.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")),
            -1,
        )
        if end and 0 <= length <= len(content):
            self._received = b""
            return int(head[9:12])
        return None if piece else 0


class Crowd:
    """Its ``answers`` are those to all requests so far."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        self._selector = selectors.DefaultSelector()
        self._idle: deque[_Connection] = deque()
        self._open = 0
        self._asking = 0
        self.answers: list[Answer] = []

    def ask_at(self, rate: float, seconds: float) -> list[Answer]:
        """Ask ``rate`` times a second for some ``seconds``, then wait for what is owed; return all answers.

        Raises Failed where this client cannot keep up.
        """
        self.answers = []
        begun = time.monotonic()
        latest = 0.0
        for number in range(int(rate * seconds)):
            due = begun + number / rate
            while (wait := due - time.monotonic()) > 0:
                self._receive(wait)
            latest = max(latest, -wait)
            self._ask(due)
            self._receive(0)
        if latest > 0.2:
            raise Failed(f"the client was {latest:.2f} s late")
        end = time.monotonic() + _PATIENCE
        while self._asking and (wait := end - time.monotonic()) > 0:
            self._receive(wait)
        self.answers += [Answer(0, _PATIENCE)] * self._asking
        return self.answers

    def keep_asking(self, count: int, seconds: float) -> list[Answer]:
        """Have ``count`` connections ask, each again when it is answered, for some ``seconds``; return all answers."""
        self.answers = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            while self._asking < count:
                self._ask(time.monotonic())
            self._receive(0.1)
        answers = list(self.answers)
        while self._asking:
            self._receive(_PATIENCE)
        return answers

    def _ask(self, due: float) -> None:
        if not self._idle and self._open >= MOST_CONNECTIONS:
            self.answers.append(Answer(0, 0.0))
            return
        try:
            if self._idle:
                connection = self._idle.pop()
            else:
                connection = _Connection(self._port)
                self._open += 1
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask(self._request, due)
        except OSError:
            self.answers.append(Answer(0, 0.0))
        else:
            self._asking += 1

    def _receive(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            connection: _Connection = key.data
            status = connection.receive()
            if status is None:
                continue
            if connection.asked is None:
                self._idle.remove(connection)  # the server has closed what it kept
            else:
                self._asking -= 1
                self.answers.append(Answer(status, time.monotonic() - connection.asked))
                connection.asked = None
            if status:
                self._idle.append(connection)
            else:
                self._leave(connection)

    def _leave(self, connection: _Connection) -> None:
        self._selector.unregister(connection.socket)
        connection.socket.close()
        self._open -= 1

    def close(self) -> None:
        """Close all connections."""
        with ExitStack() as stack:
            stack.callback(self._selector.close)
            for key in list(self._selector.get_map().values()):
                self._leave(key.data)


@contextmanager
def crowd_of(port: int, path: str) -> Iterator[Crowd]:
    """Give a crowd whose connections are closed behind the block."""
    crowd = Crowd(port, path)
    try:
        yield crowd
    finally:
        crowd.close()
