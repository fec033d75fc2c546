"""What serves a connection that was accepted: put together once for each listening address."""

from collections.abc import Callable
from functools import partial

from aiowsgi.server.certificates import Certificates
from aiowsgi.server.connection import Connection
from aiowsgi.server.handshake import Handshake, Secured, Turns
from aiowsgi.server.plain import PlainConnection
from aiowsgi.server.secured import SecuredEnviron
from aiowsgi.server.shared import Served, Shared
from aiowsgi.wsgi.environ import Environ

Accept = Callable[[], Served]  # a protocol factory
MakeAccept = Callable[[Environ], Accept]  # of the address that all requests with this environ come in at


def acceptor(shared: Shared, certificates: Certificates | None) -> MakeAccept:
    """Return what makes the protocol factory of an address: by TLS where the environ says https."""
    connect = partial(Connection, shared)
    turns = Turns(shared.loop)

    def make(server: Environ) -> Accept:
        if certificates is None or server["wsgi.url_scheme"] != "https":
            return partial(connect, server)
        environ = SecuredEnviron(server, certificates.verifies)
        refuse = partial(PlainConnection, shared, server)
        return partial(Handshake, Secured(shared, turns, certificates, environ, connect, refuse))

    return make
