"""Handshakes and their transport over a wire in memory, with a clock that tests turn: bounds, turns and deadlines."""

import asyncio
import errno
import ssl
from collections.abc import Callable
from threading import Event as ThreadEvent
from typing import Any, cast

import pytest

from aiowsgi.config import Limits, Timeouts, Tls
from aiowsgi.http.states import State
from aiowsgi.server import handshake
from aiowsgi.server.accepting import acceptor
from aiowsgi.server.admission import Admission
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.doors import Doors
from aiowsgi.server.draining import GRACE, begin_to_drain
from aiowsgi.server.handshake import Turns
from aiowsgi.server.shared import Served
from aiowsgi.server.tls import RECORD, RECORDS, ROOM, TURN
from aiowsgi.wsgi.environ import server_environ
from tests.authority import Authority
from tests.thread_server import get
from tests.wire_client import WAIT, Applied, Server, answering, echo


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificates(authority: Authority) -> Certificates:
    pair = authority.issue("server", "localhost")
    return Certificates(Tls(((str(pair.certificate), str(pair.key)),)))


class Wire(asyncio.Transport):
    """A socket's transport whose client is in the test: it takes what the test has it take."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 4711)})
        self.protocol: Any = None
        self.taken = b""
        self.held = b""
        self.blocked = False
        self.paused = False
        self.high = ROOM
        self.reading = True
        self.ended = False
        self.gone = False  # the client has reset the connection, and nobody has looked yet
        self.closed = False
        self.lost = False
        self.changed = asyncio.Event()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        assert not self.ended
        self.held += bytes(data)
        if not self.paused and self.blocked and len(self.held) > self.high:
            self.paused = True
            self.protocol.pause_writing()
        if not self.blocked:
            self.take(len(self.held))

    def take(self, count: int) -> None:
        self.taken += self.held[:count]
        self.held = self.held[count:]
        self.changed.set()
        if self.paused and len(self.held) <= self.high // 4:
            self.paused = False
            self.protocol.resume_writing()
        if self.closed and not self.held:
            self.lose()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = ROOM if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.changed.set()

    def write_eof(self) -> None:
        if self.gone:
            raise OSError(errno.ENOTCONN, "as asyncio's transports tell it")
        self.ended = True
        self.changed.set()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        if not self.held:
            asyncio.get_running_loop().call_soon(self.lose)

    def abort(self) -> None:
        self.held = b""
        self.close()

    def lose(self) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(None)
            self.changed.set()


class SecureClient:
    """A client at the other end of a Wire."""

    def __init__(self, server: Server, certificates: Certificates, context: ssl.SSLContext) -> None:
        self.shared = server.shared
        self.wire = Wire()
        admission = Admission(server.shared, Doors(server.shared.loop), 100)
        accept = acceptor(server.config, server.shared, admission, certificates)
        self.protocol = cast(Served, accept(server_environ("localhost", "443", "https", False))())
        self.wire.protocol = self.protocol
        self.protocol.connection_made(cast(asyncio.Transport, self.wire))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.secure = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.content = b""
        self.told = False

    def received(self) -> bytes:
        """Take what has come, and return all content so far."""
        self.incoming.write(self.wire.taken)
        self.wire.taken = b""
        try:
            while not self.told:
                data = self.secure.read(RECORD)
                self.content += data
                self.told = not data
        except ssl.SSLWantReadError:
            pass
        return self.content

    def send(self, data: bytes = b"") -> None:
        if data:
            self.secure.write(data)
        self.send_raw(self.outgoing.read())

    def send_raw(self, data: bytes) -> None:
        assert self.wire.reading
        if data:
            self.wire.protocol.data_received(data)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT):
            while not condition():
                self.wire.changed.clear()
                await self.wire.changed.wait()

    async def turns(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WAIT):
            while not condition():
                await asyncio.sleep(0)

    async def shake_hands(self) -> None:
        while True:
            self.incoming.write(self.wire.taken)
            self.wire.taken = b""
            try:
                self.secure.do_handshake()
            except ssl.SSLWantReadError:
                self.send()
                await self.until(lambda: self.wire.taken)
            else:
                self.send()
                await self.turns(lambda: self.protocol not in self.shared.connections)
                return

    def received_handshake(self) -> None:
        """Take the last that the server says in it; the client's end of it is not sent yet."""
        self.incoming.write(self.wire.taken)
        self.wire.taken = b""
        self.secure.do_handshake()

    def hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.secure.do_handshake()
        return self.outgoing.read()


def connect(server: Server, certificates: Certificates, authority: Authority) -> SecureClient:
    return SecureClient(server, certificates, authority.trusted())


async def test_a_handshake_has_as_long_as_a_head(authority: Authority, certificates: Certificates) -> None:
    with Server() as server:
        client = connect(server, certificates, authority)
        hello = client.hello()
        assert len(hello) > server.shared.deadlines[State.HEAD]
        for second in range(int(server.shared.deadlines[State.HEAD])):
            client.send_raw(hello[second : second + 1])  # a part of its first record
            server.pass_time(1)
        assert client.wire.closed
        await client.turns(lambda: client.wire.lost)
        assert not server.shared.connections


