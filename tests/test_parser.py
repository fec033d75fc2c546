"""The two roads of the parser are equal, for any bytes in any pieces, and read what the corpus says they must."""

import gc
import os
from collections.abc import Iterable
from time import process_time
from typing import Any, NamedTuple, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiowsgi.config import Limits
from aiowsgi.http.chunked import ChunkedContent
from aiowsgi.http.lines import NotFast
from aiowsgi.http.memo import Memo
from aiowsgi.http.messages import HTTPError
from aiowsgi.http.parser import ContentReader, CountedContent, Parser, ReferenceContent
from tests.reading import (
    LIMITS,
    NARROW,
    Reading,
    assert_as_h11_reads,
    assert_equal,
    assert_read_alike,
    cut,
    read,
    single_bytes,
    status_of,
    ways,
)
from tests.wire_corpus import INVALID, VALID, Invalid, Valid
from tests.wire_strategies import (
    Written,
    any_bytes,
    broken_chunks,
    chunks,
    mutations,
    near_requests,
    requests,
    written_chunks,
)

# HYPOTHESIS_PROFILE=long is for a run by hand, after a change of the parser: some minutes.
_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
often = settings(
    max_examples=20_000 if _LONG else 400,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED_CODING = b"Transfer-Encoding: chunked"
CHUNKED = POST + CHUNKED_CODING + b"\r\n\r\n"


# The corpus.


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.name)
def test_what_is_valid_is_read(file: Valid) -> None:
    expected = [message | {"ended": True} for message in file.messages]
    for pieces in ways(file.data):
        assert assert_read_alike(file.data, pieces, LIMITS) == Reading(expected, None, b"")
    assert_as_h11_reads(Reading(expected, None, b""), file.data)


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.name)
def test_what_is_invalid_is_refused(file: Invalid) -> None:
    for pieces in ways(file.data):
        reading = assert_read_alike(file.data, pieces, LIMITS)
        assert reading.refused == file.status
        assert len(reading.messages) == file.heads


@pytest.mark.parametrize("fast", [True, False])
def test_a_refusal_leaves_nothing_to_the_garbage_collector(fast: bool) -> None:
    parser = Parser(LIMITS, fast=fast)
    gc.collect()
    gc.disable()
    try:
        for file in INVALID:
            read(parser, [file.data])
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_warm_parser_reads_as_a_cold_one() -> None:
    warm = Parser(LIMITS)
    files = [file.data for file in VALID] + [file.data for file in INVALID]
    expected = [read(Parser(LIMITS), [data]) for data in files]
    for order in (1, -1, 1, -1):
        assert [read(warm, [data]) for data in files[::order]] == expected[::order]


# Whatever may come.

sizes = st.lists(st.integers(1, 60), min_size=1, max_size=8)
limits = st.sampled_from([LIMITS, NARROW])


@often
@given(st.lists(requests(), min_size=1, max_size=3), sizes)
def test_requests_are_read_as_they_were_written(written: list[Written], sizes: list[int]) -> None:
    data = b"".join(request.data for request in written)
    reading = assert_equal(data, sizes, LIMITS)
    assert reading == Reading([request.message for request in written], None, b"")


@often
@given(mutations(), sizes, limits)
def test_the_roads_are_equal_for_mutations_of_the_corpus(
    data: bytes, sizes: list[int], limits: Limits
) -> None:
    assert_equal(data, sizes, limits)


@often
@given(near_requests, sizes, limits)
def test_the_roads_are_equal_for_what_is_nearly_a_request(
    data: bytes, sizes: list[int], limits: Limits
) -> None:
    assert_equal(data, sizes, limits)


@often
@given(any_bytes, sizes, limits)
def test_the_roads_are_equal_for_any_bytes(data: bytes, sizes: list[int], limits: Limits) -> None:
    assert_equal(data, sizes, limits)


@often
@given(chunks, sizes)
def test_chunked_content_that_is_accepted_is_what_h11_reads(data: bytes, sizes: list[int]) -> None:
    assert_equal(CHUNKED + data, sizes, LIMITS)


# Chunked content, piece by piece.


class ContentReading(NamedTuple):
    pieces: list[bytes]  # the content in each piece that was received
    end: bytes | int | None  # the bytes behind the end, or the status of the refusal, or None

    @property
    def whole(self) -> tuple[bytes, bytes | int | None]:
        """What must not depend on the cuts; of refused content, the part before the mistake does."""
        return b"" if isinstance(self.end, int) else b"".join(self.pieces), self.end


