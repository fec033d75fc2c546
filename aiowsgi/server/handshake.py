"""TLS handshakes: how a connection begins that a SecureTransport carries, and who comes without TLS.

Guarantees:
- A handshake has as long as a request's head, however it drips; then it is cut.
- Those of a worker take turns and have a share of each turn of the loop. What asks for many holds up who asks for many.
- It holds one read of the socket at most, and what OpenSSL keeps of a message.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Protocol, cast

from aiowsgi.http.states import State
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.secured import SecuredEnviron
from aiowsgi.server.servernames import name_in_hello
from aiowsgi.server.shared import Client, MakeServed, Served, Shared, silent_until
from aiowsgi.server.tls import RECORD, SecureTransport
from aiowsgi.wsgi.environ import Environ

logger = logging.getLogger("aiowsgi.tls")

# Seconds of each turn of the loop. A handshake takes 0.2 ms with an elliptic curve's key and 1 ms with RSA's.
SHARE = 0.002


class Turns:
    """Has the handshakes of a worker take turns."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, step: Callable[[], None]) -> None:
        """Call ``step``, which may compute, when those before it have been called."""
        if not self._waiting:
            self._loop.call_soon(self._work)
        self._waiting.append(step)

    def _work(self) -> None:
        end = monotonic() + SHARE
        waiting = self._waiting
        try:
            while waiting:
                self._call(waiting[0])
                if monotonic() >= end:
                    break
        finally:  # or one step that fails would be the last of this worker
            if waiting:
                self._loop.call_soon(self._work)

    def _call(self, step: Callable[[], None]) -> None:
        try:
            step()
        finally:
            self._waiting.popleft()  # not before: who takes a turn meanwhile finds that there is work under way


class Connect(Protocol):
    """Makes the connection of a client from the environ that all its requests have in common."""

    def __call__(self, server: Environ, /, *, client: Client | None = None) -> Served:
        """``client`` as in MakeServed."""


@dataclass(slots=True, eq=False)
class Secured:
    """What the TLS connections of one address have in common."""

    shared: Shared
    turns: Turns
    certificates: Certificates
    environ: SecuredEnviron
    connect: Connect
    refuse_plain: MakeServed  # makes the connection of who comes without TLS, on the bare socket


class Handshake(Served):
    """A socket's protocol until it is known how to go on; it is put aside then."""

    __slots__ = ("_client", "_early", "_failed", "_incoming", "_outgoing", "_raw", "_secure", "_secured")

    _raw: asyncio.Transport

    def __init__(self, secured: Secured, client: Client | None = None) -> None:
        self._secured = secured
        self._client = client
        self._early = b""  # what has come and waits for its turn
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._failed = False  # the client is told so, and what it still sends is thrown away
        self._secure: ssl.SSLObject | None = None  # from when it is known which name is meant
        self.deadline = silent_until(secured.shared)

    def __repr__(self) -> str:
        return f"<Handshake with {self._raw.get_extra_info('peername')}>"

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._raw = cast(asyncio.Transport, transport)
        self._secured.shared.connections[self] = None

    def data_received(self, data: bytes) -> None:
        if self._failed or self._raw.is_closing():
            return
        if not self._early and self._secure is None:
            self.deadline = self._secured.shared.due[State.HEAD]
        self._early += data
        if self._secure is None:
            # A letter begins a request line; what TLS sends first is no letter.
            if self._early[:1].isalpha():
                self._refuse_plain()
                return
            name = name_in_hello(self._early)
            if name is None:
                return
            context = self._secured.certificates.contexts.choose(name)
            self._secure = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._raw.pause_reading()  # until its turn
        self._secured.turns.take(self._shake)

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    # What the worker tells.

    def expire(self) -> None:
        self._raw.abort()

    def look(self) -> None:
        """It reads all the time, but for its turn."""

    def drain(self) -> None:
        """Go on, for a request may be right behind it; who has said nothing by now is as good as idle."""
        if not self._early and self._secure is None:
            shared = self._secured.shared
            self.deadline = min(self.deadline, shared.due[State.IDLE])

    def abort(self) -> None:
        self._raw.abort()

    # On the way.

    def _shake(self) -> None:
        assert self._secure is not None
        if self._raw.is_closing():
            return
        # A piece of it in each turn: in tiny records even this takes 3 ms.
        self._incoming.write(self._early[:RECORD])
        self._early = self._early[RECORD:]
        try:
            self._secure.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            if self._early:
                self._secured.turns.take(self._shake)
            else:
                self._raw.resume_reading()
        except ssl.SSLError as error:
            logger.debug("no TLS with %s: %s", self._raw.get_extra_info("peername"), error.reason)
            self._fail()
        else:
            self._flush()
            self._go_on(self._secure)

    def _fail(self) -> None:
        """Say what is wrong, and wait for a moment: a close while the client still sends may destroy what was said."""
        self._failed = True
        self._flush()
        # asyncio tells here that the client is gone; what is read next tells it, too.
        with suppress(OSError):
            self._raw.write_eof()
        self._raw.resume_reading()
        shared = self._secured.shared
        self.deadline = shared.due[State.CLOSING]

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    def _go_on(self, secure: ssl.SSLObject) -> None:
        """Hand over to a Connection, with what came behind the handshake."""
        secured = self._secured
        transport = SecureTransport(secured.shared.loop, self._raw, secure, self._incoming, self._outgoing)
        connection = secured.connect(secured.environ.of(secure), client=self._client)
        transport.carry(connection)
        self._leave()
        if not self._raw.is_closing():
            self._raw.resume_reading()
            # OpenSSL has read no further than it had to: this begins with a record.
            transport.data_received(self._incoming.read() + self._early)

    def _refuse_plain(self) -> None:
        connection = self._secured.refuse_plain(client=self._client)
        self._raw.set_protocol(connection)
        connection.connection_made(self._raw)
        self._leave()

    def _leave(self) -> None:
        """This one's deadline is nobody's concern any more."""
        self._secured.shared.forget(self)
