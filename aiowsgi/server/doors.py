"""The servers that accept for a worker: all of them accept, or none does, as long as there is a reason."""

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from enum import Enum

from aiowsgi.server.listeners import BACKLOG

logger = logging.getLogger("aiowsgi.worker")

Accept = Callable[[], asyncio.Protocol]  # a protocol factory

# What asyncio is told is the backlog. It takes it for how often to accept in one turn; where no descriptor is left
# each try is a traceback in the log and makes for one more try in a second, so that more than one would multiply.
ACCEPTS = 1
LAST_TURNS = 5  # of the loop: enough to make a connection of what was accepted, and to read what has come


class Why(Enum):
    """Why nobody is accepted for now."""

    NO_ROOM = "no more connections can be had"
    NO_THREAD = "no thread is free, and one of another worker is"


class Doors:
    """Who is not let in waits in the backlog of the listening socket, which stays open, or goes to another worker.

    Neither event loop lets a server rest: it is closed, and another one takes its place on a duplicate of the socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._selects = isinstance(loop, asyncio.SelectorEventLoop)
        self._entries: Sequence[tuple[socket.socket, Accept]] = ()
        self._servers: list[asyncio.Server] = []
        self._opening: asyncio.Task[None] | None = None
        self.shut = True  # as they are now; they may be about to open
        self.reasons: set[Why] = set()  # not to be open

    async def open(self, entries: Sequence[tuple[socket.socket, Accept]]) -> None:
        """Accept from these listening sockets, which stay the caller's, for their protocol factories."""
        self._entries = entries
        await self._open()

    def close_for_now(self, why: Why) -> None:
        """Accept nobody as long as there is this reason or another one.

        Not to be called by a protocol factory: its own connection would be lost.
        """
        self.reasons.add(why)
        if not self.shut:
            self._close()

    def open_again(self, why: Why) -> None:
        """Begin to accept again, soon, if there was no other reason not to.

        Where no descriptor is left it has to be asked for once more.
        """
        self.reasons.discard(why)
        if self.shut and not self.reasons and self._opening is None:
            self._opening = self._loop.create_task(self._reopen())

    def _close(self) -> None:
        self.shut = True
        for server in self._servers:
            if self._selects:
                # It would forget whom it has accepted and made no connection of yet if it were closed.
                for listener in server.sockets:
                    self._loop.remove_reader(listener)
            else:
                server.close()

    async def close(self) -> None:
        """Accept nobody any more, but let the requests of who was accepted by then come in."""
        if self._opening is not None:
            await self._opening
        self._close()
        for _ in range(LAST_TURNS):
            await asyncio.sleep(0)
        self._forget()

    async def take_waiting(self) -> None:
        """Accept who waits in the backlogs, which nobody else will; behind ``close``."""
        for listener, accept in self._entries:
            for _ in range(BACKLOG):
                try:
                    client, _ = listener.accept()
                except OSError:  # there is nobody, or no descriptor
                    break
                client.setblocking(False)
                await self._loop.connect_accepted_socket(accept, client)

    def _forget(self) -> None:
        for server in self._servers:
            server.close()
        self._servers.clear()

    async def _reopen(self) -> None:
        try:
            while self.shut and not self.reasons:  # there may have been one in between
                if self._selects:
                    for _ in range(LAST_TURNS):
                        await asyncio.sleep(0)
                self._forget()
                await self._open()
        except OSError as error:
            logger.debug("cannot accept again yet: %s", error)
            self.shut = True
            self._forget()
        finally:
            self._opening = None

    async def _open(self) -> None:
        self.shut = False
        for listener, accept in self._entries:
            self._servers.append(await self._listen(listener, accept))
        if self.reasons:
            self._close()  # once more, for those that were opened behind it

    async def _listen(self, listener: socket.socket, accept: Accept) -> asyncio.Server:
        loop = self._loop
        sock = listener.dup()  # closing a server closes its socket
        backlog = ACCEPTS if self._selects else BACKLOG
        try:
            if listener.family != getattr(socket, "AF_UNIX", None):
                server = await loop.create_server(accept, sock=sock, backlog=backlog)
            elif sys.version_info >= (3, 13):
                # Both event loops would remove the socket's file, which is whoever bound it to remove.
                server = await loop.create_unix_server(
                    accept, sock=sock, backlog=backlog, cleanup_socket=False
                )
            else:
                server = await loop.create_unix_server(accept, sock=sock, backlog=backlog)
        except OSError:
            sock.close()
            raise
        return server
