"""The connection of a client that speaks plain HTTP where TLS is expected: it is told so."""

import asyncio

from aiowsgi.http.messages import HTTPError
from aiowsgi.server.connection import Connection

_WITHOUT = "This port is for HTTPS, and the request came without TLS: ask again with https:// in front."


class PlainConnection(Connection):
    """One that is answered with 400 whatever it sends."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._refuse(HTTPError(400, _WITHOUT))
