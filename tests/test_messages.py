"""What the messages say of themselves."""

from pathlib import Path

import pytest

from aiowsgi.http.messages import LONGEST_TOLD, UNREAD, FileRange, HTTPError, Request, Response


def request_with(content_length: int, version: str = "HTTP/1.1", **fields: str) -> Request:
    request = Request()
    request.strict = b""
    request.method, request.target, request.version = "PUT", "/a?b", version
    request.content_length = content_length
    request.fields = {f"HTTP_{name.upper()}": value for name, value in fields.items()}
    return request


def test_an_error_is_its_status_and_one_sentence() -> None:
    error = HTTPError(400, "A line is folded.")
    assert (error.status, error.detail) == (400, "A line is folded.")
    assert list(error.fields) == []
    assert str(error) == "400 Bad Request: A line is folded."


def test_an_error_without_a_sentence_has_that_of_its_status() -> None:
    assert HTTPError(404).detail == "Nothing matches the given URI"
    assert HTTPError(423).detail == "Locked"  # a status that the standard library has no sentence for
    assert str(HTTPError(423)) == "423 Locked: Locked"


def test_an_error_may_carry_fields() -> None:
    error = HTTPError(503, fields=[("Retry-After", "1")])
    assert list(error.fields) == [("Retry-After", "1")]


def test_an_error_has_a_status_that_exists() -> None:
    with pytest.raises(ValueError, match="299"):
        HTTPError(299)


@pytest.mark.parametrize(
    ("length", "has_content", "chunked"), [(0, False, False), (5, True, False), (Request.UNKNOWN, True, True)]
)
def test_a_request_has_content_if_its_head_says_so(length: int, has_content: bool, chunked: bool) -> None:
    request = request_with(length)
    assert request.has_content == has_content
    assert request.chunked == chunked


def test_the_length_of_chunked_content_is_known_at_its_end() -> None:
    request = request_with(Request.UNKNOWN)
    request.know_length(7)
    assert (request.content_length, request.fields["CONTENT_LENGTH"], request.chunked) == (7, "7", False)
    request.know_length(0)
    assert (request.has_content, request.fields["CONTENT_LENGTH"]) == (False, "0")


@pytest.mark.parametrize(
    ("request_", "waits"),
    [
        (request_with(5, expect="100-continue"), True),
        (request_with(Request.UNKNOWN, expect="100-continue"), True),
        (request_with(0, expect="100-continue"), False),
        (request_with(5, "HTTP/1.0", expect="100-continue"), False),
        (request_with(5), False),
    ],
)
def test_a_client_waits_for_continue_if_it_says_so_and_has_content(request_: Request, waits: bool) -> None:
    assert request_.expect_continue == waits


def test_what_stands_for_a_request_that_could_not_be_read_is_complete() -> None:
    assert {name: getattr(UNREAD, name) for name in Request.__slots__}["fields"] == {}
    assert not UNREAD.keep_alive
    assert not UNREAD.has_content
    assert repr(UNREAD) == "<Request - - HTTP/1.1>"


def test_a_request_tells_of_itself_in_one_line_that_is_not_long() -> None:
    request = request_with(0)
    assert str(request) == "PUT /a?b"
    request.target = "/" + "a" * LONGEST_TOLD
    assert str(request) == "PUT /" + "a" * (LONGEST_TOLD - 1) + "..."
    request.method = "M" * 9999
    request.target = "/\r\n\t\x00\x1b[2J\x85\x9b\xe4\\"
    assert str(request) == "M" * LONGEST_TOLD + "... /\\r\\n\\t\\x00\\x1b[2J\\x85\\x9b\\xe4\\\\"
    assert repr(request) == f"<Request {request} HTTP/1.1>"
    request.method = request.target = "\xff" * 65536
    assert len(repr(request)) < 10 * LONGEST_TOLD


def test_messages_show_what_they_are(tmp_path: Path) -> None:
    assert repr(request_with(0)) == "<Request PUT /a?b HTTP/1.1>"
    assert repr(Response(404, b"", b"none")) == "<Response 404, 4 bytes>"
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        file_range = FileRange(file, 2, 3)
        assert repr(file_range) == "<FileRange 2+3>"
        assert len(file_range) == 3
        assert repr(Response(206, content=file_range)) == "<Response 206, 3 bytes>"
