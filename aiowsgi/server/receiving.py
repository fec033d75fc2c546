"""The way in for a request's content: read whole, in memory to a mark and in a file past it, or thrown away."""

import logging
from abc import abstractmethod

from aiowsgi.http.messages import UNREAD, HTTPError
from aiowsgi.http.parser import ContentReader
from aiowsgi.http.states import Event, State, after
from aiowsgi.server.sending import NEVER, Sending
from aiowsgi.server.shared import Errand, Shared
from aiowsgi.wsgi.bridge import Inbox
from aiowsgi.wsgi.spool import refusal
from aiowsgi.wsgi.streamed import StreamedInbox

logger = logging.getLogger("aiowsgi.connection")

# Content of a request that was answered early is read to its end, to keep the connection, up to so many bytes.
DISCARD = 64 * 1024


class Receiving(Sending):
    """What a connection reads behind a head; Connection itself reads the heads and says what comes of both."""

    __slots__ = ("_buffer", "_content", "_inbox", "_read_paused", "_request", "state")

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._buffer = b""  # bytes that came and were not understood yet
        self._read_paused = False  # too much of what came was not understood yet
        self._request = UNREAD
        self._content: ContentReader | None = None  # of the request, until its content's end
        self._inbox: Inbox | StreamedInbox | None = None
        self.state = State.IDLE
        self.deadline = shared.due[State.IDLE]

    @abstractmethod
    def _received(self) -> None:
        """The request's content has come whole."""

    @abstractmethod
    def _take_up(self) -> None:
        """Go on with the content that waits in the buffer."""

    @abstractmethod
    def _refuse(self, error: HTTPError) -> None:
        """Answer what cannot be trusted or waited for any longer, and read no further request."""

    def _move(self, event: Event) -> None:
        shared = self._shared
        self.state = state = after(self.state, event)
        self.deadline = shared.due[state]

    def _receives(self) -> bool:
        """Tell whether what comes is content; while a file is the early answer, it waits in the buffer."""
        return self._content is not None and self._outbox is None

    def _is_short(self) -> bool:
        """Tell whether the content may be read to its end only to keep the connection."""
        request = self._request
        return not (request.chunked or request.expect_continue or request.content_length > DISCARD)

    def _awaits_content(self) -> bool:
        """Tell whether nothing goes on until content comes."""
        return self._receives()

    def _fail_content(self, error: HTTPError) -> None:
        """Do without the rest of the content, which cannot be had."""
        self._refuse(error)

    def _receive_content(self, data: bytes) -> None:
        assert self._content is not None
        try:
            piece, ended, rest = self._content.receive(data)
        except HTTPError as error:
            self._fail_content(error)
            return
        self._buffer = rest
        if ended:
            self._content = None
        if self.state == State.DISCARDING:
            if ended:
                self._move(Event.CONTENT_END)
                self._request = UNREAD
            return
        inbox, limits = self._inbox, self._shared.limits
        assert isinstance(inbox, Inbox)
        inbox.add(piece)
        if inbox.size > limits.content:
            self._refuse(HTTPError(413))
        elif ended:
            self.deadline = NEVER
            self._forgive()
            self._request.know_length(inbox.size)
            self._received()
        else:
            self._earn(len(piece))
            if inbox.held > limits.content_memory:
                self._spill(inbox)
            elif rest:
                self._put_off()

    def _put_off(self) -> None:
        """Have others their turn before the rest of what has come, which waits in the buffer."""
        self._shared.loop.call_soon(self._take_up)

    def _spill(self, inbox: Inbox) -> None:
        """Have a thread write to the disk what is in memory, and read nothing until it has."""
        self._transport.pause_reading()
        self._read_paused = False  # it is no longer for the buffer to say when to read on
        self._shared.unread.discard(self)
        self._await_others()
        disk = self._shared.disk
        disk.submit(Errand(disk, inbox.spill, self._spilled))

    def _spilled(self, error: BaseException | None) -> None:
        if self.state != State.ANSWERING:
            return
        if error is None:
            self._await()
            if not self._read_paused:
                self._transport.resume_reading()
            self._take_up()
        else:
            logger.error("%s: %s", self._request, error)
            self._refuse(refusal(error) if isinstance(error, OSError) else HTTPError(500))
