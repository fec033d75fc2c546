"""What the supervisor opens before the first fork, for all workers, with the rights that it was started with."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from aiowsgi.config import Config
from aiowsgi.observe.accesslog import open_log
from aiowsgi.process.origin import Origin
from aiowsgi.process.rights import Rights, find_rights
from aiowsgi.process.runtime import PidFile, open_control
from aiowsgi.server.certificates import Certificates
from aiowsgi.server.listeners import Listener, address_of, close_listeners, open_listeners

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Opened:
    """What all workers share; it was opened with the rights that the server was started with."""

    origin: Origin
    listeners: Sequence[Listener]
    control: Listener | None  # for commands
    pid_file: PidFile | None
    access_log: int | None
    certificates: Certificates | None
    rights: Rights | None  # those of the workers, where they are others


def open_all(config: Config, origin: Origin, stack: contextlib.ExitStack) -> Opened:
    """Open what the workers may not have the rights to open, for ``stack`` to close. Raises OSError, RightsError and
    CertificateError.
    """
    predecessor = origin.predecessor
    if predecessor is not None:
        stack.callback(predecessor.close)
    if config.umask is not None:
        os.umask(config.umask)
    pid = None
    if config.pid_file is not None:
        pid = PidFile(config.pid_file, None if predecessor is None else predecessor.pid)
        stack.callback(pid.close)
        if predecessor is None:
            pid.claim()
    certificates = Certificates(config.tls) if config.tls is not None else None
    rights = find_rights(config.user, config.group)
    listeners = open_listeners(config.bind, None if predecessor is None else predecessor.unclaimed)
    stack.callback(close_listeners, listeners)
    if rights is not None:
        for listener in listeners:
            if listener.file is not None:
                rights.own(listener.getsockname())
    access_log = None
    if config.access_log is not None:
        access_log = open_access_log(config.access_log, rights)
        stack.callback(os.close, access_log)
    handed = [] if predecessor is None else predecessor.unclaimed
    control = open_control(config.control, _first_address(config, listeners[0]), handed)
    if control is not None:
        stack.callback(close_listeners, [control])
    return Opened(origin, listeners, control, pid, access_log, certificates, rights)


def _first_address(config: Config, listener: Listener) -> str:
    """Return the first bind, as a command will be told it, with the port that ``listener`` was given for a 0.

    A socket that was passed on is known by where it listens.
    """
    bind, address = config.bind[0], address_of(listener)
    if bind.removeprefix("tls:").startswith(("unix:", "fd:")):
        return address
    return f"{bind.rpartition(':')[0]}:{address.rpartition(':')[2]}"


def open_access_log(path: str, rights: Rights | None) -> int:
    return open_log(path, None if rights is None else rights.own)


def raise_file_limit() -> None:
    """Let the workers have as many open files, and so connections, as this user may have.

    The soft limit is 1024 on most systems, for the sake of programs that use select(2); the hard one is far higher.
    """
    if resource is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS refuses "unlimited"
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
