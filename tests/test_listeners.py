"""Listening sockets, on the real network stack and file system."""

import contextlib
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aiowsgi.server.listeners import Listener, ListenError, address_of, close_listeners, open_listeners
from tests.users import another_user


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@contextlib.contextmanager
def listening(*binds: str) -> Iterator[list[Listener]]:
    listeners = open_listeners(binds)
    try:
        yield listeners
    finally:
        close_listeners(listeners)


def refusal(*binds: str) -> str:
    with pytest.raises(ListenError) as caught, listening(*binds):
        pass
    return str(caught.value)


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_a_descriptor_that_listens_is_taken_over_and_not_left_to_programs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        number = os.dup(given.fileno())
        os.set_inheritable(number, True)
        with listening(f"tls:fd:{number}") as [listener]:
            assert listener.fileno() == number
            assert not os.get_inheritable(number)
            assert (listener.tls, listener.gettimeout(), listener.file) == (True, 0.0, None)
            assert accepts(listener, given.getsockname())
            assert address_of(listener) == f"https://127.0.0.1:{port_of(given)}"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)


def test_descriptors_that_nobody_can_listen_on_are_refused(tmp_path: Path) -> None:
    with (
        (tmp_path / "file").open("w") as file,
        socket.socket() as idle,
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        socket.create_server(("127.0.0.1", 0)) as given,
    ):
        for other in (file, idle, datagrams):
            assert refusal(f"fd:{other.fileno()}") == f"fd:{other.fileno()} is not a listening stream socket"
            os.fstat(other.fileno())  # it is still open, and its owner's
        number = os.dup(given.fileno())
        twice = refusal(f"fd:{number}", f"tls:fd:{number}")
        assert twice == f"tls:fd:{number} is taken by another process or by another bind"
        assert refusal(f"fd:{number}") == f"fd:{number} is not open"
    assert refusal("fd:x").startswith("fd:x is no address")


