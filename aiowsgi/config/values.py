"""How the values of settings are written: each Kind turns text into a value, or refuses it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import IPv6Address, ip_network
from math import isfinite
from pathlib import Path
from typing import Any

from aiowsgi.config import paths
from aiowsgi.config.processors import processors


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to write a value.

    ``parse`` raises ValueError for what is not ``expected``. ``toml`` are the types a file may use. A setting
    of a kind with ``many`` is a tuple: its option may be given again and again, and a variable has its items
    between ``separator``, as an option has with ``listed``. Where a file may write them as a table, ``items`` turns
    that into texts, or raises ValueError. With ``functions`` a program may give a function instead. ``settle`` turns
    the folder where relative paths start, and what ``parse`` has returned, into the path meant, or raises PathError.
    """

    metavar: str
    expected: str
    parse: Callable[[str], object]
    toml: tuple[type, ...] = (str,)
    many: bool = False
    unit: str = ""
    separator: str = ","
    listed: bool = False
    items: Callable[[Mapping[str, object]], list[str]] | None = None
    functions: bool = False
    settle: Callable[[Path, Any], object] | None = None


def _matched(pattern: str, text: str) -> re.Match[str]:
    match = re.fullmatch(pattern, text)
    if match is None:
        raise ValueError(text)
    return match


def _choice(metavar: str, values: tuple[str, ...]) -> Kind:
    return Kind(metavar, " or ".join(values), lambda text: _matched("|".join(values), text)[0])


def _count(text: str) -> int:
    return int(_matched("0*[1-9][0-9]{0,8}", text)[0])


def _automatic(text: str) -> int:
    return 0 if text == "auto" else _count(text)


def _bound(text: str) -> int:
    return int(_matched("[0-9]{1,9}", text)[0])


def _workers(text: str) -> int:
    return processors() if text == "auto" else _count(text)


_SHIFTS = {"G": 30, "M": 20, "K": 10, "": 0}


def _size(text: str) -> int:
    match = _matched("([0-9]{1,15})(?:([KMG])(?:iB)?)?", text)
    return int(match[1]) << _SHIFTS[match[2] or ""]


def size_text(size: int) -> str:
    """Write a size in bytes as people do, "64K" for 65536."""
    suffix, shift = next(item for item in _SHIFTS.items() if size % (1 << item[1]) == 0)
    return f"{size >> shift}{suffix}"


