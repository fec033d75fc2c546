"""Certificates for tests, made by the openssl command when they are needed."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def openssl(*arguments: str | Path, cwd: Path | None = None, input: bytes = b"") -> bytes:
    """Run ``openssl`` and return what it says on standard output; it has to succeed."""
    done = subprocess.run(["openssl", *map(str, arguments)], input=input, capture_output=True, cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@dataclass(frozen=True)
class Pair:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path

    def settings(self) -> dict[str, Any]:
        return {"certificate": [str(self.certificate)], "key": [str(self.key)]}

    def replace(self, other: "Pair") -> None:
        """Have the files hold what another's hold, as a renewal does."""
        self.key.write_bytes(other.key.read_bytes())
        self.certificate.write_bytes(other.certificate.read_bytes())


class Authority:
    """Signs certificates; its own is in ``file``."""

    def __init__(self, folder: Path, name: str = "Test Authority") -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.file = folder / "authority.pem"
        self._key = folder / "authority.key"
        # Since Python 3.13 contexts are strict (RFC 5280 section 4.2.1.3): whoever signs has to say that it may.
        usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._make("-subj", f"/CN={name}", "-keyout", self._key, "-out", self.file, *usage)

    def issue(self, name: str, *names: str, subject: str | None = None, **options: str) -> Pair:
        """Return a certificate with a new key for the DNS ``names``, in files that begin with ``name``.

        ``subject`` is as openssl takes it; without ``names`` there is no subjectAltName. ``options`` are more of
        those of ``openssl req``.
        """
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        extensions: list[str | Path] = ["-addext", "basicConstraints=CA:FALSE"]
        if names:
            extensions += ["-addext", "subjectAltName=" + ",".join(f"DNS:{each}" for each in names)]
        more: list[str] = [text for option, value in options.items() for text in (f"-{option}", value)]
        signer: list[str | Path] = ["-CA", self.file, "-CAkey", self._key]
        self._make(
            *("-subj", subject or f"/CN={name}", "-keyout", pair.key, "-out", pair.certificate),
            *(*extensions, *signer, *more),
        )
        return pair

    def _make(self, *arguments: str | Path) -> None:
        # An elliptic curve's key is made at once, RSA's takes a second.
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc")
        openssl("req", "-x509", "-utf8", "-days", "7", *key, *arguments)

    def trusted(self) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority and nobody else."""
        context = ssl.create_default_context(cafile=str(self.file))
        # Or an end that the server has not told would look to the client as if it had.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        return context
