"""Chunked content, read strictly: nothing is taken that recipients might read differently (RFC 9112 section 7.1)."""

import re

from aiowsgi.http.fields import FIELD_LINE
from aiowsgi.http.messages import bad_request

LONGEST_LINE = 4 * 1024  # bytes, of a chunk size with its extensions or of a trailer field

# Chunks that are read at once: 0.3 ms where they hold a byte each.
TURN = 512

_chunk_line = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*)?").fullmatch
_plain_line = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n").match
# How content is framed cannot be told behind it; who merges trailers into the head would read another message
# (RFC 9110 section 6.5.1).
_trailer_line = re.compile(rb"(?!(?i:content-length|transfer-encoding):)" + FIELD_LINE).fullmatch

# Bytes of chunk sizes, extensions and line ends that a sender may use up: a constant, and some for each byte of
# content, so that chunks of one byte still pass.
_OVERHEAD = 16 * 1024
_OVERHEAD_A_BYTE = 16


def _find_line_end(data: bytes, position: int) -> int:
    """Return where the line at ``position`` ends; -1 where its end has not come."""
    end = data.find(b"\r\n", position)
    # A line that has not come whole may end with the CR behind it.
    if (end if end >= 0 else len(data) - 1) - position > LONGEST_LINE:
        raise bad_request("A line of the chunked content is too long.")
    if end < 0 and data.find(b"\n", position) >= 0:
        raise bad_request("A line of the chunked content does not end with CRLF.")
    return end


class ChunkedContent:
    """Content in chunks. Their extensions and the trailer fields are checked and left out."""

    __slots__ = ("_held", "_left", "_most_trailers", "_overhead", "_trailers")

    def __init__(self, most_trailers: int) -> None:
        """``most_trailers`` is the most bytes a trailer section may have."""
        self._most_trailers = most_trailers
        self._held = b""  # what has come of a line, or of the CRLF behind a chunk's data
        self._left = 0  # bytes of this chunk's data and of the CRLF behind it that are still to come
        self._overhead = _OVERHEAD
        self._trailers = -1  # bytes of the trailer section so far; -1 before it

    def receive(self, data: bytes) -> tuple[bytes, bool, bytes]:
        """Return the content in ``data``, whether it has ended, and the bytes behind its end.

        Where it has not, these are what is left behind TURN chunks, to be given again. Raises HTTPError 400.
        """
        data = self._held + data
        pieces: list[bytes] = []
        position = 0
        while len(pieces) < TURN:
            if self._left:
                piece = data[position : position + self._left - 2]
                pieces.append(piece)
                self._left -= len(piece)
                position += len(piece)
                line_end = data[position : position + 2]
                if line_end != b"\r\n":
                    if line_end not in (b"", b"\r"):
                        raise bad_request("A chunk is not as long as its size says.")
                    break
                self._left = 0
                position += 2
            if self._trailers < 0 and (match := _plain_line(data, position)) is not None:  # as most are
                position = match.end()
                self._begin_chunk(match, len(match[1]))
                continue
            end = _find_line_end(data, position)
            if end < 0:
                break
            line = data[position:end]
            position = end + 2
            if self._trailers < 0:
                self._begin_chunk(_chunk_line(line), len(line))
            elif line:
                self._check_trailer(line)
            else:
                return b"".join(pieces), True, data[position:]
        else:
            self._held = b""
            return b"".join(pieces), False, data[position:]
        self._held = data[position:]
        return b"".join(pieces), False, b""

    def _begin_chunk(self, match: re.Match[bytes] | None, length: int) -> None:
        """Take note of the chunk whose size was found in a line of ``length`` bytes."""
        if match is None:
            raise bad_request("A chunk does not begin with its size.")
        size = int(match[1], 16)
        self._overhead += _OVERHEAD_A_BYTE * size - length - 4
        if self._overhead < 0:
            raise bad_request("The chunked content is mostly not content.")
        if size:
            self._left = size + 2
        else:
            self._trailers = 0

    def _check_trailer(self, line: bytes) -> None:
        self._trailers += len(line) + 2
        if self._trailers > self._most_trailers or _trailer_line(line) is None:
            raise bad_request("The trailer section is too long or broken.")
