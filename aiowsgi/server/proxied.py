"""A connection that may be a trusted proxy's, which sends the requests of many clients over it."""

import asyncio

from aiowsgi.http.forwarded import Origin, Proxies
from aiowsgi.http.messages import HTTPError, Request
from aiowsgi.http.parser import ContentReader, Parser
from aiowsgi.http.states import State
from aiowsgi.server.counted import CountedConnection
from aiowsgi.server.shared import Client, Shared
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.environ import Environ


class ProxiedConnection(CountedConnection):
    """For a worker that trusts somebody; all others have Connection, and nothing to pay for.

    From a peer that is not trusted it takes what Connection takes, by the parser that all of those have.
    """

    __slots__ = ("_own", "_peer", "_prefix", "_proxies", "_proxy_parser")

    def __init__(
        self,
        proxies: Proxies,
        proxy_parser: Parser,
        shared: Shared,
        server: Environ,
        client: Client | None = None,
    ) -> None:
        """``proxy_parser`` reads what trusted peers send; the others as for Connection."""
        super().__init__(shared, server, client)
        self._proxies = proxies
        self._proxy_parser = proxy_parser
        self._own = server
        self._peer = ("", "")
        self._prefix = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer = self._know_client()
        if self._proxies.trusts(self._peer[0]):
            self._parser = self._proxy_parser

    def _begin(self, request: Request, content: ContentReader | None) -> None:
        if self._parser is self._proxy_parser:
            self._take(self._proxies.origin(request.fields, self._own["wsgi.url_scheme"]), request)
        super()._begin(request, content)

    def _take(self, origin: Origin, request: Request) -> None:
        request.fields = origin.fields
        self._client = origin.client or self._peer
        self._server = self._own | origin.environ if origin.environ else self._own
        self._prefix = origin.prefix

    def _submit(self, call: Call) -> None:
        if self._prefix:
            call.put_below(self._prefix)
        super()._submit(call)

    def _refuse(self, error: HTTPError) -> None:
        if self.state <= State.HEAD:
            self._client = self._peer  # nobody knows whose request it would have been
        super()._refuse(error)
