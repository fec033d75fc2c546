"""What an application is told of a TLS connection: protocol, cipher, and who the client has proved to be.

The names are those of Apache's mod_ssl, the values too; nginx gives the same ones as $ssl_client_s_dn and so on.
"""

import ssl
from collections.abc import Iterable
from typing import Any

from aiowsgi.wsgi.environ import Environ

# RFC 4514 section 3, and what OpenSSL and so mod_ssl and nginx call the others; ssl tells them by their long names.
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "givenName": "GN",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "street",
    "surname": "SN",
    "userId": "UID",
}
_SPECIAL = frozenset(b',+"\\<>;')

# Bounds what is remembered; there are two protocols with ten ciphers between them.
_MOST_KNOWN = 64


class SecuredEnviron:
    """Makes the environ that all requests of a connection have in common from that of its address."""

    def __init__(self, server: Environ, verifies: bool) -> None:
        """``verifies``: clients are asked for a certificate."""
        self._server = {**server, "HTTPS": "on"}
        self._verifies = verifies
        # Connections without a client certificate share theirs: a dict each would be half of an idle one's memory.
        self._known: dict[tuple[str, str], Environ] = {}

    def of(self, secure: ssl.SSLObject) -> Environ:
        """Return the environ of a connection whose handshake is done; nobody may change it."""
        cipher, protocol, _ = secure.cipher() or ("", "", 0)
        certificate = secure.getpeercert() if self._verifies else None
        if certificate:
            return self._made(cipher, secure.version() or protocol) | _client(certificate)
        known = self._known.get((cipher, protocol))
        if known is None:
            known = self._made(cipher, secure.version() or protocol)
            if len(self._known) < _MOST_KNOWN:
                self._known[cipher, protocol] = known
        return known

    def _made(self, cipher: str, protocol: str) -> Environ:
        environ = {**self._server, "SSL_PROTOCOL": protocol, "SSL_CIPHER": cipher}
        if self._verifies:
            environ["SSL_CLIENT_VERIFY"] = "NONE"
        return environ


def _client(certificate: dict[str, Any]) -> Environ:
    """Return what is told of a client's certificate, which has been verified: else there were no connection."""
    return {
        "SSL_CLIENT_VERIFY": "SUCCESS",
        "SSL_CLIENT_S_DN": distinguished_name(certificate["subject"]),
        "SSL_CLIENT_I_DN": distinguished_name(certificate["issuer"]),
        "SSL_CLIENT_M_SERIAL": certificate["serialNumber"],
        "SSL_CLIENT_V_START": certificate["notBefore"],
        "SSL_CLIENT_V_END": certificate["notAfter"],
    }


def distinguished_name(name: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Write what ``ssl.SSLObject.getpeercert`` tells as a subject or an issuer: RFC 4514, in ASCII, the last one first.

    An environ holds latin-1 (PEP 3333), and UTF-8 in escapes is what mod_ssl and nginx give.
    """
    sets = ["+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in rdn) for rdn in name]
    return ",".join(reversed(sets))


def _escaped(value: str) -> str:
    text = "".join(
        f"\\{byte:02X}" if byte < 0x20 or byte > 0x7E else f"\\{byte:c}" if byte in _SPECIAL else f"{byte:c}"
        for byte in value.encode("utf-8", "surrogatepass")
    )
    if text.endswith(" "):
        text = text[:-1] + "\\ "
    return "\\" + text if text.startswith((" ", "#")) else text
