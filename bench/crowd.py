"""A client of thousands of slow connections: heads that do not end, uploads that crawl, readers that lag."""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.load import connect
from bench.readers import Pace, Readers, reading
from bench.servers import HOST, Failed
from bench.turns import Turns, take_turns


@dataclass(frozen=True, slots=True)
class Slow:
    """Slow requests of one kind: how many, how they begin, and what each sends at each of its turns."""

    name: str
    count: int
    start: bytes
    piece: bytes
    interval: float  # seconds


# A field each five seconds: a server that waits twenty for the end of a head has to hold them all.
HEADS = Slow("slow heads", 5000, f"GET / HTTP/1.1\r\nHost: {HOST}\r\n".encode(), b"X-Slow: very\r\n", 5.0)
UPLOADS = Slow(
    "slow uploads",
    500,
    f"POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1048576\r\n\r\n".encode(),
    bytes(1024),
    1.0,
)
READERS = 500
PACE = Pace(size=10 * 1024, interval=1.0)


@dataclass(frozen=True, slots=True)
class Sender:
    """One connection that sends a request and never comes to its end."""

    connection: socket.socket
    slow: Slow

    def turn(self) -> None:
        """Send a piece, or less where the server takes no more for now. Raises Failed when it has closed."""
        try:
            self.connection.send(self.slow.piece)
        except BlockingIOError:
            pass
        except OSError as error:
            raise Failed(f"one of the {self.slow.name}: {error!r}") from None

    def waits(self) -> bool:
        """Tell whether the server waits for more, as it should: it has neither answered nor closed."""
        try:
            self.connection.recv(1)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


class Crowd:
    """Senders of some kinds, and readers, that all take their turns."""

    def __init__(self, senders: list[Sender], readers: Readers) -> None:
        """The readers' answers have begun."""
        self._senders = senders
        self._readers = readers
        self._groups = [readers.turns]
        for slow in dict.fromkeys(sender.slow for sender in senders):
            turns = Turns([sender for sender in senders if sender.slow is slow], slow.interval)
            turns.begin()
            self._groups.append(turns)

    def go_on_until(self, ended: Callable[[], bool]) -> None:
        """Take turns until ``ended()``. Raises Failed at the first that cannot."""
        take_turns(self._groups, ended)

    def check(self) -> None:
        """Raise Failed when any is not as slow as it wants to be: it was sent away, or starves."""
        gone = [sender.slow.name for sender in self._senders if not sender.waits()]
        if gone:
            told = " and ".join(f"{gone.count(name):,} of the {name}" for name in dict.fromkeys(gone))
            raise Failed(f"{told} were answered or closed before their end")
        self._readers.check()


@contextmanager
def crowd(
    port: int, path: str, body: bytes, readers: int = READERS, slow: Sequence[Slow] = (UPLOADS, HEADS)
) -> Iterator[Crowd]:
    """Hold all the slow connections; the readers have asked for ``path``, and the answer is to be ``body``.

    Raises Failed when one cannot be had.
    """
    with ExitStack() as opened:
        # The readers first: they alone are answered, and need not stand in line behind five thousand.
        lagging = opened.enter_context(reading(port, path, body, readers, PACE))
        senders: list[Sender] = []
        for kind in slow:
            try:
                for number in range(kind.count):
                    connection = opened.enter_context(connect(port, number))
                    senders.append(Sender(connection, kind))
                    connection.sendall(kind.start)
                    connection.setblocking(False)
            except OSError as error:
                raise Failed(f"{number:,} of {kind.count:,} {kind.name} could begin: {error!r}") from None
        yield Crowd(senders, lagging)
