"""Which content coding a client would rather have: Accept-Encoding (RFC 9110 section 12.5.3), as pure functions."""

import re
from collections.abc import Sequence

from aiowsgi.http.memo import Memo

IDENTITY = "identity"
# Those that are ever chosen, identity last.
CODINGS = ("br", "zstd", "gzip", IDENTITY)

# For each of CODINGS its place in the client's order, from 1 up, alike where it does not mind; 0 is not acceptable.
# There are 150 of them, so whoever keeps something by its Ranking keeps little, whatever clients send.
Ranking = tuple[int, ...]

# A browser's field has 25 characters.
_LONGEST = 256

# RFC 9110 sections 8.4.1 and 12.4.2. One quantifier for each place, and blanks are not given back. A group must
# not be possessive: some releases of CPython 3.11 and 3.12 then match what does not, now and then
# (python/cpython issues 101955 and 106052).
_is_coding = re.compile(
    r"([!#$%&'*+.^_`|~0-9a-z-]++)(?:[ \t]*+;[ \t]*+q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
).fullmatch

_UNENCODED: Ranking = (0, 0, 0, 1)


class _Rankings(Memo[str | None, Ranking]):
    """The value of Accept-Encoding, None for no such field, -> the Ranking it asks for."""

    def __missing__(self, key: str | None) -> Ranking:
        if key is not None and len(key) > _LONGEST:
            return _UNENCODED
        ranking = _UNENCODED if key is None else _ranking(key)
        self.remember(key, ranking)
        return ranking


def _ranking(value: str) -> Ranking:
    """Rank by weight. What is not well-formed asks for nothing: its sender may not understand what it would get."""
    weights: dict[str, float] = {}
    for part in value.lower().split(","):
        member = part.strip(" \t")
        if not member:
            continue  # section 5.6.1.2
        match = _is_coding(member)
        if match is None:
            return _UNENCODED
        weights["gzip" if match[1] == "x-gzip" else match[1]] = float(match[2] or 1)
    others = weights.get("*", 0.0)
    given = [weights.get(coding, others) for coding in CODINGS[:-1]]
    # Unlike a coding, identity is acceptable unless it is said not to be, behind everything that was named.
    unencoded = weights.get(IDENTITY, weights.get("*", 0.0001))
    order = sorted({0.0, unencoded, *given}, reverse=True)
    return tuple(order.index(weight) + 1 if weight else 0 for weight in (*given, unencoded))


rankings: Memo[str | None, Ranking] = _Rankings(size=256)


def best(ranking: Ranking, codings: Sequence[str]) -> str | None:
    """Return which of ``codings`` ranks first, of those that rank alike the first one; None: none is acceptable."""
    acceptable = [(ranking[CODINGS.index(coding)], at, coding) for at, coding in enumerate(codings)]
    return min((found for found in acceptable if found[0]), default=(0, 0, None))[2]


def choose(value: str | None, codings: Sequence[str]) -> str | None:
    """Return which of ``codings`` suits an Accept-Encoding field with ``value``, None for no such field, best.

    ``codings`` are some of CODINGS, in the order to decide between those that the client weighs alike. None: none
    of them is acceptable. Without a field any coding is acceptable to the letter, but a client that
    does not speak of codings is sent none.
    """
    return best(rankings[value], codings)
