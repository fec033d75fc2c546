"""From http to https: where a redirect leads, and who is told to come by https from now on."""

import os
import signal
import ssl
from pathlib import Path

import pytest

from aiowsgi.config import Limits
from aiowsgi.http.framing import Head, render
from aiowsgi.http.messages import Request, Response
from aiowsgi.http.parser import Parser
from aiowsgi.site.https import Https
from aiowsgi.wsgi.environ import Environ, server_environ
from tests.authority import Authority
from tests.secure_client import SecurePeer
from tests.server import RunningServer
from tests.thread_server import Peer


def request(target: str = "/", host: str | None = "example.org", method: str = "GET") -> Request:
    lines = [f"{method} {target} HTTP/1.{0 if host is None else 1}"]
    lines += [] if host is None else [f"Host: {host}"]
    found = Parser(Limits()).head("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))
    assert found is not None
    return found[0]


def plain(port: str = "80", name: str = "this.example") -> Environ:
    return server_environ(name, port, "http", False)


def location(response: Response | None) -> str:
    assert response is not None
    return response.fields.decode("latin-1").removeprefix("Location: ").removesuffix("\r\n")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", "/"),
        ("/a%20b/%2e%2e/c?d=%C3%A9&e", "/a%20b/%2e%2e/c?d=%C3%A9&e"),
        ("//evil.example/", "//evil.example/"),
        ("http://example.org/x?y", "/x?y"),
    ],
)
def test_path_and_query_are_kept(target: str, expected: str) -> None:
    assert location(Https(None, "443").redirect(request(target), plain())) == "https://example.org" + expected


@pytest.mark.parametrize(
    ("host", "port", "https", "expected"),
    [
        ("example.org", "80", "443", "example.org"),
        ("example.org:80", "80", "443", "example.org"),
        ("example.org", "80", "8443", "example.org:8443"),
        ("example.org:8080", "8080", "8443", "example.org:8443"),
        ("[2001:db8::1]:8080", "8080", "8443", "[2001:db8::1]:8443"),
        # The client has come to the standard port, and somebody has led it to another one.
        ("example.org", "8080", "8443", "example.org"),
        (None, "80", "443", "this.example"),
        (None, "8080", "8443", "this.example:8443"),
    ],
)
def test_the_host_is_kept_and_the_port_is_that_of_https(
    host: str | None, port: str, https: str, expected: str
) -> None:
    assert location(Https(None, https).redirect(request(host=host), plain(port))) == f"https://{expected}/"


def test_a_server_name_that_is_an_address_has_brackets() -> None:
    response = Https(None, "443").redirect(request(host=None), plain(name="::1"))
    assert location(response) == "https://[::1]/"


@pytest.mark.parametrize(("method", "status"), [("GET", 301), ("HEAD", 301), ("POST", 308), ("DELETE", 308)])
def test_the_method_is_kept(method: str, status: int) -> None:
    response = Https(None, "443").redirect(request(method=method), plain())
    assert response is not None
    assert response.status == status


def test_challenges_of_certificate_authorities_are_answered_as_they_are() -> None:
    https = Https(None, "443")
    assert https.redirect(request("/.well-known/acme-challenge/a-B_9"), plain()) is None
    for path in ("", "a/b", "../x", "%2e%2e/x", "a%00"):
        assert https.redirect(request(f"/.well-known/acme-challenge/{path}"), plain()) is not None


def test_the_health_path_is_answered_as_it_is() -> None:
    """Who asks there takes a redirect for a yes."""
    https = Https(None, "443", "/ça-va")
    assert https.redirect(request("/%C3%A7a-va"), plain()) is None
    assert https.redirect(request("/ca-va"), plain()) is not None
    assert Https(None, "443").redirect(request("/None"), plain()) is not None


