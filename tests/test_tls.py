"""TLS from end to end: real sockets, and as clients a TLS of the test's own, openssl, curl and httpx."""

import ssl
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Timer
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import httpx
import pytest

from aiowsgi.process.embedded import WSGIServer
from aiowsgi.server.tls import MOST_SILENT
from tests.authority import Authority, Pair, openssl
from tests.secure_client import SecurePeer
from tests.server import RunningServer
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT, answering, echo


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("server", "localhost")


@pytest.fixture(params=LOOPS)
def loop(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def connect(server: WSGIServer, authority: Authority, **options: Any) -> SecurePeer:
    return SecurePeer(server.server_address, authority.trusted(), **options)


def facts(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    names = [name for name in environ if name.startswith(("SSL_", "HTTPS", "wsgi.url_scheme", "SERVER_PORT"))]
    return [f"{name}={environ[name]}\n".encode() for name in sorted(names)]


def told_facts(content: bytes) -> dict[str, str]:
    return dict(line.split("=", 1) for line in content.decode().splitlines())


def s_client(server: WSGIServer, *arguments: str | Path, say: bytes = b"") -> str:
    """Have ``openssl s_client`` speak to the server and return all that it tells; it may fail."""
    host, port = server.server_address
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", *map(str, arguments)]
    done = subprocess.run(command, input=say, capture_output=True, timeout=WAIT)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def test_requests_are_answered(loop: str, authority: Authority, pair: Pair) -> None:
    with serving(echo, loop=loop, **pair.settings()) as server, connect(server, authority) as peer:
        assert peer.get("/a").content == b"GET /a ."
        peer.send(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert peer.answer().content == b"POST /b abc."


def test_requests_may_come_in_any_pieces(loop: str, authority: Authority, pair: Pair) -> None:
    with serving(echo, loop=loop, **pair.settings()) as server, connect(server, authority) as peer:
        for byte in get("/drip"):  # each in a record of its own
            peer.send(bytes([byte]))
        assert peer.answer().content == b"GET /drip ."
        peer.send(b"".join(get(f"/{number}") for number in range(100)))
        assert [peer.answer().content for _ in range(100)] == [f"GET /{n} .".encode() for n in range(100)]


def test_applications_are_told_of_it(authority: Authority, pair: Pair) -> None:
    with serving(facts, **pair.settings()) as server, connect(server, authority) as peer:
        told = told_facts(peer.get("/").content)
    assert told["HTTPS"] == "on"
    assert told["wsgi.url_scheme"] == "https"
    assert told["SSL_PROTOCOL"] == "TLSv1.3"
    assert told["SSL_CIPHER"].startswith("TLS_AES_")
    assert told["SERVER_PORT"] == str(server.server_port)
    assert "SSL_CLIENT_VERIFY" not in told


def test_content_of_any_size_goes_both_ways(loop: str, authority: Authority, pair: Pair) -> None:
    content = bytes(range(256)) * 12_000
    with serving(echo, loop=loop, **pair.settings()) as server, connect(server, authority) as peer:
        peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        assert peer.answer().content == b"POST / " + content + b"."


def test_files_are_sent_whole(loop: str, authority: Authority, pair: Pair, tmp_path: Path) -> None:
    content = bytes(range(251)) * 8_000
    (tmp_path / "large.bin").write_bytes(content)
    settings = {"static": [f"/files={tmp_path}"], **pair.settings()}
    with serving(echo, loop=loop, **settings) as server, connect(server, authority) as peer:
        for _ in range(2):
            assert peer.get("/files/large.bin").content == content
        assert peer.get("/").content == b"GET / ."


def test_a_client_may_ask_for_small_records(authority: Authority, pair: Pair) -> None:
    content = bytes(100_000)
    with serving(answering(content), **pair.settings()) as server:
        said = s_client(
            server, "-maxfraglen", "512", "-tls1_2", "-quiet", "-ign_eof", say=get("/", "Connection: close")
        )
    assert "\r\n\r\n" + "\0" * len(content) in said


# How answers end.


def failing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])

    def pieces() -> Iterator[bytes]:
        yield b"the beginning"
        raise RuntimeError("and no end")

    return pieces()


def test_an_end_by_close_is_told(loop: str, authority: Authority, pair: Pair) -> None:
    with (
        serving(answering([b"a", b"b"]), loop=loop, **pair.settings()) as server,
        connect(server, authority) as peer,
    ):
        peer.send(b"GET / HTTP/1.0\r\n\r\n")
        assert peer.rest().endswith(b"\r\n\r\nab")
        assert peer.tls.told


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_end_that_is_none_is_not_told(loop: str, version: str, authority: Authority, pair: Pair) -> None:
    with serving(failing, loop=loop, **pair.settings()) as server, connect(server, authority) as peer:
        peer.send(f"GET / HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        peer.rest()
        assert not peer.tls.told


def test_a_client_that_has_said_its_end_is_still_answered(
    loop: str, authority: Authority, pair: Pair
) -> None:
    gate = Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        assert gate.wait(WAIT)
        return echo(environ, start_response)

    with serving(application, loop=loop, **pair.settings()) as server, connect(server, authority) as peer:
        peer.send(get("/a"))
        peer.send_eof()
        gate.set()
        assert peer.rest().endswith(b"GET /a .")
        assert peer.tls.told


def test_an_idle_connection_ends_with_its_clients_side(loop: str, authority: Authority, pair: Pair) -> None:
    with serving(echo, loop=loop, **pair.settings()) as server, connect(server, authority) as peer:
        peer.get("/")
        peer.send_eof()
        assert peer.rest() == b""
        assert peer.tls.told


def test_a_refusal_is_read_although_the_client_goes_on_sending(
    loop: str, authority: Authority, pair: Pair
) -> None:
    with (
        serving(echo, loop=loop, max_body=1000, **pair.settings()) as server,
        connect(server, authority) as peer,
    ):
        peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + bytes(500))
        peer.send(bytes(501))
        assert peer.answer().status == 413
        assert peer.rest() == b""
        assert peer.tls.told


def test_a_slow_reader_is_waited_for(loop: str, authority: Authority, pair: Pair) -> None:
    content = bytes(range(256)) * 40_000
    with (
        serving(answering(content), loop=loop, **pair.settings()) as server,
        connect(server, authority, receive_buffer=4096) as slow,
        connect(server, authority) as other,
    ):
        slow.send(get("/"))
        slow.until(b"\r\n")  # it is being answered, and there is no room for the rest
        other.send(get("/"))
        assert other.answer().content == content
        slow.until(b"\r\n\r\n")
        assert slow.read(len(content)) == content


def test_a_client_that_leaves_is_no_line_in_the_log(
    loop: str, authority: Authority, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    content = bytes(4_000_000)
    with serving(answering(content), loop=loop, **pair.settings()) as server:
        for _ in range(5):
            with connect(server, authority, receive_buffer=4096) as peer:
                peer.send(get("/"))
                peer.until(b"\r\n\r\n")
                peer.reset()
    assert caplog.messages == []


# Who comes without TLS, or with what is none.


def test_plain_http_is_told_so(loop: str, pair: Pair) -> None:
    with serving(echo, loop=loop, **pair.settings()) as server, Peer(server.server_address) as peer:
        answer = peer.get("/")
        assert answer.status == 400
        assert b"HTTPS" in answer.content
        peer.send_eof()
        assert peer.rest() == b""


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\0",
        b"\0" * 100_000,
        b"\x16\x03\x01\xff\xff" + b"\1" * 70_000,
        b"\x16\x03\x01\0\5\1\0\0\1\0",
        b"\xff" * 11,
    ],
    ids=["nothing", "zeros", "long", "short", "ones"],
)
def test_nonsense_ends_the_connection_and_no_other(
    loop: str, nonsense: bytes, authority: Authority, pair: Pair
) -> None:
    with serving(echo, loop=loop, **pair.settings()) as server, connect(server, authority) as other:
        with Peer(server.server_address) as peer:
            peer.send(nonsense)
            peer.send_eof()
            with suppress(ConnectionResetError):
                assert len(peer.rest()) < 10  # an alert
        assert other.get("/").content == b"GET / ."