async def test_a_handshake_may_drip(authority: Authority, certificates: Certificates) -> None:
    with Server(Applied(echo)) as server:
        client = connect(server, certificates, authority)
        for byte in client.hello():
            client.send_raw(bytes([byte]))
        await client.until(lambda: client.wire.taken)
        await client.shake_hands()
        client.send(get("/"))
        await client.until(lambda: client.received().endswith(b"GET / ."))
        client.wire.abort()
        await client.turns(lambda: client.wire.lost)


async def test_what_comes_with_the_end_of_the_handshake_is_read(
    authority: Authority, certificates: Certificates
) -> None:
    with Server(Applied(echo)) as server:
        client = connect(server, certificates, authority)
        client.send_raw(client.hello())
        await client.until(lambda: client.wire.taken)
        client.received_handshake()
        content = bytes(100_000)
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content)
        sent = client.secure.write(head)
        assert sent == len(head)
        rest = content
        while rest:
            rest = rest[client.secure.write(rest) :]
        client.send()
        expected = b"POST / " + content + b"."
        await client.until(lambda: client.received().endswith(expected))
        client.wire.abort()
        await client.turns(lambda: client.wire.lost)


async def test_a_drained_worker_waits_for_a_handshake_no_longer_than_for_a_head(
    authority: Authority, certificates: Certificates
) -> None:
    with Server() as server:
        client = connect(server, certificates, authority)
        client.send_raw(client.hello())
        server.shared.draining = True
        client.protocol.drain()
        assert not server.shared.drained.is_set()
        server.pass_time(server.shared.deadlines[State.HEAD] + 1)
        await asyncio.wait_for(server.shared.drained.wait(), WAIT)


@pytest.mark.parametrize("together", [True, False])
async def test_a_handshake_that_ends_while_draining_leads_to_one_answer(
    together: bool, authority: Authority, certificates: Certificates
) -> None:
    with Server(Applied(echo)) as server:
        client = connect(server, certificates, authority)
        hello = client.hello()
        client.send_raw(hello[:100])
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        client.send_raw(hello[100:])
        await client.until(lambda: client.wire.taken)
        client.received_handshake()
        if together:
            client.send(get("/"))
        else:
            client.send()
            await client.turns(lambda: client.protocol not in server.shared.connections)
            client.send(get("/"))
        await client.until(lambda: client.wire.ended)
        assert client.received().endswith(b"GET / .")
        assert b"\r\nConnection: close\r\n" in client.content
        client.wire.abort()
        await asyncio.wait_for(server.shared.drained.wait(), WAIT)


async def test_whom_a_handshake_leads_to_while_draining_may_not_idle_for_long(
    authority: Authority, certificates: Certificates
) -> None:
    with Server() as server:
        client = connect(server, certificates, authority)
        client.send_raw(client.hello())
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        await client.until(lambda: client.wire.taken)
        client.received_handshake()
        client.send()
        await client.turns(lambda: client.protocol not in server.shared.connections)
        server.pass_time(GRACE)
        await asyncio.wait_for(server.shared.drained.wait(), WAIT)


async def test_whoever_comes_while_draining_and_says_nothing_is_as_good_as_idle(
    authority: Authority, certificates: Certificates
) -> None:
    with Server() as server:
        begin_to_drain(server.shared, Timeouts(), server.shared.now)
        silent, speaking = (connect(server, certificates, authority) for _ in range(2))
        speaking.send_raw(speaking.hello()[:100])
        server.pass_time(GRACE)
        await silent.turns(lambda: silent.wire.lost)
        assert not speaking.wire.lost
        server.pass_time(server.shared.deadlines[State.HEAD])
        await asyncio.wait_for(server.shared.drained.wait(), WAIT)


async def test_handshakes_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "SHARE", 0.0)
    turns, done = Turns(asyncio.get_running_loop()), []
    for number in range(3):
        turns.take(lambda number=number: done.append(number))  # type: ignore[misc]
    seen = []
    async with asyncio.timeout(WAIT):
        while len(done) < 3:
            seen.append(len(done))
            await asyncio.sleep(0)
    assert seen == [0, 1, 2]  # others have the loop between any two of them
    assert done == [0, 1, 2]


async def test_what_comes_in_one_read_takes_a_turn_for_each_piece(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, authority: Authority
) -> None:
    monkeypatch.setattr(handshake, "SHARE", 0.0)
    hello = b"\1\1\x86\xa0" + bytes(30_000)  # and some more, which does not come
    with Server() as server:
        client = connect(server, certificates, authority)
        records = b"".join(b"\x16\3\1\0\1" + bytes([byte]) for byte in hello)
        client.send_raw(records)
        turns = 0
        async with asyncio.timeout(WAIT):
            while not client.wire.reading:
                await asyncio.sleep(0)
                turns += 1
        assert turns >= len(records) // RECORD
        client.wire.abort()
        await client.turns(lambda: client.wire.lost)


