"""What serves a connection that was accepted: put together once for each listening address."""

from collections.abc import Callable
from functools import partial

from aiowsgi.server.admission import Admission
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.clients import Clients
from aiowsgi.server.connection import Connection
from aiowsgi.server.counted import CountedConnection
from aiowsgi.server.doors import Accept
from aiowsgi.server.handshake import Handshake, Secured, Turns
from aiowsgi.server.plain import PlainConnection
from aiowsgi.server.secured import SecuredEnviron
from aiowsgi.server.shared import Shared
from aiowsgi.wsgi.environ import Environ

MakeAccept = Callable[[Environ], Accept]  # of the address that all requests with this environ come in at


def acceptor(shared: Shared, admission: Admission, certificates: Certificates | None) -> MakeAccept:
    """Return what makes the protocol factory of an address: by TLS where the environ says https."""
    limits = shared.limits
    connect = partial(CountedConnection if limits.requests else Connection, shared)
    turns = Turns(shared.loop)
    clients = Clients(shared, limits.client_connections)

    def make(server: Environ) -> Accept:
        accept = make_bare(server)
        return admission.guard(clients.guard(accept) if limits.client_connections else accept)

    def make_bare(server: Environ) -> Accept:
        if certificates is None or server["wsgi.url_scheme"] != "https":
            return partial(connect, server)
        environ = SecuredEnviron(server, certificates.verifies)
        refuse = partial(PlainConnection, shared, server)
        return partial(Handshake, Secured(shared, turns, certificates, environ, connect, refuse))

    return make
