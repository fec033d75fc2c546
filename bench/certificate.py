"""The certificate of the scenarios with TLS, made anew for each run by openssl."""

import subprocess
from pathlib import Path

CERTIFICATE, KEY = "certificate.pem", "key.pem"

_OPTIONS = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench"


def command(folder: Path, address: str) -> list[str]:
    """Return openssl's command for a certificate of ``address`` that its own key signs."""
    names = ["-addext", f"subjectAltName=IP:{address}"]
    files = ["-keyout", str(folder / KEY), "-out", str(folder / CERTIFICATE)]
    return ["openssl", "req", *_OPTIONS.split(), *names, *files]


def write_certificate(folder: Path, address: str) -> None:
    """Write the certificate and its key into ``folder``."""
    subprocess.run(command(folder, address), check=True, capture_output=True, timeout=10)
