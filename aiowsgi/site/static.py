"""Files under a document root, answered on the event loop from one bounded look-up.

Only what is not known, or was not looked at for a second, goes to a thread: a ``Search`` finds the file, or
that it is unchanged, and the look-up has it again. There is one look at a time at a path.
"""

import os
import re
from collections.abc import Callable, Hashable
from math import inf
from time import monotonic, time_ns

from aiowsgi.config import Files
from aiowsgi.http.messages import HTTPError, Request, Response, overloaded
from aiowsgi.site.errorpages import ErrorPage, ErrorPages
from aiowsgi.site.files import DocumentRoot, Finding, Folder, Refusal, StoredFile
from aiowsgi.site.headers import FieldRules
from aiowsgi.site.listing import list_folder, view_for
from aiowsgi.site.names import refusing
from aiowsgi.site.pages import Entry, Listed, Negotiated, Page, Refused, Shelf, has_open_file
from aiowsgi.site.router import Lookup

# Seconds for which what was found is believed without another look.
TRUST = 1.0

# Bytes of small files in memory, with what is made of them; files of which something is held open or large,
# each counted once for itself and once for each of its variants; bytes of folders' lists; paths known to have no file.
PAGES = 32 * 1024 * 1024
OPEN_FILES = 128
LISTS = 16 * 1024 * 1024
REFUSALS = 256

SHELL = b"/index.html"  # of a single-page application
_NEVER_SERVED = Refused(Refusal.MISSING, inf)

_has_encoded_slash = re.compile("%2f", re.IGNORECASE).search