def read_content(content: ContentReader, pieces: list[bytes]) -> ContentReading:
    found: list[bytes] = []
    for number, piece in enumerate(pieces):
        rest, ended = piece, False
        while rest and not ended:
            try:
                data, ended, rest = content.receive(rest)
            except HTTPError as error:
                return ContentReading(found, status_of(error))
            found.append(data)
        if ended:
            return ContentReading(found, rest + b"".join(pieces[number + 1 :]))
    return ContentReading(found, None)


def assert_content_read_alike(data: bytes, cuts: Iterable[list[bytes]], limits: Limits) -> None:
    """Check that both roads make the same of each piece, and the same of the whole in whatever pieces."""

    def reading(pieces: list[bytes]) -> ContentReading:
        mine, reference = (
            read_content(content_of(CHUNKED_CODING, fast=fast, limits=limits), pieces)
            for fast in (True, False)
        )
        assert mine == reference
        return mine

    whole = reading([data]).whole
    for pieces in cuts:
        assert reading(pieces).whole == whole


@often
@given(st.one_of(chunks, written_chunks, broken_chunks()), sizes, limits)
def test_each_piece_of_chunked_content_is_read_alike(data: bytes, sizes: list[int], limits: Limits) -> None:
    if data:
        assert_content_read_alike(data, [cut(data, sizes), single_bytes(data)], limits)


_FILES: list[Valid | Invalid] = [*VALID, *INVALID]
_CHUNKED_CONTENTS = {
    file.name: file.data.split(CHUNKED, 1)[1]
    for file in _FILES
    if CHUNKED in file.data and len(file.data) < 600
}


@pytest.mark.parametrize("data", _CHUNKED_CONTENTS.values(), ids=_CHUNKED_CONTENTS)
def test_chunked_content_of_the_corpus_is_read_alike_wherever_it_is_cut(data: bytes) -> None:
    cuts = ([data[:at], data[at:]] for at in range(1, len(data)))
    assert_content_read_alike(data, cuts, LIMITS)


@pytest.mark.parametrize("more", [b"", b"a", b"a" * 50])
def test_limits_of_chunked_content_are_the_same_on_both_roads(more: bytes) -> None:
    # A head has 160 bytes at most, and so have trailers; a line has 4 KiB, whatever the limits are.
    trailers = b"0\r\nA: ".ljust(161, b"a")
    line = b"a" * 4094 + more
    for data in (
        *(b"1;" + line, b"1;" + line + b"\r", b"1;" + line + b"\r\nb\r\n0\r\n\r\n"),
        *(
            trailers + more + b"\r\n" + end
            for end in (b"", b"\r", b"\r\n", b"A:" + line, b"A:" + line + b"\r")
        ),
    ):
        cuts = [cut(data, [size]) for size in (1, 2, 3, 100, 4000)]
        assert_content_read_alike(data, cuts, NARROW)


# Limits, to the byte.


def sized_head(size: int, first: bytes = HEAD) -> bytes:
    return first + b"A: ".ljust(size - len(first), b"b") + b"\r\n\r\n"


@pytest.mark.parametrize("before", [b"", b"\r\n"])
@pytest.mark.parametrize(
    ("size", "status"), [(159, None), (160, None), (161, 431), (163, 431), (164, 431), (999, 431)]
)
def test_a_head_may_have_so_many_bytes(size: int, status: int | None, before: bytes) -> None:
    for pieces in ways(before + sized_head(size)):
        assert assert_read_alike(b"", pieces, NARROW).refused == status


@pytest.mark.parametrize(("size", "status"), [(39, None), (40, None), (41, 414), (42, 414), (300, 414)])
def test_a_request_line_may_have_so_many_bytes(size: int, status: int | None) -> None:
    line = b"GET /".ljust(size - 9, b"a") + b" HTTP/1.1"
    for pieces in ways(line + b"\r\nHost: a\r\n\r\n"):
        assert assert_read_alike(b"", pieces, NARROW).refused == status


@pytest.mark.parametrize(("count", "status"), [(5, None), (6, 431)])
def test_a_head_may_have_so_many_fields(count: int, status: int | None) -> None:
    for pieces in ways(HEAD + b"A: b\r\n" * (count - 1) + b"\r\n"):
        assert assert_read_alike(b"", pieces, NARROW).refused == status


