"""A site's own pages for what goes wrong: 404.html and the like, from its document root."""

from math import inf

from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import FileRange, Request, Response
from aiowsgi.site.files import DocumentRoot, Finding, Refusal, StoredFile
from aiowsgi.site.headers import FieldRules

STATUSES = (403, 404, 500, 503)


class ErrorPage:
    """What was found at the name of the page for ``status``; ``response`` is None where there is no page."""

    __slots__ = ("found", "fresh_until", "response")

    response: Response | None

    def __init__(self, status: int, found: Finding, rules: FieldRules) -> None:
        self.found = found
        self.fresh_until = -inf
        self.response = None
        if isinstance(found, StoredFile):
            fields = rules.of_error(found)
            if status == 503:
                fields.append(("Retry-After", "1"))
            self.response = Response(status, field_lines(fields), found.content)

    def answer(self, request: Request) -> Response:
        """Answer with the page, whatever was asked for: it has no ranges, and nothing is to be compared with."""
        assert self.response is not None
        return self.response


class ErrorPages:
    """The error pages of a document root, each as it was when it was looked at last.

    What blocks is ``load`` and ``find``; all else is done on the event loop.
    """

    __slots__ = ("_pages", "_root", "_rules")

    def __init__(self, root: DocumentRoot, rules: FieldRules) -> None:
        self._root = root
        self._rules = rules
        self._pages = {status: ErrorPage(status, Refusal.MISSING, rules) for status in STATUSES}

    def response(self, status: int) -> Response | None:
        """Return the answer of ``status`` with the site's own page, if there is one in memory.

        It is what was there when the root was looked at last, and always of bytes. A 503 says Retry-After.
        """
        page = self._pages.get(status)
        if page is None or page.response is None or isinstance(page.response.content, FileRange):
            return None
        return page.response

    def known(self, status: int) -> ErrorPage | None:
        """Return what was found for ``status``, fresh or not; None for one that never has a page."""
        return self._pages.get(status)

    def findings(self) -> dict[int, Finding]:
        """Return what was found for each status, for a look in another thread."""
        return {status: page.found for status, page in self._pages.items()}

    def load(self) -> None:
        """Look at all pages before the first request."""
        for status in STATUSES:
            self.keep(status, self.find(status, Refusal.MISSING), -inf)

    def find(self, status: int, known: Finding) -> Finding:
        """Look at the page for ``status``, in any thread; ``known`` is what was found the last time."""
        return self._root.find(b"/%d.html" % status, known)

    def keep(self, status: int, found: Finding, fresh_until: float) -> None:
        """Let what was ``found`` stand for ``status``, unless a later look has found something else."""
        page = self._pages[status]
        # Where no file can be opened, the page that was read before is the one to say so.
        if page.found is not found and page.fresh_until <= fresh_until and found is not Refusal.BUSY:
            page = self._pages[status] = ErrorPage(status, found, self._rules)
        page.fresh_until = max(page.fresh_until, fresh_until)