def accepts(listener: socket.socket, address: tuple[str, int] | str) -> bool:
    """Tell whether a client that goes to ``address`` comes out at ``listener``."""
    with socket.socket(listener.family) as client:
        client.connect(address)
        accepted, _ = listener.accept()
        accepted.close()
    return True


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """Give up root's right to write everywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield
    os.seteuid(user)


def test_opens_an_ipv4_address() -> None:
    with listening("127.0.0.1:0") as (listener,):
        assert accepts(listener, listener.getsockname())
        assert address_of(listener) == f"http://127.0.0.1:{port_of(listener)}"


@needs_ipv6
def test_opens_an_ipv6_address() -> None:
    with listening("[::1]:0") as (listener,):
        assert accepts(listener, listener.getsockname())
        assert address_of(listener) == f"http://[::1]:{port_of(listener)}"


@needs_ipv6
def test_no_host_is_every_interface_of_both_families_on_one_port() -> None:
    with listening(":0") as listeners:
        by_family = {listener.family: listener for listener in listeners}
        assert len({port_of(listener) for listener in listeners}) == 1
        port = port_of(listeners[0])
        assert accepts(by_family[socket.AF_INET], ("127.0.0.1", port))
        assert accepts(by_family[socket.AF_INET6], ("::1", port))


@needs_ipv6
def test_an_ipv6_listener_leaves_ipv4_to_others() -> None:
    with listening("[::]:0") as (listener,), listening(f"0.0.0.0:{port_of(listener)}") as (other,):
        assert accepts(other, ("127.0.0.1", port_of(listener)))


def test_a_name_is_every_address_it_resolves_to() -> None:
    found = {address[0] for *_, address in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    if not has_ipv6():
        found.discard("::1")
    with listening("localhost:0") as listeners:
        assert {listener.getsockname()[0] for listener in listeners} == found


def test_listeners_neither_block_nor_survive_an_exec() -> None:
    with listening("127.0.0.1:0") as (listener,):
        assert not listener.getblocking()
        assert not listener.get_inheritable()


def test_a_bind_given_twice_is_opened_once(tmp_path: Path) -> None:
    with listening(f"unix:{tmp_path}/socket", f"unix:{tmp_path}/socket") as listeners:
        assert len(listeners) == 1


def test_a_port_can_be_opened_again_although_connections_linger() -> None:
    with listening("127.0.0.1:0") as (listener,):
        port = port_of(listener)
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = listener.accept()
            accepted.close()  # who closes first keeps the connection in TIME_WAIT
            assert client.recv(1) == b""
    with listening(f"127.0.0.1:{port}"):
        pass


def test_a_taken_port_is_refused_and_closes_what_was_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, listening("127.0.0.1:0") as (listener,):
        free = f"127.0.0.1:{port_of(listener)}"
        close_listeners([listener])
        bind = f"127.0.0.1:{port_of(taken)}"
        assert refusal(bind) == f"{bind} is taken by another process"
        assert refusal(free, bind) == f"{bind} is taken by another process or by another bind"
        with listening(free):
            pass


@pytest.mark.parametrize(
    "bind",
    [
        "",
        "8000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:٨",
        "::1:8000",
        "[::1]",
        "[]:8000",
        "[127.0.0.1]:8000",
        "a..b:8000",
        "unix:",
        "unix:\0",
    ],
)
def test_what_is_no_address_is_told_what_was_expected(bind: str) -> None:
    expected = "is no address: expected HOST:PORT, [::1]:PORT, :PORT, unix:PATH or fd:N"
    assert refusal(bind) == f"{bind} {expected}"


def test_an_address_of_another_machine_is_refused() -> None:
    # 192.0.2.0/24 is for documentation (RFC 5737): no machine has it.
    assert refusal("192.0.2.1:8000") == "192.0.2.1:8000 is not an address of this machine"


def test_a_name_that_does_not_resolve_is_refused() -> None:
    # .invalid is guaranteed to resolve nowhere (RFC 6761).
    assert refusal("nowhere.invalid:8000") == "nowhere.invalid:8000 has a host name that does not resolve"


def test_a_unix_socket_is_removed_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(f"unix:{path}") as (listener,):
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert accepts(listener, str(path))
        assert address_of(listener) == f"unix:{path}"
        close_listeners([listener])
        assert not path.exists()  # and closing it once more does nothing


def test_a_relative_path_is_removed_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with listening("unix:socket") as (listener,):
        monkeypatch.chdir("/")
        assert address_of(listener) == f"unix:{tmp_path}/socket"
    assert not (tmp_path / "socket").exists()


def test_a_socket_file_that_a_crash_has_left_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(path))
        crashed.listen()
    with listening(f"unix:{path}") as (listener,):
        assert accepts(listener, str(path))


@pytest.mark.parametrize("waiting", [0, 1, 2])
def test_a_socket_that_somebody_listens_on_is_refused_and_left_alone(tmp_path: Path, waiting: int) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as alive, contextlib.ExitStack() as clients:
        alive.bind(str(path))
        alive.listen(0)  # full with the first who waits
        for _ in range(waiting):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.connect(str(path))
        assert refusal(f"unix:{path}") == f"unix:{path} is taken by another process"
        assert path.is_socket()


def test_a_file_or_a_link_in_the_place_of_a_socket_is_refused_and_left_alone(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("precious")
    link.symlink_to(file)
    for path in (file, link):
        assert refusal(f"unix:{path}") == f"unix:{path} is a file and not a socket"
    assert link.read_text() == "precious"


def test_the_socket_of_a_newer_server_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with listening(f"unix:{path}") as (old,):
        path.rename(tmp_path / "moved")  # so that its inode is not used again for the next one
        with listening(f"unix:{path}") as (new,):
            close_listeners([old])
            assert accepts(new, str(path))


def test_a_socket_file_that_somebody_else_has_removed_is_no_error(tmp_path: Path) -> None:
    with listening(f"unix:{tmp_path}/socket"):
        (tmp_path / "socket").unlink()


def test_a_socket_file_that_cannot_be_removed_stays_and_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with tempfile.TemporaryDirectory() as folder:  # one that another user gets to
        listeners = open_listeners([f"unix:{folder}/first", f"unix:{folder}/second"])
        os.chmod(folder, 0o555)
        with another_user():
            close_listeners(listeners)
        assert sorted(os.listdir(folder)) == ["first", "second"]
        os.chmod(folder, 0o755)
    assert [listener.fileno() for listener in listeners] == [-1, -1]
    assert caplog.messages == [
        f"socket file {folder}/{name} cannot be removed: Permission denied" for name in ("first", "second")
    ]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    bind = f"unix:{tmp_path}/missing/socket"
    assert refusal(bind) == f"{bind} is in a folder that does not exist"


def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path, unprivileged: None) -> None:
    bind = "unix:/socket" if os.getuid() == 0 else f"unix:{tmp_path}/closed/socket"
    if os.getuid() != 0:
        (tmp_path / "closed").mkdir(0o500)
    assert refusal(bind) == f"{bind} may not be opened by this user"


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    # sun_path holds 108 bytes on Linux, fewer elsewhere.
    bind = f"unix:{tmp_path}/{'a' * 120}"
    assert refusal(bind) == f"{bind} cannot be listened on: AF_UNIX path too long"


def test_nobody_can_make_the_backlog_shorter() -> None:
    [listener] = open_listeners(["127.0.0.1:0"])
    with ExitStack() as stack:
        stack.callback(close_listeners, [listener])
        stack.enter_context(listener.dup()).listen(1)  # as an event loop does that begins to accept
        for _ in range(10):  # whom the kernel drops tries again after a second
            stack.enter_context(socket.create_connection(listener.getsockname(), 0.9))
