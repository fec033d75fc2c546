"""What serves a connection that was accepted: put together once for each listening address.

From the socket inwards, each where it is asked for: the bounds, the PROXY protocol, TLS, and the connection itself.
"""

from collections.abc import Callable
from functools import partial

from aiowsgi.config import Config
from aiowsgi.http.forwarded import Proxies, drops_of_proxies
from aiowsgi.http.parser import Parser
from aiowsgi.server.admission import Admission
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.clients import Clients, nobody
from aiowsgi.server.connection import Connection
from aiowsgi.server.counted import CountedConnection
from aiowsgi.server.doors import Accept
from aiowsgi.server.handshake import Connect, Handshake, Secured, Turns
from aiowsgi.server.plain import PlainConnection
from aiowsgi.server.preface import Preface
from aiowsgi.server.proxied import ProxiedConnection
from aiowsgi.server.secured import SecuredEnviron
from aiowsgi.server.shared import MakeServed, Shared
from aiowsgi.wsgi.environ import Environ

MakeAccept = Callable[[Environ], Accept]  # of the address that all requests with this environ come in at


def acceptor(
    config: Config, shared: Shared, admission: Admission, certificates: Certificates | None
) -> MakeAccept:
    """Return what makes the protocol factory of an address: by TLS where the environ says https."""
    proxies = Proxies(config.trusted_proxies) if config.trusted_proxies else None
    connect = _connect(config, shared, proxies)
    turns = Turns(shared.loop)
    most = shared.limits.client_connections
    clients = Clients(shared, most, nobody if proxies is None else proxies.trusts) if most else None

    def make(server: Environ) -> Accept:
        accept = make_bare(server)
        return admission.guard(accept if clients is None else clients.guard(accept))

    def make_bare(server: Environ) -> Accept:
        serve: MakeServed = partial(connect, server)
        if server["wsgi.url_scheme"] == "https":
            assert certificates is not None  # or what says https to applications would be read by everybody
            environ = SecuredEnviron(server, certificates.verifies)
            refuse = partial(PlainConnection, shared, server)
            serve = partial(Handshake, Secured(shared, turns, certificates, environ, connect, refuse))
        if proxies is not None and config.proxy_protocol:
            return partial(Preface, shared, proxies, clients, serve)
        return serve

    return make


def _connect(config: Config, shared: Shared, proxies: Proxies | None) -> Connect:
    """Return what makes a connection, of a kind that nobody pays for who does not ask for it."""
    if proxies is not None:
        drops = drops_of_proxies(config.forwarded_fields)
        parser = Parser(config.limits, fast=config.parser != "h11", drops=drops)
        return partial(ProxiedConnection, proxies, parser, shared)
    return partial(CountedConnection if shared.limits.requests else Connection, shared)
