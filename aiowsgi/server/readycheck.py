"""The request that a worker answers itself before it says that it is ready."""

import asyncio
import socket
from functools import partial

from aiowsgi.server.connection import Connection
from aiowsgi.server.shared import Shared
from aiowsgi.wsgi.environ import Environ

PATIENCE = 30.0  # seconds for the answer; a database that takes longer to let somebody in is as good as none


class NotReadyError(Exception):
    """The worker should not get any requests: one line that says what was asked, and what came of it."""


async def check(shared: Shared, server: Environ, path: str) -> None:
    """GET ``path`` as a client of the address with the environ ``server`` would, by way of a pair of sockets.

    Raises NotReadyError for a status of 400 or more, and where none comes in time.
    """
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    await shared.loop.connect_accepted_socket(partial(Connection, shared, server), far)
    reader, writer = await asyncio.open_connection(sock=near)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii"))
    try:
        line = await asyncio.wait_for(reader.readline(), PATIENCE)
    except TimeoutError:
        raise NotReadyError(f"--ready-check {path} was not answered in {PATIENCE:g} s") from None
    finally:
        writer.close()
    status = line.split(b" ", 2)[1:2]
    if not status or not status[0] < b"400":
        answer = line.decode("latin-1").strip() or "cut"
        raise NotReadyError(f"--ready-check {path} was answered {answer}")
