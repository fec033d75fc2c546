"""Old tutorials' habits: what is put right, how it is told, and that nothing else is touched."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from aiowsgi.site.habits import STATUS_WITH_VERSION, TEXT_BODY, put_right

Application = Callable[[dict[str, Any], Any], Any]


class Client:
    """What the server's side of one call sees."""

    def __init__(self) -> None:
        self.heads: list[tuple[Any, ...]] = []
        self.written: list[bytes] = []
        self.habits: list[list[str]] = []

    def start_response(self, *head: Any) -> Callable[[bytes], object]:
        self.heads.append(head)
        return self.written.append

    def call(self, application: Application) -> Iterable[bytes]:
        return put_right(application, {}, self.start_response, self.habits.append)


def answering(body: Any, content_type: str = "text/plain", status: str = "200 OK") -> Application:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        start_response(status, [("X-First", "1"), ("Content-Type", content_type)])
        return body

    return application


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a",), [], b"bytes", None, 7, [None], [b"a", 1]])
def test_what_is_no_habit_is_handed_on_as_the_same_object(client: Client, body: Any) -> None:
    assert client.call(answering(body)) is body
    assert client.heads == [("200 OK", [("X-First", "1"), ("Content-Type", "text/plain")], None)]
    assert client.habits == []


def test_a_text_body_becomes_one_piece_of_bytes(client: Client) -> None:
    assert client.call(answering("Zeit: 12 Uhr, schön")) == ["Zeit: 12 Uhr, schön".encode()]
    assert client.habits == [[TEXT_BODY]]


@pytest.mark.parametrize("body", [["é", b"-", "é"], ("é", b"-", "é")])
def test_text_among_the_pieces_is_encoded_in_its_place(client: Client, body: Any) -> None:
    assert client.call(answering(body, "text/html; charset=latin-1")) == [b"\xe9", b"-", b"\xe9"]
    assert client.habits == [[TEXT_BODY]]


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/html", "utf-8"),
        ("text/html; charset=gbk", "gbk"),
        ("text/html;charset=GB2312", "gb2312"),
        ('text/html; charset="utf-16-le"; x=y', "utf-16-le"),
        ("text/html; Charset = gbk", "gbk"),
        ("text/html; charset=no-such-charset", "utf-8"),
        ("text/html; charset=rot13", "utf-8"),
        ("text/html; charset=", "utf-8"),
    ],
)
def test_the_charset_is_that_of_content_type(client: Client, content_type: str, expected: str) -> None:
    assert client.call(answering("你好", content_type)) == ["你好".encode(expected)]


def test_text_that_its_charset_does_not_have_is_an_error(client: Client) -> None:
    with pytest.raises(UnicodeEncodeError):
        client.call(answering("你好", "text/html; charset=ascii"))


def test_text_without_start_response_is_left_for_the_server_to_complain_about(client: Client) -> None:
    assert client.call(lambda environ, start_response: "é") == ["é".encode()]
    assert client.heads == []


@pytest.mark.parametrize("version", ["HTTP/1.1 ", "HTTP/1.0 "])
def test_a_status_loses_the_http_version(client: Client, version: str) -> None:
    assert client.call(answering([b""], status=version + "404 Not Found")) == [b""]
    assert client.heads[0][0] == "404 Not Found"
    assert client.habits == [[STATUS_WITH_VERSION]]


@pytest.mark.parametrize("status", ["HTTP/2 200 OK", "http/1.1 200 OK", b"HTTP/1.1 200 OK", 200])
def test_another_status_is_left_for_the_server_to_judge(client: Client, status: Any) -> None:
    client.call(answering([b""], status=status))
    assert client.heads[0][0] == status
    assert client.habits == []


def test_all_habits_of_an_answer_are_reported_at_once(client: Client) -> None:
    client.call(answering("text", status="HTTP/1.1 200 OK"))
    assert client.habits == [[STATUS_WITH_VERSION, TEXT_BODY]]


def test_a_generator_is_asked_for_a_piece_only_when_it_is_wanted(client: Client) -> None:
    done: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Iterator[str | bytes]:
        start_response("HTTP/1.1 200 OK", [])
        done.append("first")
        yield "é"
        done.append("second")
        yield b"bytes"

    body = client.call(application)
    assert (done, client.heads) == ([], [])
    pieces = iter(body)
    assert next(pieces) == "é".encode()
    assert (done, len(client.heads)) == (["first"], 1)
    assert next(pieces) == b"bytes"
    assert list(pieces) == []
    assert client.habits == []
    body.close()  # type: ignore[attr-defined]
    assert client.habits == [[STATUS_WITH_VERSION, TEXT_BODY]]


class Closing:
    """An iterable that is not its own iterator, and knows how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"a", b"b"])

    def close(self) -> None:
        self.closed += 1


def test_close_reaches_the_applications_own_iterable_even_if_nothing_was_read(client: Client) -> None:
    body = Closing()
    client.call(answering(body)).close()  # type: ignore[attr-defined]
    assert body.closed == 1
    assert client.habits == []


def test_an_iterable_without_close_is_closed_all_the_same(client: Client) -> None:
    body = client.call(answering({b"a": 1}))
    assert list(body) == [b"a"]
    body.close()  # type: ignore[attr-defined]


def test_a_subclass_of_list_keeps_its_close(client: Client) -> None:
    class Pieces(Closing, list[bytes]):
        pass

    body = Pieces()
    client.call(answering(body)).close()  # type: ignore[attr-defined]
    assert body.closed == 1


def test_write_takes_text_too(client: Client) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("content-type", "text/plain; charset=gbk")])
        write("你")
        write(b"-")
        return []

    assert client.call(application) == []
    assert client.written == ["你".encode("gbk"), b"-"]
    assert client.habits == [[TEXT_BODY]]


def test_a_replaced_head_brings_its_own_charset_and_its_exc_info(client: Client) -> None:
    error = (ValueError, ValueError("x"), None)

    def application(environ: dict[str, Any], start_response: Any) -> list[str]:
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])("é")
        start_response("500 Failed", [("Content-Type", "text/plain; charset=latin-1")], error)
        return ["é"]

    assert client.call(application) == [b"\xe9"]
    assert client.heads[1][2] is error
