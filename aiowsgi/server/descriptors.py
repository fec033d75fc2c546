"""The descriptors of this process: how many there may be, whether any are left, and the first three."""

import errno
import logging
import os
from contextlib import suppress

from aiowsgi.config import Limits

try:
    import resource
except ImportError:  # not on Windows, where sockets are no files
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("aiowsgi.worker")

# Where nothing says otherwise: their sockets take some 300 MiB of the kernel's memory, and a little less of ours.
MOST_CONNECTIONS = 65536

# Descriptors that are no connection's: an eighth of what there may be, but room for a server and an application that
# have little to open, as long as that leaves half.
_EIGHTH, _LEAST = 8, 128


def most_connections(limits: Limits) -> int:
    """Return how many connections a worker may have: as many as were asked for, or as its open files allow.

    HAProxy's maxconn and lighttpd's server.max-connections come from the same limit; those take half of it or less,
    since they open a second socket, or a file, for each connection.
    """
    asked = limits.connections
    if resource is None:
        return asked or MOST_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return asked or MOST_CONNECTIONS
    possible = files - max(files // _EIGHTH, min(_LEAST, files // 2))
    if asked > possible:
        logger.warning("%d open files allow for %d connections, not %d", files, possible, asked)
    return min(asked or MOST_CONNECTIONS, possible)


def hold_standard() -> None:
    """Have /dev/null be whatever of standard input, output and error is closed: a socket would get its number."""
    with suppress(OSError):  # there is no descriptor left: no socket gets any, either
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)


def are_left(count: int) -> bool:
    """Tell whether ``count`` more descriptors could be opened."""
    opened = []
    try:
        for _ in range(count):
            opened.append(os.dup(0))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True