@pytest.mark.parametrize(("length", "status"), [(20, None), (21, 413)])
def test_content_may_have_so_many_bytes(length: int, status: int | None) -> None:
    for pieces in ways(POST + b"Content-Length: %d\r\n\r\n" % length):
        assert assert_read_alike(b"", pieces, NARROW).refused == status


def test_the_largest_head_is_read() -> None:
    line = b"GET /".ljust(8 * 1024 - 9, b"a") + b" HTTP/1.1\r\nHost: a\r\n"
    for pieces in ways(sized_head(64 * 1024, line)):
        assert len(assert_read_alike(b"", pieces, LIMITS).messages) == 1


# Heads that have not come whole.


@pytest.mark.parametrize(
    "data", [HEAD, b"\r\n" + HEAD, HEAD + b"A: b\r\n", sized_head(100), b"P / HTTP/1.0\r\n\r\n"]
)
@pytest.mark.parametrize("fast", [True, False])
def test_the_beginning_of_a_good_head_is_waited_with(data: bytes, fast: bool) -> None:
    for size in range(len(data) - 1):
        assert Parser(LIMITS, fast=fast).head(data[:size]) is None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16", 400),
        (b"\n", 400),
        (b" ", 400),
        (b"\r\n\r\n", 400),
        (b"\r\n ", 400),
        (b"\rG", 400),
        (b"GET /\n", 400),
        (b"GET\r\n", 400),
        (b"get / http/1.1\r\n", 400),
        (HEAD + b"A: b\n", 400),
        (HEAD + b"A: b\rc", 400),
        (HEAD + b" ", 400),
        (b"GET / HTTP/2.0\r\n", 505),
        (b"GET / HTTP/2.0\r\n\n", 505),
        (b"GET /" + b"a" * 8192, 414),
        (HEAD + b"A: " + b"b" * 65536, 431),
    ],
)
def test_what_cannot_become_a_good_head_is_refused_at_once(data: bytes, status: int) -> None:
    for pieces in ([data], single_bytes(data)):
        assert assert_read_alike(data, pieces, LIMITS).refused == status


def test_what_was_looked_at_is_not_looked_at_again() -> None:
    # How the caller says so is its second argument; a wrong one shows that it is heeded.
    head = HEAD + b"\r\n"
    assert Parser(LIMITS).head(head + HEAD, len(head)) is None


# The roads themselves.


class FastRoad(Parser):
    """A parser that has no other."""

    def _read_reference(self, head: bytes, size: int) -> NoReturn:
        raise NotFast


def test_common_requests_take_the_fast_road() -> None:
    browser = next(file.data for file in VALID if file.name == "browser")
    fields = b"".join(line + b"\r\n" for line in browser.split(b"\r\n")[2:-2])
    for more in (b"", b"Content-Length: 5\r\n", b"X_A: b\r\n", b"Proxy: b\r\nX-Forwarded-For: c\r\n"):
        assert FastRoad(LIMITS).head(POST + fields + more + b"\r\n") is not None


@pytest.mark.parametrize(
    "field", [b"Expect: 100-continue", b"Upgrade: h2c", b"Transfer-Encoding: chunked", b"X_A: b\0"]
)
def test_uncommon_requests_are_left_to_h11(field: bytes) -> None:
    with pytest.raises(NotFast):
        FastRoad(LIMITS).head(POST + field + b"\r\n\r\n")


def content_of(fields: bytes, *, fast: bool = True, limits: Limits = LIMITS) -> ContentReader:
    found = Parser(limits, fast=fast).head(POST + fields + b"\r\n\r\n")
    assert found is not None
    assert found[1] is not None
    return found[1]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (b"Content-Length: 5", CountedContent),
        (b"Content-Length: 5\r\nExpect: 100-continue", CountedContent),
        (CHUNKED_CODING, ChunkedContent),
    ],
)
def test_h11_reads_content_where_it_reads_all_and_only_there(
    fields: bytes, kind: type[ContentReader]
) -> None:
    assert type(content_of(fields)) is kind
    assert type(content_of(fields, fast=False)) is ReferenceContent


# The memos.


