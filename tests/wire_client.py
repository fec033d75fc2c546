"""A connection on an in-memory transport, with a clock that tests turn by hand."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from threading import Event
from typing import Any, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from aiowsgi.config import Config, Limits, Timeouts
from aiowsgi.http.messages import Request
from aiowsgi.http.parser import Parser
from aiowsgi.http.states import State, deadlines, seconds_per_byte
from aiowsgi.observe.accesslog import AccessLog
from aiowsgi.server.accepting import acceptor
from aiowsgi.server.admission import Admission
from aiowsgi.server.connection import Connection
from aiowsgi.server.descriptors import most_connections
from aiowsgi.server.doors import Doors
from aiowsgi.server.shared import Shared
from aiowsgi.site.router import Answer, Handler, Router
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.callpool import CallPool
from aiowsgi.wsgi.environ import server_environ
from aiowsgi.wsgi.pool import Pool

WAIT = 30.0  # seconds; only a test that fails waits so long


class MemorySocket:
    """As much of a socket as a connection asks for: it notes whether it is to be reset when it is closed."""

    reset = False

    def fileno(self) -> int:
        return -1

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER)
        self.reset = True


class MemoryTransport(asyncio.Transport):
    """What a connection writes, and as much flow control as the test asks for."""

    def __init__(self, client: "Client", peer: str = "192.0.2.1") -> None:
        self.socket = MemorySocket()
        # No descriptor for sendfile: files are read in the pool, as under TLS.
        name = (peer, 4711) if peer else ""
        super().__init__({"peername": name, "sslcontext": True, "socket": self.socket})
        self.client = client
        self.sent = b""
        self.held = b""  # written and not taken by the client
        self.blocked = False  # the client takes nothing
        self.paused = False
        self.high = 64 * 1024
        self.reading = True
        self.eof_written = False
        self.closing = False
        self.aborted = False

    def write(self, data: Any) -> None:
        assert not self.eof_written
        assert not self.closing
        self.held += bytes(data)
        if not self.blocked:
            self.take(len(self.held))
        self.heed_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = 64 * 1024 if high is None else high
        self.heed_limits()

    def heed_limits(self) -> None:
        self.client.changed.set()
        if not self.paused and len(self.held) > self.high:
            self.paused = True
            self.client.connection.pause_writing()

    def take(self, count: int) -> None:
        """Have the client take some of what waits."""
        self.sent += self.held[:count]
        self.held = self.held[count:]
        self.client.changed.set()
        if self.paused and len(self.held) <= self.high // 4:
            self.paused = False
            self.client.connection.resume_writing()
        if self.closing and not self.held:
            self.client.lose()

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True
        self.client.changed.set()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
        self.client.changed.set()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.client.connection = cast(Connection, protocol)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.held:
                asyncio.get_running_loop().call_soon(self.client.lose)

    def abort(self) -> None:
        self.aborted = self.closing = True
        asyncio.get_running_loop().call_soon(self.client.lose)


class Client:
    """The other end of one connection of a worker."""

    def __init__(self, shared: Shared, config: Config, peer: str) -> None:
        self.shared = shared
        self.changed = asyncio.Event()
        self.lost = False
        admission = Admission(shared, Doors(shared.loop), most_connections(shared.limits))
        made = acceptor(config, shared, admission, None)(server_environ("testserver", "80", "http", False))()
        self.connection = cast(Connection, made)  # once it is one: a preface may stand before
        self.transport = MemoryTransport(self, peer)
        self.connection.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        assert self.transport.reading
        self.connection.data_received(data)

    def send_eof(self) -> None:
        if not self.connection.eof_received():
            self.transport.close()

    def lose(self) -> None:
        """The transport is gone."""
        if not self.lost:
            self.lost = True
            self.connection.connection_lost(None)
            self.changed.set()

    @property
    def state(self) -> State:
        return self.connection.state

    @property
    def sent(self) -> bytes:
        return self.transport.sent

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something that the connection does makes ``condition`` true."""
        async with asyncio.timeout(WAIT):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_true(self, condition: Callable[[], object]) -> None:
        """Wait until the loop's own turns make ``condition`` true."""
        async with asyncio.timeout(WAIT):
            while not condition():
                await asyncio.sleep(0)

    async def until_reading(self) -> None:
        """Wait until the connection reads on."""
        await self.until(lambda: self.transport.reading)

    async def until_paused(self) -> None:
        """Wait until the transport holds more than the connection should write."""
        await self.until(lambda: self.transport.paused)

    async def receive(self, *ends: bytes) -> bytes:
        """Return what was sent, once it ends with one of ``ends``, and forget it."""
        await self.until(lambda: self.sent.endswith(ends))
        data, self.transport.sent = self.sent, b""
        return data

    async def closed(self) -> bytes:
        """Return what was sent, once nothing more can be."""
        await self.until(lambda: self.lost or self.transport.eof_written)
        return self.sent


