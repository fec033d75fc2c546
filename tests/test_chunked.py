"""What chunked content is read as, what of it is refused, and what may not add up without end."""

import pytest

from aiowsgi.http.chunked import TURN, ChunkedContent
from aiowsgi.http.messages import HTTPError

TRAILERS = 1000  # bytes, at most
BEHIND = b"GET / HTTP/1.1\r\n\r\n"


def in_single_bytes(data: bytes, most_trailers: int = TRAILERS) -> tuple[bytes, bool, bytes]:
    """Receive ``data`` byte by byte, until the content has ended."""
    reader = ChunkedContent(most_trailers)
    content = b""
    for number in range(len(data)):
        piece, ended, rest = reader.receive(data[number : number + 1])
        content += piece
        assert rest == b""
        if ended:
            return content, True, data[number + 1 :]
    return content, False, b""


def assert_read(data: bytes, content: bytes, most_trailers: int = TRAILERS) -> None:
    """Check that ``data`` is ``content``, ends, and leaves what is behind it, in one piece and byte by byte."""
    assert ChunkedContent(most_trailers).receive(data + BEHIND) == (content, True, BEHIND)
    assert in_single_bytes(data + BEHIND, most_trailers) == (content, True, BEHIND)


def assert_refused(data: bytes, most_trailers: int = TRAILERS) -> None:
    """Check that ``data`` is refused, in one piece and byte by byte."""
    with pytest.raises(HTTPError) as whole:
        ChunkedContent(most_trailers).receive(data)
    with pytest.raises(HTTPError) as cut:
        in_single_bytes(data, most_trailers)
    for error in (whole.value, cut.value):
        assert error.status == 400


def test_so_many_chunks_are_read_at_once() -> None:
    reader = ChunkedContent(TRAILERS)
    rest = (2 * TURN + 1) * b"1\r\nx\r\n" + b"0\r\n\r\n" + BEHIND
    for _ in range(2):
        content, ended, rest = reader.receive(rest)
        assert (content, ended) == (TURN * b"x", False)
    assert reader.receive(rest) == (b"x", True, BEHIND)


def receive_again_and_again(data: bytes, content: bytes) -> None:
    reader = ChunkedContent(TRAILERS)
    for _ in range(100):
        assert reader.receive(100 * data) == (100 * content, False, b"")


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5;a\r\nhello\r\n0;b\r\nA: b\r\nC:\r\n\r\n", b"hello"),
        (b'1;a="b c";\x80\t\r\na\r\n00A\r\n0123456789\r\n0\r\n\r\n', b"a0123456789"),
        (b"9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n0\r\n\r\n\r\n"),
        (b"3\r\n\n\r\n\r\n2\r\n\r\r\r\n0\r\n\r\n", b"\n\r\n\r\r"),
    ],
)
def test_content_is_read_to_its_end(data: bytes, content: bytes) -> None:
    assert_read(data, content)


def test_content_is_there_when_it_has_come() -> None:
    reader = ChunkedContent(TRAILERS)
    for data, content in [
        (b"5", b""),
        (b";a", b""),
        (b"\r", b""),
        (b"\n", b""),
        (b"hel", b"hel"),
        (b"lo\r", b"lo"),
        (b"\n1\r\na\r\n2\r\nb", b"ab"),
        (b"c", b"c"),
        (b"\r\n0\r\nA", b""),
        (b": b\r\n\r", b""),
    ]:
        assert reader.receive(data) == (content, False, b"")
    assert reader.receive(b"\nrest") == (b"", True, b"rest")


@pytest.mark.parametrize(
    "data",
    [
        *(b"\n", b"5\n", b"5;a\n", b"5\nhello\r\n", b"0\n", b"0\r\n\n", b"0\r\nA: b\n", b"0\r\n\nA: b\r\n"),
        *(
            b"\r\n",
            b" 5\r\n",
            b"5 \r\n",
            b"5 ;a\r\n",
            b"+5\r\n",
            b"0x5\r\n",
            b"5_0\r\n",
            b"g\r\n",
            b"5\r\r\n",
        ),
        *(b"5;\0\r\n", b"5;\x7f\r\n", b"5a;\x1b\r\n"),
        *(b"00000000000000000\r\n", b"0\r\nA\r\n", b"0\r\n A: b\r\n", b"0\r\nA : b\r\n"),
        *(b"0\r\nA: b\0\r\n", b"0\r\nA: b\r\r\n"),
    ],
)
def test_what_is_no_line_of_chunked_content_is_refused(data: bytes) -> None:
    assert_refused(data)


@pytest.mark.parametrize("behind", [b"\n", b"\rb", b"\r\r\n", b"b", b"bc\r\n", b"0\r\n\r\n", b" \r\n"])
@pytest.mark.parametrize("chunk", [b"1\r\na", b"1\r\nb\r\n3\r\n\r\n\r"])
def test_behind_the_data_of_a_chunk_there_is_crlf_and_nothing_else(chunk: bytes, behind: bytes) -> None:
    assert_refused(chunk + behind)


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"content-lengtH"])
def test_a_trailer_does_not_say_how_content_is_framed(name: bytes) -> None:
    assert_refused(b"0\r\nA: b\r\n" + name + b": 1\r\n")
    assert_read(b"0\r\nX-" + name + b": 1\r\n" + name + b"s: 1\r\n\r\n", b"")


def test_a_size_may_have_16_digits() -> None:
    reader = ChunkedContent(TRAILERS)
    assert reader.receive(b"ffffffffffffffff\r\nab") == (b"ab", False, b"")
    assert reader.receive(b"\r\n") == (b"\r\n", False, b"")


@pytest.mark.parametrize(
    ("before", "begin", "behind"), [(b"", b"1;", b"b\r\n0\r\n\r\n"), (b"1\r\nb\r\n0\r\n", b"A: ", b"\r\n")]
)
def test_a_line_may_have_4_kib(before: bytes, begin: bytes, behind: bytes) -> None:
    line = begin.ljust(4096, b"a")
    assert_read(before + line + b"\r\n" + behind, b"b", 10_000)
    assert_refused(before + line + b"a\r\n", 10_000)
    assert_refused(before + line + b"aa", 10_000)


@pytest.mark.parametrize("count", [1, 10])
def test_trailers_may_have_so_many_bytes(count: int) -> None:
    size = TRAILERS // count
    line = b"A: ".ljust(size - 2, b"b") + b"\r\n"
    assert_read(b"0\r\n" + line * count + b"\r\n", b"")
    assert_refused(b"0\r\n" + line * (count - 1) + b"b" + line + b"\r\n")


def test_extensions_may_not_add_up_to_much_more_than_the_content() -> None:
    with pytest.raises(HTTPError, match="mostly not content"):
        receive_again_and_again(b"1;" + b"a" * 500 + b"\r\nb\r\n", b"b")


def test_chunks_of_one_byte_pass_without_end() -> None:
    receive_again_and_again(b"1\r\na\r\n", b"a")


def test_zeros_in_front_of_a_size_do_not_pass_without_end() -> None:
    with pytest.raises(HTTPError, match="mostly not content"):
        receive_again_and_again(b"0000000000000001\r\na\r\n", b"a")
