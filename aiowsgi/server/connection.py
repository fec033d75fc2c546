"""One client connection: the only place where bytes meet the event loop.

It reads a head, asks the router, and either writes the answer at once or gives a job to the pool and writes what
comes back. What it is doing is its ``state`` (see http/states.py); the fields below only hold what that needs.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import Iterator
from functools import partial
from typing import cast

from aiowsgi.http.framing import CONTINUE, error_response, field_lines, has_no_content, response_head
from aiowsgi.http.messages import FileRange, HTTPError, Request, Response
from aiowsgi.http.parser import ContentReader
from aiowsgi.http.states import Event, State, after
from aiowsgi.server.sendfile import HAVE_SENDFILE, FileReader, FileSender
from aiowsgi.server.shared import LookUp, Served, Shared, Spill
from aiowsgi.site.router import Answer, Candidate, Lookup
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.bridge import Inbox, Outbox
from aiowsgi.wsgi.environ import Environ

logger = logging.getLogger("aiowsgi.connection")

IDLE, HEAD, ANSWERING, DISCARDING, CLOSING, CLOSED = State
NEVER = float("inf")

# Content of a request that was answered early is read to its end, to keep the connection, up to so many bytes.
DISCARD = 64 * 1024
# Pipelined requests answered in one go, before other connections have their turn.
TURN = 16

_ANY_METHOD = field_lines([("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")])


def _unread_request() -> Request:
    """Return what stands for a request whose head could not be read, so that it can be answered."""
    request = Request()
    request.method = request.target = request.raw_path = request.path = "-"
    request.query = ""
    request.version = "HTTP/1.1"
    request.fields = {}
    request.keep_alive = False
    request.content_length = 0
    return request


_UNREAD = _unread_request()


class Connection(Served):
    """A client connection, from accept to close."""

    __slots__ = (
        "_began",
        "_buffer",
        "_client",
        "_content",
        "_eof",
        "_file",
        "_inbox",
        "_outbox",
        "_pending",
        "_read_paused",
        "_request",
        "_scanned",
        "_sent",
        "_server",
        "_shared",
        "_transport",
        "_unsent",
        "_write_paused",
        "state",
    )

    _transport: asyncio.Transport

    def __init__(self, shared: Shared, server: Environ) -> None:
        """``server`` is what ``server_environ`` returned for the address this came in at."""
        self._shared = shared
        self._server = server
        self._client: tuple[str, str] | None = None
        self._buffer = b""  # bytes that came and were not understood yet
        self._scanned = 0  # how many of them were looked at in vain
        self._eof = False  # the client sends no more
        self._read_paused = False  # too much of what came was not understood yet
        self._write_paused = False  # the transport holds as much as it should
        self._request: Request = _UNREAD
        self._content: ContentReader | None = None  # of the request, until its content's end
        self._inbox: Inbox | None = None
        self._pending: tuple[Call | Lookup, Iterator[Candidate]] | None = None  # waits for the content's end
        self._outbox: Outbox | None = None
        self._file: FileSender | FileReader | None = None  # while a file is being sent
        self._began = 0.0
        self._sent = 0  # bytes of the answer
        self._unsent = 0  # of them, those the transport still held when somebody looked
        self.state = IDLE
        self.deadline = shared.now + shared.deadlines[IDLE]

    def __repr__(self) -> str:
        return f"<Connection {self.state.name} {self._request!r}>"

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._shared.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._content is not None:
            self._receive_content(data)
        elif self.state != CLOSING:
            self._buffer = self._buffer + data if self._buffer else data
        if self.state <= HEAD:
            self._read_on()
        if len(self._buffer) > self._shared.limits.pipelined and self.state != HEAD:
            self._read_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Return whether the transport stays open: a client that sends no more may still wait for its answer."""
        self._eof = True
        if self.state == IDLE:
            return bool(self._buffer)  # requests that wait for their turn
        return self.state == ANSWERING and self._content is None

    def pause_writing(self) -> None:
        self._write_paused = True
        self._await_client()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._unsent = 0
        if self.state == ANSWERING and self._content is None:
            self.deadline = NEVER
        if isinstance(self._file, FileReader):
            self._file.resume()
        elif self._file is not None:
            self._file.start()
        elif self._outbox is not None:
            self._flush_and_read_on()
        elif self.state <= HEAD:
            self._read_on()

    def connection_lost(self, error: Exception | None) -> None:
        shared = self._shared
        if self.state == ANSWERING:
            self._log(499)  # as nginx calls it: the client closed the connection first
            if self._content is not None:
                request = self._request
                logger.info(
                    "%s %s: the client left in the middle of its content", request.method, request.target
                )
        self._move(Event.LOST)
        if self._outbox is not None:
            self._outbox.abandon()
        if self._file is not None:
            self._file.cancel()
        shared.connections.discard(self)
        if shared.draining and not shared.connections:
            shared.drained.set()
        self._request, self._buffer = _UNREAD, b""
        self._content = self._inbox = self._pending = self._outbox = self._file = None

    # What the worker tells.

    def expire(self) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent < self._unsent:
            self._unsent = unsent
            self.deadline = self._shared.now + self._shared.deadlines[DISCARDING]
        elif self.state == HEAD or (self.state == ANSWERING and self._content is not None):
            self._refuse(HTTPError(408, close=True))
        elif self.state == IDLE:
            self._close()
        elif self.state == DISCARDING:
            self._last()
        else:
            logger.debug("%r has taken nothing of its answer for too long", self)
            self._transport.abort()

    def drain(self) -> None:
        if self.state == IDLE:
            self._close()
        elif self._outbox is not None:
            self._outbox.keep_alive = False

    def _await_client(self) -> None:
        """Set the deadline for a client that has to take bytes before anything goes on."""
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self._shared.now + self._shared.deadlines[DISCARDING]

    def abort(self) -> None:
        self._transport.abort()

    # Reading requests.

    def _move(self, event: Event) -> None:
        shared = self._shared
        self.state = state = after(self.state, event)
        self.deadline = shared.now + shared.deadlines[state]

    def _read_on(self) -> None:
        """Read and answer requests from the buffer, as far as that goes without waiting."""
        turn = TURN
        while self._buffer and self.state <= HEAD and not self._write_paused:
            if turn == 0:
                self._shared.loop.call_soon(self._read_on)
                return
            turn -= 1
            try:
                found = self._shared.parser.head(self._buffer, self._scanned)
            except HTTPError as error:
                self._refuse(error)
                return
            if found is None:
                self._scanned = len(self._buffer)
                if self.state == IDLE:
                    self._move(Event.RECEIVED)
                break
            request, content, size = found
            data = self._buffer
            self._buffer = data[size:] if len(data) > size else b""
            self._scanned = 0
            self._begin(request, content)
        ends = self._shared.draining or (self._eof and not self._buffer)
        if (ends and self.state == IDLE) or (self._eof and self.state == HEAD):
            self._close()
        elif self._read_paused and len(self._buffer) <= self._shared.limits.pipelined:
            self._read_paused = False
            self._transport.resume_reading()

    def _begin(self, request: Request, content: ContentReader | None) -> None:
        """Answer ``request``, or see to it that it will be answered."""
        self._move(Event.REQUEST)
        self.deadline = NEVER
        self._request = request
        self._content = content
        self._sent = 0
        shared = self._shared
        if shared.log is not None:
            self._began = shared.loop.time()
            self._know_client()
        if request.target == "*":
            self._respond(Response(200, _ANY_METHOD))
            return
        candidates = iter(shared.router.candidates(request.path))
        answer = self._ask(candidates)
        if isinstance(answer, Response):
            self._respond(answer)
        elif content is None:
            self._submit(answer, candidates)
        else:
            self._pending = answer, candidates
            self._inbox = Inbox()
            data, self._buffer = self._buffer, b""
            self.deadline = shared.now + shared.deadlines[ANSWERING]
            if data:
                self._receive_content(data)
            elif request.expect_continue:
                self._transport.write(CONTINUE)

    def _ask(self, candidates: Iterator[Candidate], answer: Answer = None) -> Response | Call | Lookup:
        """Return the first answer that does not decline."""
        request = self._request
        try:
            while answer is None:
                handler, script_name, path_info = next(candidates, (None, "", ""))
                if handler is None:
                    raise HTTPError(404)
                answer = handler.handle(request, script_name, path_info)
        except HTTPError as error:
            return error_response(error)
        return answer

    def _receive_content(self, data: bytes) -> None:
        assert self._content is not None
        try:
            piece, ended, rest = self._content.receive(data)
        except HTTPError as error:
            self._refuse(error)
            return
        if ended:
            self._content = None
            self._buffer = rest
        if self.state == DISCARDING:
            if ended:
                self._move(Event.CONTENT_END)
                self._request = _UNREAD
            return
        assert self._inbox is not None
        self._inbox.add(piece)
        limits = self._shared.limits
        if self._inbox.size > limits.content:
            self._refuse(HTTPError(413, close=True))
        elif ended:
            assert self._pending is not None
            self.deadline = NEVER
            self._request.know_length(self._inbox.size)
            pending, self._pending = self._pending, None
            self._submit(*pending)
        else:
            self.deadline = self._shared.now + self._shared.deadlines[ANSWERING]
            if self._inbox.held > limits.content_memory:
                self._transport.pause_reading()
                self.deadline = NEVER
                self._shared.disk.submit_unbounded(Spill(self._shared.disk, self._inbox, self._spilled))

    def _spilled(self, error: BaseException | None) -> None:
        """Go on reading the content, now that what came of it is on disk."""
        if self.state != ANSWERING:
            return
        if error is None:
            self.deadline = self._shared.now + self._shared.deadlines[ANSWERING]
            self._transport.resume_reading()
        else:
            logger.error("%s %s: %s", self._request.method, self._request.target, error)
            self._refuse(HTTPError(507, "The server has no room for this content.", close=True))

    # Answering.

    def _submit(self, answer: Call | Lookup, candidates: Iterator[Candidate]) -> None:
        """Hand the request, which has been read whole, to a thread."""
        shared = self._shared
        if isinstance(answer, Call):
            limits = shared.limits
            outbox = Outbox(shared.pool, self._outbox_ready, limits.response_memory, limits.response_file)
            outbox.keep_alive = self._request.keep_alive and not shared.draining
            answer.accept(outbox, self._inbox, self._server, self._know_client(), shared.debug)
            self._outbox = outbox
            accepted = shared.pool.submit(answer)
        else:
            done = partial(self._looked_up, answer, candidates)
            accepted = shared.disk.submit(LookUp(shared.disk, answer, done))
        if not accepted:
            self._outbox = None
            self._respond(error_response(HTTPError(503, fields=[("Retry-After", "1")])))

    def _looked_up(self, lookup: Lookup, candidates: Iterator[Candidate], failed: bool) -> None:
        """Answer from what ``lookup`` found."""
        if self.state != ANSWERING:
            return
        found: Response | Call | None
        try:
            if failed:
                raise HTTPError(500)
            found = lookup.answer()
        except HTTPError as error:
            found = error_response(error)
        answer = self._ask(candidates, found)
        if isinstance(answer, Response):
            self._respond(answer)
        else:
            self._submit(answer, candidates)
        if self.state == IDLE:
            self._read_on()

    def _respond(self, response: Response) -> None:
        """Write a ready answer."""
        request, content = self._request, response.content
        keep_alive = request.keep_alive and not self._shared.draining
        if self._content is not None and (
            request.chunked or request.expect_continue or request.content_length > DISCARD
        ):
            keep_alive = False
        head = response_head(response, request, keep_alive)
        if has_no_content(request, response.status):
            content = b""
        if isinstance(content, FileRange):
            if self._write(head):
                # The file goes the way of a thread's answer, with the end behind it.
                outbox = self._outbox = Outbox(self._shared.pool, self._outbox_ready, 0, 0)
                outbox.status = response.status
                outbox.put(content, keep_alive)
                self._flush()
        elif self._write(head + content if content else head):
            self._answered(response.status, keep_alive)

    def _write(self, data: bytes) -> bool:
        """Give ``data`` to the transport; False where it is closing and nothing more can be sent."""
        if self._transport.is_closing():
            return False
        self._sent += len(data)
        self._transport.write(data)
        return True

    def _outbox_ready(self, outbox: Outbox) -> None:
        if outbox is self._outbox and self._file is None and not self._write_paused:
            self._flush_and_read_on()

    def _flush_and_read_on(self) -> None:
        self._flush()
        if self.state == IDLE and (self._buffer or self._eof or self._shared.draining):
            self._read_on()

    def _flush(self) -> None:
        """Write what the Outbox has, as long as the transport takes it."""
        outbox, transport = self._outbox, self._transport
        assert outbox is not None
        while not (self._write_paused or transport.is_closing()):
            ended = outbox.ended  # looked at before the pieces: the thread sets it behind the last one
            piece = outbox.take()
            if piece is None:
                if ended:
                    self._finish(outbox)
                return
            if isinstance(piece, FileRange):
                self._send_file(piece)
                return
            self._sent += len(piece)
            transport.write(piece)
            if not ended:
                outbox.took(piece)

    def _finish(self, outbox: Outbox) -> None:
        self._outbox = None
        if outbox.cut:
            self._log(outbox.status)
            self._cut()
        else:
            self._answered(outbox.status, outbox.keep_alive)

    def _send_file(self, file_range: FileRange) -> None:
        """Send a part of a file, behind all that was written before it."""
        shared, transport = self._shared, self._transport

        def progress() -> None:
            self.deadline = shared.now + shared.deadlines[ANSWERING]

        def done(complete: bool) -> None:
            if self.state != ANSWERING:
                return  # the client left meanwhile
            self._file = None
            transport.set_write_buffer_limits()
            if not complete:
                transport.abort()
            else:
                assert self._outbox is not None
                self.deadline = NEVER
                self._sent += file_range.count
                self._outbox.took(file_range)
                self._flush_and_read_on()

        transport.set_write_buffer_limits(0)
        if HAVE_SENDFILE and transport.get_extra_info("sslcontext") is None:
            self._file = FileSender(shared.loop, transport, file_range, progress, done)
        else:
            self._file = FileReader(shared.disk, transport, file_range, progress, done)
        progress()
        if not self._write_paused:
            self._file.start()

    def _answered(self, status: int, keep_alive: bool) -> None:
        """Go on behind an answer that was given to the transport whole."""
        if self._shared.log is not None:
            self._log(status)
        self._inbox = None
        if not keep_alive:
            self._last()
        elif self._content is not None:
            self._move(Event.EARLY)
            data, self._buffer = self._buffer, b""
            if data:
                self._receive_content(data)
        else:
            self._move(Event.ANSWERED)
            self._request = _UNREAD

    def _refuse(self, error: HTTPError) -> None:
        """Answer what cannot be trusted or waited for any longer, and read no further request."""
        response = error_response(error)
        if self.state != DISCARDING and self._write(
            response_head(response, self._request, False) + _bytes(response)
        ):
            self._log(response.status)
        self._last()

    def _last(self) -> None:
        """Close behind the last answer.

        A close while the client still sends resets the connection, which may destroy the answer before it was
        read (RFC 9112 section 9.6): so only this side is closed, and what comes is thrown away for a while.
        """
        clean = self._request is not _UNREAD and not self._request.keep_alive and self._content is None
        self._move(Event.LAST)
        self._buffer, self._content, self._pending = b"", None, None
        if self._transport.get_write_buffer_size():
            self._await_client()
        if clean or self._eof or not self._transport.can_write_eof():
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()

    def _cut(self) -> None:
        """Close in the middle of an answer, so that the client sees that something is missing."""
        if self._request.version == "HTTP/1.0":
            # Where only the close tells the end of the content, a reset tells that this was not it.
            client = self._transport.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._close()

    def _close(self) -> None:
        self._move(Event.LAST)
        self._transport.close()

    def _log(self, status: int) -> None:
        shared = self._shared
        if shared.log is not None:
            seconds = shared.loop.time() - self._began if self._began else 0.0
            shared.log.write(self._know_client()[0], self._request, status, self._sent, seconds)

    def _know_client(self) -> tuple[str, str]:
        """Return the client's address and port; empty for a Unix socket, which has none."""
        if self._client is None:
            name = self._transport.get_extra_info("peername")
            self._client = (name[0], str(name[1])) if isinstance(name, tuple) else ("", "")
        return self._client


def _bytes(response: Response) -> bytes:
    assert isinstance(response.content, bytes)
    return response.content
