"""What one line of a head says, checked; the lines that most requests are made of are remembered.

Both roads of the parser read names, values and paths by what is here. The memos are the fast road's: they know the
lines of common requests only, and raise NotFast for all others.
"""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from aiowsgi.http.fields import SECRET, TOKEN, is_host, is_proxy_field
from aiowsgi.http.memo import Memo
from aiowsgi.http.messages import HTTPError, bad_request

_fast_request_line = re.compile(rb"(?!CONNECT )([A-Z]{1,16}) (/[!\"$-~]*) HTTP/1\.([01])\r").fullmatch
_is_name = re.compile(TOKEN.encode()).fullmatch
_is_content_length = re.compile(r"[0-9]{1,18}").fullmatch
_bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search
# Fields that only h11's road deals with.
_NOT_FAST = frozenset({"HTTP_TRANSFER_ENCODING", "HTTP_UPGRADE", "HTTP_EXPECT"})
_LONGEST_KNOWN_LINE = 256  # bytes; longer lines hardly ever come twice
# Changes each control character but the tab (RFC 9110 section 5.5), so a value that it leaves as it is has none.
# bytes.translate is the quickest look at every byte there is, three times as quick as a regular expression.
_CONTROL_CHANGED = bytes(b ^ 1 if (b < 0x20 and b != 0x09) or b == 0x7F else b for b in range(256))


class NotFast(Exception):
    """The fast road does not know this; h11 decides."""


class Dropped(NotFast):
    """A field line that is as it should be, and that no application is to see."""


def cgi_name(name: str) -> str:
    """``Content-Type`` -> ``CONTENT_TYPE``, any other ``X-Name`` -> ``HTTP_X_NAME`` (RFC 3875 section 4.1)."""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key


def is_dropped(name: str) -> bool:
    """Tell whether a field never reaches an application, whoever sends it.

    With an underscore, it would be the same CGI name as the one with a hyphen; Proxy would be HTTP_PROXY, by which
    some clients find their proxy (CVE-2016-5385).
    """
    return "_" in name or name.lower() == "proxy"


def is_dropped_of_clients(name: str) -> bool:
    """Tell whether a field never reaches an application where a client sends it, which is no proxy."""
    return is_dropped(name) or is_proxy_field(name) is not None


# Of a line of Connection. A client names up to four; to look at all that a head has room for would take the event loop
# some milliseconds.
_MOST_OPTIONS = 32


def _has_few_options(value: str) -> bool:
    return value.count(",") < _MOST_OPTIONS


# Values that must be of a form (RFC 9110 sections 7.2, 7.6.1 and 8.6): what tells, and what to say if it is not.
FORMS: dict[str, tuple[Callable[[str], object], str]] = {
    "HTTP_HOST": (is_host, "The value of Host is no host."),
    "CONTENT_LENGTH": (_is_content_length, "The value of Content-Length is no number of bytes."),
    "HTTP_CONNECTION": (_has_few_options, "Connection has too many options."),
}


def decode_path(raw_path: str) -> str:
    """Percent-decode the path of a request-target into latin-1 text. Raises HTTPError 400."""
    if "%" not in raw_path:
        return raw_path
    if _bad_escape(raw_path):
        raise bad_request("The path of the request-target has a broken percent-encoding.")
    return unquote_to_bytes(raw_path).decode("latin-1")


class _Names(Memo[bytes, tuple[str, Callable[[str], object] | None, bool]]):
    """A field name as it was sent -> its CGI name, what its values must pass, and whether they may be remembered.

    The CGI name is empty where the field is dropped. Raises NotFast.
    """

    def __init__(self, drops: Callable[[str], bool]) -> None:
        super().__init__()
        self._drops = drops

    def __missing__(self, key: bytes) -> tuple[str, Callable[[str], object] | None, bool]:
        if _is_name(key) is None:
            raise NotFast
        name = key.decode("ascii")
        variable = cgi_name(name)
        if variable in _NOT_FAST:
            raise NotFast
        if self._drops(name):
            variable = ""
        form = FORMS[variable][0] if variable in FORMS else None
        known = variable, form, SECRET.search(name) is None
        if len(key) <= _LONGEST_KNOWN_LINE:
            self.remember(key, known)
        return known


class FieldLines(Memo[bytes, tuple[str, str]]):
    """A field line, up to its CR -> its CGI name and value, both checked. Raises NotFast, or Dropped."""

    def __init__(self, drops: Callable[[str], bool] = is_dropped_of_clients) -> None:
        """``drops`` tells of a field's name whether no application is to see it."""
        super().__init__()
        self._names = _Names(drops)

    def drops(self, line: bytes) -> bool:
        """Tell whether ``line`` is one to drop. Raises NotFast."""
        try:
            self[line]
        except Dropped:
            return True
        return False

    def __missing__(self, key: bytes) -> tuple[str, str]:
        name, _, rest = key.partition(b":")
        variable, form, lasting = self._names[name]
        if rest[-1:] != b"\r":
            raise NotFast
        rest = rest[:-1]
        value = rest.strip(b" \t").decode("latin-1")
        if rest.translate(_CONTROL_CHANGED) != rest or (form is not None and not form(value)):
            raise NotFast
        if not variable:
            raise Dropped
        field = variable, value
        if lasting and len(key) <= _LONGEST_KNOWN_LINE:
            self.remember(key, field)
        return field


class RequestLines(Memo[bytes, tuple[str, str, str, str, str, str]]):
    """A request line, up to its CR -> method, target, path as sent, path decoded, query, version.

    Raises NotFast.

    Lines with a query are not remembered, for a query may hold a secret.
    """

    def __missing__(self, key: bytes) -> tuple[str, str, str, str, str, str]:
        match = _fast_request_line(key)
        if match is None:
            raise NotFast
        method, target, minor = match[1].decode("ascii"), match[2].decode("ascii"), match[3]
        raw_path, mark, query = target.partition("?")
        try:
            path = decode_path(raw_path)
        except HTTPError:
            raise NotFast from None
        version = "HTTP/1.1" if minor == b"1" else "HTTP/1.0"
        line = method, target, raw_path, path, query, version
        if not mark and len(key) <= _LONGEST_KNOWN_LINE:
            self.remember(key, line)
        return line
