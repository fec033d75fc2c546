"""The beginning of a connection whose proxy says first whose it is, by the PROXY protocol.

It comes before all else, TLS too, so it is read on the connection's own transport; whatever comes next gets that
transport, the client's address, and the bytes behind the header.
"""

import asyncio
import logging
from typing import cast

from aiowsgi.http.forwarded import Proxies
from aiowsgi.http.proxyprotocol import NotProxyProtocol, read_header
from aiowsgi.http.states import State
from aiowsgi.server.clients import Clients
from aiowsgi.server.shared import Client, MakeServed, Served, Shared, silent_until
from aiowsgi.server.sockets import peer_of

logger = logging.getLogger("aiowsgi.preface")


class Preface(Served):
    """Reads the header, and is then put aside; it may take as long as a request's head."""

    __slots__ = ("_buffer", "_clients", "_proxies", "_serve", "_shared", "_transport")

    _transport: asyncio.Transport

    def __init__(self, shared: Shared, proxies: Proxies, clients: Clients | None, serve: MakeServed) -> None:
        """``clients`` counts whom the header names, if there is a bound; ``serve`` makes what goes on behind it."""
        self._shared = shared
        self._proxies = proxies
        self._clients = clients
        self._serve = serve
        self._buffer = b""  # never more than the longest header and one read
        self.deadline = silent_until(shared)

    def __repr__(self) -> str:
        return f"<Preface of {self._peer()}>"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._shared.connections[self] = None
        if not self._proxies.trusts(peer_of(transport)[0]):
            self._refuse("it is none of --trusted-proxies")

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        if not self._buffer:
            self.deadline = self._shared.due[State.HEAD]
        self._buffer += data
        try:
            header = read_header(self._buffer)
        except NotProxyProtocol as error:
            self._refuse(f"it sent no PROXY protocol: {error}")
            return
        if header is not None:
            self._hand_on(header.client, self._buffer[header.size :])

    def _hand_on(self, client: Client | None, rest: bytes) -> None:
        transport, clients = self._transport, self._clients
        if client is not None and clients is not None and not clients.admit(transport, client[0]):
            transport.abort()
            return
        following = self._serve(client=client)
        transport.set_protocol(following)
        following.connection_made(transport)
        self._shared.forget(self)
        if rest:
            following.data_received(rest)

    def _refuse(self, reason: str) -> None:
        """Close without a word: whoever is not a proxy of ours learns nothing."""
        logger.info("%s is refused: %s", self._peer(), reason)
        self._transport.abort()

    def _peer(self) -> str:
        return peer_of(self._transport)[0] or "the peer of a Unix socket"

    def connection_lost(self, error: Exception | None) -> None:
        self._shared.forget(self)

    def expire(self) -> None:
        self._refuse("its PROXY protocol did not come in time")

    def look(self) -> None:
        """It reads all the time, and so is told."""

    def drain(self) -> None:
        self.deadline = min(self.deadline, self._shared.due[State.IDLE])

    def abort(self) -> None:
        self._transport.abort()
