"""What of a representation answers a request: all of it, parts of it, or word that the client has it."""

from typing import NamedTuple

from aiowsgi.http.conditional import Validators, content_range, precondition, requested_ranges
from aiowsgi.http.messages import Content, Field, HTTPError, Parts, Request
from aiowsgi.http.multipart import byteranges, piece


class Selection(NamedTuple):
    """``status`` is 200, 206 or 304; ``fields`` are those that only a 206 has, a new Content-Type first if any."""

    status: int
    fields: list[Field]
    content: Content | Parts


def select(request: Request, validators: Validators, content: Content, content_type: str) -> Selection:
    """Select from ``content`` what ``request`` asks for: preconditions first, then ranges (RFC 9110 section 13.2.2).

    Raises HTTPError 412 and 416.
    """
    status = precondition(request.method, request.fields, validators)
    if status == 304:
        return Selection(304, [], b"")
    if status == 412:
        raise HTTPError(412)
    size = len(content)
    ranges = requested_ranges(request.method, request.fields, validators, size)
    if ranges is None:
        return Selection(200, [], content)
    if not ranges:
        raise HTTPError(416, fields=[("Content-Range", content_range(None, size))])
    if len(ranges) == 1:
        field = "Content-Range", content_range(ranges[0], size)
        return Selection(206, [field], piece(content, ranges[0]))
    several, parts = byteranges(content, ranges, content_type)
    return Selection(206, [("Content-Type", several)], parts)
