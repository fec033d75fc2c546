"""Sockets that somebody else has opened: systemd's socket activation, and descriptors by their numbers."""

import os
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from aiowsgi.config import ConfigError
from aiowsgi.process.passed import take_passed
from tests.authority import Authority
from tests.server import RunningServer
from tests.systemd import launcher
from tests.thread_server import Peer, get

APPLICATION = """\
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    told = [name for name in os.environ if name.startswith("LISTEN_")]
    return [f"{environ['wsgi.url_scheme']} {told} {environ['REMOTE_ADDR']}".strip().encode()]
"""


def variables(fds: str, names: str | None = None, pid: int | None = None) -> dict[str, str]:
    given = {"LISTEN_FDS": fds, "LISTEN_PID": str(pid or os.getpid())}
    return given if names is None else {**given, "LISTEN_FDNAMES": names}


def test_the_sockets_of_systemd_are_known_by_their_descriptors_and_names() -> None:
    assert take_passed({}) == ()
    assert take_passed(variables("0", "")) == ()
    assert take_passed(variables("2")) == ("fd:3", "fd:4")
    assert take_passed(variables("3", "site.socket:tls:")) == ("fd:3", "tls:fd:4", "fd:5")


def test_what_was_passed_to_another_process_is_not_taken_and_not_handed_on() -> None:
    environ = {**variables("1", "tls", os.getppid()), "HOME": "/"}
    assert take_passed(environ) == ()
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (variables("many"), "LISTEN_FDS: expected a number of descriptors, got 'many'"),
        (variables("99999"), "LISTEN_FDS: expected a number of descriptors, got '99999'"),
        (variables("2", "tls"), "LISTEN_FDNAMES: expected 2 names, got 'tls'"),
    ],
)
def test_variables_that_contradict_themselves_are_one_line(given: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        take_passed(given)
    assert str(caught.value) == line


def test_a_server_serves_on_the_sockets_of_systemd_instead_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    path = tmp_path / "socket"
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("localhost", "localhost")
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        socket.create_server(("127.0.0.1", 0)) as secure,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        unix.bind(str(path))
        abstract.bind(f"\0{tmp_path}")
        unix.listen()
        abstract.listen()
        sockets = (plain, secure, unix, abstract)
        with RunningServer(
            *("app:application", "--workers", "2"),
            *("--certificate", str(pair.certificate), "--key", str(pair.key)),
            cwd=tmp_path,
            launcher=launcher(sockets, "site.socket", "tls", "site.socket", ""),
            descriptors=[sock.fileno() for sock in sockets],
        ) as server:
            assert server.port == plain.getsockname()[1]
            server.until(rf"^listening on https://127\.0\.0\.1:{secure.getsockname()[1]}$")
            server.until(rf"^listening on unix:{path}$")
            server.until(rf"^listening on unix:@{tmp_path}$")
            assert server.log().count("listening on") == 4
            for address, told in [
                (plain.getsockname(), b"http [] 127.0.0.1"),
                (str(path), b"http []"),
                (f"\0{tmp_path}", b"http []"),
            ]:
                with Peer(address) as peer:
                    assert peer.get("/").content == told
            trusting = ssl.create_default_context(cafile=authority.file)
            url = f"https://localhost:{secure.getsockname()[1]}"
            assert httpx.get(url, verify=trusting).text == "https [] 127.0.0.1"
        assert path.is_socket()  # systemd's, for the next server


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_who_comes_by_ipv4_to_a_socket_for_both_has_an_address_of_ipv4(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APPLICATION)
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        options = ("--trusted-proxies", "127.0.0.1", "--max-connections-per-client", "10")
        with RunningServer(
            *("app:application", "--access-log", "-", *options),
            cwd=tmp_path,
            launcher=launcher([both]),
            descriptors=[both.fileno()],
        ) as server:
            server.until(rf"^listening on http://\[::\]:{server.port}$")
            for address, forwarded, told in [
                ("127.0.0.1", "", b"127.0.0.1"),
                ("127.0.0.1", "192.0.2.7", b"192.0.2.7"),
                ("::1", "192.0.2.7", b"::1"),
            ]:
                with Peer((address, server.port)) as peer:
                    peer.send(get("/", f"X-Forwarded-For: {forwarded}") if forwarded else get("/"))
                    assert peer.answer().content == b"http [] " + told
                server.until(f"^{told.decode()} - -")


def test_a_socket_of_another_kind_is_one_line(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        pytest.raises(AssertionError) as caught,
    ):
        RunningServer(
            "tests.wire_client:echo", launcher=launcher([datagrams]), descriptors=[datagrams.fileno()]
        ).__enter__()
    assert "\naiowsgi: fd:3 is not a listening stream socket\n" in str(caught.value)


def test_a_bind_that_names_a_descriptor_counts_beside_others(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = sock.fileno()
        binds = ("--bind", f"fd:{number}", "--bind", "127.0.0.1:0")
        with RunningServer("tests.wire_client:echo", *binds, descriptors=[number]) as server:
            assert server.port == sock.getsockname()[1]
            server.until("^listening on", 2)
            with Peer(("127.0.0.1", server.port)) as peer:
                assert peer.get("/").status == 200
