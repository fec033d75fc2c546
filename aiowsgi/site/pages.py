"""What the look-up of static files holds: what was found at a path, with the answers made of it."""

from collections import OrderedDict
from collections.abc import Hashable

from aiowsgi.http.conditional import CONDITIONAL
from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import FileRange, HTTPError, Request, Response
from aiowsgi.http.negotiation import IDENTITY, Ranking, best, rankings
from aiowsgi.http.selection import select
from aiowsgi.site.files import Folder, Refusal, StoredFile
from aiowsgi.site.headers import FieldRules, of_not_modified
from aiowsgi.site.listing import View

_OVERHEAD = 2048  # bytes of memory that a Page costs beside its content

_VARY = ("Vary", "Accept-Encoding")


class Page:
    """One representation of a file that was found; ``coding`` is its content coding, "" where it has none."""

    __slots__ = (
        "_content_type",
        "_fields",
        "_not_modified",
        "_vary",
        "found",
        "fresh_until",
        "response",
        "weight",
    )

    def __init__(
        self, file: StoredFile, rules: FieldRules, coding: str = "", negotiated: bool = False
    ) -> None:
        self.found = file
        self.fresh_until = 0.0
        self.weight = len(file.content) + _OVERHEAD if isinstance(file.content, bytes) else 1
        fields = rules.of_file(file, coding, negotiated)
        self._vary = [field for field in fields if field[0] == "Vary"]
        kind = fields[:1] if fields[0][0].lower() == "content-type" else []
        self._content_type = kind[0][1] if kind else "application/octet-stream"
        self._fields = field_lines(fields[len(kind) :])
        self.response = Response(200, field_lines(kind) + self._fields, file.content)
        self._not_modified = Response(304, field_lines(of_not_modified(fields)))

    def answer(self, request: Request) -> Response:
        """Answer with the file, parts of it, or that the client has it. Raises HTTPError 412 and 416."""
        if request.fields.keys().isdisjoint(CONDITIONAL):
            return self.response
        try:
            status, fields, content = select(
                request, self.found.validators, self.found.content, self._content_type
            )
        except HTTPError as error:
            raise HTTPError(error.status, fields=[*error.fields, *self._vary]) from None
        if status == 200:
            return self.response
        if status == 304:
            return self._not_modified
        lines = field_lines(fields)
        own = self._fields if fields[0][0] == "Content-Type" else self.response.fields
        return Response(206, own + lines, content)


class Negotiated:
    """A file that was found, with its variants if it has any: the Page of each, and which one suits whom."""

    __slots__ = ("_by_ranking", "_pages", "found", "fresh_until", "weight")

    def __init__(self, file: StoredFile, rules: FieldRules) -> None:
        self.found = file
        self.fresh_until = 0.0
        pages = [(IDENTITY, Page(file, rules, negotiated=True))]
        pages += [
            (coding, Page(variant, rules, coding, negotiated=True)) for coding, variant in file.variants
        ]
        # Of those that a client likes equally well it gets the smallest.
        self._pages = dict(sorted(pages, key=lambda page: len(page[1].found.content)))
        self._by_ranking: dict[Ranking, Page] = {}
        self.weight = sum(page.weight for _, page in pages)
        if has_open_file(file):
            self.weight = len(pages)

    def answer(self, request: Request) -> Response:
        """Answer as the Page that suits the client best. Raises HTTPError 406, and what that raises."""
        ranking = rankings[request.fields.get("HTTP_ACCEPT_ENCODING")]
        page = self._by_ranking.get(ranking)
        if page is None:
            coding = best(ranking, tuple(self._pages))
            if coding is None:
                raise HTTPError(406, fields=[_VARY])
            page = self._by_ranking[ranking] = self._pages[coding]
        return page.answer(request)


def has_open_file(file: StoredFile) -> bool:
    """Tell whether ``file`` or a variant of it is sent from a file that is held open."""
    return any(
        isinstance(one.content, FileRange) for one in (file, *(variant for _, variant in file.variants))
    )


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
            return Response(301, field_lines([("Location", f"{request.shown_path}/{query}")]))
        raise HTTPError(int(self.found), fields=[("Retry-After", "1")] if self.found is Refusal.BUSY else [])


class Listed:
    """A folder that was found, with one view of its list."""

    __slots__ = ("_response", "found", "fresh_until", "view", "weight")

    def __init__(self, folder: Folder, view: View, response: Response) -> None:
        self.found = folder
        self.view = view
        self.fresh_until = 0.0
        self.weight = len(response.content) + _OVERHEAD
        self._response = response

    def answer(self, request: Request) -> Response:
        """Answer with the list, whatever else was asked for: it has no validators."""
        return self._response


Entry = Page | Negotiated | Refused | Listed


class Shelf(OrderedDict[Hashable, Entry]):
    """Entries by path, and lists by their view, too, as many as weigh no more than ``capacity``.

    What was put there longest ago goes first. An entry is put back whenever it was looked at again, so what goes is
    what nobody has asked for lately. Each step takes the same time however many there are.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._room = capacity

    def put(self, path: Hashable, entry: Entry) -> None:
        self.discard(path)
        self[path] = entry
        self._room -= entry.weight
        while self._room < 0:
            self._room += self.popitem(last=False)[1].weight

    def discard(self, path: Hashable) -> None:
        entry = self.pop(path, None)
        if entry is not None:
            self._room += entry.weight
