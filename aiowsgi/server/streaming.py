"""The way in for content that an application reads while it arrives (``--stream-requests``)."""

import logging

from aiowsgi.http.framing import CONTINUE
from aiowsgi.http.messages import HTTPError
from aiowsgi.http.states import State
from aiowsgi.server.receiving import Receiving
from aiowsgi.server.sending import NEVER
from aiowsgi.wsgi.streamed import StreamedInbox

logger = logging.getLogger("aiowsgi.connection")


class Streaming(Receiving):
    """What a connection does otherwise than Receiving while it has a StreamedInbox: the thread runs meanwhile.

    The client is waited for while the thread waits for it, and at no other time: a slow application makes no slow
    client. What is wrong with the content is the thread's to hear, whose answer may have begun.
    """

    __slots__ = ()

    @property
    def _stream(self) -> StreamedInbox | None:
        inbox = self._inbox
        return inbox if isinstance(inbox, StreamedInbox) else None

    def _receives(self) -> bool:
        # What an application that has returned did not read waits in the buffer until its answer is sent.
        stream = self._stream
        return super()._receives() if stream is None else self._content is not None and not stream.closed

    def _awaits_content(self) -> bool:
        stream = self._stream
        return super()._awaits_content() if stream is None else self._content is not None and stream.waits

    def _receive_content(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            super()._receive_content(data)
        elif not stream.failed:
            self._receive_streamed(stream, data)

    def _receive_streamed(self, stream: StreamedInbox, data: bytes) -> None:
        assert self._content is not None
        try:
            piece, ended, rest = self._content.receive(data)
        except HTTPError as error:
            self._fail_content(error)
            return
        if stream.size + len(piece) > self._shared.limits.content:
            self._fail_content(HTTPError(413))
            return
        self._buffer = rest
        if ended:
            self._content = None
            if self._outbox is not None:
                self._outbox.may_persist = self._request.keep_alive and not self._shared.draining
        stream.add(piece)
        if ended:
            stream.end()
            self._forgive()
        self._await_thread(len(piece))
        if stream.is_full and not ended:
            self._pause(stream)
        elif rest and not ended:
            self._put_off()

    def _await_thread(self, count: int = 0) -> None:
        """Set no deadline for content, of which ``count`` bytes have come: it is the thread's turn."""
        shared = self._shared
        if self.deadline != NEVER:
            self._earn(count)
            if not self._write_paused:
                self._await_others()
        else:
            most = shared.deadlines[State.ANSWERING]
            self._patience = min(most, self._patience + count * shared.seconds_per_byte)

    def _pause(self, stream: StreamedInbox) -> None:
        stream.paused = True
        self._shared.unread.add(self)
        self._transport.pause_reading()
        self._resume(stream)  # the thread may have made room before it could know that somebody waits for it

    def _resume(self, stream: StreamedInbox) -> None:
        if stream.paused and stream.has_room and not stream.failed:
            self._read_streamed_on(stream)

    def _read_streamed_on(self, stream: StreamedInbox) -> None:
        stream.paused = False
        self._shared.unread.discard(self)
        if not self._transport.is_closing():
            self._transport.resume_reading()
        if self._buffer:
            self._put_off()

    def stream_ready(self, stream: StreamedInbox) -> None:
        """Let the client go on, for the thread waits for it or has made room."""
        if stream is not self._inbox or self.state != State.ANSWERING:
            return
        self._resume(stream)
        if not self._awaits_content():
            return
        # Behind the head of an answer there is no place for it, nor where content has come unasked.
        begun = self._outbox is not None and self._outbox.status
        if self._request.expect_continue and not (stream.size or stream.asked or begun):
            stream.asked = True
            if not self._transport.is_closing():
                self._transport.write(CONTINUE)
        if self.deadline == NEVER:
            self._await()

    def _fail_content(self, error: HTTPError) -> None:
        stream = self._stream
        if stream is None:
            super()._fail_content(error)
            return
        logger.info("%s: %s", self._request, error)
        if self._outbox is not None:
            self._outbox.may_persist = False
        self._await_thread()
        self._forgive()
        stream.paused = True  # for good: nobody can tell where the next request begins
        self._read_paused = False
        self._shared.unread.add(self)
        self._transport.pause_reading()
        stream.fail(error)

    def _lose_content(self) -> None:
        """Have the thread know that no more will come; the client may take what was sent before."""
        stream = self._stream
        if stream is not None:
            stream.fail()
            self._await_client()

    def _end_stream(self) -> bool:
        """Part with the thread, whose answer is complete; return whether a next request may be found."""
        stream = self._stream
        if stream is None:
            return True
        sound = not stream.failed
        stream.fail()
        if stream.paused:
            self._read_streamed_on(stream)
        return sound
