"""How many connections each client has, and that none has too many."""

import asyncio
import logging
import socket
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import cast

from aiowsgi.server.doors import Accept
from aiowsgi.server.shared import Shared
from aiowsgi.server.sockets import peer_of

logger = logging.getLogger("aiowsgi.worker")

Key = str | bytes

# Connections that may have ended without being looked at.
STALE = 1024

_MAPPED = bytes(10) + b"\xff\xff"  # begins an IPv4 address as an IPv6 one (RFC 4291 section 2.5.5.2)
_NETWORK = 8  # bytes; what a provider gives to one customer at least (RFC 6177)


def nobody(address: str) -> bool:
    return False


class Clients:
    """Lets ``most`` connections of an address in, to one worker; more of them are cut, without a word.

    What counts is who is at the other end of the socket: so proxies have to be ``exempt``, which is asked with an
    address. Who comes by a Unix socket has none and is not counted. A proxy that says first whose connection it is, by
    the PROXY protocol, has that one counted then.

    Nobody is told when a connection has ended, whatever protocol it had by then. Those that have are found when their
    client seems to have too many, and all of them now and then.
    """

    def __init__(self, shared: Shared, most: int, exempt: Callable[[str], bool] = nobody) -> None:
        self._shared = shared
        self._most = most
        self._exempt = exempt
        self._transports: defaultdict[Key, list[asyncio.Transport]] = defaultdict(list)
        self._unlooked = 0  # how many have come since all were looked at
        self._told = float("-inf")  # at the time of which sweep somebody was last told of in the log

    def guard(self, accept: Accept) -> Accept:
        """Return a protocol factory that does what ``accept`` does, for who may come in."""
        return partial(_Entrance, self, accept)

    def admit(self, transport: asyncio.Transport, named: str = "") -> bool:
        """Tell whether its client, or who is ``named`` in its place, may have one more connection, and count it."""
        address = named or peer_of(transport)[0]
        if not address or self._exempt(address):
            return True
        key = _key(address)
        transports = self._transports[key]
        if len(transports) >= self._most:
            transports[:] = filter(_is_open, transports)
            if len(transports) >= self._most:
                self._tell(address)
                return False
        transports.append(transport)
        self._unlooked += 1
        if self._unlooked > STALE + len(self._shared.connections):
            self._look_at_all()
        return True

    def _look_at_all(self) -> None:
        self._unlooked = 0
        for key, transports in list(self._transports.items()):
            transports[:] = filter(_is_open, transports)
            if not transports:
                del self._transports[key]

    def _tell(self, address: str) -> None:
        if self._told < self._shared.now:
            self._told = self._shared.now
            logger.warning("%s has %d connections, and no more are accepted from there", address, self._most)


class _Entrance(asyncio.Protocol):
    """A connection's protocol until its client is known."""

    __slots__ = ("_accept", "_clients")

    def __init__(self, clients: Clients, accept: Accept) -> None:
        self._clients = clients
        self._accept = accept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connected = cast(asyncio.Transport, transport)
        if self._clients.admit(connected):
            protocol = self._accept()
            connected.set_protocol(protocol)
            protocol.connection_made(connected)
        else:
            connected.abort()


def _key(address: str) -> Key:
    """Return what addresses of one client have in common."""
    if ":" not in address:
        return address
    packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return packed if packed.startswith(_MAPPED) else packed[:_NETWORK]


def _is_open(transport: asyncio.Transport) -> bool:
    # Both event loops forget the protocol when it was told of the end, and not while there is something to send.
    return transport.get_protocol() is not None
