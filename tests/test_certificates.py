"""Certificates: chosen by name, read again when they change, and refused with one line."""

import asyncio
import logging
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from aiowsgi.config import Tls
from aiowsgi.server.certificates import CertificateError, Certificates
from tests.authority import Authority, Pair, openssl
from tests.secure_client import SecurePeer
from tests.server import RunningServer
from tests.test_reload import until_true
from tests.thread_server import serving
from tests.wire_client import WAIT, Server, echo


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())


def tls(*pairs: Pair) -> Tls:
    return Tls(tuple((str(pair.certificate), str(pair.key)) for pair in pairs))


# By name.


@pytest.fixture(scope="module")
def pairs(authority: Authority) -> list[Pair]:
    return [
        authority.issue("first", "first.example", "shared.example"),
        authority.issue("wild", "*.wild.example", "shared.example"),
        authority.issue("exact", "exact.wild.example"),
    ]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("first.example", 0),
        ("FIRST.example", 0),
        ("shared.example", 0),
        ("any.wild.example", 1),
        ("exact.wild.example", 2),
        ("wild.example", 0),
        ("two.levels.wild.example", 0),
        ("elsewhere.example", 0),
        (None, 0),
    ],
)
def test_the_name_decides(name: str | None, index: int, authority: Authority, pairs: list[Pair]) -> None:
    context = authority.trusted()
    context.check_hostname = False
    settings: dict[str, Any] = {
        "certificate": [str(pair.certificate) for pair in pairs],
        "key": [str(pair.key) for pair in pairs],
    }
    with serving(echo, **settings) as server, SecurePeer(server.server_address, context, name) as peer:
        assert peer.certificate() == der(pairs[index])


