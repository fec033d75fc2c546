"""A connection that ends behind so many requests; where there is no such bound, connections are not of this kind."""

from aiowsgi.http.messages import Request
from aiowsgi.http.parser import ContentReader
from aiowsgi.server.connection import Connection
from aiowsgi.server.shared import Client, Shared
from aiowsgi.wsgi.environ import Environ


class CountedConnection(Connection):
    """Says ``Connection: close`` in its last answer (RFC 9112 section 9.6)."""

    __slots__ = ("_left",)

    def __init__(self, shared: Shared, server: Environ, client: Client | None = None) -> None:
        super().__init__(shared, server, client)
        self._left = shared.limits.requests  # if that is 0, it never is again

    def _begin(self, request: Request, content: ContentReader | None) -> None:
        self._left -= 1  # below 0 where there is no bound
        if not self._left:
            request.keep_alive = False
        super()._begin(request, content)

    def _ends(self) -> bool:
        # The client does not know yet, and may have sent more.
        return bool(self._left) and super()._ends()
