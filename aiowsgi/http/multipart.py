"""multipart/byteranges: several parts of one representation as one content (RFC 9110 section 14.6)."""

from collections.abc import Sequence
from secrets import token_hex

from aiowsgi.http.conditional import ByteRange, content_range
from aiowsgi.http.messages import Content, FileRange, Parts


def byteranges(content: Content, ranges: Sequence[ByteRange], content_type: str) -> tuple[str, bytes | Parts]:
    """Return the Content-Type and the content of a 206 with ``ranges`` of ``content``, which is a ``content_type``.

    The boundary is new each time and not to be guessed, so no file can hold it.
    """
    boundary = token_hex(16)
    pieces: list[Content] = []
    for part in ranges:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: {content_range(part, len(content))}\r\n\r\n"
        )
        pieces.append(head.encode("latin-1"))
        pieces.append(piece(content, part))
    pieces.append(f"\r\n--{boundary}--\r\n".encode())
    whole = (
        Parts(pieces)
        if isinstance(content, FileRange)
        else b"".join(p for p in pieces if isinstance(p, bytes))
    )
    return f"multipart/byteranges; boundary={boundary}", whole


def piece(content: Content, part: ByteRange) -> Content:
    """Return ``part`` of ``content``."""
    if isinstance(content, FileRange):
        return FileRange(content.file, content.offset + part.start, part.stop - part.start)
    return content[part.start : part.stop]
