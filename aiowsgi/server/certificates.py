"""The certificates that TLS connections are made with: read at the start, and again when their files change.

Guarantees:
- An SSLContext is made whole by one thread, and handed to the event loop; from then on nobody changes it. A change of
  the files makes new ones. A connection keeps the one it was made with.
- The loop never looks at the files: a thread of the disk's pool does, once in a sweep.
- What cannot be used is told once, and what was used before stays.
"""

import logging
import os
import ssl
from dataclasses import dataclass
from functools import partial

from aiowsgi.config import Tls
from aiowsgi.server.servernames import names_in_certificate
from aiowsgi.server.shared import Errand
from aiowsgi.wsgi.pool import Pool

logger = logging.getLogger("aiowsgi.tls")

# For TLS 1.2, those of Mozilla's "intermediate" (Server Side TLS, version 5.7), without its DHE: no client that has
# TLS 1.2 needs it, and it lets clients have the server compute for milliseconds. OpenSSL's for TLS 1.3 are all good.
_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

# For each file when it was changed, its size and its inode; None where there is none.
_Stamps = tuple[tuple[int, int, int] | None, ...]


class CertificateError(Exception):
    """A certificate, key or client CA that cannot be used: one line that names the file."""


class _EncryptedKeyError(Exception):
    """A key asks for a passphrase, and nobody is there to give it."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """One reading of all certificates."""

    default: ssl.SSLContext
    named: dict[str, ssl.SSLContext]  # by DNS name in lower case; "*.example.org" is any one label

    def choose(self, name: str) -> ssl.SSLContext:
        """Return what serves ``name``, in lower case: its own, that of its wildcard, or the default."""
        named = self.named
        return named.get(name) or named.get("*." + name.partition(".")[2]) or self.default


class Certificates:
    """The contexts to make connections with, as of the files' last good state. Raises CertificateError."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._read = self._seen = _stamps(tls)  # of the last reading, and as they were a look ago
        self._looking = False
        self._told = ""  # the last thing that was said of a look in vain
        self.contexts = read_contexts(tls)

    @property
    def verifies(self) -> bool:
        """Whether clients are asked for a certificate."""
        return self._tls.client_certificates != "none"

    def read_again(self) -> None:
        """Read the files now, if they have changed: in a process that has just begun, before it has an event loop."""
        look = _Look(self._tls, self._read, None)
        look.run()
        self._looked(look, None)

    def look(self, disk: Pool) -> None:
        """Have a thread look whether the files have changed, and read them if so. On the loop."""
        if not self._looking:
            self._looking = True
            look = _Look(self._tls, self._read, self._seen)
            disk.submit(Errand(disk, look.run, partial(self._looked, look)))

    def _looked(self, look: "_Look", failure: BaseException | None) -> None:
        self._looking = False
        if failure is not None:
            logger.error("certificates could not be looked at", exc_info=failure)
            return
        self._seen = look.stamps
        if look.hidden:
            if self._told != look.hidden:
                self._told = look.hidden
                logger.warning(
                    "%s: not to be seen by this user, so that a change counts from a reload on", look.hidden
                )
        elif look.error is not None:
            self._read = look.stamps
            logger.error("%s; the certificates of before are used on", look.error)
        elif look.contexts is not None:
            self._read = look.stamps
            self.contexts = look.contexts
            logger.info("certificates have changed and were read again")


class _Look:
    """One look at the files, in a thread; what it finds is the loop's when ``run`` has returned."""

    def __init__(self, tls: Tls, read: _Stamps, seen: _Stamps | None) -> None:
        """``read`` are the stamps of what was read, ``seen`` those of a look ago; None has no look waited for."""
        self._tls = tls
        self._before = read
        self._seen = seen
        self.stamps = read
        self.contexts: Contexts | None = None
        self.error: CertificateError | None = None
        self.hidden = ""  # the file that this process may not even look at

    def run(self) -> None:
        try:
            self.stamps = _stamps(self._tls)
        except PermissionError as error:
            self.hidden = str(error.filename)
            return
        # A certificate and its key do not change at once: they are read when they were the same for two looks.
        if self.stamps != self._before and self._seen in (None, self.stamps):
            try:
                self.contexts = read_contexts(self._tls)
            except CertificateError as error:
                self.error = error


def _stamps(tls: Tls) -> _Stamps:
    return tuple(_stamp(path) for path in tls.files)


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except PermissionError:
        raise
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_contexts(tls: Tls) -> Contexts:
    """Read all files; of several certificates for a name the first one counts. Raises CertificateError."""
    named: dict[str, ssl.SSLContext] = {}
    default = None
    for certificate, key in tls.certificates:
        context = _context(certificate, key, tls)
        default = default or context
        for name in _names(certificate):
            named.setdefault(name, context)
    assert default is not None
    return Contexts(default, named)


def _names(certificate: str) -> list[str]:
    try:
        return names_in_certificate(_pem(certificate, b"CERTIFICATE", "certificate"))
    except (ValueError, IndexError):
        raise CertificateError(f"{certificate}: the names in its first certificate cannot be read") from None


def _context(certificate: str, key: str, tls: Tls) -> ssl.SSLContext:
    _pem(certificate, b"CERTIFICATE", "certificate")
    _pem(key, b"PRIVATE KEY", "key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1", "http/1.0"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # As in Mozilla's list: each of these is good, and a telephone without AES in its processor knows what is quick.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        context.load_cert_chain(certificate, key, _refuse_to_ask)
    except _EncryptedKeyError:
        raise CertificateError(
            f"{key}: the key is encrypted, and nobody is there to type its passphrase"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{key}: this is not the key of {certificate}") from None
        raise CertificateError(f"{certificate}, {key}: OpenSSL cannot use them ({_reason(error)})") from None
    if tls.client_ca is not None:
        _pem(tls.client_ca, b"CERTIFICATE", "certificate")
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError as error:
            raise CertificateError(f"{tls.client_ca}: OpenSSL cannot use it ({_reason(error)})") from None
        context.verify_mode = _VERIFY[tls.client_certificates]
    return context


def _refuse_to_ask() -> str:
    raise _EncryptedKeyError


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "not well-formed").replace("_", " ").lower()


def _pem(path: str, label: bytes, what: str) -> bytes:
    """Return what is in ``path``, which has to have a PEM block whose label ends with ``label``."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CertificateError(f"{path}: the {what} cannot be read ({error.strerror})") from None
    if label + b"-----" not in data or b"-----BEGIN " not in data:
        raise CertificateError(f"{path}: there is no {what} in PEM form in it")
    return data
