"""What of chunked content reaches h11, and what may not add up without end."""

import pytest

from aiowsgi.http.chunked import ChunkGate
from aiowsgi.http.messages import HTTPError

TRAILERS = 1000  # bytes, at most


def gate() -> ChunkGate:
    return ChunkGate(TRAILERS)


def assert_refused(data: bytes, most_trailers: int = TRAILERS) -> None:
    """Check that ``data`` is refused, in one piece and byte by byte."""
    with pytest.raises(HTTPError) as whole:
        ChunkGate(most_trailers).receive(data)
    with pytest.raises(HTTPError) as cut:
        in_single_bytes(data, ChunkGate(most_trailers))
    for error in (whole.value, cut.value):
        assert error.status == 400
        assert error.close


def in_single_bytes(data: bytes, chunk_gate: ChunkGate | None = None) -> tuple[bytes, bytes]:
    """Receive ``data`` byte by byte, until the gate has nothing more to say: at the first empty line of trailers."""
    chunk_gate = chunk_gate or gate()
    passed = b""
    for number in range(len(data)):
        some, rest = chunk_gate.receive(data[number : number + 1])
        passed += some
        assert rest == b""
        if passed.endswith(b"\r\n\r\n"):
            return passed, data[number + 1 :]
    return passed, b""


def receive_again_and_again(data: bytes) -> None:
    chunk_gate = gate()
    for _ in range(100):
        assert chunk_gate.receive(100 * data) == (100 * data, b"")


@pytest.mark.parametrize(
    "content",
    [b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5;a\r\nhello\r\n0;b\r\nA: b\r\nC:\r\n\r\n", b"000\r\n\r\n"],
)
def test_content_passes_and_what_is_behind_it_does_not(content: bytes) -> None:
    behind = b"GET / HTTP/1.1\r\n\r\n"
    assert gate().receive(content + behind) == (content, behind)
    assert in_single_bytes(content + behind) == (content, behind)


def test_a_line_passes_when_it_is_whole() -> None:
    chunk_gate = gate()
    for data, passed in [
        (b"5", b""),
        (b";a", b""),
        (b"\r", b""),
        (b"\n", b"5;a\r\n"),
        (b"hel", b"hel"),
        (b"lo\r", b"lo\r"),
        (b"\n0\r\nA", b"\n0\r\n"),
        (b": b\r\n\r", b"A: b\r\n"),
    ]:
        assert chunk_gate.receive(data) == (passed, b"")
    assert chunk_gate.receive(b"\nrest") == (b"\r\n", b"rest")


def test_data_is_no_line() -> None:
    data = b"9\r\n\n\r0\r\n\r\n\n\n\r\n"
    assert gate().receive(data) == (data, b"")


@pytest.mark.parametrize(
    "data",
    [
        *(b"\n", b"5\n", b"5;a\n", b"5\nhello\r\n", b"0\n", b"0\r\n\n", b"0\r\nA: b\n", b"0\r\n\nA: b\r\n"),
        *(b"\r\n", b" 5\r\n", b"5 \r\n", b"+5\r\n", b"0x5\r\n", b"g\r\n", b"5\r\r\n", b"5;\0\r\n"),
        *(b"5;\x7f\r\n", b"5a;\x1b\r\n"),
        *(b"00000000000000000\r\n", b"0\r\nA\r\n", b"0\r\n A: b\r\n", b"0\r\nA : b\r\n"),
        *(b"0\r\nA: b\0\r\n", b"0\r\nA: b\r\r\n"),
    ],
)
def test_what_is_no_line_of_chunked_content_is_refused(data: bytes) -> None:
    assert_refused(data)


def test_a_size_may_have_16_digits() -> None:
    data = b"ffffffffffffffff\r\n"
    assert gate().receive(data) == (data, b"")


@pytest.mark.parametrize(("before", "begin"), [(b"", b"5;"), (b"0\r\n", b"A: ")])
def test_a_line_may_have_4_kib(before: bytes, begin: bytes) -> None:
    line = begin.ljust(4096, b"a")
    longest = before + line + b"\r\n"
    assert ChunkGate(10_000).receive(longest) == (longest, b"")
    assert in_single_bytes(longest, ChunkGate(10_000)) == (longest, b"")
    assert_refused(before + line + b"a\r\n", 10_000)
    with pytest.raises(HTTPError):
        ChunkGate(10_000).receive(before + line + b"aa")


@pytest.mark.parametrize("count", [1, 10])
def test_trailers_may_have_so_many_bytes(count: int) -> None:
    size = TRAILERS // count
    line = b"A: ".ljust(size - 2, b"b") + b"\r\n"
    content = b"0\r\n" + line * count + b"\r\n"
    assert gate().receive(content + b"rest") == (content, b"rest")
    assert in_single_bytes(content + b"rest") == (content, b"rest")
    assert_refused(b"0\r\n" + line * (count - 1) + b"b" + line + b"\r\n")


def test_extensions_may_not_add_up_to_much_more_than_the_content() -> None:
    with pytest.raises(HTTPError, match="mostly not content"):
        receive_again_and_again(b"1;" + b"a" * 500 + b"\r\nb\r\n")


def test_chunks_of_one_byte_pass_without_end() -> None:
    receive_again_and_again(b"1\r\na\r\n")


def test_zeros_in_front_of_a_size_do_not_pass_without_end() -> None:
    with pytest.raises(HTTPError, match="mostly not content"):
        receive_again_and_again(b"0000000000000001\r\na\r\n")
