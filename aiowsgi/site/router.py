"""Which handler answers a request: mounts, where the longest prefix that does not decline wins."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Protocol

from aiowsgi.http.framing import error_response
from aiowsgi.http.messages import HTTPError, Request, Response, overloaded
from aiowsgi.site.errorpages import ErrorPages
from aiowsgi.wsgi.application import Call


class Lookup(ABC):
    """An answer that needs a look at the disk first.

    ``run`` looks, in a pool thread; ``answer`` then answers, on the event loop. So a handler's cache is only
    ever touched on the loop: ``run`` keeps what it found on the Lookup itself and shares nothing, ``answer``
    puts it into the cache and answers exactly as a hit would have.
    """

    __slots__ = ()

    @property
    def subject(self) -> Hashable:
        """What is looked at, where ``answer`` has it answer for all who ask for the same; None where it does not."""
        return None

    @property
    def may_be_late(self) -> bool:
        """Whether ``late`` can answer."""
        return False

    @abstractmethod
    def run(self) -> None:
        """Find out; may block. What the file system refuses is a finding, not an exception."""

    @abstractmethod
    def answer(self) -> Response | Call | None:
        """Answer from what was found, without blocking; None declines. May raise HTTPError."""

    def late(self) -> Response | Call | None:
        """Answer in the same way from what was known before: the disk is too busy to look now."""
        raise overloaded()


Answer = Response | Call | Lookup | None


class Handler(Protocol):
    """What a mount leads to."""

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        """Answer on the event loop, without blocking; None declines. May raise HTTPError."""


Mount = tuple[str, Handler]
Candidate = tuple[Handler, str, str]  # the handler, SCRIPT_NAME, PATH_INFO

_NOBODY: Iterator[Candidate] = iter(())


class Router:
    """The mounts of a site, asked with a request's decoded path.

    A prefix is "" or begins with "/" and does not end with one. It matches itself and every path below it:
    "/api" matches "/api" and "/api/users", not "/apiary". The part that matched is SCRIPT_NAME, the rest
    PATH_INFO (PEP 3333). Mounts of the same prefix are asked in the order given.

    ``error_pages`` are the site's own, for whoever answers an error that no handler has answered.

    Raises ValueError for a prefix that could never match.
    """

    def __init__(self, mounts: Sequence[Mount], error_pages: ErrorPages | None = None) -> None:
        for prefix, _ in mounts:
            if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
                raise ValueError(f"a prefix begins with '/' and does not end with one, unlike {prefix!r}")
        self.error_pages = error_pages
        longest_first = sorted(mounts, key=lambda mount: -len(mount[0]))
        self._below = tuple((prefix, prefix + "/", handler) for prefix, handler in longest_first if prefix)
        self._everywhere = tuple(handler for prefix, handler in longest_first if not prefix)
        # One application and nothing else is the commonest site: its requests pay for no search.
        self._only = self._everywhere[0] if len(mounts) == 1 and self._everywhere else None

    def answer(self, request: Request) -> tuple[Response | Call | Lookup, Iterator[Candidate]]:
        """Return the first answer to ``request``, and whom to ask next if that is a Lookup which then declines."""
        if self._only is None:
            candidates = self.candidates(request.path)
            return self.first_answer(request, candidates), candidates
        try:
            answer = self._only.handle(request, "", request.path)
        except HTTPError as error:
            return self.error_response(error), _NOBODY
        return answer or self.first_answer(request, _NOBODY), _NOBODY

    def candidates(self, path: str) -> Iterator[Candidate]:
        """Yield who may answer ``path``, with SCRIPT_NAME and PATH_INFO, in the order to ask them."""
        found = [
            (handler, prefix, path[len(prefix) :])
            for prefix, below, handler in self._below
            if path.startswith(below) or path == prefix
        ]
        found += [(handler, "", path) for handler in self._everywhere]
        return iter(found)

    def first_answer(
        self, request: Request, candidates: Iterator[Candidate], answer: Answer = None
    ) -> Response | Call | Lookup:
        """Return ``answer``, or, where it declines, that of the first of ``candidates`` which does not.

        A handler that refuses has answered, with the page of its error; 404 is the answer where nobody is left to ask.
        """
        if answer is not None:
            return answer
        try:
            for handler, script_name, path_info in candidates:
                answer = handler.handle(request, script_name, path_info)
                if answer is not None:
                    return answer
            raise HTTPError(404)
        except HTTPError as error:
            return self.error_response(error)

    def complete(self, request: Request, response: Response) -> Response:
        """Return an error's answer as ``request`` gets it. In any thread."""
        return response

    def drain(self) -> None:
        """Have answers that would never end do so: the worker is about to."""

    def error_response(self, error: HTTPError) -> Response:
        """Return the answer of ``error``, with the site's own page if it has one. In any thread."""
        page = self.error_pages.response(error.status) if self.error_pages is not None else None
        return page or error_response(error)
