"""What the look-up of static files holds: what was found at a path, with the answers made of it."""

from collections import OrderedDict
from email.utils import formatdate

from aiowsgi.http.conditional import CONDITIONAL, content_range, precondition, requested_ranges
from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import HTTPError, Request, Response
from aiowsgi.http.multipart import byteranges, piece
from aiowsgi.site.files import Refusal, StoredFile
from aiowsgi.site.media_types import content_type

_OVERHEAD = 2048  # bytes of memory that a Page costs beside its content


class Page:
    """A file that was found; text is declared to be in ``charset``, "" declares nothing."""

    __slots__ = (
        "_content_type",
        "_fields",
        "_not_modified",
        "found",
        "fresh_until",
        "not_found",
        "response",
        "weight",
    )

    def __init__(self, file: StoredFile, charset: str) -> None:
        self.found = file
        self.fresh_until = 0.0
        self.weight = len(file.content) + _OVERHEAD if isinstance(file.content, bytes) else 1
        self._content_type = content_type(file.name, charset)
        kind = field_lines([("Content-Type", self._content_type)])
        nosniff = ("X-Content-Type-Options", "nosniff")
        fields = [nosniff, ("ETag", file.validators.etag), ("Accept-Ranges", "bytes")]
        if file.validators.last_modified is not None:
            fields.append(("Last-Modified", formatdate(file.validators.last_modified, usegmt=True)))
        self._fields = field_lines(fields)
        self.response = Response(200, kind + self._fields, file.content)
        self.not_found = Response(404, kind + field_lines([nosniff]), file.content)
        # RFC 9110 section 15.4.5: whoever asks has the rest.
        self._not_modified = Response(304, field_lines([("ETag", file.validators.etag)]))

    def answer(self, request: Request) -> Response:
        """Answer with the file, a part of it, or that the client has it. Raises HTTPError 412 and 416."""
        if request.fields.keys().isdisjoint(CONDITIONAL):
            return self.response
        validators, content = self.found.validators, self.found.content
        status = precondition(request.method, request.fields, validators)
        if status == 304:
            return self._not_modified
        if status == 412:
            raise HTTPError(412)
        ranges = requested_ranges(request.method, request.fields, validators, len(content))
        if ranges is None:
            return self.response
        if not ranges:
            raise HTTPError(416, fields=[("Content-Range", content_range(None, len(content)))])
        if len(ranges) == 1:
            fields = field_lines([("Content-Range", content_range(ranges[0], len(content)))])
            return Response(206, self.response.fields + fields, piece(content, ranges[0]))
        several, parts = byteranges(content, ranges, self._content_type)
        return Response(206, field_lines([("Content-Type", several)]) + self._fields, parts)


class Refused:
    """A path at which there is no file to serve, and why."""

    __slots__ = ("found", "fresh_until", "weight")

    def __init__(self, refusal: Refusal, fresh_until: float = 0.0) -> None:
        self.found = refusal
        self.fresh_until = fresh_until
        self.weight = 1

    def answer(self, request: Request) -> Response:
        """Answer with a redirect; raises HTTPError for every other refusal."""
        if self.found is Refusal.DIRECTORY:
            # The path is as the client spelled it. It does not begin with "//", which would name another
            # host: empty segments are refused.
            query = f"?{request.query}" if request.query else ""
            return Response(301, field_lines([("Location", f"{request.raw_path}/{query}")]))
        raise HTTPError(int(self.found), fields=[("Retry-After", "1")] if self.found is Refusal.BUSY else [])


Entry = Page | Refused


class Shelf(OrderedDict[str, Entry]):
    """Entries by path, as many as weigh no more than ``capacity``; what was put there longest ago goes first.

    An entry is put back whenever it was looked at again, so what goes is what nobody has asked for lately.
    Each step takes the same time however many there are.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._room = capacity

    def put(self, path: str, entry: Entry) -> None:
        self.discard(path)
        self[path] = entry
        self._room -= entry.weight
        while self._room < 0:
            self._room += self.popitem(last=False)[1].weight

    def discard(self, path: str) -> None:
        entry = self.pop(path, None)
        if entry is not None:
            self._room += entry.weight