class Applied:
    """The handler of one application."""

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        return Call(self.application, request, script_name, path_info)


class Server:
    """A worker's shared parts, without its sockets."""

    def __init__(
        self,
        *handlers: Handler,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        threads: int = 2,
        log: int | None = None,
        debug: bool = False,
        make_pools: tuple[type[CallPool], type[Pool]] = (CallPool, Pool),
        config: Config | None = None,
        streams: bool = False,
    ) -> None:
        """``config`` is for what stands between the socket and the connection."""
        self.config = config or Config()
        loop = asyncio.get_running_loop()
        limits, timeouts = limits or Limits(), timeouts or Timeouts()
        soon, wake = loop.call_soon, loop.call_soon_threadsafe
        make_calls, make_pool = make_pools
        self.now = 0.0
        self.pool = make_calls(threads, limits, timeouts, soon, wake, lambda: self.now)
        self.disk = make_pool(1, soon, wake)
        access_log = None
        if log is not None:
            access_log = AccessLog(log, self.disk.submit, self.disk.hand_over)
        self.shared = Shared(
            loop=loop,
            parser=Parser(limits),
            router=Router([("", handler) for handler in handlers]),
            pool=self.pool,
            disk=self.disk,
            limits=limits,
            deadlines=deadlines(timeouts),
            seconds_per_byte=seconds_per_byte(timeouts),
            queue_timeout=timeouts.queue,
            log=access_log,
            access_log=access_log,
            debug=debug,
            streams=streams,
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        assert self.pool.close(WAIT)
        assert self.disk.close(WAIT)

    def connect(self, peer: str = "192.0.2.1") -> Client:
        """``peer`` is an address; "" is that of a Unix socket."""
        return Client(self.shared, self.config, peer)

    def pass_time(self, seconds: float) -> None:
        """Turn the clock forward and look at the deadlines, as the worker does once a second."""
        self.now += seconds
        self.shared.turn(self.now)
        for connection in [c for c in self.shared.connections if c.deadline <= self.shared.now]:
            connection.expire()
        self.pool.sweep()


def answering(body: bytes | Iterable[bytes], *fields: tuple[str, str]) -> WSGIApplication:
    """Return an application that gives ``body``."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), *fields])
        return [body] if isinstance(body, bytes) else body

    return application


def echo(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the request: method, path, and content."""
    content = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} ".encode(), content, b"."]


def tells(*names: str) -> WSGIApplication:
    """Return an application that answers with variables of the environ, "-" for one that is not there."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [" ".join(str(environ.get(name, "-")) for name in names).encode("latin-1"), b"."]

    return application


class Gate:
    """``echo``, whose calls wait until the test opens it."""

    def __init__(self) -> None:
        self.entered = Event()
        self.open = Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.entered.set()
        assert self.open.wait(WAIT)
        return echo(environ, start_response)
