"""A Call whose answer the server may change on its way: a file stands in for it, or it is compressed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from wsgiref.types import WSGIApplication

from aiowsgi.http.framing import LAST_CHUNK, Head, chunk, read_head
from aiowsgi.http.messages import Content, Field, Parts, Request
from aiowsgi.http.negotiation import IDENTITY, choose
from aiowsgi.wsgi.application import ApplicationMistake, Call, ExcInfo, Write
from aiowsgi.wsgi.compression import SHORTEST, Coder, Coding, coded, may_be_coded, varying, weakened
from aiowsgi.wsgi.regularfile import RegularFile

# Fields by which an application has the server send a file: their value names it.
FILE_FIELDS = frozenset({"x-accel-redirect", "x-sendfile"})


@dataclass(frozen=True, slots=True)
class StandIn:
    """What is sent instead of an application's answer."""

    status: str
    fields: list[Field]
    content: Content | Parts


class MakeCall(Protocol):
    """What makes a Call: the class, or somebody who knows of something to add."""

    def __call__(
        self, application: WSGIApplication, request: Request, script_name: str, path_info: str, /
    ) -> Call: ...


class FileSource(Protocol):
    """Where the files are that an application may name."""

    def stand_in(self, request: Request, named: Field, fields: list[Field]) -> StandIn:
        """Return the file that the field ``named`` names, with an application's ``fields``; may block.

        Raises HTTPError where there is none, or a precondition or range of the request leads to one.
        """


class Rules:
    """What may become of an application's answer."""

    def __init__(self, codings: Sequence[Coding] = (), files: FileSource | None = None) -> None:
        """``codings`` are those to choose from, the best first; without ``files`` no field names one."""
        self.codings = {coding.name: coding for coding in codings}
        self.names = (*self.codings, IDENTITY)
        self.files = files


class RewritingCall(Call):
    """A Call by some Rules. Nothing changes for an answer that they do not speak of."""

    __slots__ = ("_coder", "_fields", "_is_file", "_named", "_rules", "_status", "_uncoded")

    _status: str
    _fields: list[Field]

    def __init__(
        self, rules: Rules, application: WSGIApplication, request: Request, script_name: str, path_info: str
    ) -> None:
        super().__init__(application, request, script_name, path_info)
        self._rules = rules
        self._named: Field | None = None  # the field that names a file to send
        self._is_file = False  # the application gave a file, and a file is sent as it is
        self._coder: Coder | None = None  # of an answer that is coded piece by piece
        self._uncoded: int | None = None  # bytes still to be coded, where their number was declared

    def start_response(self, status: str, headers: list[Field], exc_info: ExcInfo | None = None) -> Write:
        write = super().start_response(status, headers, exc_info)
        self._named = None
        self._status, self._fields = status, list(headers)
        if self._rules.files is not None:
            named = [field for field in headers if field[0].lower() in FILE_FIELDS]
            if named:
                self._fields = [field for field in headers if field not in named]
                self._head = read_head(status, self._fields)
                if self._head.code == 200:
                    self._named = named[0]
        return write

    def write(self, data: bytes) -> None:
        coder = self._coder
        if coder is None or self._complete or not data or not isinstance(data, bytes):
            super().write(data)
        else:
            data, excess = self._within_declared(data)
            super().write(coder.code(data))
            self._settle(excess)

    # Where Call begins to send, or ends.

    def _send_all(self, head: Head, data: bytes) -> None:
        if self._named is not None:
            self._send_stand_in(self._named)
            return
        head, coding = self._chosen(head, len(data))
        if coding is None:
            super()._send_all(head, data)
        elif self._request.method == "HEAD":
            self._finish(*self._render(head, None))  # how long GET's would be, only the coding can tell
        else:
            super()._send_all(head, coding.whole(data))

    def _start(self, head: Head, data: bytes) -> None:
        if self._named is not None:
            self._send_stand_in(self._named)
            return
        declared = head.content_length
        head, coding = self._chosen(head, declared)
        if coding is None or self._request.method == "HEAD":
            super()._start(head, data)
            return
        coder = self._coder = coding.start()
        self._uncoded = declared
        data, excess = self._within_declared(data)
        super()._start(head, coder.code(data))
        self._settle(excess)

    def _send_file(self, file: RegularFile) -> None:
        if self._named is not None:
            self._send_stand_in(self._named)
        else:
            self._is_file = True
            super()._send_file(file)

    def _end(self) -> None:
        if self._complete:
            return
        coder = self._coder
        if coder is not None:
            if self._uncoded:
                raise ApplicationMistake(
                    f"PEP 3333 asks for as many bytes as Content-Length declares; {self._uncoded} are missing"
                )
            data = coder.end()
            self._finish(chunk(data) + LAST_CHUNK if self._chunked else data, self._keep_alive)
        elif self._started:
            super()._end()
        elif self._named is not None:
            self._send_stand_in(self._named)
        else:
            head = self._checked_head()
            if head.content_length is not None or head.code == 304:
                self._head, _ = self._chosen(head, head.content_length)
            super()._end()

    # What they do then.

    def _send_stand_in(self, named: Field) -> None:
        assert self._rules.files is not None
        stand_in = self._rules.files.stand_in(self._request, named, self._fields)
        head, content = read_head(stand_in.status, stand_in.fields), stand_in.content
        if isinstance(content, bytes):
            super()._send_all(head, content)
        else:
            pieces = content.pieces if isinstance(content, Parts) else (content,)
            self._send_ready(head, pieces, len(content))
        self._left = None  # what the application still gives is not too much, it is not looked at

    def _chosen(self, head: Head, length: int | None) -> tuple[Head, Coding | None]:
        """Return the coding for content of ``length`` bytes, None: not known yet, and the head that goes with it."""
        rules = self._rules
        if not rules.codings or self._is_file or head.code in (204, 206):
            return head, None
        if head.code == 304:
            return self._as_the_client_knows(head), None
        if (length is not None and length < SHORTEST) or not may_be_coded(self._fields):
            return head, None
        chosen = choose(self._request.fields.get("HTTP_ACCEPT_ENCODING"), rules.names)
        if chosen is None or chosen == IDENTITY:
            return read_head(self._status, varying(self._fields)), None
        return read_head(self._status, coded(self._fields, chosen)), rules.codings[chosen]

    def _as_the_client_knows(self, head: Head) -> Head:
        """Return the head of a 304 with the ETag under which the coded answer was sent (RFC 9111 section 4.3.4)."""
        fields = weakened(self._fields)
        weak = next((value for name, value in fields if name.lower() == "etag"), None)
        if weak is not None and weak in self._request.fields.get("HTTP_IF_NONE_MATCH", ""):
            return read_head(self._status, fields)
        return head

    def _within_declared(self, data: bytes) -> tuple[bytes, int]:
        """Return as much of ``data`` as was declared, and how many bytes are too many."""
        left = self._uncoded
        if left is None:
            return data, 0
        excess = max(0, len(data) - left)
        self._uncoded = left - len(data) + excess
        return data[:left], excess

    def _settle(self, excess: int) -> None:
        """Send the end with the last byte that was declared."""
        if self._uncoded == 0:
            self._end()
            self._left = 0  # what comes now is too much
        if excess:
            raise ApplicationMistake(
                f"PEP 3333 asks for no more bytes than Content-Length declares; {excess} are left out"
            )
