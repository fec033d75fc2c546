"""Accept-Encoding: which of the codings there are suits a client best, if any."""

from itertools import product
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowsgi.http.negotiation import CODINGS, IDENTITY, best, choose, rankings

CHROME = "gzip, deflate, br, zstd"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "identity"),
        ("", "identity"),
        (" , ,", "identity"),
        ("identity", "identity"),
        ("deflate", "identity"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("X-GZip", "gzip"),
        ("x-br", "identity"),
        ("GZIP;Q=0.5", "gzip"),
        ("gzip ; q=0.001", "gzip"),
        ("gzip\t;\tq=1.000", "gzip"),
        (",gzip,,", "gzip"),
        (CHROME, "br"),
        ("gzip, deflate", "gzip"),
        ("zstd", "zstd"),
        ("br;q=0.9, gzip", "gzip"),
        ("br;q=0.9, zstd;q=0.901", "zstd"),
        ("identity, gzip;q=0.9", "identity"),
        ("identity;q=0.5, gzip;q=0.4", "identity"),
        ("identity;q=0.5, gzip", "gzip"),
        ("*", "br"),
        ("*;q=0.5, gzip", "gzip"),
        ("br;q=0, *", "zstd"),
        ("br;q=0, zstd;q=0, gzip;q=0", "identity"),
        ("gzip;q=0", "identity"),
        ("gzip;q=0.000", "identity"),
        ("*;q=0, identity", "identity"),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0.1, gzip;q=0", "br"),
        ("identity;q=0, *;q=0.1", "br"),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("identity;q=0, deflate", None),
        ("identity;q=0, br;q=0, *;q=0", None),
        ("gzip;q=0, gzip;q=1", "gzip"),  # the last one counts
        ("gzip;q=1, gzip;q=0", "identity"),
    ],
)
def test_the_best_of_all_codings(value: str | None, expected: str | None) -> None:
    assert choose(value, CODINGS) == expected


@pytest.mark.parametrize(
    "value",
    [
        "gzip;q=2",
        "gzip;q=1.001",
        "gzip;q=0.1234",
        "gzip;q=-1",
        "gzip;q=.5",
        "gzip;q=1e0",
        "gzip;q=\u0661",
        "gzip;q=",
        "gzip;q",
        "gzip;",
        "gzip;level=9",
        "gzip;q=1;q=1",
        "gzip q=1",
        "gzip br",
        "gzip/br",
        '"gzip"',
        "gz\xefp",
        "gzip, ;q=1",
        "gzip, br;q=high",
        ";",
        "identity;q=0, br;q",
        "gzip" * 100,
        "gzip," * 100,
    ],
)
def test_what_is_not_well_formed_or_too_long_is_sent_no_coding(value: str) -> None:
    assert choose(value, CODINGS) == "identity"


def test_only_what_there_is_can_be_chosen() -> None:
    assert choose(CHROME, ["gzip", IDENTITY]) == "gzip"
    assert choose(CHROME, [IDENTITY]) == "identity"
    assert choose("identity;q=0, gzip", ["br", IDENTITY]) is None
    assert choose(CHROME, []) is None


def test_between_those_that_weigh_alike_the_order_decides() -> None:
    for first, second in (("br", "gzip"), ("gzip", "br")):
        assert choose(CHROME, [first, second, IDENTITY]) == first
        assert choose(CHROME, [IDENTITY, first, second]) == first  # a coding was asked for, identity was not
    assert choose("gzip, identity", [IDENTITY, "gzip"]) == "identity"
    assert choose("gzip, identity", ["gzip", IDENTITY]) == "gzip"


def test_there_are_few_rankings_whatever_is_asked_for() -> None:
    weights = ["", ";q=0", *(f";q=0.{digit}" for digit in range(1, 5))]
    found = {
        rankings[",".join(coding + weight for coding, weight in zip(CODINGS, chosen, strict=True))]
        for chosen in product(weights, repeat=len(CODINGS))
    }
    assert len(found) == 150
    assert all(set(range(1, max(ranking) + 1)) <= set(ranking) for ranking in found)


@given(st.text(alphabet="gzipbrx*;q=01.,- \tidenty\xff\0", max_size=300))
def test_any_value_has_an_answer(value: str) -> None:
    ranking = rankings[value]
    assert len(ranking) == len(CODINGS)
    chosen = best(ranking, CODINGS)
    assert (chosen is None) == (max(ranking) == 0)
    assert ranking == rankings[value]


@pytest.mark.parametrize("part", [",", " ", "a,", ";q=", "\t;", "q=0.", "br;q=0.1,", "*"])
def test_a_hostile_value_costs_little_and_is_not_kept(part: str) -> None:
    started = process_time()
    for length in range(64 * 1024, 64 * 1024 + 100):
        value = part * (length // len(part))
        assert rankings[value] == rankings[value] == (0, 0, 0, 1)
        assert value not in rankings
    assert process_time() - started < 1.0
