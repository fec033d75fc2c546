"""What only the kernel knows of a client: its address, how much of what it was sent is on its way, if it has left.

And what one event loop's transports make of that otherwise than the other's.
"""

import asyncio
import select
import socket
import struct
from array import array
from collections.abc import Callable
from contextlib import suppress

try:
    from fcntl import ioctl
    from termios import TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]

_HAVE_POLL = hasattr(select, "poll")


def peer_of(transport: asyncio.BaseTransport) -> tuple[str, str]:
    """Return the address and the port of whoever has connected; empty for a Unix socket, which has none."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return "", ""
    address = name[0]
    if address.startswith("::ffff:") and "." in address:
        # Where one socket is for IPv4 and IPv6, as with systemd by default, who comes by IPv4 is shown like this
        # (RFC 4291 section 2.5.5.2), and all of them would seem to be of one network.
        address = address.removeprefix("::ffff:")
    return address, str(name[1])


def unacknowledged(transport: asyncio.Transport) -> int:
    """Return how many bytes the kernel holds that the client's has not acknowledged; 0 where it does not tell.

    A socket has room again when a third of its buffer is free, and that may be megabytes: what a client takes
    slowly would look like nothing for minutes.
    """
    descriptor = _descriptor(transport)
    if ioctl is None or descriptor < 0:
        return 0
    held = array("i", [0])
    with suppress(OSError):
        ioctl(descriptor, TIOCOUTQ, held)
    return held[0]


def has_left(transport: asyncio.Transport) -> bool:
    """Tell whether the client has reset the connection; a transport that does not read would not see it."""
    descriptor = _descriptor(transport)
    if not _HAVE_POLL or descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # an error and the end of both directions are always told
    return bool(poll.poll(0))


def forget_unsent(transport: asyncio.Transport) -> None:
    """Have the kernel throw away what the client has not taken, and reset the connection, as soon as it is closed.

    Otherwise it holds that for as long as the client likes, megabytes that no bound of this server counts.
    """
    client = transport.get_extra_info("socket")
    if client is not None:
        with suppress(OSError):  # the client has left
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def go_on_writing(loop: asyncio.AbstractEventLoop, write: Callable[[], None]) -> None:
    """Call ``write``, since there is room again: at once, or soon where the transport is asyncio's.

    That one looks when it has told of the room whether it was to be closed, and closes what it has closed already, with
    a traceback in the log: while it tells nobody may write the last, nor find that the client is gone.
    """
    if isinstance(loop, asyncio.SelectorEventLoop):
        loop.call_soon(write)
    else:
        write()


def _descriptor(transport: asyncio.Transport) -> int:
    client = transport.get_extra_info("socket")
    return -1 if client is None else client.fileno()
