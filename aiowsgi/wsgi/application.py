"""One call of a WSGI application: start_response, write(), iterating, close() (PEP 3333)."""

import logging
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from types import TracebackType
from typing import IO, Protocol
from wsgiref.types import WSGIApplication

from aiowsgi.http.framing import (
    LAST_CHUNK,
    Head,
    chunk,
    has_no_content,
    read_head,
    render,
)
from aiowsgi.http.messages import Content, Field, HTTPError, Request, Response
from aiowsgi.wsgi.bridge import ClientDisconnected, Inbox, Outbox
from aiowsgi.wsgi.callpool import Work
from aiowsgi.wsgi.environ import Environ, FileWrapper, make_environ
from aiowsgi.wsgi.regularfile import RegularFile, regular_file
from aiowsgi.wsgi.spool import refusal
from aiowsgi.wsgi.streamed import ContentError, StreamedInbox

logger = logging.getLogger("aiowsgi.application")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write = Callable[[bytes], None]

# Bytes of a file up to which it costs less to read it than to send it by itself.
SMALL_FILE = 64 * 1024

# Bytes of a piece from which on it takes longer to copy it than to send what stands around it by itself.
LARGE_CHUNK = 16 * 1024

# Names of hop-by-hop fields that an application sent and that were left out, each warned of once.
_warned: set[str] = set()


class ErrorAnswers(Protocol):
    """Who knows how this site answers an error."""

    def error_response(self, error: HTTPError, request: Request, cause: BaseException | None, /) -> Response:
        """Return the answer; the exception behind it is for the operator's eyes. In any thread."""


class ApplicationMistake(Exception):
    """The application did what PEP 3333 does not allow; the message says what it asks for."""


