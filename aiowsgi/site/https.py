"""What differs by whether a request came by https: plain http is led there, and https is to be kept to."""

import re

from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import Request, Response
from aiowsgi.wsgi.environ import Environ

# RFC 8555 section 8.3: a certificate authority fetches it by plain http, before there is a certificate.
_is_challenge = re.compile(r"/\.well-known/acme-challenge/[\w-]+", re.ASCII).fullmatch

_split_host = re.compile(r"(\[[^]]*\]|[^:]*)(?::([0-9]*))?").fullmatch

_HTTP_PORT, _HTTPS_PORT = "80", "443"


class Https:
    """The settings ``hsts`` and ``redirect_https``."""

    def __init__(self, strict: str | None, port: str | None, health: str | None = None) -> None:
        """``strict`` is the value of Strict-Transport-Security, ``port`` that of https; None does without either.

        ``health`` is the path where load balancers ask: they take a redirect for a yes.
        """
        self._strict = field_lines([("Strict-Transport-Security", strict)]) if strict is not None else b""
        self._port = port
        self._health = (
            health.encode().decode("latin-1") if health is not None else None
        )  # as a decoded path spells it

    def redirect(self, request: Request, server: Environ) -> Response | None:
        """Return the answer that leads ``request`` to https, or None and have it answered as one that came by it.

        ``server`` is the environ of the address that it came in at.
        """
        if server["wsgi.url_scheme"] == "https":
            request.strict = self._strict
            return None
        if self._port is None or _is_challenge(request.path) or request.path == self._health:
            return None
        host, asked = self._host(request, server)
        port = self._port
        if not asked and server["SERVER_PORT"] != _HTTP_PORT:
            port = _HTTPS_PORT  # somebody leads the standard ports to others, as containers do
        authority = host if port == _HTTPS_PORT else f"{host}:{port}"
        query = f"?{request.query}" if request.query else ""
        # RFC 9110 section 15.4.9: 308 keeps method and content; what has always followed 301 keeps GET.
        status = 301 if request.method in ("GET", "HEAD") else 308
        return Response(
            status, field_lines([("Location", f"https://{authority}{request.shown_path}{query}")])
        )

    def _host(self, request: Request, server: Environ) -> tuple[str, str]:
        """Return the host that the client has asked, and the port it has named with it."""
        match = _split_host(request.fields.get("HTTP_HOST", ""))
        if match is not None and match[1]:
            return match[1], match[2] or ""
        name: str = server["SERVER_NAME"]  # HTTP/1.0 may have no Host
        return (f"[{name}]" if ":" in name else name), server["SERVER_PORT"]