def test_a_key_may_be_in_the_file_of_its_certificate(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("together", "localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
    with (
        serving(echo, certificate=[str(both)]) as server,
        SecurePeer(server.server_address, authority.trusted()) as peer,
    ):
        assert peer.certificate() == der(pair)


# When they change.


async def look(certificates: Certificates, server: Server, times: int = 1) -> None:
    """Look, as the worker does once a second."""
    for _ in range(times):
        certificates.look(server.disk)
        async with asyncio.timeout(WAIT):
            while certificates._looking:
                await asyncio.sleep(0)


@pytest.fixture
def renewed(authority: Authority, tmp_path: Path) -> Pair:
    """A pair of files, not the authority's own, to change."""
    pair = Pair(tmp_path / "live.pem", tmp_path / "live.key")
    pair.replace(authority.issue("old", "localhost"))
    return pair


async def test_changed_files_are_read_when_they_change_no_more(authority: Authority, renewed: Pair) -> None:
    certificates = Certificates(tls(renewed))
    before = certificates.contexts
    with Server() as server:
        await look(certificates, server, 3)
        assert certificates.contexts is before
        renewed.replace(authority.issue("new", "localhost"))
        await look(certificates, server)
        assert certificates.contexts is before
        await look(certificates, server)
        assert certificates.contexts is not before


@pytest.mark.parametrize("broken", [b"", b"nonsense", None])
async def test_a_broken_change_is_told_once_and_not_used(
    broken: bytes | None, authority: Authority, renewed: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(tls(renewed))
    before = certificates.contexts
    with Server() as server:
        if broken is None:
            renewed.certificate.unlink()
        else:
            renewed.certificate.write_bytes(broken)
        await look(certificates, server, 5)
        assert certificates.contexts is before
        (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert str(renewed.certificate) in record.getMessage()
        renewed.replace(authority.issue("new", "localhost"))
        await look(certificates, server, 2)
        assert certificates.contexts is not before


def test_no_connection_is_dropped_for_a_new_certificate(authority: Authority, renewed: Pair) -> None:
    arguments = ["--certificate", str(renewed.certificate), "--key", str(renewed.key)]
    with RunningServer("tests.wire_client:echo", "--bind", "tls:127.0.0.1:0", *arguments) as server:
        address = ("127.0.0.1", server.port)
        with SecurePeer(address, authority.trusted()) as old:
            before = old.certificate()
            renewed.replace(authority.issue("new", "localhost"))
            server.until("certificates have changed")
            with SecurePeer(address, authority.trusted()) as new:
                assert new.certificate() == der(renewed) != before
            assert old.get("/").content == b"GET / ."


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up rights")
@pytest.mark.parametrize("option", ["--preload", "--no-preload"])
def test_a_reload_reads_what_only_root_may_read(
    option: str, authority: Authority, renewed: Pair, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    arguments = ["--certificate", str(renewed.certificate), "--key", str(renewed.key), "--user", "nobody"]
    with TemporaryDirectory() as name:  # those of pytest are its own user's alone
        project = Path(name)
        project.chmod(0o755)
        (project / "app.py").write_text(
            "def app(environ, start_response):\n    start_response('200 OK', [])\n    return []"
        )
        with RunningServer("app:app", option, "--bind", "tls:127.0.0.1:0", *arguments, cwd=project) as server:
            server.until(f"{renewed.certificate}: not to be seen by this user")
            renewed.replace(authority.issue("new", "localhost"))
            os.kill(server.pid, signal.SIGHUP)
            server.until("certificates have changed")
            server.until("reloaded")

            def answers() -> bool:
                with SecurePeer(("127.0.0.1", server.port), authority.trusted()) as peer:
                    return peer.certificate() == der(renewed)

            until_true(answers)


# What cannot be used.


def refusal(certificate: Path, key: Path, client_ca: Path | None = None) -> str:
    with pytest.raises(CertificateError) as caught:
        Certificates(Tls(((str(certificate), str(key)),), str(client_ca) if client_ca else None, "required"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_cannot_be_used_is_told(authority: Authority, tmp_path: Path) -> None:
    pair, other = authority.issue("one", "localhost"), authority.issue("other", "localhost")
    empty, none = tmp_path / "empty", tmp_path / "none"
    empty.touch()
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    encrypted = tmp_path / "encrypted"
    openssl("ec", "-in", pair.key, "-out", encrypted, "-aes128", "-passout", "pass:secret")
    assert refusal(none, pair.key) == f"{none}: the certificate cannot be read (No such file or directory)"
    assert refusal(pair.certificate, none) == f"{none}: the key cannot be read (No such file or directory)"
    assert refusal(tmp_path, pair.key) == f"{tmp_path}: the certificate cannot be read (Is a directory)"
    assert refusal(empty, pair.key) == f"{empty}: there is no certificate in PEM form in it"
    assert refusal(pair.certificate, empty) == f"{empty}: there is no key in PEM form in it"
    assert refusal(pair.key, pair.key) == f"{pair.key}: there is no certificate in PEM form in it"
    assert refusal(pair.certificate, other.key) == f"{other.key}: this is not the key of {pair.certificate}"
    assert "OpenSSL cannot use" in refusal(broken, pair.key)
    assert refusal(pair.certificate, encrypted).startswith(f"{encrypted}: the key is encrypted")
    assert refusal(pair.certificate, pair.key, empty) == f"{empty}: there is no certificate in PEM form in it"
    assert "OpenSSL cannot use" in refusal(pair.certificate, pair.key, broken)


@pytest.mark.parametrize("label", ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"])
def test_a_certificate_in_another_form_is_told(label: str, authority: Authority, tmp_path: Path) -> None:
    pair, other = authority.issue("one", "localhost"), tmp_path / "other"
    if label == "TRUSTED CERTIFICATE":
        openssl("x509", "-in", pair.certificate, "-trustout", "-out", other)
    else:
        other.write_text(pair.certificate.read_text().replace("CERTIFICATE", label))
    assert f"-----BEGIN {label}-----" in other.read_text()
    refused = f"{other}: the names in its first certificate cannot be read"
    assert refusal(other, pair.key) == refused
    other.write_bytes(other.read_bytes() + authority.file.read_bytes())  # which is not whose names count
    assert refusal(other, pair.key) == refused


def test_a_server_does_not_start_with_what_it_cannot_use(authority: Authority) -> None:
    pair, other = authority.issue("one", "localhost"), authority.issue("other", "localhost")
    command = [
        sys.executable,
        "-m",
        "aiowsgi",
        "serve",
        "tests.wire_client:echo",
        "--bind",
        "tls:127.0.0.1:0",
    ]
    command += ["--certificate", str(pair.certificate), "--key", str(other.key)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT)
    assert done.returncode == 2
    assert done.stderr == f"aiowsgi: {other.key}: this is not the key of {pair.certificate}\n"