class Call(Work):
    """One request, answered by one call of ``application`` in a pool thread.

    The handler that chose the application makes it; the connection then gives it the request's content and the
    Outbox (``accept``) and submits it to the pool.
    """

    __slots__ = (
        "_application",
        "_chunked",
        "_client",
        "_complete",
        "_error_answers",
        "_head",
        "_inbox",
        "_keep_alive",
        "_left",
        "_outbox",
        "_path_info",
        "_request",
        "_script_name",
        "_server",
        "_started",
    )

    _server: Environ
    _client: tuple[str, str]
    _outbox: Outbox
    _chunked: bool  # both from when an answer in pieces has begun
    _keep_alive: bool

    def __init__(
        self, application: WSGIApplication, request: Request, script_name: str, path_info: str
    ) -> None:
        self._application = application
        self._request = request
        self._script_name = script_name
        self._path_info = path_info
        self._head: Head | None = None
        self._started = False  # the head is on its way: nothing can replace it any more
        self._complete = False  # so is the end
        self._left: int | None = None  # bytes of content still to come, where their number was declared

    def accept(
        self,
        outbox: Outbox,
        inbox: Inbox | StreamedInbox | None,
        server: Environ,
        client: tuple[str, str],
        error_answers: ErrorAnswers,
    ) -> None:
        """Take what the connection knows. On the loop."""
        self._outbox = outbox
        self._inbox = inbox
        self._server = server
        self._client = client
        self._error_answers = error_answers

    def put_below(self, prefix: str) -> None:
        """Have the application know that its URLs begin with ``prefix``, which a proxy took off. Before ``run``."""
        self._script_name = prefix + self._script_name

    def __str__(self) -> str:
        return str(self._request)

    @property
    def gone(self) -> bool:
        return self._outbox.gone

    @property
    def half_closed(self) -> bool:
        return self._outbox.half_closed

    @property
    def progress(self) -> int | None:
        sent, inbox = self._outbox.progress, self._inbox
        if sent is None or not isinstance(inbox, StreamedInbox):
            return sent
        read = inbox.progress
        return None if read is None else sent + read

    def give_up(self, error: HTTPError) -> None:
        self._outbox.give_up(error)

    def move_on(self) -> bool:
        persisted, self._outbox.may_persist = self._outbox.may_persist, False
        return persisted

    def run(self) -> None:
        """Call the application and send what it gives. In a pool thread."""
        if self._outbox.gone:
            return
        if self._inbox is None:
            self._call(BytesIO())
        else:
            with self._open(self._inbox) as content:
                self._call(content)

    def _call(self, content: IO[bytes]) -> None:
        environ = make_environ(
            self._server, self._client, self._request, self._script_name, self._path_info, content
        )
        result = self._application(environ, self.start_response)
        if type(result) is list or type(result) is tuple:
            self._send_whole(result)
            return
        try:
            if type(result) is FileWrapper:
                self._send_wrapped(result)
            else:
                self._send_pieces(result)
        finally:
            if hasattr(result, "close"):
                result.close()

    def _open(self, inbox: Inbox | StreamedInbox) -> IO[bytes]:
        try:
            return inbox.open()
        except OSError as error:
            raise refusal(error) from error

    def failed(self, error: BaseException) -> None:
        """Answer, or break the answer off, for what ``run`` raised; log it. In the same thread."""
        request = self._request
        if isinstance(error, ClientDisconnected):
            logger.debug("%s: the client left before its answer was complete", request)
            return
        if isinstance(error, ContentError):
            error = error.answer
        if isinstance(error, HTTPError):
            level = logging.ERROR if error.status >= 500 else logging.DEBUG
            logger.log(level, "%s: %s", request, error.__cause__ or error)
        elif isinstance(error, ApplicationMistake):
            logger.error("%s: %s", request, error)
        else:
            # Its name, not its text, which is the application's code; logging guards itself against that.
            kind = type(error).__name__
            logger.error("%s: %s", request, kind, exc_info=error)
        if self._complete:
            return
        if self._started:
            self._outbox.break_off()
        elif isinstance(error, HTTPError):
            self._send_error(error)
        else:
            self._send_error(HTTPError(500), error)

    def _send_error(self, error: HTTPError, cause: BaseException | None = None) -> None:
        response = self._error_answers.error_response(error, self._request, cause)
        keep_alive = self._outbox.may_persist
        data, _ = render(response, self._request, keep_alive)
        self._outbox.status = response.status
        self._finish(data, keep_alive)

    # What the application is given.

    def start_response(self, status: str, headers: list[Field], exc_info: ExcInfo | None = None) -> Write:
        """PEP 3333, "The start_response() Callable"; returns ``write``."""
        if exc_info is not None:
            try:
                if self._started and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
                if self._started:
                    raise ApplicationMistake("PEP 3333 asks for start_response before the body is sent")
            finally:
                exc_info = None  # no circle through the traceback's frames
        elif self._head is not None:
            raise ApplicationMistake("PEP 3333 asks for exc_info when start_response is called a second time")
        try:
            self._head = read_head(status, headers)
        except ValueError as error:
            raise ApplicationMistake(str(error)) from None
        return self.write

    def write(self, data: bytes) -> None:
        """Send a piece at once (PEP 3333, "The write() Callable"). Raises ClientDisconnected."""
        if not isinstance(data, bytes):
            raise ApplicationMistake(f"PEP 3333 asks for bytes as the body, not {type(data).__name__}")
        if not data:
            # PEP 3333, "Middleware Handling of Block Boundaries": an application yields it while it waits.
            if self._outbox.gone:
                raise ClientDisconnected("the client has left")
            return
        if not self._started:
            head = self._head or self._checked_head()
            if head.content_length == len(data):
                self._send_all(head, data)
            else:
                self._start(head, data)
        elif self._left is not None:
            self._send_counted(b"", data)
        elif not self._complete:
            if self._chunked and len(data) >= LARGE_CHUNK:
                self._outbox.send_chunk(b"%x\r\n" % len(data), data)
            else:
                self._outbox.send(chunk(data) if self._chunked else data)

    # How its result becomes bytes.

    def _send_wrapped(self, wrapper: FileWrapper) -> None:
        file = None if self._started else regular_file(wrapper.filelike)
        if file is None:
            self._send_pieces(wrapper)
        else:
            self._send_file(file)

    def _send_file(self, file: RegularFile) -> None:
        """Send a file, or as much of it as was declared, and hold neither the thread nor much memory."""
        head = self._checked_head()
        count = file.length if head.content_length is None else min(file.length, head.content_length)
        if count <= SMALL_FILE:
            self._send_whole([file.file.read(count)])
        else:
            self._send_ready(head, (file.range(count),), count)

    def _send_ready(self, head: Head, pieces: Sequence[Content], length: int) -> None:
        """Send ``length`` bytes of content that are not all in memory."""
        declared = length if head.content_length is None else head.content_length
        start, self._keep_alive = self._render(head, declared)
        if has_no_content(self._request, head.code):
            self._finish(start, self._keep_alive)
            return
        self._started = True
        self._outbox.send_ready((start, *pieces))
        self._left = declared - length
        self._end()

    def _send_pieces(self, result: Iterable[bytes]) -> None:
        try:
            pieces = iter(result)
        except TypeError:
            raise ApplicationMistake(
                f"PEP 3333 asks for an iterable of bytes as the result, not {type(result).__name__}"
            ) from None
        for piece in pieces:
            complete = self._complete
            self.write(piece)
            if complete:
                # One piece more than there may be, to let the application end by itself; PEP 3333: stop then.
                return
        if not self._complete:
            self._end()

    def _send_whole(self, pieces: list[bytes] | tuple[bytes, ...]) -> None:
        """Send a body that is all there, so that its length is known without being declared."""
        for piece in pieces:
            if not isinstance(piece, bytes):
                raise ApplicationMistake(f"PEP 3333 asks for bytes as the body, not {type(piece).__name__}")
        if self._started:
            self._send_pieces(pieces)
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        head = self._head or self._checked_head()
        if head.content_length is not None and head.content_length != len(data):
            if data:
                self._start(head, data)
            self._end()
        elif data or self._request.method != "HEAD":
            self._send_all(head, data)
        else:
            self._end()  # a HEAD that was answered with an empty body does not know the length of GET's

    def _send_all(self, head: Head, data: bytes) -> None:
        """Send the head and the whole content in one piece, as most answers go."""
        outbox, request = self._outbox, self._request
        outbox.status = head.code
        if head.dropped:
            self._warn_of(head.dropped)
        start, keep_alive, _ = head.render(request, len(data), outbox.may_persist)
        self._started = self._complete = True
        self._left = 0
        if request.method == "HEAD" or head.ends_answer:
            data, self._left = b"", None
        outbox.finish(start + data, keep_alive)

    def _start(self, head: Head, data: bytes) -> None:
        """Send the head with the first piece of content."""
        start, self._keep_alive = self._render(head, head.content_length)
        if has_no_content(self._request, head.code):
            self._finish(start, self._keep_alive)
            return
        self._started = True
        self._left = head.content_length
        if self._left is not None:
            self._send_counted(start, data)
        else:
            self._outbox.send(start + (chunk(data) if self._chunked else data))

    def _send_counted(self, start: bytes, data: bytes) -> None:
        """Send ``data`` as far as it was declared, and the end with its last byte."""
        assert self._left is not None
        excess = len(data) - self._left
        if excess > 0:
            data = data[: self._left]
        self._left -= len(data)
        if self._left > 0:
            self._outbox.send(start + data)
        elif not self._complete:
            self._finish(start + data, self._keep_alive)
        if excess > 0:
            raise ApplicationMistake(
                f"PEP 3333 asks for no more bytes than Content-Length declares; {excess} are left out"
            )

    def _end(self) -> None:
        """Send the end, now that the application has no more to give."""
        if self._complete:
            return
        if not self._started:
            head = self._checked_head()
            if has_no_content(self._request, head.code):
                self._finish(*self._render(head, head.content_length))
                return
            if not head.content_length:
                self._finish(*self._render(head, 0))
                return
            self._left = head.content_length
            self._started = True
            self._outbox.send(self._render(head, self._left)[0])
        if self._left:
            raise ApplicationMistake(
                f"PEP 3333 asks for as many bytes as Content-Length declares; {self._left} are missing"
            )
        self._finish(LAST_CHUNK if self._chunked else b"", self._keep_alive)

    def _finish(self, data: bytes, keep_alive: bool) -> None:
        self._started = self._complete = True
        self._outbox.finish(data, keep_alive)

    def _checked_head(self) -> Head:
        if self._head is None:
            raise ApplicationMistake(
                "PEP 3333 asks for start_response to be called before the first piece of the body"
            )
        return self._head

    def _render(self, head: Head, length: int | None) -> tuple[bytes, bool]:
        outbox = self._outbox
        outbox.status = head.code
        start, keep_alive, self._chunked = head.render(self._request, length, outbox.may_persist)
        if head.dropped:
            self._warn_of(head.dropped)
        return start, keep_alive

    def _warn_of(self, dropped: Sequence[str]) -> None:
        for name in dropped:
            if name not in _warned and len(_warned) < 100:
                _warned.add(name)
                logger.warning(
                    "%s: %s is left out; PEP 3333 leaves hop-by-hop fields to the server", self._request, name
                )
