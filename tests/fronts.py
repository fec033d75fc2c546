"""nginx and HAProxy in front of a server in this process, set up as docs/proxies.md says."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.haproxy import HAPROXY, running_haproxy
from tests.nginx import NGINX, running_nginx
from tests.thread_server import Peer

CLIENT = "127.0.0.2"  # from where a test asks; the proxies themselves are 127.0.0.1

Connect = Callable[[], Peer]

# What docs/proxies.md has them set, and one field more, by which a request says what the proxy took it for.
_NGINX_FIELDS = """
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header X-Forwarded-Host $host;
        proxy_set_header X-Forwarded-Port $server_port;
        proxy_set_header X-Forwarded-Prefix "";
        proxy_set_header Forwarded "";
        proxy_set_header X-Front "$request_method $request_uri";
"""
_HAPROXY_FIELDS = """mode http
    http-request del-header ^(forwarded|x-forwarded-.*|x-real-ip)$ -m reg
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header X-Front "%[method] %[url]"
"""


@contextmanager
def nginx(folder: Path, port: int, seconds: int) -> Iterator[Connect]:
    # Its own socket has no addresses: so a client says which one it has, as one does that came through a TCP proxy.
    front = folder / "front"
    more = f"""
        listen unix:{front} proxy_protocol;
        set_real_ip_from unix:;
        real_ip_header proxy_protocol;
        client_header_timeout {seconds}s;
        client_body_timeout {seconds}s;
        keepalive_timeout {seconds}s;
        client_max_body_size 100m;
        location / {{
            proxy_pass http://back;
            {_NGINX_FIELDS}
        }}"""

    def connect() -> Peer:
        peer = Peer(str(front))
        peer.send(f"PROXY TCP4 {CLIENT} 127.0.0.1 4711 80\r\n".encode())
        return peer

    http = f"upstream back {{ server 127.0.0.1:{port}; keepalive 16; }}"
    with running_nginx(folder, folder / "nginx", more, http):
        yield connect


@contextmanager
def haproxy(folder: Path, port: int, seconds: int) -> Iterator[Connect]:
    back = "mode http\n    http-reuse always"
    with running_haproxy(
        folder, f"127.0.0.1:{port}", front=_HAPROXY_FIELDS, back=back, seconds=seconds
    ) as front:
        yield lambda: Peer(front, source=CLIENT)


def needing(program: str, found: str | None) -> pytest.MarkDecorator:
    return pytest.mark.skipif(found is None, reason=f"needs {program}")


FRONTS = [
    pytest.param(nginx, id="nginx", marks=needing("nginx", NGINX)),
    pytest.param(haproxy, id="haproxy", marks=needing("haproxy", HAPROXY)),
]
