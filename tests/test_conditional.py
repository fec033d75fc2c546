"""Preconditions and ranges: RFC 9110 sections 13 and 14, case by case."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowsgi.http.conditional import (
    MOST_RANGES,
    ByteRange,
    Validators,
    content_range,
    http_date,
    parse_ranges,
    precondition,
    requested_ranges,
)

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
SECONDS = 784111777

CURRENT = Validators('"v1"', SECONDS, date_is_strong=True)
WEAK = Validators('W/"v1"', SECONDS)
UNDATED = Validators('"v1"')


def cgi(**fields: str) -> dict[str, str]:
    return {f"HTTP_{name.upper()}": value for name, value in fields.items()}


# Preconditions


@pytest.mark.parametrize(
    ("value", "weak", "status"),
    [
        ('"v1"', False, 304),
        ('W/"v1"', False, 304),
        ('"v0", "v1"', False, 304),
        ('"v0","v1"', False, 304),
        (', "v0" ,, W/"v1" ,', False, 304),
        ('"a,b", "v1"', False, 304),
        ("*", False, 304),
        (" * ", False, 304),
        ('"v1"', True, 304),
        ('W/"v1"', True, 304),
        ('"v2"', False, 200),
        ('"V1"', False, 200),
        ('"v1, "', False, 200),
        ("v1", False, 200),
        ('"v1', False, 200),
        ("", False, 200),
        ('w/"v2"', False, 200),
        ('"*"', False, 200),
        ('"v1", ' + '"v0", ' * 1000, False, 200),
    ],
)
def test_if_none_match_compares_weakly(value: str, weak: bool, status: int) -> None:
    validators = WEAK if weak else CURRENT
    assert precondition("GET", cgi(if_none_match=value), validators) == status
    assert precondition("HEAD", cgi(if_none_match=value), validators) == status


def test_if_none_match_of_another_method_fails_with_412() -> None:
    assert precondition("PUT", cgi(if_none_match="*"), CURRENT) == 412
    assert precondition("PUT", cgi(if_none_match='"v2"'), CURRENT) == 200


@pytest.mark.parametrize(
    ("value", "weak", "status"),
    [
        ('"v1"', False, 200),
        ('"v0", "v1"', False, 200),
        ("*", False, 200),
        ("*", True, 200),
        ('W/"v1"', False, 412),
        ('W/"v1"', True, 412),
        ('"v1"', True, 412),
        ('"v2"', False, 412),
        ("v1", False, 412),
        ("", False, 412),
        ('"v1", ' + '"v0", ' * 1000, False, 412),
    ],
)
def test_if_match_compares_strongly(value: str, weak: bool, status: int) -> None:
    assert precondition("GET", cgi(if_match=value), WEAK if weak else CURRENT) == status


@pytest.mark.parametrize(
    ("value", "status"), [(DATE, 304), (AFTER, 304), (BEFORE, 200), ("yesterday", 200), ("", 200)]
)
def test_if_modified_since(value: str, status: int) -> None:
    assert precondition("GET", cgi(if_modified_since=value), CURRENT) == status
    assert precondition("HEAD", cgi(if_modified_since=value), CURRENT) == status
    assert precondition("POST", cgi(if_modified_since=value), CURRENT) == 200


@pytest.mark.parametrize(
    ("value", "status"), [(DATE, 200), (AFTER, 200), (BEFORE, 412), ("yesterday", 200), ("", 200)]
)
def test_if_unmodified_since(value: str, status: int) -> None:
    assert precondition("GET", cgi(if_unmodified_since=value), CURRENT) == status


def test_dates_are_ignored_where_there_is_none_to_compare_with() -> None:
    assert precondition("GET", cgi(if_modified_since=AFTER), UNDATED) == 200
    assert precondition("GET", cgi(if_unmodified_since=BEFORE), UNDATED) == 200


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (cgi(if_match='"v1"', if_unmodified_since=BEFORE), 200),
        (cgi(if_match='"v2"', if_none_match='"v1"'), 412),
        (cgi(if_match='"v1"', if_none_match='"v1"'), 304),
        (cgi(if_unmodified_since=BEFORE, if_none_match='"v1"'), 412),
        (cgi(if_unmodified_since=DATE, if_modified_since=DATE), 304),
        (cgi(if_none_match='"v2"', if_modified_since=AFTER), 200),
        (cgi(if_none_match='"v1"', if_modified_since=BEFORE), 304),
        (cgi(), 200),
    ],
)
def test_precedence(fields: dict[str, str], status: int) -> None:
    assert precondition("GET", fields, CURRENT) == status


# Dates


@pytest.mark.parametrize(
    "value",
    [DATE, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Mon, 06 Nov 1994 08:49:37 GMT"],
)
def test_the_three_forms_of_a_date(value: str) -> None:
    assert http_date(value) == SECONDS


def test_a_leap_second_is_a_date() -> None:
    assert http_date("Sat, 31 Dec 2016 23:59:60 GMT") == 1483228799


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "784111777",
        "Sun Nov   6 08:49:37 1994",
        "Sun, \u00b26 Nov 1994 08:49:37 GMT",
    ],
)
def test_what_is_no_date(value: str) -> None:
    assert http_date(value) is None


def test_two_digits_are_at_most_fifty_years_ahead() -> None:
    this_year = datetime.now(UTC).year
    for year, expected in ((this_year + 49, this_year + 49), (this_year + 51, this_year - 49)):
        seconds = http_date(f"Sunday, 06-Nov-{year % 100:02} 08:49:37 GMT")
        assert seconds is not None
        assert datetime.fromtimestamp(seconds, UTC).year == expected


# Ranges


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", [(0, 1)]),
        ("bytes=0-9", [(0, 10)]),
        ("bytes=0-", [(0, 10)]),
        ("bytes=3-5", [(3, 6)]),
        ("bytes=9-9", [(9, 10)]),
        ("bytes=5-100", [(5, 10)]),
        ("bytes=5-18446744073709551615", [(5, 10)]),
        ("bytes=-1", [(9, 10)]),
        ("bytes=-10", [(0, 10)]),
        ("bytes=-99", [(0, 10)]),
        ("BYTES=0-1", [(0, 2)]),
        ("bytes=007-008", [(7, 9)]),
        ("bytes= 0-1 ", [(0, 2)]),
        ("bytes=0-0,-1", [(0, 1), (9, 10)]),
        ("bytes=-1,0-0", [(9, 10), (0, 1)]),
        ("bytes=0-1 ,\t4-5", [(0, 2), (4, 6)]),
        ("bytes=,0-1,,4-5,", [(0, 2), (4, 6)]),
        ("bytes=0-4,2-6", [(0, 7)]),
        ("bytes=0-4,5-6", [(0, 7)]),
        ("bytes=0-9,2-3", [(0, 10)]),
        ("bytes=8-9,0-1,1-3", [(8, 10), (0, 4)]),
        ("bytes=5-6,0-0,6-8,20-30", [(5, 9), (0, 1)]),
        ("bytes=0-0,99-", [(0, 1)]),
        # unsatisfiable
        ("bytes=10-", []),
        ("bytes=10-20", []),
        ("bytes=-0", []),
        ("bytes=99-100,-0", []),
    ],
)
def test_ranges_of_ten_bytes(value: str, expected: list[tuple[int, int]]) -> None:
    assert parse_ranges(value, 10) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=--1",
        "bytes=1",
        "bytes=a-b",
        "bytes=2-1",
        "bytes=0-1,5-4",
        "bytes=0-1,x",
        "bytes=+0-1",
        "bytes=0 - 1",
        "bytes=0x0-1",
        "bytes =0-1",
        "bytes 0-1",
        "lines=0-1",
        "bytes=0-1;4-5",
        "bytes=0-1, bytes=2-3",
        "bytes=\u00b2-3",
        "bytes=0-" + "9" * 21,
        "bytes=" + "9" * 5000 + "-",
        "bytes=0-1\n",
        "bytes=0-1" + "," * 3000,
    ],
)
def test_a_malformed_range_is_ignored(value: str) -> None:
    assert parse_ranges(value, 10) is None


def test_number_of_ranges_is_bounded() -> None:
    def spread(count: int) -> str:
        return "bytes=" + ",".join(f"{place}-{place}" for place in range(0, 2 * count, 2))

    most = parse_ranges(spread(MOST_RANGES), 10_000)
    assert most is not None
    assert len(most) == MOST_RANGES
    assert parse_ranges(spread(MOST_RANGES + 1), 10_000) is None
    assert parse_ranges(spread(1000), 10_000) is None


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=-1", "bytes=0-0"])
def test_nothing_has_no_parts(value: str) -> None:
    assert parse_ranges(value, 0) is None


@given(
    size=st.integers(1, 50),
    specs=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=MOST_RANGES),
)
def test_ranges_hold_the_bytes_asked_for_once_each(size: int, specs: list[tuple[int, int]]) -> None:
    pairs = [(min(pair), max(pair)) for pair in specs]
    found = parse_ranges("bytes=" + ",".join(f"{first}-{last}" for first, last in pairs), size)
    assert found is not None
    asked = {place for first, last in pairs for place in range(first, last + 1) if place < size}
    given_ = [place for start, stop in found for place in range(start, stop)]
    assert len(given_) == len(set(given_))
    assert set(given_) == asked


@pytest.mark.parametrize(
    ("if_range", "validators", "applies"),
    [
        ('"v1"', CURRENT, True),
        (DATE, CURRENT, True),
        ("Sunday, 06-Nov-94 08:49:37 GMT", CURRENT, True),
        ('"v2"', CURRENT, False),
        ('W/"v1"', CURRENT, False),
        ('W/"v1"', WEAK, False),
        ('"v1"', WEAK, False),
        (BEFORE, CURRENT, False),
        (AFTER, CURRENT, False),
        ("v1", CURRENT, False),
        ("", CURRENT, False),
        ("*", CURRENT, False),
        (DATE, Validators('"v1"', SECONDS, date_is_strong=False), False),
        (DATE, UNDATED, False),
        ("yesterday", UNDATED, False),
    ],
)
def test_if_range(if_range: str, validators: Validators, applies: bool) -> None:
    fields = cgi(range="bytes=0-0", if_range=if_range)
    assert requested_ranges("GET", fields, validators, 10) == ([ByteRange(0, 1)] if applies else None)


def test_only_get_has_ranges() -> None:
    fields = cgi(range="bytes=0-0")
    assert requested_ranges("GET", fields, CURRENT, 10) == [ByteRange(0, 1)]
    assert requested_ranges("HEAD", fields, CURRENT, 10) is None
    assert requested_ranges("POST", fields, CURRENT, 10) is None
    assert requested_ranges("GET", {}, CURRENT, 10) is None


def test_content_range() -> None:
    assert content_range(ByteRange(0, 1), 10) == "bytes 0-0/10"
    assert content_range(ByteRange(3, 10), 10) == "bytes 3-9/10"
    assert content_range(None, 10) == "bytes */10"
