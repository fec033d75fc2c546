"""What clients do: each function is one kind of visit, and checks the answers as far as it gets."""

import hashlib
import random
from collections.abc import Callable
from threading import Event

from tests.held_site import LARGE
from tests.thread_server import Peer, get
from tests.wire_corpus import INVALID

FILE = bytes(range(256)) * 4096  # a mebibyte
_BAD = [file.data for file in INVALID]


class Wrong(Exception):
    """An answer is not what it has to be."""


class Visitor:
    """One client on one connection."""

    def __init__(self, peer: Peer, chance: random.Random, stop: Event) -> None:
        self.peer = peer
        self.chance = chance
        self._stop = stop

    def pause(self, most: float) -> None:
        """Wait for a random time, in seconds; not longer than the soak lasts."""
        self._stop.wait(self.chance.uniform(0, most))

    def expect(self, content: bytes, status: int = 200, method: str = "GET") -> None:
        answer = self.peer.answer(method)
        if (answer.status, answer.content) != (status, content):
            raise Wrong(f"{answer.status} {answer.content[:100]!r} for {status} {content[:100]!r}")

    def size(self, most: int) -> int:
        """Return a size, as often of some bytes as of ``most``."""
        return int(most ** self.chance.random())


def small(visitor: Visitor) -> None:
    """A few requests, each for the same few bytes, by paths and with fields that come but once."""
    for _ in range(visitor.chance.randint(1, 20)):
        lines = [f"X-{visitor.chance.randrange(1 << 30):x}: {visitor.chance.randrange(1 << 60)}"]
        lines += ["Cookie: session=" + "x" * visitor.size(4000)] * visitor.chance.randint(0, 2)
        path = visitor.chance.choice(["/", f"/{visitor.chance.randrange(1 << 40)}", "/a?b=c"])
        visitor.peer.send(get(path, *lines))
        visitor.expect(b"hello")


def pipelined(visitor: Visitor) -> None:
    count = visitor.chance.randint(2, 100)
    visitor.peer.send(get("/") * count)
    for _ in range(count):
        visitor.expect(b"hello")


def upload(visitor: Visitor) -> None:
    """Content of any size, counted or in chunks, in pieces with pauses between them."""
    content = visitor.chance.randbytes(visitor.size(2 << 20))
    chunked = visitor.chance.random() < 0.5
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
    visitor.peer.send(b"POST /read HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing.encode())
    at = 0
    while at < len(content):
        piece = content[at : at + visitor.size(1 << 18) + 1]
        visitor.peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        at += len(piece)
        if visitor.chance.random() < 0.1:
            visitor.pause(0.1)
    if chunked:
        visitor.peer.send(b"0\r\n\r\n")
    visitor.expect(hashlib.sha256(content).hexdigest().encode())


def expectation(visitor: Visitor) -> None:
    visitor.peer.send(b"PUT /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    visitor.expect(b"", 100)
    visitor.peer.send(b"hello")
    visitor.expect(hashlib.sha256(b"hello").hexdigest().encode())


def stream(visitor: Visitor) -> None:
    count, size = visitor.chance.randint(1, 60), visitor.size(1 << 15)
    visitor.peer.send(get(f"/stream?count={count}&size={size}"))
    visitor.expect(LARGE[:size] * count)


def slow_reader(visitor: Visitor) -> None:
    """Answers that are far more than one reads; what is not read waits in memory or in a file."""
    path = visitor.chance.choice(["/large", "/files/large.bin", "/stream?count=100&size=30000"])
    visitor.peer.send(get(path))
    visitor.peer.until(b"\r\n\r\n")
    for _ in range(visitor.chance.randint(1, 10)):
        visitor.peer.read(visitor.size(1 << 14))
        visitor.pause(0.1)


def file(visitor: Visitor) -> None:
    first, last = sorted(visitor.chance.choices(range(len(FILE)), k=2))
    visitor.peer.send(get("/files/large.bin", f"Range: bytes={first}-{last}"))
    visitor.expect(FILE[first : last + 1], 206)
    visitor.peer.send(
        get("/files/large.bin", "Range: bytes=" + ",".join(f"{at * 9}-{at * 9}" for at in range(50)))
    )
    visitor.peer.answer()
    visitor.peer.send(get("/files/small.txt").replace(b"GET", b"HEAD", 1))
    visitor.expect(b"", method="HEAD")
    visitor.peer.send(get(f"/files/{visitor.chance.randrange(1 << 30)}.txt"))
    if visitor.peer.answer().status not in (200, 404):
        raise Wrong("for a file that is not there")
    visitor.peer.send(get("/files/large.bin"))
    visitor.expect(FILE)


def failing(visitor: Visitor) -> None:
    visitor.peer.send(get("/raise"))
    if visitor.peer.answer().status != 500:
        raise Wrong("for an application that fails")


def bad(visitor: Visitor) -> None:
    data = visitor.chance.choice(_BAD)
    if visitor.chance.random() < 0.3:
        data = visitor.chance.randbytes(visitor.size(1000) + 1)
    visitor.peer.send(data)
    visitor.peer.send_eof()
    visitor.peer.rest()


def idle(visitor: Visitor) -> None:
    visitor.pause(2)
    if visitor.chance.random() < 0.5:
        visitor.peer.send(get("/")[: visitor.chance.randrange(20)])
        visitor.pause(2)


VISITS: list[Callable[[Visitor], None]] = [
    *(small, pipelined, upload, expectation, stream, slow_reader, file, failing, bad, idle)
]