def test_what_is_no_record_ends_the_connection(loop: str, authority: Authority, pair: Pair) -> None:
    with serving(echo, loop=loop, **pair.settings()) as server, connect(server, authority) as peer:
        peer.get("/")
        peer.tls.raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with suppress(OSError):  # an alert
            peer.rest()
        assert not peer.tls.told


def in_pieces(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    yield b"x" * 1_000_000
    yield from (b"%04d" % number for number in range(2000))


@pytest.mark.parametrize("loop", LOOPS)
def test_pieces_that_wait_for_the_client_come_in_their_order(
    authority: Authority, pair: Pair, loop: str
) -> None:
    with (
        serving(in_pieces, loop=loop, **pair.settings()) as server,
        SecurePeer(server.server_address, authority.trusted(), receive_buffer=4096) as peer,
    ):
        assert peer.get("/").content == b"x" * 1_000_000 + b"".join(b"%04d" % n for n in range(2000))


# What may be spoken.


def test_tls_1_2_and_later(authority: Authority, pair: Pair) -> None:
    with serving(facts, **pair.settings()) as server:
        context = authority.trusted()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with SecurePeer(server.server_address, context) as peer:
            assert told_facts(peer.get("/").content)["SSL_PROTOCOL"] == "TLSv1.2"
        said = s_client(server, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert "alert protocol version" in said


@pytest.mark.parametrize("cipher", ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"])
def test_weak_ciphers_are_refused(cipher: str, pair: Pair) -> None:
    with serving(echo, **pair.settings()) as server:
        assert "alert handshake failure" in s_client(server, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")


def test_http_1_1_is_agreed_on(pair: Pair) -> None:
    with serving(echo, **pair.settings()) as server:
        assert "ALPN protocol: http/1.1" in s_client(server, "-alpn", "h2,http/1.1")


def test_nothing_is_negotiated_again(authority: Authority, pair: Pair) -> None:
    with serving(echo, **pair.settings()) as server, connect(server, authority) as other:
        said = s_client(server, "-tls1_2", say=b"R\n")
        assert "RENEGOTIATING" in said
        assert "no renegotiation" in said
        assert other.get("/").status == 200


def test_sessions_are_resumed(pair: Pair, tmp_path: Path) -> None:
    session = tmp_path / "session"
    with serving(echo, **pair.settings()) as server:
        request = get("/", "Connection: close")
        first = s_client(server, "-ign_eof", "-sess_out", session, say=request)
        assert "Reused, TLSv1.3" not in first
        assert "Reused, TLSv1.3" in s_client(server, "-ign_eof", "-sess_in", session, say=request)


def test_who_renews_keys_again_and_again_is_cut(loop: str, authority: Authority, pair: Pair) -> None:
    with serving(echo, loop=loop, **pair.settings()) as server, connect(server, authority) as other:
        host, port = server.server_address
        command = ["openssl", "s_client", "-connect", f"{host}:{port}"]
        pipe = subprocess.PIPE
        with (
            subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as client,
            killed_late(client),
        ):
            assert client.stdin is not None
            for _ in range(MOST_SILENT // 2):
                client.stdin.write(b"K\n")  # a command: renew them, and have the server do the same
                assert says(client, b"KEYUPDATE\n")
            client.stdin.write(get("/"))
            assert says(client, b"GET / .")
            with suppress(BrokenPipeError):
                for _ in range(100 * MOST_SILENT):
                    client.stdin.write(b"k\n")
                    if not says(client, b"KEYUPDATE\n"):
                        break
                else:
                    pytest.fail("it was not cut")
        assert other.get("/").content == b"GET / ."


@contextmanager
def killed_late(process: subprocess.Popen[bytes]) -> Iterator[None]:
    timer = Timer(WAIT, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        process.kill()


def says(process: subprocess.Popen[bytes], end: bytes) -> bool:
    """Read what ``process`` writes up to ``end``; tell whether it comes before the process ends."""
    assert process.stdout is not None
    said = b""
    while not said.endswith(end):
        piece = process.stdout.read(1)
        if not piece:
            return False
        said += piece
    return True


# Client certificates.


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("clients"), "Client Authority")


def asking(clients: Authority, pair: Pair, **settings: Any) -> dict[str, Any]:
    return {"client_ca": str(clients.file), **pair.settings(), **settings}


def test_a_required_certificate_is_told_to_applications(
    authority: Authority, clients: Authority, pair: Pair
) -> None:
    alice = clients.issue("alice", subject="/C=DE/O=Example, Inc./CN=Älice")
    context = authority.trusted()
    context.load_cert_chain(alice.certificate, alice.key)
    serial = openssl("x509", "-in", alice.certificate, "-noout", "-serial").decode().strip()
    with (
        serving(facts, **asking(clients, pair)) as server,
        SecurePeer(server.server_address, context) as peer,
    ):
        told = told_facts(peer.get("/").content)
    assert told["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert told["SSL_CLIENT_S_DN"] == r"CN=\C3\84lice,O=Example\, Inc.,C=DE"
    assert told["SSL_CLIENT_I_DN"] == "CN=Client Authority"
    assert "serial=" + told["SSL_CLIENT_M_SERIAL"] == serial


@pytest.mark.parametrize("signed", [False, True], ids=["none", "somebody else's"])
def test_a_required_certificate_is_required(
    signed: bool, loop: str, authority: Authority, clients: Authority, pair: Pair
) -> None:
    context = authority.trusted()
    if signed:
        stranger = authority.issue("stranger")
        context.load_cert_chain(stranger.certificate, stranger.key)
    called = Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        called.set()
        return echo(environ, start_response)

    with serving(application, loop=loop, **asking(clients, pair)) as server:
        # TLS 1.3: for the client the handshake is over before the server has seen its certificate.
        with SecurePeer(server.server_address, context) as peer:
            peer.send(get("/"))
            with pytest.raises(OSError, match=r"ALERT_(CERTIFICATE_REQUIRED|UNKNOWN_CA)"):
                peer.rest()
        assert not called.is_set()


def test_an_optional_certificate_is_optional(authority: Authority, clients: Authority, pair: Pair) -> None:
    settings = asking(clients, pair, client_certificates="optional")
    with serving(facts, **settings) as server, connect(server, authority) as peer:
        told = told_facts(peer.get("/").content)
    assert told["SSL_CLIENT_VERIFY"] == "NONE"
    assert "SSL_CLIENT_S_DN" not in told


# Other clients.


def test_httpx(authority: Authority, pair: Pair) -> None:
    with serving(echo, **pair.settings()) as server, httpx.Client(verify=authority.trusted()) as client:
        url = f"https://localhost:{server.server_port}/"
        assert client.get(url).text == "GET / ."
        assert client.post(url, content=b"x" * 1_000_000).text == f"POST / {'x' * 1_000_000}."


def test_curl(authority: Authority, pair: Pair) -> None:
    url = "https://localhost:{}/"
    with serving(echo, **pair.settings()) as server:
        command = ["curl", "--silent", "--show-error", "--cacert", str(authority.file)]
        command += ["--data-binary", "@-", url.format(server.server_port)]
        done = subprocess.run(command, input=b"y" * 300_000, capture_output=True, check=True, timeout=WAIT)
    assert done.stdout == b"POST / " + b"y" * 300_000 + b"."


def test_a_unix_socket(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    arguments = ["--bind", f"tls:unix:{path}", "--certificate", str(pair.certificate), "--key", str(pair.key)]
    with RunningServer("tests.wire_client:echo", *arguments) as server:
        assert server.url == f"tls:unix:{path}"
        with SecurePeer(str(path), authority.trusted()) as peer:
            assert peer.get("/a").content == b"GET /a ."


def test_what_is_being_answered_is_answered_at_the_end(loop: str, authority: Authority, pair: Pair) -> None:
    entered, gate = Event(), Event()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entered.set()
        assert gate.wait(WAIT)
        return echo(environ, start_response)

    with (
        serving(application, loop=loop, **pair.settings()) as server,
        connect(server, authority) as peer,
        connect(server, authority) as idle,
    ):
        peer.send(get("/"))
        assert entered.wait(WAIT)
        server._worker.stop()
        assert idle.rest() == b""
        assert idle.tls.told
        gate.set()
        assert peer.answer().fields["connection"] == "close"


def test_a_handshake_that_has_begun_is_not_lost_at_the_end(
    loop: str, authority: Authority, pair: Pair
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.trusted().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    with (
        serving(echo, loop=loop, **pair.settings()) as server,
        Peer(server.server_address) as peer,
    ):
        peer.send(hello[:100])
        with connect(server, authority) as idle:
            server._worker.stop()
            assert idle.rest() == b""
        peer.send(hello[100:])
        said = False
        while not said:
            incoming.write(peer.socket.recv(65536))
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
                said = True
        client.write(get("/"))
        peer.send(outgoing.read())
        incoming.write(peer.rest())
        assert client.read(65536).endswith(b"GET / .")
