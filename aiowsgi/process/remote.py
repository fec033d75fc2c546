"""The other end of the control socket: what a command of the command line asks of a running server."""

import contextlib
import json
import os
import select
import socket
import struct
import sys
from collections.abc import Mapping

PATIENCE = 15.0  # seconds for what is answered at once; the server gives its workers three
END = 5.0  # seconds for a process that has answered that it is at its end

_CREDENTIALS = struct.Struct("iII")  # a process, its user and its group, see unix(7)


class RemoteError(Exception):
    """No answer; one line says why."""


def ask(path: str, command: Mapping[str, object], patience: float | None = PATIENCE) -> dict[str, object]:
    """Send ``command`` to the server with the control socket ``path`` and return its answer.

    It is waited ``patience`` seconds for each part of it; None is for ever. Raises RemoteError, also where it is
    another user's: root may ask everybody, others are not answered by a stranger in the place of their server.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect(path)
            if os.geteuid() != 0 and _user(sock) not in (None, 0, os.geteuid()):
                raise PermissionError
            sock.sendall(json.dumps(command).encode() + b"\n")
            sock.settimeout(patience)
            line = _line(sock)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise RemoteError(f"no server has the control socket {path}{_others(path)}") from None
        except PermissionError:
            raise RemoteError(f"the control socket {path} is another user's") from None
        except TimeoutError:
            raise RemoteError(f"the server with the control socket {path} does not answer") from None
        except OSError as error:
            raise RemoteError(f"the control socket {path} cannot be used: {error}") from None
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        said = "has ended meanwhile" if not line else "does not speak as this one"
        raise RemoteError(f"the server with the control socket {path} {said}")
    return answer


def await_end(pid: int) -> None:
    """Wait until the process ``pid`` has ended, where the system can tell, and no longer than END."""
    if not hasattr(os, "pidfd_open"):
        return
    with contextlib.suppress(OSError):  # it has ended
        descriptor = os.pidfd_open(pid)
        try:
            select.select([descriptor], [], [], END)
        finally:
            os.close(descriptor)


def _user(sock: socket.socket) -> int | None:
    """Return who listens at the other end; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    _, user, _ = _CREDENTIALS.unpack(
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    return int(user)


def _line(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):  # behind the answer to what was not read whole
        while not data.endswith(b"\n") and (piece := sock.recv(65536)):
            data += piece
    return data


def _others(path: str) -> str:
    """Tell of the sockets of other servers that are beside the one at ``path``."""
    folder = os.path.dirname(path)
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = sorted(
            name for name in os.listdir(folder) if name.startswith("aiowsgi-") and name.endswith(".sock")
        )
    return f"; --control names another, and there are {', '.join(names[:8])}" if names else ""
