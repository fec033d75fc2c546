"""The header fields of a file: what the settings say of it, by its name, worked out once when it is found."""

import re
from collections.abc import Callable
from email.utils import formatdate

from aiowsgi.config import Files
from aiowsgi.http.compressible import is_compressible
from aiowsgi.http.messages import Field
from aiowsgi.site.files import StoredFile
from aiowsgi.site.media_types import content_type
from aiowsgi.site.names import glob_expression

# RFC 8246: not even a reload asks for it again. A year is what caches take for ever.
IMMUTABLE = "max-age=31536000, immutable"

# RFC 9110 section 15.4.5: what a 304 says of the 200 it stands for. (Date is framing's.)
_OF_NOT_MODIFIED = ("cache-control", "content-location", "etag", "expires", "vary")

# How build tools put a hash of the content into a name, "main.4f2a9c81.chunk.js": between a separator and the
# extensions. Digits and letters change at least twice, or it is a date, a number or a word; and a UUID is no hash.
_has_hexadecimal = re.compile(
    r"""
    [^/] [._-]
    (?=[a-f]*[0-9]+[a-f]+[0-9] | [0-9]*[a-f]+[0-9]+[a-f])
    (?! [0-9]{1,2}(?:dec|feb)[0-9]{4} )                                     # two months are hexadecimal
    (?<! -[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}- )
    (?: [0-9a-f]{8} | [0-9a-f]{10} | [0-9a-f]{12} | [0-9a-f]{16} | [0-9a-f]{20} | [0-9a-f]{32} | [0-9a-f]{40}
      | [0-9a-f]{64} )
    (?: \.[a-z][a-z0-9]* ){1,3} \Z
    """,
    re.VERBOSE,
).search
# Eight characters of base 64 or base 32 look more like words, so only code, style and fonts are taken to have them.
_short = re.compile(
    r"[^/][.-]([0-9A-Za-z_-]{8})(?:\.(?:js|mjs|cjs|css|map|wasm|woff2?|ttf|otf)){1,2}\Z"
).search
_runs = re.compile("[A-Z]+|[a-z]+|[0-9]+|[_-]+").findall
_is_base_32 = re.compile("(?=[A-Z]*[2-7]+[A-Z])[A-Z2-7]{8}").fullmatch


def has_content_hash(name: str) -> bool:
    """Tell whether the last segment of ``name`` has a hash of the content in it, so that it never changes.

    To miss one costs a request that is answered with 304. To see one where there is none keeps a file for a year,
    so what may be a word, a number, a date or a version is not taken for one.
    """
    name = name.rpartition("/")[2]
    if name.endswith((".html", ".htm")):
        return False  # a page has the address that people know
    if _has_hexadecimal(name):
        return True
    short = _short(name)
    if short is None:
        return False
    return _is_base_32(short[1]) is not None or (
        len(_runs(short[1])) >= 4 and any(map(str.isdigit, short[1]))
    )


class FieldRules:
    """What ``files``, the settings, say of the fields of a file."""

    __slots__ = ("_files", "_media_types", "_rules")

    def __init__(self, files: Files) -> None:
        self._files = files
        self._media_types = dict(files.media_types)
        self._rules = [(_matcher(pattern), (name, value)) for pattern, name, value in files.headers]

    def of_file(self, file: StoredFile, coding: str, negotiated: bool) -> list[Field]:
        """Return the fields of a 200 with ``file``, Content-Type first where it has one.

        ``coding`` is the content coding it has, "" none; ``negotiated`` is what ``is_negotiated`` tells.
        """
        name = _text(file.name)
        validators = file.validators
        own = self._kind(file)
        own += [("ETag", validators.etag), ("Accept-Ranges", "bytes")]
        if validators.last_modified is not None:
            own.append(("Last-Modified", formatdate(validators.last_modified, usegmt=True)))
        cache_control = IMMUTABLE if has_content_hash(name) else self._files.cache_control
        if cache_control:
            own.append(("Cache-Control", cache_control))
        if coding:
            own.append(("Content-Encoding", coding))
        fields = self._ruled(name, own)
        if negotiated:
            vary = fields.get("vary", ("", ""))[1]
            fields["vary"] = ("Vary", f"Accept-Encoding, {vary}" if vary else "Accept-Encoding")
        return list(fields.values())

    def is_negotiated(self, file: StoredFile) -> bool:
        """Tell whether answers with ``file`` depend on Accept-Encoding: it has variants, or may have them one day."""
        return bool(file.variants) or is_compressible(self._content_type(file))

    def of_error(self, file: StoredFile) -> list[Field]:
        """Return the fields of an error that has ``file`` for its page: it is for this once only."""
        fields = self._ruled(_text(file.name), self._kind(file))
        fields.pop("expires", None)
        fields["cache-control"] = ("Cache-Control", "no-store")
        return list(fields.values())

    def _kind(self, file: StoredFile) -> list[Field]:
        fields = [("Content-Type", self._content_type(file))]
        if self._files.nosniff:
            fields.append(("X-Content-Type-Options", "nosniff"))
        return fields

    def _content_type(self, file: StoredFile) -> str:
        return content_type(file.name, self._files.charset, self._media_types)

    def _ruled(self, name: str, own: list[Field]) -> dict[str, Field]:
        """Return ``own`` by their names in lower case, as the rules for ``name`` would have them."""
        fields = {field.lower(): (field, value) for field, value in own}
        for matches, (field, value) in self._rules:
            if matches(name):
                if value:
                    fields[field.lower()] = (field, value)
                else:
                    fields.pop(field.lower(), None)
        return fields


def of_not_modified(fields: list[Field]) -> list[Field]:
    """Return those fields of a 200 that its 304 has, too."""
    return [field for field in fields if field[0].lower() in _OF_NOT_MODIFIED]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _matcher(pattern: str) -> Callable[[str], object]:
    """Return the test of a file's name below the root: of the whole if ``pattern`` has a slash, else of its end."""
    if "/" in pattern:
        expression = glob_expression("/" + pattern.lstrip("/"), ".")
    else:
        expression = "(?:.*/)?" + glob_expression(pattern, "[^/]")
    return re.compile(expression, re.DOTALL).fullmatch
