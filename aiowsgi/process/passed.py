"""Listening sockets that systemd has opened before this process was there: its socket activation, sd_listen_fds(3)."""

import contextlib
import os
import re
from collections.abc import MutableMapping

from aiowsgi.config import ConfigError

FIRST = 3  # descriptor; those before it are the standard streams
TLS = "tls"  # the FileDescriptorName= of sockets whose clients are expected to speak TLS


def take_passed(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Return the binds, as ``--bind`` has them, of the sockets that were passed to this very process; () for none.

    The variables are removed from ``environ``, and programs that the server starts do not get the descriptors: both
    are for this process alone. Raises ConfigError.
    """
    process = environ.pop("LISTEN_PID", None)
    count, names = environ.pop("LISTEN_FDS", "0"), environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()):  # somebody between us and systemd has handed them on by mistake
        return ()
    if not re.fullmatch("[0-9]{1,4}", count):
        raise ConfigError(f"LISTEN_FDS: expected a number of descriptors, got {count!r}")
    descriptors = range(FIRST, FIRST + int(count))
    called = [""] * len(descriptors) if names is None else names.split(":") if names else []
    if len(called) != len(descriptors):
        raise ConfigError(f"LISTEN_FDNAMES: expected {len(descriptors)} names, got {names!r}")
    for descriptor in descriptors:
        with contextlib.suppress(OSError):  # it is not open, and whoever is to listen on it will say so
            os.set_inheritable(descriptor, False)
    return tuple(
        f"tls:fd:{descriptor}" if name == TLS else f"fd:{descriptor}"
        for descriptor, name in zip(descriptors, called, strict=True)
    )