def memos(parser: object) -> list[Memo[Any, Any]]:
    """Return all that a parser remembers."""
    found = [value for value in vars(parser).values() if isinstance(value, Memo)]
    return found + [inner for memo in found for inner in memos(memo)]


def test_no_client_makes_the_memos_grow() -> None:
    parser = Parser(LIMITS)
    for number in range(3000):
        head = b"GET /%d HTTP/1.1\r\nHost: a%d\r\nX-%d: b\r\nX-A: %d\r\n\r\n" % ((number,) * 4)
        for _ in range(2):
            assert parser.head(head) is not None
    assert len(memos(parser)) == 3
    assert all(0 < len(memo) <= 1024 for memo in memos(parser))


@pytest.mark.parametrize(
    "field",
    [
        *(b"Cookie: a=SECRET", b"authorization: Basic SECRET", b"X-Api-Key: SECRET", b"X-CSRF-Token: SECRET"),
        *(b"Proxy-Authorization: SECRET", b"X-A: SECRET" + b"b" * 250, b"X-SECRET" + b"b" * 250 + b": c"),
    ],
)
def test_secrets_and_long_lines_are_not_remembered(field: bytes) -> None:
    parser = Parser(LIMITS)
    for _ in range(4):
        assert parser.head(b"GET /p?q=SECRET HTTP/1.1\r\nHost: a\r\nX-B: c\r\n" + field + b"\r\n\r\n")
    kept = repr([list(memo.items()) for memo in memos(parser)])
    assert "X-B: c" in kept
    assert "SECRET" not in kept


# Nobody buys much of the server's time with few bytes.

_BLANKS = b" " * 60_000


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"A:" + _BLANKS + b"\x01\r\n\r\n",
        HEAD + b"A:" + _BLANKS + b"\0\r\n\r\n",
        HEAD + b"A:" + b" b" * 30_000 + b"\0\r\n\r\n",
        HEAD + b"A:" + b"\t" * 60_000 + b"b\r\n\r\n",
        HEAD + b"A" + _BLANKS + b": b\r\n\r\n",
        HEAD + b"A_:" + _BLANKS + b"b" + _BLANKS[:3000] + b"\r\n\r\n",
        HEAD + b"Connection:" + b"," * 60_000 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding:" + b"," * 60_000 + b"\r\n\r\n",
        HEAD + b"Content-Length:" + b"5," * 30_000 + b"\r\n\r\n",
        HEAD + b"Expect:" + b"1," * 30_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"%41" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [" + b"1:" * 30_000 + b"]\r\n\r\n",
        b"GET /" + b"%41" * 2600 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://" + b"%41" * 2600 + b"% HTTP/1.1\r\nHost: a\r\n\r\n",
        HEAD + b"A: b\r\n" * 10_000 + b"\r\n",
        CHUNKED + b"0\r\nA:" + _BLANKS + b"\x01\r\n\r\n",
        CHUNKED + b"0\r\n" + b"A:b\r\n" * 12_000 + b"\r\n",
        CHUNKED + b"5" + b"\t" * 4000 + b"\r\n",
        CHUNKED + b"5;" + b" " * 4000 + b"\0\r\n",
        CHUNKED + b"1\r\na\r\n" * 10_000,
    ],
    ids=lambda data: repr(data[:60]),
)
def test_64_kib_cost_little_time(data: bytes) -> None:
    began = process_time()
    read(Parser(LIMITS), [data])
    read(Parser(LIMITS, fast=False), cut(data, [1400]))
    assert process_time() - began < 3  # seconds; what takes a square of the bytes takes ten and more


def test_a_long_pipeline_is_not_looked_at_anew_for_each_request() -> None:
    began = process_time()
    reading = read(Parser(LIMITS), [b"GET / HTTP/1.0\r\n\r\n" * 14_000])
    assert len(reading.messages) == 14_000
    assert process_time() - began < 3  # seconds; some 0.1 are usual


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"A: " + b"b" * 65_000,
        CHUNKED + b"5;" + b"a" * 4_000,
        CHUNKED + b"0\r\n" + (b"A: ".ljust(4_000, b"b") + b"\r\n") * 15,
    ],
    ids=["head", "chunk line", "trailers"],
)
def test_what_comes_byte_by_byte_costs_little_time(data: bytes) -> None:
    began = process_time()
    read(Parser(LIMITS), single_bytes(data))
    assert process_time() - began < 4  # seconds; some 0.2 are usual