def _path(text: str) -> str:
    # RFC 3986 section 3.3, but for dot segments, which are resolved, and a slash at the end: no mount has one.
    match = _matched(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+", text)
    if re.search(r"/\.\.?(/|$)|%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(text)
    return match[0]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError(text)
    return seconds


def _seconds_or_none(text: str) -> float:
    return 0.0 if float(text) == 0 else _seconds(text)


def _flag(text: str) -> bool:
    return _matched("(true|1|yes)|false|0|no", text.lower())[1] is not None


def _text(text: str) -> str:
    return _matched(r"[^\0]+", text)[0]


def _address(text: str) -> str:
    """Check the syntax only: whether a host name means anything, binding it will tell."""
    address = text.removeprefix("tls:")
    if address.startswith("unix:"):
        _text(address.removeprefix("unix:"))
        return text
    if address.startswith("fd:"):
        _matched("fd:[0-9]{1,4}", address)
        return text
    match = _matched(r"(?:\[([^]]*)\]|[\w.-]*):([0-9]{1,5})", address)
    if match[1] is not None:
        IPv6Address(match[1])
    if int(match[2]) > 65535:
        raise ValueError(text)
    return text


def _strict(text: str) -> str:
    """Return the value of Strict-Transport-Security, RFC 6797 section 6.1; a number alone is its max-age."""
    directive = r"(?:max-age=[0-9]{1,10}|includeSubDomains|preload)"
    value = f"max-age={text}" if re.fullmatch("[0-9]+", text) else text
    _matched(rf"(?=.*max-age=){directive}(?:[ \t]*;[ \t]*{directive})*", value)
    return value


def _peer(text: str) -> str:
    return text if text == "unix" else str(ip_network(text))


def _mount(text: str) -> tuple[str, str]:
    match = _matched(r"([^=\0]+)=([^\0]+)", text)
    prefix = ("/" + match[1].strip("/")).rstrip("/")
    # No request has such a path: dot segments are resolved, a query is not part of it (RFC 3986).
    if re.search(r"//|/\.\.?(/|$)|[?#]", prefix):
        raise ValueError(text)
    return prefix, match[2]


# RFC 9110 sections 5.5, 5.6.2 and 8.3.1. http/fields.py has the first two for all other purposes.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_VALUE = r"[\t\x20-\x7e\x80-\xff]*"
_MEDIA_TYPE = rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"[^\"\\\x00-\x1f\x7f-\uffff]*\"))*"

# What the server says of a file by itself, and what the connection says.
_OWN_FIELDS = {
    *(
        "accept-ranges",
        "content-encoding",
        "content-length",
        "content-range",
        "date",
        "etag",
        "last-modified",
    ),
    *(
        "connection",
        "keep-alive",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ),
}


def _media_type(text: str) -> tuple[str, str]:
    match = _matched(rf"\.?([^=./\s]+)=({_MEDIA_TYPE})", text)
    return match[1].lower(), match[2]


def _header(text: str) -> tuple[str, str, str]:
    match = _matched(rf"([^=\x00-\x1f]+)=({_TOKEN}):({_VALUE})", text)
    if match[2].lower() in _OWN_FIELDS:
        raise ValueError(text)
    return match[1], match[2], match[3].strip(" \t")


def _media_type_items(table: Mapping[str, object]) -> list[str]:
    return [f"{extension}={_string(media_type)}" for extension, media_type in table.items()]


def _header_items(table: Mapping[str, object]) -> list[str]:
    items = []
    for pattern, fields in table.items():
        if not isinstance(fields, dict) or any(":" in name for name in fields):
            raise ValueError(table)
        items += [f"{pattern}={name}: {_string(value)}" for name, value in fields.items()]
    return items


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def count(unit: str) -> Kind:
    """Return the kind of a whole number of ``unit``."""
    return Kind("N", "a whole number of at least 1", _count, (int,), unit=unit)


def automatic(unit: str) -> Kind:
    """Return the kind of a whole number of ``unit`` that the server finds for itself for 0, which is auto."""
    return Kind("N|auto", 'a whole number of at least 1, or "auto"', _automatic, (int, str), unit=unit)


def bound(unit: str) -> Kind:
    """Return the kind of a number of ``unit`` that 0 leaves without a bound."""
    return Kind("N", "a whole number, 0 for no bound", _bound, (int,), unit=unit)


_NAMES = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"  # of Python, with dots between them

# What an application's name may be is for who loads it to say: site/applications.py.
APPLICATION = Kind("APP", '"module:attribute" or "module:factory()"', _text)
APPLICATIONS = Kind("PREFIX=APP", 'PREFIX=APP, as in "/api=api:app"', _mount, many=True)
HOOK = Kind(
    "MODULE:FUNCTION",
    'a function, as in "module:function"',
    lambda text: _matched(rf"{_NAMES}(?<!\.py):{_NAMES}", text)[0],
    functions=True,
)
FOLDER = Kind("DIR", "a folder", _text, settle=paths.folder)
FOLDERS = Kind(
    "PREFIX=DIR", 'PREFIX=DIR, as in "/static=./public"', _mount, many=True, settle=paths.mounted_folder
)
PEM = Kind("FILE", "a file that exists", _text, settle=paths.file_to_read)
PEMS = Kind("FILE", "a file that exists", _text, many=True, settle=paths.file_to_read)
FILE = Kind("PATH|-", 'a file, or "-" for standard output', _text, settle=paths.file_to_write)
FILE_TO_BE = Kind("PATH", "a path", _text, settle=paths.path_to_be)
SOCKET = Kind("PATH|none", 'the path of a socket to be, or "none"', _text, settle=paths.path_or_none)
ADDRESS = Kind(
    "[tls:]HOST:PORT|unix:PATH|fd:N",
    'HOST:PORT ("127.0.0.1:8000", "[::1]:8000", ":8000" for all interfaces), unix:PATH or fd:N, with tls: in front for'
    " HTTPS",
    _address,
    many=True,
)
# http/forwarded.py reads them.
FORWARDED = (
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"),
    "forwarded",
)
PEERS = Kind(
    "CIDR,...",
    'an address or a network, as in "10.0.0.0/8" or "::1", or "unix" for Unix sockets',
    _peer,
    many=True,
    listed=True,
)
FORWARDED_FIELDS = Kind(
    "FIELD,...",
    f"one of {', '.join(FORWARDED)}",
    lambda text: _matched("|".join(FORWARDED), text.lower())[0],
    many=True,
    listed=True,
)
WORKERS = Kind("N|auto", 'a whole number of at least 1, or "auto"', _workers, (int, str), unit="processes")
PATH = Kind("PATH", 'a path without a query, as in "/health"', _path)
SIZE = Kind("SIZE", 'a size in bytes, as in 65536, "64K", "1M" or "1G"', _size, (int, str), unit="bytes")
REQUEST_PATH = Kind(
    "PATH",
    'a path, and a query if need be, as in "/ready?deep=1"',
    lambda text: _matched(r"/[!-~]*", text)[0],
)
SECONDS = Kind("SECONDS", "a number of seconds above 0", _seconds, (int, float), unit="seconds")
SECONDS_OR_NONE = Kind(
    "SECONDS",
    "a number of seconds, or 0 for no limit",
    _seconds_or_none,
    (int, float),
    unit="seconds, or 0: none",
)
FLAG = Kind("", "true or false", _flag, (bool,))
LEVEL = _choice("LEVEL", ("debug", "info", "warning", "error", "critical"))
LOOPS = ("uvloop", "asyncio") if find_spec("uvloop") else ("asyncio",)
LOOP = _choice("uvloop|asyncio", LOOPS)
PARSER = _choice("auto|h11", ("auto", "h11"))
ACCOUNT = Kind("NAME|NUMBER", "a name or a number", lambda text: _matched(r"[^:\0]+", text)[0], (str, int))
# A file has it as text, too: what is 027 here would be 27 in a TOML file, and 23 there is 0o27.
UMASK = Kind(
    "OCTAL", 'an octal number up to 777, as in "027"', lambda text: int(_matched("0?[0-7]{1,3}", text)[0], 8)
)
CLIENT_CERTIFICATES = _choice("none|optional|required", ("none", "optional", "required"))
STRICT = Kind(
    "SECONDS|VALUE",
    'a number of seconds, or a value like "max-age=31536000; includeSubDomains"',
    _strict,
    (int, str),
)
CHARSET = Kind(
    "NAME", 'the name of a charset, as in "utf-8"', lambda text: _matched(rf"(?:{_TOKEN})?", text)[0]
)
FIELD_VALUE = Kind(
    "VALUE", "a field value, in latin-1 and of one line", lambda text: _matched(_VALUE, text)[0].strip(" \t")
)
MEDIA_TYPES = Kind(
    "EXTENSION=TYPE",
    'EXTENSION=TYPE, as in "md=text/markdown"',
    _media_type,
    many=True,
    items=_media_type_items,
)
HEADERS = Kind(
    "PATTERN=FIELD",
    'PATTERN=NAME: VALUE, as in "*.html=Cache-Control: no-cache", for a field that is not the server\'s own',
    _header,
    many=True,
    separator="\n",  # commas and semicolons are in many values
    items=_header_items,
)
GLOBS = Kind(
    "PATTERN",
    "a name in which * is any text and ? a character",
    lambda text: _matched(r"[^/\0]+", text)[0],
    many=True,
)
