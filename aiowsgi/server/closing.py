"""The ends of a connection, and what is noted of each answer."""

import logging
from contextlib import suppress
from time import monotonic

from aiowsgi.http.framing import error_response, render
from aiowsgi.http.messages import UNREAD, HTTPError
from aiowsgi.http.states import Event, State
from aiowsgi.server.shared import Client, Shared
from aiowsgi.server.sockets import forget_unsent, peer_of
from aiowsgi.server.streaming import Streaming
from aiowsgi.server.tls import SecureTransport

logger = logging.getLogger("aiowsgi.connection")

# Names of their own, because to look one up in its Enum takes longer than a transition.
DISCARDING, LAST = State.DISCARDING, Event.LAST


class Closing(Streaming):
    """How a connection comes to its end: behind a last answer, at once, or in the middle of one."""

    __slots__ = ("_began", "_client", "_eof")

    def __init__(self, shared: Shared, client: Client | None) -> None:
        """``client`` is the address and port of who is at the other end, where the transport does not know."""
        super().__init__(shared)
        self._client = client
        self._eof = False  # the client sends no more
        self._began = 0.0  # when the request's head had come, for the log; 0 where none has

    def _refuse(self, error: HTTPError) -> None:
        """Answer what cannot be trusted or waited for any longer, and read no further request."""
        data, _ = render(error_response(error), self._request, False)
        if self.state != DISCARDING and self._write(data):
            self._log(error.status)
        self._last()

    def _last(self) -> None:
        """Close behind the last answer.

        A close while the client still sends resets the connection, which may destroy the answer before it was
        read (RFC 9112 section 9.6): so only this side is closed, and what comes is thrown away for a while.
        """
        clean = self._ends()
        self._begin_closing()
        self._buffer, self._content = b"", None
        if clean or self._eof or not self._transport.can_write_eof():
            self._transport.close()
        elif not self._transport.is_closing():
            # asyncio tells here that the client is gone; what is read next tells it, too.
            with suppress(OSError):
                self._transport.write_eof()
            self._transport.resume_reading()

    def _ends(self) -> bool:
        """Tell whether the client has said, with a request that came whole, that it sends no more."""
        request = self._request
        if request is UNREAD or request.keep_alive or "HTTP_UPGRADE" in request.fields:
            return False
        return self._content is None

    def _close(self) -> None:
        self._begin_closing()
        self._transport.close()

    def _begin_closing(self) -> None:
        self._move(LAST)
        if self._transport.get_write_buffer_size():
            self._await_client()

    def _broken_off(self, status: int, reason: str = "") -> None:
        request = self._request
        if reason:
            logger.error("%s: %s", request, reason)
        self._log(status)
        if request.version == "HTTP/1.0":
            # Where only the close tells the end of the content, a reset tells that this was not it.
            forget_unsent(self._transport)
        if isinstance(self._transport, SecureTransport):
            self._transport.break_off()
        self._close()

    def _log(self, status: int) -> None:
        shared = self._shared
        if shared.log is not None:
            seconds = monotonic() - self._began if self._began else 0.0
            shared.log.write(self._know_client()[0], self._request, status, self._sent, seconds)
            self._began, self._sent = 0.0, 0

    def _know_client(self) -> tuple[str, str]:
        """Return the client's address and port; empty for a Unix socket, which has none."""
        if self._client is None:
            self._client = peer_of(self._transport)
        return self._client
