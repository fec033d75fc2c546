"""Listening sockets: opened, or taken over, from what ``--bind`` says before the first fork, closed once at the end.

Every worker accepts from the same sockets, so a waiting connection outlives any worker. ``fork`` hands open
descriptors on by itself; they stay close-on-exec (PEP 446), or a program started by an application would hold
the port after the server has gone.
"""

import errno
import logging
import os
import socket
import stat
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

logger = logging.getLogger("aiowsgi.listeners")

BACKLOG = 2048  # connections that wait until a worker accepts; the kernel cuts it to its own somaxconn

_REFUSALS = {
    errno.EADDRINUSE: "is taken by another process",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
    errno.EAFNOSUPPORT: "is of an address family that this machine does not have",
    errno.EACCES: "may not be opened by this user",
    errno.EPERM: "may not be opened by this user",
    errno.ENOENT: "is in a folder that does not exist",
    errno.ENOTDIR: "is in a folder that does not exist",
    errno.ENOTSOCK: "is a file and not a socket",
    errno.EROFS: "is on a read-only file system",
    errno.EBADF: "is not open",
    errno.EPROTOTYPE: "is not a listening stream socket",
}
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenError(OSError):
    """A bind that cannot be had; one line says what was asked for and why not."""


# What a socket was opened for: a host and a port (0 for any free one) and so on, the path of a file, or fd:N.
Asked = str | tuple[str | int, ...]


class Listener(socket.socket):
    """A listening socket that knows its file, if it has one."""

    asked: Asked = ""
    tls = False  # whoever connects is expected to speak TLS
    removes = True  # its file at the end; if not, that is for another process to do
    # Device and inode: by the end a newer server may have put its own socket at the same path. None for the file of a
    # socket that was passed on: whoever made it removes it.
    file: tuple[int, int] | None = None

    def listen(self, backlog: int = BACKLOG, /) -> None:
        """Listen with all of the backlog, whatever is asked for.

        All workers share it. An event loop that asked for a shorter one, for a moment even while a worker starts, would
        have the kernel drop who connects just then: a client tries again after a second.
        """
        super().listen(BACKLOG)


def open_listeners(binds: Sequence[str], given: list[Listener] | None = None) -> list[Listener]:
    """Open non-blocking listening sockets for ``HOST:PORT``, ``[::1]:PORT``, ``:PORT``, ``unix:PATH`` and ``fd:N``.

    Before each of them ``tls:`` may stand: what is done about it is for who accepts.

    No host means every interface, IPv4 and IPv6. A name means every address it resolves to, as in nginx, and
    not the first one, as in Go and so in Caddy: for ``localhost`` a browser tries [::1] first, and would find
    whoever else listens there. Of several addresses those that the machine does not have are left out. The
    addresses of one bind share one port, also where port 0 lets the system choose it.

    A socket file that nobody listens on was left by a crash and is taken over. ``fd:N`` is a descriptor that this
    process has had from its start, of a socket that listens already.

    A socket in ``given`` that was opened for the same address is taken from there, instead of opening one.

    Raises ListenError, with none of them left open.
    """
    listeners: list[Listener] = []
    given = [] if given is None else given
    for bind in dict.fromkeys(binds):
        address = bind.removeprefix("tls:")
        try:
            for listener in _open(address, given, listeners):
                listener.tls = address != bind
                listeners.append(listener)
        except (OSError, ValueError) as error:
            close_listeners(listeners)
            raise ListenError(f"{bind} {_refusal(error, alone=len(binds) == 1)}") from None
    return listeners


def open_private(path: str, given: list[Listener]) -> Listener:
    """Open a Unix socket at ``path`` that only this user and root can connect to, from its first moment on.

    ``given`` as for ``open_listeners``. Raises ListenError.
    """
    mask = os.umask(0o177)
    try:
        [listener] = open_listeners([f"unix:{path}"], given)
    finally:
        os.umask(mask)
    return listener


def close_listeners(listeners: Iterable[socket.socket]) -> None:
    """Close the sockets and remove their files; those that are closed already are passed over.

    A file that cannot be removed stays, with a line in the log: the next server takes it over.
    """
    for listener in listeners:
        if listener.fileno() == -1:
            continue
        if isinstance(listener, Listener) and listener.file is not None and listener.removes:
            path = listener.getsockname()
            try:
                if _file_at(path) == listener.file:
                    os.unlink(path)
            except OSError as error:  # the folder is not this user's any more, or read-only by now
                logger.warning("socket file %s cannot be removed: %s", path, error.strerror)
        listener.close()


def leave_listeners(listeners: Iterable[socket.socket]) -> None:
    """Close the sockets, and leave their files to another process, which listens on the same ones."""
    for listener in listeners:
        if isinstance(listener, Listener):
            listener.removes = False
    close_listeners(listeners)


def address_of(sock: socket.socket) -> str:
    """Return where a socket listens as a URL: http://127.0.0.1:8000, https://[::1]:8443, unix:/path, tls:unix:/path."""
    name = sock.getsockname()
    tls = isinstance(sock, Listener) and sock.tls
    if isinstance(name, bytes):  # in the abstract namespace of Linux
        name = name.decode(errors="backslashreplace").replace("\0", "@")
    if isinstance(name, str):
        return f"tls:unix:{name}" if tls else f"unix:{name}"
    host, port = name[:2]
    scheme = "https" if tls else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def is_local(sock: socket.socket) -> bool:
    """Tell whether nobody but processes of this machine can reach it."""
    name = sock.getsockname()
    return not isinstance(name, tuple) or ip_address(name[0].partition("%")[0]).is_loopback


