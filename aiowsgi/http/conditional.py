"""Conditional and range requests (RFC 9110 sections 13 and 14) as pure functions.

They take a request's ``fields`` (CGI names) and what is known of the selected representation, and tell what
to answer; making the answer is the handler's business.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

Fields = Mapping[str, str]

# A request with none of these gets the whole representation. (If-Range means nothing without Range.)
CONDITIONAL = frozenset(
    {
        "HTTP_IF_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_UNMODIFIED_SINCE",
        "HTTP_RANGE",
    }
)

# Browsers and PDF readers ask for a handful. Many small ranges are how one request is made expensive
# (RFC 9110 section 17.15).
MOST_RANGES = 16


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells one state of a representation from another (RFC 9110 section 8.8).

    ``etag`` is the entity tag as its field has it, with quotes, and ``W/`` where it is weak;
    ``last_modified`` is in seconds since the epoch. ``date_is_strong`` tells whether that second was over
    before the representation was read, so that no later state can have the same date (section 8.8.2.2).
    """

    etag: str
    last_modified: int | None = None
    date_is_strong: bool = False


class ByteRange(NamedTuple):
    """The bytes from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int


def precondition(method: str, fields: Fields, validators: Validators) -> int:
    """Return 412 or 304 where a precondition decides the answer, else 200, in the order of section 13.2.2.

    A date that is none, or for which there is no modification date to compare with, is ignored
    (sections 13.1.3 and 13.1.4).
    """
    if_match = fields.get("HTTP_IF_MATCH")
    if if_match is not None:
        if not _lists(if_match, validators.etag, weakly=False):
            return 412
    elif _unchanged_since(fields.get("HTTP_IF_UNMODIFIED_SINCE"), validators) is False:
        return 412
    safe = method in ("GET", "HEAD")
    if_none_match = fields.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None:
        if _lists(if_none_match, validators.etag, weakly=True):
            return 304 if safe else 412
    elif safe and _unchanged_since(fields.get("HTTP_IF_MODIFIED_SINCE"), validators):
        return 304
    return 200


def requested_ranges(
    method: str, fields: Fields, validators: Validators, size: int
) -> list[ByteRange] | None:
    """Return the ranges to answer with, [] where that is 416, None where it is the whole representation.

    ``size`` is the representation's, in bytes. Only GET has ranges (RFC 9110 section 14.2); an If-Range that
    names another state of the representation turns them off (section 13.1.5).
    """
    value = fields.get("HTTP_RANGE")
    if value is None or method != "GET":
        return None
    if_range = fields.get("HTTP_IF_RANGE")
    if if_range is not None and not _is_current(if_range, validators):
        return None
    return parse_ranges(value, size)


# Characters of a list of tags or ranges; caches send one tag, or a few. To look for more than that would take the event
# loop up to five milliseconds for each 60 KB.
_LONGEST_LIST = 2048

# A tag may contain commas, so a list is not split at them. What is no tag is passed over: it matches nothing,
# which is the safe side of If-Match and of If-None-Match; and so is a list that is too long.
_tags = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")').findall


def _lists(value: str, etag: str, *, weakly: bool) -> bool:
    """Tell whether an If-Match or If-None-Match names ``etag`` (comparisons of RFC 9110 section 8.8.3.2)."""
    if value.strip(" \t") == "*":
        return True
    if len(value) > _LONGEST_LIST:
        return False
    if weakly:
        opaque = etag.removeprefix("W/")
        return any(tag == opaque for _, tag in _tags(value))
    return any(not weak and tag == etag for weak, tag in _tags(value))


def _unchanged_since(value: str | None, validators: Validators) -> bool | None:
    date = None if value is None else http_date(value)
    if date is None or validators.last_modified is None:
        return None
    return validators.last_modified <= date


def _is_current(if_range: str, validators: Validators) -> bool:
    """Tell whether an If-Range names this very state: by a strong tag, or by exactly its date if strong."""
    if '"' in if_range:
        return if_range == validators.etag and not if_range.startswith("W/")
    date = http_date(if_range)
    return date is not None and date == validators.last_modified and validators.date_is_strong


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DAY = r"(?P<day>[0-9]{2})"
# RFC 9110 section 5.6.7: the one to send, and the two obsolete ones still to be understood.
_DATES = (
    re.compile(rf"[A-Z][a-z]{{2}}, {_DAY} {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{5,8}}, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"[A-Z][a-z]{{2}} {_MONTH} (?P<day>[ 0-9][0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)


def http_date(value: str) -> int | None:
    """Return an HTTP-date (RFC 9110 section 5.6.7) in seconds since the epoch, None for what is none."""
    for pattern in _DATES:
        match = pattern.fullmatch(value)
        if match is not None:
            break
    else:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        # "more than 50 years in the future" is "the most recent year in the past that had the same last two
        # digits".
        this_year = datetime.now(UTC).year
        year += this_year - this_year % 100
        if year > this_year + 50:
            year -= 100
    second = int(match["second"])
    try:
        date = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            59 if second == 60 else second,  # a leap second
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(date.timestamp())


# 20 digits hold any 64-bit number, which some clients send for "to the end".
_range_set = re.compile(r"[Bb][Yy][Tt][Ee][Ss]=(.*)", re.DOTALL).fullmatch
_range_spec = re.compile(r"([0-9]{0,20})-([0-9]{0,20})").fullmatch


def parse_ranges(value: str, size: int) -> list[ByteRange] | None:
    """Return the satisfiable byte ranges of a Range field, [] where none is (RFC 9110 section 14.1).

    Ranges that overlap or touch are one, in the place of the first of them. None: the field is to be ignored,
    for a unit other than bytes, a malformed or too long list, or an empty representation, of which no
    Content-Range can name a part.
    """
    if size == 0 or len(value) > _LONGEST_LIST or (match := _range_set(value)) is None:
        return None
    specs = [spec for part in match[1].split(",") if (spec := part.strip(" \t"))]
    if not 0 < len(specs) <= MOST_RANGES:
        return None
    ranges = []
    for spec in specs:
        one = _range_spec(spec)
        if one is None or spec == "-":
            return None
        first, last = one.groups()
        if not first:
            start, stop = max(size - int(last), 0), size
        elif last and int(last) < int(first):
            return None
        else:
            start, stop = int(first), min(int(last) + 1, size) if last else size
        if start < stop:
            ranges.append(ByteRange(start, stop))
    return _coalesce(ranges)


def _coalesce(ranges: list[ByteRange]) -> list[ByteRange]:
    merged: list[tuple[int, ByteRange]] = []
    for place, (start, stop) in sorted(enumerate(ranges), key=lambda item: item[1]):
        if merged and start <= merged[-1][1].stop:
            first, last = merged[-1]
            merged[-1] = (min(first, place), ByteRange(last.start, max(last.stop, stop)))
        else:
            merged.append((place, ByteRange(start, stop)))
    return [one for _, one in sorted(merged)]


def content_range(part: ByteRange | None, size: int) -> str:
    """Return the value of Content-Range (RFC 9110 section 14.4) for a part, or for 416, which has none."""
    if part is None:
        return f"bytes */{size}"
    return f"bytes {part.start}-{part.stop - 1}/{size}"
