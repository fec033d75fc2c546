"""The environ: PEP 3333 "environ Variables", from real request heads."""

import sys
from io import BytesIO
from typing import IO

import pytest

from aiowsgi.config import Limits
from aiowsgi.http.messages import Request
from aiowsgi.http.parser import Parser
from aiowsgi.wsgi.environ import Environ, FileWrapper, make_environ, server_environ

SERVER = server_environ("localhost", "8000", "http", multiprocess=False)


def request(*lines: bytes, version: bytes = b"1.1") -> Request:
    first, *fields = lines
    head = b"\r\n".join([first + b" HTTP/" + version, b"Host: example.com:8000", *fields, b"", b""])
    found = Parser(Limits()).head(head)
    assert found is not None
    return found[0]


def environ(*lines: bytes, script_name: str = "", content: IO[bytes] | None = None) -> Environ:
    asked = request(*lines)
    path_info = asked.path.removeprefix(script_name)
    content = BytesIO() if content is None else content
    return make_environ(SERVER, ("192.0.2.1", "4711"), asked, script_name, path_info, content)


def test_it_has_what_pep_3333_asks_for() -> None:
    content = BytesIO()
    made = environ(b"GET /app/a%20b/c?q=%41&r", script_name="/app", content=content)
    assert made.pop("wsgi.input") is content
    assert made == {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "HTTP_HOST": "example.com:8000",
        "PATH_INFO": "/a b/c",
        "QUERY_STRING": "q=%41&r",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "4711",
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/app/a%20b/c?q=%41&r",
        "SCRIPT_NAME": "/app",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "aiowsgi",
        "wsgi.errors": sys.stderr,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "wsgi.multiprocess": False,
        "wsgi.multithread": True,
        "wsgi.run_once": False,
        "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0),
    }
    assert type(made) is dict


def test_it_is_fresh_for_each_request() -> None:
    first = environ(b"GET /")
    first.clear()
    second = environ(b"GET /")
    second["wsgi.version"] = (9, 9)
    second["HTTP_HOST"] = "changed"
    third = environ(b"GET /")
    assert third["wsgi.version"] == (1, 0)
    assert third["HTTP_HOST"] == "example.com:8000"


def test_one_request_may_have_two_environs() -> None:
    asked = request(b"GET /")
    first = make_environ(SERVER, ("", ""), asked, "", "/", BytesIO())
    first["HTTP_HOST"] = "changed"
    assert make_environ(SERVER, ("", ""), asked, "", "/", BytesIO())["HTTP_HOST"] == "example.com:8000"


def test_the_path_is_latin_1_of_its_decoded_bytes() -> None:
    made = environ(b"GET /%C3%A4%ff%2Fb")
    assert made["PATH_INFO"].encode("latin-1") == b"/\xc3\xa4\xff/b"
    assert made["REQUEST_URI"] == "/%C3%A4%ff%2Fb"


def test_fields_are_native_strings_by_their_cgi_names() -> None:
    made = environ(b"GET /", b"X-Thing: \xe4", b"Content-Type: text/plain", b"Accept: a", b"Accept: b")
    assert made["HTTP_X_THING"] == "\xe4"
    assert made["CONTENT_TYPE"] == "text/plain"
    assert made["HTTP_ACCEPT"] == "a, b"
    assert "HTTP_CONTENT_TYPE" not in made
    assert all(isinstance(made[name], str) for name in made if "." not in name)


def test_no_field_can_pass_for_another_variable() -> None:
    made = environ(
        b"GET /", b"Proxy: evil", b"X_Forwarded_For: evil", b"Server-Name: evil", b"wsgi.input: evil"
    )
    assert "HTTP_PROXY" not in made
    assert "HTTP_X_FORWARDED_FOR" not in made
    assert made["SERVER_NAME"] == "localhost"
    assert made["HTTP_SERVER_NAME"] == "evil"
    assert isinstance(made["wsgi.input"], BytesIO)


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ([b"GET /"], None),
        ([b"POST /", b"Content-Length: 12"], "12"),
        ([b"POST /", b"Content-Length: 0"], "0"),
    ],
)
def test_content_length_is_there_where_it_was_sent(lines: list[bytes], length: str | None) -> None:
    assert environ(*lines).get("CONTENT_LENGTH") == length


def test_chunked_content_has_the_length_it_had_in_the_end() -> None:
    asked = request(b"POST /", b"Transfer-Encoding: chunked")
    for size in (5, 0):
        asked.know_length(size)
        made = make_environ(SERVER, ("", ""), asked, "", "/", BytesIO())
        assert made["CONTENT_LENGTH"] == str(size)
        assert "HTTP_TRANSFER_ENCODING" not in made


def test_server_protocol_is_the_client_s() -> None:
    made = make_environ(SERVER, ("", ""), request(b"GET /", version=b"1.0"), "", "/", BytesIO())
    assert made["SERVER_PROTOCOL"] == "HTTP/1.0"


def test_a_server_with_siblings_and_tls_says_so() -> None:
    server = server_environ("localhost", "443", "https", multiprocess=True)
    made = make_environ(server, ("", ""), request(b"GET /"), "", "/", BytesIO())
    assert made["wsgi.multiprocess"] is True
    assert made["wsgi.url_scheme"] == "https"


# wsgi.file_wrapper


class Blocks:
    """Anything with read() will do, with or without close()."""

    def __init__(self, *blocks: bytes) -> None:
        self._blocks = list(blocks)
        self.sizes: list[int] = []

    def read(self, size: int = -1, /) -> bytes:
        self.sizes.append(size)
        return self._blocks.pop(0) if self._blocks else b""


def test_the_file_wrapper_gives_a_file_s_blocks_from_where_it_stands() -> None:
    file = BytesIO(b"0123456789")
    file.seek(1)
    assert list(FileWrapper(file, 4)) == [b"1234", b"5678", b"9"]


def test_the_file_wrapper_needs_no_more_than_read() -> None:
    blocks = Blocks(b"a", b"b")
    wrapper = FileWrapper(blocks)
    assert list(wrapper) == [b"a", b"b"]
    assert blocks.sizes == [65536] * 3
    wrapper.close()


def test_closing_the_file_wrapper_closes_the_file() -> None:
    file = BytesIO(b"x")
    FileWrapper(file).close()
    assert file.closed
