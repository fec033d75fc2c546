"""Which server a TLS client means, and which servers a certificate is for: a few fields of two binary formats.

Python's ssl tells the name that a client asks for by a callback, which swaps certificates in the middle of a handshake
and writes to standard error whenever a client sends a name that is no ASCII. Read beforehand, the name leads to the
right SSLContext before there is a handshake.
"""

import re
import ssl
from collections.abc import Iterator

# A ClientHello is 300 to 1,800 bytes, by the keys and tickets in it; of one that does not end here no name is read.
LONGEST_HELLO = 16 * 1024
# Nor of one in so many records: it is parsed again with each piece that comes. Clients send one, or a few.
MOST_RECORDS = 16
# Nor behind so many extensions: clients send 10 to 25, and none twice.
MOST_EXTENSIONS = 100

_HANDSHAKE, _CLIENT_HELLO = 22, 1  # RFC 8446 sections 5.1 and 4: the types of a record and of a message
_SERVER_NAME, _HOST_NAME = 0, 0  # RFC 6066 section 3: the types of an extension and of a name in it

# DER, X.690 section 8 and RFC 5280 section 4.1: tags of what is looked for, and object identifiers.
_VERSION, _EXTENSIONS, _DNS_NAME = 0xA0, 0xA3, 0x82
_SUBJECT = 4  # its place, if the version is not counted
_COMMON_NAME, _SUBJECT_ALT_NAME = bytes.fromhex("550403"), bytes.fromhex("551d11")

# OpenSSL reads "TRUSTED CERTIFICATE" and "X509 CERTIFICATE", too.
_pem_certificate = re.compile(rb"-----BEGIN [A-Z0-9 ]*CERTIFICATE-----.+?-----END [A-Z0-9 ]+-----", re.DOTALL)


def name_in_hello(data: bytes) -> str | None:
    """Return the name of the server, in lower case, that the beginning of a TLS connection asks for; "" for none.

    None: its ClientHello has not come whole. What is no ClientHello asks for nothing; OpenSSL will say so.
    """
    try:
        message = b""
        for kind, record in _records(data):
            if kind != _HANDSHAKE:
                return ""
            message += record
            size = int.from_bytes(message[1:4], "big")
            if message and (message[0] != _CLIENT_HELLO or size > LONGEST_HELLO):
                return ""
            if len(message) >= 4 + size:
                return _name_of(message[4 : 4 + size])
    except IndexError:
        return ""
    return None if len(data) <= LONGEST_HELLO else ""


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of each record; of the last one as much as has come. Raises IndexError for too many."""
    position = 0
    for _ in range(MOST_RECORDS):
        if len(data) < position + 5:
            return
        end = position + 5 + int.from_bytes(data[position + 3 : position + 5], "big")
        yield data[position], data[position + 5 : end]
        position = end
    raise IndexError("more records than a hello is ever cut into")


def _name_of(hello: bytes) -> str:
    rest = hello[2 + 32 :]  # behind version and random
    for width in (1, 2, 1):  # session, cipher suites, compressions
        _, rest = _counted(rest, width)
    extensions, _ = _counted(rest, 2)
    for _ in range(MOST_EXTENSIONS):
        kind = int.from_bytes(extensions[:2], "big")
        content, extensions = _counted(extensions[2:], 2)
        if kind == _SERVER_NAME:
            names, _ = _counted(content, 2)
            name, _ = _counted(names[1:], 2)
            return name.decode("latin-1").lower() if names[0] == _HOST_NAME else ""
    return ""


def _counted(data: bytes, width: int) -> tuple[bytes, bytes]:
    """Split off what is counted by a number of ``width`` bytes in front of it. Raises IndexError where it is short."""
    end = width + int.from_bytes(data[:width], "big")
    if len(data) < end or len(data) < width:
        raise IndexError("a count beyond the end")
    return data[width:end], data[end:]


def names_in_certificate(pem: bytes) -> list[str]:
    """Return the DNS names, in lower case, of the first certificate in ``pem``, which OpenSSL has read without error.

    They are those of subjectAltName; where it has none, the common name of its subject, as self-made ones have.
    Raises ValueError for what OpenSSL reads and this does not.
    """
    found = _pem_certificate.search(pem)
    if found is None:
        raise ValueError("no certificate")
    ((_, certificate),) = _elements(ssl.PEM_cert_to_DER_cert(found[0].decode("ascii")))
    (_, contents), *_ = _elements(certificate)
    parts = [part for part in _elements(contents) if part[0] != _VERSION]
    names = []
    for tag, content in parts:
        if tag == _EXTENSIONS:
            ((_, extensions),) = _elements(content)
            names += [
                name for _, extension in _elements(extensions) for name in _alternative_names(extension)
            ]
    return names or list(_common_names(parts[_SUBJECT][1]))


def _alternative_names(extension: bytes) -> Iterator[str]:
    (_, identifier), *_, (_, value) = _elements(extension)
    if identifier == _SUBJECT_ALT_NAME:
        ((_, names),) = _elements(value)
        for tag, name in _elements(names):
            if tag == _DNS_NAME:
                yield name.decode("latin-1").lower()


def _common_names(subject: bytes) -> Iterator[str]:
    for _, attributes in _elements(subject):
        for _, attribute in _elements(attributes):
            (_, identifier), (_, value) = _elements(attribute)
            if identifier == _COMMON_NAME:
                yield value.decode("latin-1").lower()


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element that ``data`` consists of."""
    while data:
        tag, size, start = data[0], data[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(data[2:start], "big")
        yield tag, data[start : start + size]
        data = data[start + size :]
