"""The files that applications name in X-Accel-Redirect or X-Sendfile, for the server to send."""

import logging
import os
import re
from collections.abc import Sequence
from email.utils import formatdate
from urllib.parse import unquote_to_bytes

from aiowsgi.config import Files
from aiowsgi.http.messages import Field, HTTPError, Request, shortened
from aiowsgi.http.selection import select
from aiowsgi.site.files import DocumentRoot, Finding, Refusal, StoredFile
from aiowsgi.site.media_types import content_type
from aiowsgi.wsgi.rewriting import StandIn

logger = logging.getLogger("aiowsgi.application")

# Fields that tell of the content: the file's content is not what the application gave.
#
# The validators are the file's, as with nginx. Ranges are taken from it, so a tag has to change with its bytes,
# and the application, which did not read it, cannot promise that.
_REPLACED = {"accept-ranges", "content-length", "content-range", "etag", "last-modified"}

# A folder, or "." and "..", which would lead out of one.
_is_no_file = re.compile(rb"/\Z|(?:^|/)\.\.?(?:/|\Z)").search


class NamedFiles:
    """Files below some folders, each with the prefix under which X-Accel-Redirect knows it.

    ``/protected`` and ``./files``: ``X-Accel-Redirect: /protected/a.pdf``, a path as in a URI, percent-encoded, and
    ``X-Sendfile: /srv/site/files/a.pdf``, an absolute path of the system, name the same file. What is percent-encoded
    in X-Sendfile is decoded if there is no file of that very name.

    Whatever is below a folder can be named, what is hidden or no business of the web, too: the operator has named
    the folder, and the application the file. Nothing else can: a link may not lead out, and ``..`` leads nowhere.
    """

    def __init__(self, folders: Sequence[tuple[str, str]], files: Files) -> None:
        """``folders`` are prefixes and paths; ``files`` tell what is declared where the application says nothing."""
        longest_first = sorted(folders, key=lambda folder: -len(folder[0]))
        self._roots = [
            (prefix.encode(), os.path.abspath(os.fsencode(path)), DocumentRoot(path))
            for prefix, path in longest_first
        ]
        self._charset = files.charset
        self._nosniff = files.nosniff
        self._media_types = dict(files.media_types)

    def stand_in(self, request: Request, named: Field, fields: list[Field]) -> StandIn:
        """Return the file, a part of it, or that the client has it; see ``FileSource`` in wsgi/rewriting.py."""
        name, value = named
        if name.lower() == "x-sendfile":
            found = self._at_path(value.encode("latin-1"))
        else:
            found = self._at_uri(value.encode("latin-1"))
        if isinstance(found, StoredFile):
            return self._answer(request, found, fields)
        if found is Refusal.BUSY:
            raise HTTPError(503, fields=[("Retry-After", "1")])
        if found is Refusal.FORBIDDEN or found is Refusal.UNREADABLE:
            raise HTTPError(int(found))
        logger.error("%s: %s names no file: %s", request, name, shortened(value))
        raise HTTPError(404)

    def _at_uri(self, uri: bytes) -> Finding:
        path = unquote_to_bytes(uri.partition(b"?")[0])
        if _is_no_file(path):
            return Refusal.MISSING
        for prefix, _, root in self._roots:
            if path.startswith(prefix + b"/"):
                return root.find_alone(path[len(prefix) :])
        return Refusal.MISSING

    def _at_path(self, path: bytes) -> Finding:
        found: Finding = Refusal.MISSING
        for spelling in dict.fromkeys((path, unquote_to_bytes(path))):
            if found is Refusal.MISSING and not _is_no_file(spelling):
                found = self._at_decoded_path(spelling)
        return found

    def _at_decoded_path(self, path: bytes) -> Finding:
        found: Finding = Refusal.MISSING
        for _, folder, root in self._roots:
            # As it was given and as it is, since the application may know it by either name.
            for base in dict.fromkeys((folder, os.path.realpath(folder))):
                if found is Refusal.MISSING and path.startswith(base + b"/"):
                    found = root.find_alone(path[len(base) :])
        return found

    def _answer(self, request: Request, file: StoredFile, fields: list[Field]) -> StandIn:
        """Answer with ``file`` as with a page, but for the application's own fields."""
        own = [field for field in fields if field[0].lower() not in _REPLACED]
        kind = next((value for name, value in own if name.lower() == "content-type"), "")
        if not kind:
            kind = content_type(file.name, self._charset, self._media_types)
            own.append(("Content-Type", kind))
            if self._nosniff:
                own.append(("X-Content-Type-Options", "nosniff"))
        validators = file.validators
        own.append(("ETag", validators.etag))
        if validators.last_modified is not None:
            own.append(("Last-Modified", formatdate(validators.last_modified, usegmt=True)))
        if request.method not in ("GET", "HEAD"):
            return StandIn("200 OK", own, file.content)
        own.append(("Accept-Ranges", "bytes"))
        status, selected, content = select(request, validators, file.content, kind)
        if status == 304:
            return StandIn("304 Not Modified", _of_304(own), b"")
        if status == 200:
            return StandIn("200 OK", own, content)
        new = {name.lower() for name, _ in selected}
        own = [field for field in own if field[0].lower() not in new]
        return StandIn("206 Partial Content", own + selected, content)


def _of_304(fields: list[Field]) -> list[Field]:
    """Return what is left of a 200's fields in its 304: whoever asks has what tells of the content (section 15.4.5)."""
    return [
        field
        for field in fields
        if not field[0].lower().startswith("content-") or field[0].lower() == "content-location"
    ]