class Static:
    """The handler of the files under ``root``, as the settings of ``files`` say.

    With ``decline`` a path without a file is left to the next mount; otherwise it is 404, with the root's own
    404.html where there is one. ``clock`` is in seconds, ``wall`` in nanoseconds since the epoch.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        files: Files | None = None,
        *,
        decline: bool = False,
        clock: Callable[[], float] = monotonic,
        wall: Callable[[], int] = time_ns,
    ) -> None:
        files = files or Files()
        self.root = DocumentRoot(root, wall, follow_links=files.follow_links, autoindex=files.autoindex)
        self.rules = FieldRules(files)
        self.error_pages = ErrorPages(self.root, self.rules)
        self.is_refused = refusing(files.refused)
        self.shell: Entry = Refused(Refusal.MISSING)  # what was found at SHELL
        self.declines = decline
        self._spa = files.spa
        self._autoindex = files.autoindex
        self.now = clock
        self._pages = Shelf(PAGES)
        self._open_files = Shelf(OPEN_FILES)
        self._lists = Shelf(LISTS)
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
        if entry is None and self._autoindex and path_info.endswith("/"):
            entry = self._lists.get((path_info, view_for(request)))
        if entry is None and self.is_refused(path_info):
            entry = _NEVER_SERVED
        # The slash of "a%2Fb" is part of a name, which no file can have; path_info reads "a/b" all the same.
        if "%" in request.raw_path and _has_encoded_slash(request.raw_path):
            entry = _NEVER_SERVED
        now = self.now()
        if entry is None:
            return Search(self, request, path_info, None)
        if entry.fresh_until <= now:
            return self._search_anew(request, path_info, entry, now)
        if isinstance(entry, Refused):
            if any(other.fresh_until <= now for other in self._stand_ins(entry, path_info)):
                return self._search_anew(request, path_info, entry, now)
            return self.answer(entry, request, path_info)
        return entry.answer(request)

    def _search_anew(self, request: Request, path_info: str, entry: Entry, now: float) -> "Search":
        """Have another look at what is known; whoever asks meanwhile is answered with that: one look for a crowd."""
        entry.fresh_until = max(entry.fresh_until, now + TRUST)
        if isinstance(entry, Refused):
            for other in self._stand_ins(entry, path_info):
                other.fresh_until = max(other.fresh_until, now + TRUST)
        return Search(self, request, path_info, entry)

    def answer(self, entry: Entry, request: Request, path_info: str) -> Response | None:
        """Answer with what was found, fresh or not; None declines. Raises HTTPError."""
        if isinstance(entry, Refused):
            if entry.found is Refusal.MISSING and self.declines:
                return None
            for other in self._stand_ins(entry, path_info):
                if isinstance(other.found, StoredFile):
                    return other.answer(request)
        return entry.answer(request)

    def _stand_ins(self, entry: Refused, path_info: str) -> list[Entry | ErrorPage]:
        """Return what was found that may answer instead, the first that is a file will."""
        found: list[Entry | ErrorPage] = []
        if entry.found is Refusal.MISSING and self.declines:
            return found
        if self.has_shell(entry, path_info):
            found.append(self.shell)
        page = self.error_pages.known(entry.found)
        if page is not None and not (found and isinstance(self.shell.found, StoredFile)):
            found.append(page)
        return found

    def has_shell(self, entry: Refused, path_info: str) -> bool:
        """Tell whether index.html answers for ``entry``: what has a dot in its name is no page but a file."""
        return (
            self._spa
            and entry.found is Refusal.MISSING
            and entry is not _NEVER_SERVED
            and "." not in path_info.rpartition("/")[2]
        )

    def known(self, path_info: str) -> Entry | None:
        """Return what was found at ``path_info``, fresh or not."""
        return self._pages.get(path_info) or self._open_files.get(path_info) or self._refusals.get(path_info)

    def keep(self, path_info: str, entry: Entry) -> None:
        """Let ``entry`` answer for ``path_info``, and nothing else."""
        self.forget(path_info)
        if isinstance(entry, Refused):
            self._refusals.put(path_info, entry)
        elif isinstance(entry, Listed):
            self._lists.put((path_info, entry.view), entry)
        elif has_open_file(entry.found):
            self._open_files.put(path_info, entry)
        else:
            self._pages.put(path_info, entry)

    def forget(self, path_info: str) -> None:
        """Let nothing answer for ``path_info`` but the lists of a folder, for which all else goes first."""
        for shelf in (self._pages, self._open_files, self._refusals):
            shelf.discard(path_info)

    def renewed(self, entry: Entry | None, found: StoredFile | Refusal, fresh_until: float) -> Entry:
        """Return the Entry of ``found``: ``entry``, where it is the same or of a later look, or a new one."""
        if entry is None or (entry.found is not found and entry.fresh_until <= fresh_until):
            if isinstance(found, Refusal):
                entry = Refused(found)
            else:
                kind = Negotiated if self.rules.is_negotiated(found) else Page
                entry = kind(found, self.rules)
        entry.fresh_until = max(entry.fresh_until, fresh_until)
        return entry


class Search(Lookup):
    """A look at what is at a path, unless that is never served, and at the page that answers where nothing is."""

    __slots__ = (
        "_entry",
        "_found",
        "_known",
        "_listed",
        "_page",
        "_path_info",
        "_request",
        "_shell",
        "_started",
        "_static",
    )

    def __init__(self, static: Static, request: Request, path_info: str, entry: Entry | None) -> None:
        self._static = static
        self._request = request
        self._path_info = path_info
        self._entry = entry
        self._started = -inf
        self._found: Finding = Refusal.MISSING
        self._listed: Listed | None = None
        self._known = static.shell.found, static.error_pages.findings()
        self._shell: Finding | None = None
        self._page: Finding | None = None  # of the error that was found

    @property
    def subject(self) -> Hashable:
        return self._static, self._path_info

    @property
    def may_be_late(self) -> bool:
        return self._entry is not None

    def late(self) -> Response | None:
        if self._entry is None:
            raise overloaded()
        return self._static.answer(self._entry, self._request, self._path_info)

    def run(self) -> None:
        static, name = self._static, self._path_info.encode("latin-1")
        self._started = static.now()
        if self._entry is not _NEVER_SERVED:
            self._found = static.root.find(name, None if self._entry is None else self._entry.found)
        if isinstance(self._found, Folder):
            self._list(self._found, name)
        self._look_at_stand_ins()

    def _list(self, folder: Folder, name: bytes) -> None:
        refused = self._static.is_refused
        view = view_for(self._request)
        try:
            response = list_folder(folder.path, self._path_info, view, refused, folder.root)
            self._listed = Listed(folder, view, response)
        except OSError as error:
            self._found = self._static.root.refusal(name, error)

    def _look_at_stand_ins(self) -> None:
        static, found = self._static, self._found
        shell, pages = self._known
        if not isinstance(found, Refusal) or (found is Refusal.MISSING and static.declines):
            return
        refused = _NEVER_SERVED if self._entry is _NEVER_SERVED else Refused(found)
        if static.has_shell(refused, self._path_info):
            self._shell = static.root.find(SHELL, shell)
        if found in pages and not isinstance(self._shell, StoredFile):
            self._page = static.error_pages.find(found, pages[found])

    def answer(self) -> Response | None:
        static, fresh_until = self._static, self._started + TRUST
        if self._shell is not None and not isinstance(self._shell, Folder):
            static.shell = static.renewed(static.shell, self._shell, fresh_until)
        if self._page is not None and isinstance(self._found, Refusal):
            static.error_pages.keep(self._found, self._page, fresh_until)
        if self._entry is _NEVER_SERVED:
            return static.answer(_NEVER_SERVED, self._request, self._path_info)
        if self._listed is not None:
            self._listed.fresh_until = fresh_until
            static.keep(self._path_info, self._listed)
            return self._listed.answer(self._request)
        assert not isinstance(self._found, Folder)
        # Not self._entry: another Search may have been quicker.
        entry = static.renewed(static.known(self._path_info), self._found, fresh_until)
        static.keep(self._path_info, entry)
        return static.answer(entry, self._request, self._path_info)