def test_only_https_is_told_to_be_kept_to() -> None:
    https = Https("max-age=60", None)
    by_tls, by_plain = request(), request()
    assert https.redirect(by_tls, server_environ("a", "443", "https", False)) is None
    assert https.redirect(by_plain, plain()) is None
    line = b"\r\nStrict-Transport-Security: max-age=60\r\n"
    head = Head("200 OK", [])
    assert head.render(by_tls, 1, True)[0].count(line) == 1
    assert head.render(by_plain, 1, True)[0].count(line) == 0
    assert render(Response(404), by_tls, True)[0].count(line) == 1
    assert render(Response(404), by_plain, True)[0].count(line) == 0


def test_what_the_application_says_of_it_counts() -> None:
    by_tls = request()
    Https("max-age=60", None).redirect(by_tls, server_environ("a", "443", "https", False))
    data, _, _ = Head("200 OK", [("strict-transport-security", "max-age=0")]).render(by_tls, 1, True)
    assert data.lower().count(b"strict-transport-security") == 1
    assert b"max-age=0" in data


def test_a_server_that_leads_to_https_serves_challenges(tmp_path: Path) -> None:
    pair = Authority(tmp_path / "authority").issue("localhost", "localhost")
    challenges = tmp_path / "acme" / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("proof")
    arguments = ["--bind", "127.0.0.1:0", "--bind", "tls:127.0.0.1:0", "--redirect-https", "--hsts", "60"]
    arguments += ["--certificate", str(pair.certificate), "--key", str(pair.key)]
    arguments += ["--static", f"/.well-known={challenges.parent}"]
    with RunningServer("tests.wire_client:echo", *arguments) as server:
        port = server.until(r"listening on https://127.0.0.1:(\d+)")[1]
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/.well-known/acme-challenge/token").content == b"proof"
            peer.send(b"POST /a?b HTTP/1.1\r\nHost: localhost:1\r\nContent-Length: 1\r\n\r\nx")
            answer = peer.answer()
            assert (answer.status, answer.fields["location"]) == (308, f"https://localhost:{port}/a?b")
            assert "strict-transport-security" not in answer.fields
        context = ssl.create_default_context(cafile=str(tmp_path / "authority" / "authority.pem"))
        with SecurePeer(("127.0.0.1", int(port)), context) as secure:
            for path in ("/", "/.well-known/none", "/.well-known/acme-challenge/token"):
                assert secure.get(path).fields["strict-transport-security"] == "max-age=60"


def test_https_is_neither_begun_nor_ended_by_a_reload(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost", "localhost")
    (tmp_path / "html").mkdir()
    settings = tmp_path / "aiowsgi.toml"
    files = f'certificate = "{pair.certificate}"\nkey = "{pair.key}"\n'
    plain, secure = 'bind = ["127.0.0.1:0"]\n', f'bind = ["tls:127.0.0.1:0"]\n{files}'
    stays = "bind is that of the start until the next one"
    settings.write_text(secure)
    with RunningServer(cwd=tmp_path, bind=False) as server:
        settings.write_text(plain)
        os.kill(server.pid, signal.SIGHUP)
        server.until(f"no reload: bind: expected --certificate beside it, got 'tls:127.0.0.1:0'; {stays}$")
        with SecurePeer(("127.0.0.1", server.port), authority.trusted()) as peer:
            assert peer.get("/").status == 404
        settings.write_text(f"{secure}hsts = 60\nthreads = 1\nworkers = 2\n")
        os.kill(server.pid, signal.SIGHUP)
        server.until("WARNING .* workers has changed, which counts from the next start on$")
        server.until(r"\breloaded$")
    settings.write_text(plain)
    with RunningServer(cwd=tmp_path, bind=False) as server:
        settings.write_text(f'bind = ["127.0.0.1:0", "tls:127.0.0.1:0"]\n{files}redirect_https = true\n')
        os.kill(server.pid, signal.SIGHUP)
        server.until(f"no reload: certificate: expected a bind that begins with tls: beside it, .*; {stays}$")
        with Peer(("127.0.0.1", server.port)) as peer:
            assert peer.get("/").status == 404