def port_of_https(listeners: Iterable[Listener]) -> str:
    """Return the port of the first listener for TLS; a Unix socket has none, and means the standard one."""
    names = [listener.getsockname() for listener in listeners if listener.tls]
    return next((str(name[1]) for name in names if isinstance(name, tuple)), "443")


def _open(bind: str, given: list[Listener], listeners: Sequence[Listener]) -> Iterator[Listener]:
    if bind.startswith("fd:"):
        return _open_passed(bind, given, listeners)
    return _open_unix(bind, given) if bind.startswith("unix:") else _open_tcp(bind, given)


def _take(given: list[Listener], address: Asked) -> Listener | None:
    """Take the socket that was opened for ``address``, if there is one that can still be reached by its file."""
    for listener in given:
        if listener.asked == address and (listener.file is None or listener.file == _file_at(str(address))):
            given.remove(listener)
            return listener
    return None


def _open_passed(bind: str, given: list[Listener], listeners: Sequence[Listener]) -> Iterator[Listener]:
    if (kept := _take(given, bind)) is not None:
        yield kept
        return
    number = bind.removeprefix("fd:")
    if not (number.isascii() and number.isdecimal()):
        raise ValueError("no number")
    descriptor = int(number[:9])
    if any(listener.fileno() == descriptor for listener in listeners):
        raise OSError(errno.EADDRINUSE, "another bind has it")
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError(errno.EPROTOTYPE, "not a socket")
    listener = Listener(fileno=descriptor)
    families = (socket.AF_INET, socket.AF_INET6, getattr(socket, "AF_UNIX", None))
    listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if listener.family not in families or listener.type != socket.SOCK_STREAM or not listens:
        listener.detach()
        raise OSError(errno.EPROTOTYPE, "not a listening stream socket")
    listener.set_inheritable(False)
    listener.setblocking(False)
    listener.asked = bind
    yield listener


def _open_tcp(bind: str, given: list[Listener]) -> Iterator[Listener]:
    host, port = _host_and_port(bind)
    # No host and AI_PASSIVE give the wildcard address of each family.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = dict.fromkeys((family, address) for family, _, _, _, address in found)
    absent: OSError | None = None
    opened = False
    for family, address in addresses:
        try:
            listener = _listen(family, (address[0], port, *address[2:]), given)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            absent = error
            continue
        port = listener.getsockname()[1]
        opened = True
        yield listener
    if absent is not None and not opened:
        raise absent


def _open_unix(bind: str, given: list[Listener]) -> Iterator[Listener]:
    name = bind.removeprefix("unix:")
    if not name:
        raise ValueError("no path")
    if not hasattr(socket, "AF_UNIX"):  # Windows
        raise OSError(errno.EAFNOSUPPORT, "no Unix sockets")
    path = os.path.abspath(name)  # the working directory may be another one when the file is removed
    if (kept := _take(given, path)) is not None:
        yield kept
        return
    _remove_leftover(path)
    listener = _listen(socket.AF_UNIX, path, given)
    listener.file = _file_at(path)
    yield listener


def _listen(family: int, address: Asked, given: list[Listener]) -> Listener:
    if (kept := _take(given, address)) is not None:
        return kept
    listener = Listener(family, socket.SOCK_STREAM)
    listener.asked = address
    try:
        if os.name == "posix":
            # What the last server left in TIME_WAIT does not keep the next one from its port.
            # (On Windows the option would let two servers have the same port at once.)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own, so that its clients are not shown as ::ffff:192.0.2.1.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, ValueError):
        listener.close()
        raise
    return listener


def _remove_leftover(path: str) -> None:
    """Make room for a socket at ``path``; raise OSError where something else than a leftover is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.ENOTSOCK, "not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is a sign of life, and would hold up a blocking connect
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, "somebody listens")


def _file_at(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _host_and_port(bind: str) -> tuple[str | None, int]:
    """Split ``HOST:PORT``; raise ValueError for anything else."""
    host, colon, port = bind.rpartition(":")
    if not colon or not port.isascii() or not port.isdecimal() or int(port) > 65535:
        raise ValueError("no port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if ":" not in host:
            raise ValueError("no IPv6 address in the brackets")
    elif ":" in host:
        raise ValueError("an IPv6 address without brackets")
    return host or None, int(port)


def _refusal(error: OSError | ValueError, *, alone: bool) -> str:
    """Say why a bind could not be had; ``alone`` where no other bind can be what took it."""
    if isinstance(error, ValueError):  # a name that no encoding takes and a NUL in a path too
        return "is no address: expected HOST:PORT, [::1]:PORT, :PORT, unix:PATH or fd:N"
    if isinstance(error, socket.gaierror):
        return "has a host name that does not resolve"
    if error.errno == errno.EADDRINUSE and not alone:
        return "is taken by another process or by another bind"
    return _REFUSALS.get(error.errno or 0, f"cannot be listened on: {error.strerror or error}")