async def test_a_step_that_fails_takes_away_nobodys_turn() -> None:
    loop, failed = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda loop, context: failed.append(context["exception"]))
    turns, done = Turns(loop), ThreadEvent()
    turns.take(lambda: [][0])
    turns.take(done.set)
    async with asyncio.timeout(WAIT):
        while not done.is_set():
            await asyncio.sleep(0)
    assert [type(error) for error in failed] == [IndexError]
    turns.take(done.clear)
    async with asyncio.timeout(WAIT):
        while done.is_set():
            await asyncio.sleep(0)


async def test_a_client_that_fails_and_is_gone_stops_no_handshake(
    authority: Authority, certificates: Certificates
) -> None:
    with Server() as server:
        gone, other = (connect(server, certificates, authority) for _ in range(2))
        gone.wire.gone = True
        gone.send_raw(b"\x16\x03\x01\x00\x05" + bytes(5))
        await gone.until(lambda: gone.wire.reading)
        await other.shake_hands()
        for client in (gone, other):
            client.wire.abort()
            await client.turns(lambda client=client: client.wire.lost)  # type: ignore[misc]


async def test_what_waits_for_its_turn_is_not_read(authority: Authority, certificates: Certificates) -> None:
    with Server() as server:
        client = connect(server, certificates, authority)
        client.send_raw(client.hello())
        assert not client.wire.reading
        await client.until(lambda: client.wire.reading)
        client.wire.abort()
        await client.turns(lambda: client.wire.lost)


async def test_an_answer_is_encrypted_as_the_client_takes_it(
    authority: Authority, certificates: Certificates
) -> None:
    content = bytes(range(256)) * 8_000
    with Server(Applied(answering(content))) as server:
        client = connect(server, certificates, authority)
        await client.shake_hands()
        client.wire.blocked = True
        client.send(get("/"))
        await client.turns(lambda: client.wire.paused)
        most = 0
        async with asyncio.timeout(WAIT):
            while not client.content.endswith(content):
                most = max(most, len(client.wire.held))
                client.wire.take(10_000)
                client.received()
                await asyncio.sleep(0)
        assert most <= ROOM + 2 * RECORD
        client.wire.abort()
        await client.turns(lambda: client.wire.lost)


async def test_a_quick_client_gets_no_more_than_its_share_of_a_turn(
    authority: Authority, certificates: Certificates
) -> None:
    content = bytes(10 * TURN)
    with Server(Applied(answering(content))) as server:
        client = connect(server, certificates, authority)
        await client.shake_hands()
        client.received()
        client.send(get("/"))
        await client.turns(lambda: client.wire.taken)
        most = 0
        async with asyncio.timeout(WAIT):
            while not client.content.endswith(content):
                most = max(most, len(client.wire.taken))
                client.received()
                await asyncio.sleep(0)
        assert most <= TURN + 2 * RECORD
        client.wire.abort()
        await client.turns(lambda: client.wire.lost)


@pytest.mark.parametrize("content_memory", [100, 1 << 20])
async def test_content_in_many_records_leaves_others_their_turn(
    authority: Authority, certificates: Certificates, content_memory: int
) -> None:
    count = 10 * RECORDS
    with Server(Applied(echo), limits=Limits(content_memory=content_memory)) as server:
        client, other = (connect(server, certificates, authority) for _ in range(2))
        await client.shake_hands()
        await other.shake_hands()
        client.secure.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % count)
        for _ in range(count):
            client.secure.write(b"x")
        client.send()
        assert not client.wire.reading
        other.send(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
        await other.until(lambda: other.received().endswith(b"GET /other ."))
        await client.until(lambda: client.received().endswith(b"POST / " + b"x" * count + b"."))
        await client.turns(lambda: client.wire.reading)


@pytest.mark.parametrize("size", [*range(1, 30), 100, 1000])
async def test_records_may_come_in_any_pieces(
    size: int, authority: Authority, certificates: Certificates
) -> None:
    with Server(Applied(echo)) as server:
        client = connect(server, certificates, authority)
        client.send_raw(client.hello())
        await client.until(lambda: client.wire.taken)
        client.received_handshake()
        content = bytes(range(200))
        for piece in (
            b"POST / HTTP/1.1\r\nHost: a\r\n",
            b"Content-Length: 200\r\n\r\n",
            content[:1],
            content[1:],
        ):
            client.secure.write(piece)
        records = client.outgoing.read()  # the last of the handshake, too
        for start in range(0, len(records), size):
            await client.until(lambda: client.wire.reading)
            client.send_raw(records[start : start + size])
        await client.until(lambda: client.received().endswith(b"POST / " + content + b"."))
        client.wire.abort()
        await client.turns(lambda: client.wire.lost)
