"""Files under a document root, answered on the event loop from one bounded look-up.

Only what is not known, or was not looked at for a second, goes to a thread: a ``Search`` finds the file, or
that it is unchanged, and the look-up has it again.
"""

import os
import re
from collections.abc import Callable
from math import inf
from time import monotonic, time_ns

from aiowsgi.http.messages import FileRange, HTTPError, Request, Response
from aiowsgi.site.files import DocumentRoot, Finding, Refusal, is_refused
from aiowsgi.site.pages import Entry, Page, Refused, Shelf
from aiowsgi.site.router import Lookup

# Seconds for which what was found is believed without another look.
TRUST = 1.0

# Bytes of small files in memory, with what is made of them; files held open; paths known to have no file.
PAGES = 32 * 1024 * 1024
OPEN_FILES = 128
REFUSALS = 1024

_NOT_FOUND_PAGE = b"/404.html"
_NEVER_SERVED = Refused(Refusal.MISSING, inf)

_has_encoded_slash = re.compile("%2f", re.IGNORECASE).search


class Static:
    """The handler of the files under ``root``.

    ``charset`` is what text is declared to be in; "" declares nothing. With ``decline`` a path without a file
    is left to the next mount; otherwise it is 404, with the root's own 404.html where there is one.
    ``clock`` is in seconds, ``wall`` in nanoseconds since the epoch.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        charset: str = "utf-8",
        decline: bool = False,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], int] = time_ns,
    ) -> None:
        self.root = DocumentRoot(root, wall)
        self.declines = decline
        self.not_found: Entry = Refused(Refusal.MISSING)  # what was found at 404.html
        self._charset = charset
        self._clock = clock
        self._pages = Shelf(PAGES)
        self._open_files = Shelf(OPEN_FILES)
        # Apart, so that asking for what is not there drives out nothing that is.
        self._refusals = Shelf(REFUSALS)

    def handle(
        self,
        request: Request,
        script_name: str,
        path_info: str,
    ) -> "Response | Search | None":
        """Answer GET and HEAD (RFC 9110 section 9.3). Raises HTTPError for what is not served."""
        if request.method != "GET" and request.method != "HEAD":
            if self.declines:
                return None
            raise HTTPError(405, fields=[("Allow", "GET, HEAD")])
        entry = self.known(path_info)
        if entry is None and is_refused(path_info):
            entry = _NEVER_SERVED
        # The slash of "a%2Fb" is part of a name, which no file can have; path_info reads "a/b" all the same.
        if "%" in request.raw_path and _has_encoded_slash(request.raw_path):
            entry = _NEVER_SERVED
        now = self._clock()
        if entry is None or entry.fresh_until <= now:
            return Search(self, request, path_info, entry, now)
        if entry.found is Refusal.MISSING and not self.declines and self.not_found.fresh_until <= now:
            return Search(self, request, path_info, entry, now)
        return self.answer(entry, request)

    def answer(self, entry: Entry, request: Request) -> Response | None:
        """Answer with what was found, fresh or not; None declines. Raises HTTPError."""
        if entry.found is Refusal.MISSING:
            if self.declines:
                return None
            if isinstance(self.not_found, Page):
                return self.not_found.not_found
        return entry.answer(request)

    def known(self, path_info: str) -> Entry | None:
        """Return what was found at ``path_info``, fresh or not."""
        return self._pages.get(path_info) or self._open_files.get(path_info) or self._refusals.get(path_info)

    def keep(self, path_info: str, entry: Entry) -> None:
        """Let ``entry`` answer for ``path_info``, and nothing else."""
        for shelf in (self._pages, self._open_files, self._refusals):
            shelf.discard(path_info)
        if isinstance(entry, Refused):
            self._refusals.put(path_info, entry)
        elif isinstance(entry.found.content, FileRange):
            self._open_files.put(path_info, entry)
        else:
            self._pages.put(path_info, entry)

    def renewed(self, entry: Entry | None, found: Finding, looked: float) -> Entry:
        """Return the Entry of ``found``: ``entry``, where it is the same or of a later look, or a new one."""
        fresh_until = looked + TRUST
        if entry is None or (entry.found is not found and entry.fresh_until <= fresh_until):
            entry = Refused(found) if isinstance(found, Refusal) else Page(found, self._charset)
        entry.fresh_until = max(entry.fresh_until, fresh_until)
        return entry


class Search(Lookup):
    """A look at what is at a path, unless that is never served, and at the 404 page if that will answer."""

    __slots__ = ("_entry", "_found", "_not_found", "_path_info", "_request", "_started", "_static")

    def __init__(
        self, static: Static, request: Request, path_info: str, entry: Entry | None, now: float
    ) -> None:
        self._static = static
        self._request = request
        self._path_info = path_info
        self._entry = entry
        self._started = now
        self._found: Finding = Refusal.MISSING
        self._not_found = static.not_found.found

    def run(self) -> None:
        find = self._static.root.find
        if self._entry is not _NEVER_SERVED:
            known = None if self._entry is None else self._entry.found
            self._found = find(self._path_info.encode("latin-1"), known)
        if self._found is Refusal.MISSING and not self._static.declines:
            self._not_found = find(_NOT_FOUND_PAGE, self._not_found)

    def answer(self) -> Response | None:
        static = self._static
        if self._found is Refusal.MISSING and not static.declines:
            static.not_found = static.renewed(static.not_found, self._not_found, self._started)
        if self._entry is _NEVER_SERVED:
            return static.answer(_NEVER_SERVED, self._request)
        # Not self._entry: another Search may have been quicker.
        entry = static.renewed(static.known(self._path_info), self._found, self._started)
        static.keep(self._path_info, entry)
        return static.answer(entry, self._request)
