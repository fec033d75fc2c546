"""What of chunked content may reach h11: only that which every recipient reads alike (RFC 9112 section 7.1)."""

import re

from aiowsgi.http.fields import FIELD_LINE
from aiowsgi.http.messages import bad_request

_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?").fullmatch
_field_line = re.compile(FIELD_LINE).fullmatch

# Bytes of chunk sizes, extensions and line ends that a sender may use up: a constant, and some for each byte of
# content, so that chunks of one byte still pass.
_OVERHEAD = 16 * 1024
_OVERHEAD_A_BYTE = 16
_LONGEST_LINE = 4 * 1024  # bytes, of a chunk size with its extensions or of a trailer field


class ChunkGate:
    """Stands before h11, which is lenient about a bare LF or CR and has no bound on extensions all together."""

    __slots__ = ("_held", "_left", "_most_trailers", "_overhead", "_trailers")

    def __init__(self, most_trailers: int) -> None:
        """``most_trailers`` is the most bytes a trailer section may have."""
        self._most_trailers = most_trailers
        self._held = b""  # a line that has not come whole
        self._left = 0  # bytes of this chunk's data and of the CRLF behind it that are still to come
        self._overhead = _OVERHEAD
        self._trailers = -1  # bytes of the trailer section so far; -1 before it

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what h11 may see, and the bytes behind the end of the content.

        Raises HTTPError 400. What h11 may see ends with a whole line or within a chunk's data.
        """
        data = self._held + data
        self._held = b""
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._hold(data[position:])
                return data[:position], b""
            line = data[position:end]
            if len(line) > _LONGEST_LINE:
                raise bad_request("A line of the chunked content is too long.")
            position = end + 2
            if self._trailers < 0:
                self._begin_chunk(line)
            elif not line:
                return data[:position], data[position:]
            else:
                self._check_trailer(line)
        return data, b""

    def _hold(self, rest: bytes) -> None:
        if len(rest) > _LONGEST_LINE + 1:  # it may end with the CR behind the line
            raise bad_request("A line of the chunked content is too long.")
        if b"\n" in rest:
            raise bad_request("A line of the chunked content does not end with CRLF.")
        self._held = rest

    def _begin_chunk(self, line: bytes) -> None:
        match = _chunk_line(line)
        if match is None:
            raise bad_request("The chunked content is broken.")
        size = int(match[1], 16)
        self._overhead += _OVERHEAD_A_BYTE * size - len(line) - 4
        if self._overhead < 0:
            raise bad_request("The chunked content is mostly not content.")
        if size:
            self._left = size + 2
        else:
            self._trailers = 0

    def _check_trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        if self._trailers > self._most_trailers or _field_line(line) is None:
            raise bad_request("The trailer section is too long or broken.")
