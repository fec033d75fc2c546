"""One client connection, from accept to close: what comes in, and what becomes of it.

It reads a head, asks the router, has the content read (see receiving.py), and either writes the answer at once or
gives a job to the pool and sends what comes back (see sending.py). What it is doing is its ``state`` (see
http/states.py); the fields below only hold what that needs.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import cast

from aiowsgi.http.framing import CONTINUE, field_lines, render
from aiowsgi.http.messages import UNREAD, HTTPError, Request, Response, overloaded
from aiowsgi.http.parser import ContentReader
from aiowsgi.http.states import Event, State, after
from aiowsgi.server.closing import Closing
from aiowsgi.server.sending import NEVER
from aiowsgi.server.shared import Client, Shared
from aiowsgi.server.sockets import forget_unsent, go_on_writing, has_left
from aiowsgi.site.router import Candidate, Lookup
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.bridge import Inbox, Outbox
from aiowsgi.wsgi.environ import Environ
from aiowsgi.wsgi.streamed import StreamedInbox

logger = logging.getLogger("aiowsgi.connection")

# Names of their own, because to look one up in its Enum takes longer than a transition.
IDLE, HEAD, ANSWERING, DISCARDING, CLOSING, CLOSED = State
RECEIVED, REQUEST, ANSWERED, EARLY, CONTENT_END, LAST, LOST = Event

# Pipelined requests answered in one go, before other connections have their turn.
TURN = 16

# Seconds for which a look at the disk is waited for where something is known; looked at once a second.
LATE = 2.0

_ANY_METHOD = field_lines([("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")])


class Connection(Closing):
    """The only place where a request and its answer meet the event loop."""

    __slots__ = (
        "_call",
        "_parser",
        "_pending",
        "_scanned",
        "_server",
    )

    def __init__(self, shared: Shared, server: Environ, client: Client | None = None) -> None:
        """``server`` is what ``server_environ`` returned for the address this came in at.

        ``client`` is the address and port of who is at the other end, where the transport does not know.
        """
        super().__init__(shared, client)
        self._parser = shared.parser
        self._server = server
        self._scanned = 0  # how many bytes of the buffer were looked at in vain
        self._pending: tuple[Lookup, Iterator[Candidate]] | None = (
            None  # a look at the disk that is waited for
        )
        self._call: Call | None = None  # waits for the content's end

    def __repr__(self) -> str:
        return f"<Connection {self.state.name} {self._request!r}>"

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._shared.connections[self] = None

    def data_received(self, data: bytes) -> None:
        if self.state > HEAD and not self._buffer and self._receives():
            self._receive_content(data)
        elif self.state != CLOSING:
            self._buffer = self._buffer + data if self._buffer else data
        if self.state <= HEAD:
            self._read_on()
        if self._buffer and len(self._buffer) > self._shared.limits.pipelined and self.state != HEAD:
            self._read_paused = True
            self._shared.unread.add(self)
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Return whether the transport stays open: a client that sends no more may still wait for its answer."""
        self._eof = True
        if self.state == IDLE or (self._buffer and self._receives()):
            return bool(self._buffer)  # what waits for its turn
        if self.state != ANSWERING or self._receives():
            self._lose_content()
            return False
        if self._outbox is not None and not self._outbox.status:
            self._doubt(self._outbox)
        return True

    def resume_writing(self) -> None:
        go_on_writing(self._shared.loop, self._resumed)

    def _resumed(self) -> None:
        self._write_paused = False
        if self.state == ANSWERING and (self._content is None or not self._awaits_content()):
            self._note_taken()
            self._await_others()
        self._unsent = 0
        self._send_on()

    def connection_lost(self, error: Exception | None) -> None:
        shared = self._shared
        if self.state == ANSWERING:
            self._log(499)  # as nginx calls it: the client closed the connection first
            if self._content is not None:
                logger.info("%s: the client left in the middle of its content", self._request)
        self._move(LOST)
        waits = self._outbox is not None and not self._outbox.status
        self._abandon()
        if waits:
            shared.pool.look_through()
        self._end_stream()
        shared.forget(self)
        self._request, self._buffer = UNREAD, b""
        self._content = self._inbox = self._pending = self._call = None

    # What the worker tells.

    def expire(self) -> None:
        if self._takes():
            return
        if self.state == ANSWERING and self._awaits_content():
            self._fail_content(HTTPError(408))
        elif self.state == ANSWERING and self._outbox is None:  # the disk hangs
            self._look_no_longer()
        elif self.state == HEAD:
            self._refuse(HTTPError(408))
        elif self.state == IDLE:
            self._close()
        elif self.state == DISCARDING:
            self._last()
        else:
            logger.debug("%r has taken nothing of its answer for too long", self)
            forget_unsent(self._transport)
            self._transport.abort()

    def idles(self) -> bool:
        return self.state == IDLE and not self._buffer and not self._transport.get_write_buffer_size()

    def look(self) -> None:
        if has_left(self._transport):
            logger.debug("%r: the client has left", self)
            self._transport.abort()

    def make_room(self) -> None:
        if self.state == IDLE and not self._buffer:
            self._close()

    def drain(self) -> None:
        if self.state == IDLE:
            self.deadline = min(self.deadline, self._shared.due[IDLE])
        elif self._outbox is not None:
            self._outbox.may_persist = False

    def abort(self) -> None:
        self._transport.abort()

    # Reading requests.

    def _read_on(self) -> None:
        """Read and answer requests from the buffer, as far as that goes without waiting."""
        turn = TURN
        while self._buffer and self.state <= HEAD and not self._write_paused:
            if turn == 0:
                self._shared.loop.call_soon(self._read_on)
                return
            turn -= 1
            try:
                found = self._parser.head(self._buffer, self._scanned)
            except HTTPError as error:
                self._refuse(error)
                return
            if found is None:
                self._scanned = len(self._buffer)
                if self.state == IDLE:
                    self._move(RECEIVED)
                break
            request, content, size = found
            data = self._buffer
            self._buffer = data[size:] if len(data) > size else b""
            self._scanned = 0
            self._begin(request, content)
        if self._eof:
            self._read_no_more()
        if self._read_paused:
            self._read_again()

    def _read_again(self) -> None:
        """Read on if little is left, or a part of one head, which only what is read next can complete."""
        if self._read_paused and (self.state == HEAD or len(self._buffer) <= self._shared.limits.pipelined):
            self._read_paused = False
            self._shared.unread.discard(self)
            self._transport.resume_reading()

    def _read_no_more(self) -> None:
        """Close if what has come was all there will be, and it has been answered."""
        if (self.state == IDLE and not self._buffer) or self.state == HEAD:
            self._close()
        elif self._receives() and not self._buffer:
            self._lose_content()
            self._transport.close()  # its end will never come

    def _begin(self, request: Request, content: ContentReader | None) -> None:
        """Answer ``request``, or see to it that it will be answered."""
        self.state = after(self.state, REQUEST)
        self.deadline = NEVER
        self._request = request
        self._content = content
        shared = self._shared
        shared.requests += 1
        if shared.log is not None:
            self._began = monotonic()  # uvloop's clock has milliseconds
            self._know_client()  # while the transport can tell
        if request.target == "*":
            self._respond(Response(200, _ANY_METHOD))
            return
        if shared.https is not None:
            redirect = shared.https.redirect(request, self._server)
            if redirect is not None:
                self._respond(redirect)
                return
        self._proceed(*shared.router.answer(request))

    def _proceed(self, answer: Response | Call | Lookup, candidates: Iterator[Candidate]) -> None:
        """Answer, or have whatever comes before that begin: a look, and then the content, which a Call is to read."""
        if isinstance(answer, Response):
            self._respond(answer)
        elif not isinstance(answer, Call):
            self._look_up(answer, candidates)
        elif self._content is None:
            self._submit(answer)
        else:
            self._begin_content(answer)

    def _begin_content(self, call: Call) -> None:
        """Have the content received before the request is submitted, or while it is answered."""
        shared = self._shared
        if shared.streams:
            self._inbox = StreamedInbox(shared.pool, self, shared.limits.content_memory)
            self._submit(call)
            if self.state != ANSWERING:
                return  # it was refused
        else:
            self._call = call
            self._inbox = Inbox()
            self._await()
        data, self._buffer = self._buffer, b""
        if data:
            self._receive_content(data)
        elif self._request.expect_continue and not (shared.streams or self._transport.is_closing()):
            self._transport.write(CONTINUE)

    def _receives(self) -> bool:
        # While nobody knows who will answer, content waits in the buffer.
        return self._pending is None and super()._receives()

    def _take_up(self) -> None:
        if self._buffer and self._receives():
            data, self._buffer = self._buffer, b""
            self._receive_content(data)
            self._catch_up()

    def _catch_up(self) -> None:
        """Go on with what has come meanwhile, and with the end, if that has."""
        self._read_again()
        if self._eof:
            self._read_no_more()
        self._go_on()

    # Answering.

    def _refuse(self, error: HTTPError) -> None:
        if self.state <= HEAD:
            self._request = self._parser.outline(self._buffer)
        self._pending = None  # or a look at the disk would be answered, too, when it comes back
        super()._refuse(error)

    def _received(self) -> None:
        assert self._call is not None
        call, self._call = self._call, None
        self._submit(call)

    def _submit(self, call: Call) -> None:
        """Hand the request to a thread; it has been read whole, or is a stream."""
        shared = self._shared
        limits = shared.limits
        outbox = Outbox(shared.pool, self, limits.response_memory, limits.response_file)
        outbox.may_persist = self._request.keep_alive and not shared.draining
        if self._content is not None and not self._is_short():
            outbox.may_persist = False
        client = self._client or self._know_client()
        call.accept(outbox, self._inbox, self._server, client, shared)
        self._outbox = outbox
        accepted = shared.pool.submit(call)
        if self._eof:
            self._doubt(outbox)
        if not accepted:
            self._outbox = None
            self._respond(shared.error_response(overloaded(), self._request))

    def _doubt(self, outbox: Outbox) -> None:
        """Have the pool know that who waits for this may have left: a close looks like the end of what is sent."""
        outbox.half_closed = True
        self._shared.pool.look_through()

    def outbox_given_up(self, outbox: Outbox, error: HTTPError) -> None:
        if outbox is not self._outbox:
            return
        self._abandon()
        if outbox.status:
            self._broken_off(outbox.status)
        else:
            self._respond(self._shared.error_response(error, self._request))
        self._go_on()

    def _look_up(self, lookup: Lookup, candidates: Iterator[Candidate]) -> None:
        """Have a thread look at the disk; or, if too many do, do without."""
        shared = self._shared
        self._pending = lookup, candidates
        if shared.look_up(lookup, partial(self._looked_up, lookup), partial(self._ask_again, lookup)):
            patience = shared.queue_timeout
            self.deadline = shared.now + (min(LATE, patience) if lookup.may_be_late else patience)
            return
        self._pending = None
        if not lookup.may_be_late:
            shared.pool.refused += 1
        self._proceed(*self._without_look(lookup, candidates))

    def _looked_up(self, lookup: Lookup, failure: BaseException | None) -> None:
        """Answer from what ``lookup`` found; where nobody waits for it any more, others will be."""
        if failure is None:
            found = self._found(lookup.answer)
        else:
            logger.error("%r failed", lookup, exc_info=failure)
            found = self._shared.router.error_response(HTTPError(500))
        if self._pending is not None and self._pending[0] is lookup:
            candidates = self._pending[1]
            self._proceed_late(self._shared.router.first_answer(self._request, candidates, found), candidates)

    def _ask_again(self, lookup: Lookup) -> None:
        """Answer from what somebody else's look has found of what was to be looked at."""
        if self._pending is not None and self._pending[0] is lookup:
            self._proceed_late(*self._shared.router.answer(self._request))

    def _look_no_longer(self) -> None:
        assert self._pending is not None
        lookup, candidates = self._pending
        self._pending = None
        if lookup.may_be_late:
            self._proceed_late(*self._without_look(lookup, candidates))
        else:
            self._shared.pool.refused += 1
            self._refuse(overloaded())

    def _found(self, answer: Callable[[], Response | Call | None]) -> Response | Call | None:
        try:
            return answer()
        except HTTPError as error:
            return self._shared.router.error_response(error)

    def _without_look(
        self, lookup: Lookup, candidates: Iterator[Candidate]
    ) -> tuple[Response | Call | Lookup, Iterator[Candidate]]:
        found = self._found(lookup.late)
        return self._shared.router.first_answer(self._request, candidates, found), candidates

    def _proceed_late(self, answer: Response | Call | Lookup, candidates: Iterator[Candidate]) -> None:
        """Proceed behind a look, and with what has come meanwhile."""
        self._pending = None
        self.deadline = NEVER
        self._proceed(answer, candidates)
        self._catch_up()

    def _respond(self, response: Response) -> None:
        """Write a ready answer."""
        request = self._request
        keep_alive = request.keep_alive and not self._shared.draining
        if self._content is not None and not self._is_short():
            keep_alive = False
        data, rest = render(response, request, keep_alive)
        if not self._write(data):
            return
        if rest:
            self._send_rest(rest, response.status, keep_alive)
        else:
            self._answered(response.status, keep_alive)

    def _answered(self, status: int, keep_alive: bool) -> None:
        if self._shared.log is not None:
            self._log(status)
        if self._inbox is not None:
            keep_alive = self._end_stream() and keep_alive
            self._inbox = None
        if not keep_alive:
            self._last()
        elif self._content is not None:
            self._move(EARLY)
            data, self._buffer = self._buffer, b""
            if data:
                self._receive_content(data)
                self._read_again()
        else:
            self._move(ANSWERED)
            self._request = UNREAD

    def _go_on(self) -> None:
        if self.state <= HEAD and (self._buffer or self._eof):
            self._read_on()
