"""The example site: every script, called under wsgiref's validator, and the pages beside them."""

import hashlib
import importlib
import importlib.util
import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

ROOT = Path(__file__).parent.parent
APPS = ROOT / "apps"
HTML = ROOT / "html"
SCRIPTS = sorted(path.name for path in APPS.glob("*.py"))


class Answer(NamedTuple):
    status: str
    headers: dict[str, str]
    pieces: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


def load(script: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{script}", APPS / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(application: WSGIApplication, path: str = "", query: str = "", **variables: object) -> Answer:
    """Call an application as a server does. ``path`` and ``query`` are latin-1 text, as PEP 3333 asks."""
    environ: dict[str, object] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "" if path else "/script.py",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.input": BytesIO(),
        **variables,
    }
    setup_testing_defaults(environ)
    status = ""
    fields: list[tuple[str, str]] = []

    def start_response(
        given: str, headers: list[tuple[str, str]], exc_info: object = None, /
    ) -> Callable[[bytes], object]:
        nonlocal status, fields
        status, fields = given, headers
        return lambda data: None

    result = validator(application)(environ, start_response)
    try:
        pieces = list(result)
    finally:
        result.close()  # type: ignore[attr-defined]  # the validator's iterator always has it
    answer = Answer(status, dict(fields), pieces)
    assert len(answer.headers) == len(fields)
    if "Content-Length" in answer.headers:
        assert int(answer.headers["Content-Length"]) == len(answer.body)
    return answer


def post(content: bytes, content_type: str, **variables: object) -> Answer:
    defaults: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": BytesIO(content),
    }
    return call(load("upload").application, **(defaults | variables))


def latin1(text: str) -> str:
    """UTF-8 text as it stands in an environ."""
    return text.encode("utf-8").decode("latin-1")


# Every script


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_answers_a_plain_get_and_head(script: str) -> None:
    application = load(script.removesuffix(".py")).application
    for method in ("GET", "HEAD"):
        answer = call(application, query="pause=0", REQUEST_METHOD=method)
        assert answer.status == "200 OK"
        assert answer.headers["Content-Type"].endswith("; charset=utf-8")
        assert answer.text


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_knows_its_length_but_the_stream(script: str) -> None:
    answer = call(load(script.removesuffix(".py")).application, query="pause=0")
    assert ("Content-Length" in answer.headers) is (script != "stream.py")


@pytest.mark.parametrize(
    "script", [name for name in SCRIPTS if name != "stream.py"]
)  # it would take its time
def test_no_script_needs_what_pep_3333_lets_a_server_leave_out(script: str) -> None:
    environ: dict[str, object] = {}
    setup_testing_defaults(environ)
    del environ["PATH_INFO"]
    environ["SCRIPT_NAME"] = "/script.py"
    assert "QUERY_STRING" not in environ
    assert "CONTENT_LENGTH" not in environ
    body = load(script.removesuffix(".py")).application(environ, lambda status, headers: None)
    assert b"".join(body)


# smallest.py, ctime.py


def test_smallest_gives_the_same_page_to_everybody() -> None:
    application = load("smallest").application
    assert call(application, "/a", "b=c").body == call(application).body
    assert b"Hello, World!" in call(application).body


def test_ctime_is_a_line_of_text_that_nobody_caches() -> None:
    answer = call(load("ctime").application)
    assert re.fullmatch(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\n", answer.text)
    assert answer.headers["Cache-Control"] == "no-store"


# sayhello.py


@pytest.mark.parametrize("name", ["Ada", "Zoë", "世界", "O'Neil", "🐍"])
def test_sayhello_greets_by_query_or_path(name: str) -> None:
    application = load("sayhello").application
    greeting = f"Hello, <bdi>{name.replace(chr(39), '&#x27;')}</bdi>!"
    assert greeting in call(application, query=f"name={quote(name)}").text
    assert greeting in call(application, query=f"name={latin1(name)}").text
    assert greeting in call(application, "/" + latin1(name)).text


def test_sayhello_greets_the_world_when_it_is_told_nothing() -> None:
    application = load("sayhello").application
    for query in ("", "name=", "name=%20", "other=1"):
        assert "Hello, <bdi>World</bdi>!" in call(application, "/", query).text


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</bdi><b>&amp;"]
)
def test_sayhello_lets_no_markup_through(name: str) -> None:
    application = load("sayhello").application
    innocent = call(application, query="name=Ada").text
    for answer in (call(application, query=f"name={quote(name)}"), call(application, "/" + name)):
        assert name.strip("/") not in answer.text
        assert answer.text.count("<") == innocent.count("<")


def test_sayhello_survives_bytes_that_are_not_utf_8() -> None:
    application = load("sayhello").application
    for answer in (
        call(application, query="name=%ff"),
        call(application, "/\xff"),
        call(application, query="name=\xff"),
    ):
        assert "Hello, <bdi>\ufffd</bdi>!" in answer.text


def test_sayhello_cuts_a_name_that_is_too_long() -> None:
    assert (
        "<bdi>" + "a" * 100 + "</bdi>" in call(load("sayhello").application, query="name=" + "a" * 5000).text
    )


# upload.py


def part(head: str, content: bytes, boundary: bytes = b"xyz") -> bytes:
    return b"--" + boundary + b"\r\n" + head.encode("utf-8") + b"\r\n\r\n" + content + b"\r\n"


def line(name: str, content: bytes) -> str:
    return f"{name!r}: {len(content)} bytes, SHA-256 {hashlib.sha256(content).hexdigest()}\n"


FORM = "multipart/form-data; boundary=xyz"
FILE = 'Content-Disposition: form-data; name="file"; filename="{}"\r\nContent-Type: application/octet-stream'

CONTENTS = [
    b"",
    b"\r\n",
    b"\r\n\r\n--\r\n",
    b"--xyz",
    b"\r--xyz--\n--xyz\r\n",
    b"\r\n--xy\r\n--x\r\n-",
    b"\r\n\r\n--xY",
    bytes(range(256)) * 300,
    b"\r\n--xy" * 40_000,
]


def test_upload_shows_a_form() -> None:
    answer = call(load("upload").application)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 'enctype="multipart/form-data"' in answer.text


def test_upload_measures_raw_content() -> None:
    for content in CONTENTS:
        assert post(content, "application/octet-stream").text == line("raw content", content)


@pytest.mark.parametrize("piece", [1, 2, 7, 64 * 1024])
def test_upload_finds_each_part_whatever_it_holds_and_however_it_arrives(
    piece: int,
) -> None:
    class Trickle(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            return super().read(min(size, piece))

    contents = CONTENTS if piece > 2 else CONTENTS[:-2]
    body = b"preamble" * (piece == 7) + b"\r\n" * (piece != 1)
    body += b"".join(part(FILE.format(number), content) for number, content in enumerate(contents))
    body += b"--xyz--" + b"\r\nepilogue" * (piece == 7)
    answer = post(body, FORM, **{"wsgi.input": Trickle(body)})
    assert answer.status == "200 OK"
    assert answer.text == "".join(line(str(number), content) for number, content in enumerate(contents))


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (FILE.format("grüße 世界.txt"), "grüße 世界.txt"),
        (FILE.format("a; b=c.txt"), "a; b=c.txt"),
        (FILE.format("<script>.html"), "<script>.html"),
        (FILE.format("C:\\name.txt"), "C:\\name.txt"),
        (FILE.format(""), "file"),
        ('content-disposition: form-data; name="comment"', "comment"),
        ("Content-Disposition:form-data;Name=comment ; other=1", "comment"),
        ("Content-Disposition: form-data; name=a; filename*=utf-8''%41; filename*0*=x''y; filename*1=", "a"),
        ('Content-Disposition: form-data; name="a', ""),
        ("X-Other: 1", ""),
    ],
)
def test_upload_names_a_part_by_its_file_or_its_field(head: str, name: str) -> None:
    assert post(part(head, b"content") + b"--xyz--\r\n", FORM).text == line(name, b"content")


def test_upload_takes_a_quoted_boundary_and_padding_behind_it() -> None:
    body = b"--a b?\t \r\nX: 1\r\n\r\ncontent\r\n--a b?--"
    assert post(body, 'multipart/form-data; charset=utf-8; boundary="a b?"').text == line("", b"content")


def test_upload_takes_a_part_without_a_head() -> None:
    assert post(b"--xyz\r\n\r\ncontent\r\n--xyz--", FORM).text == line("", b"content")


def test_upload_takes_a_form_without_parts() -> None:
    assert post(b"--xyz--\r\n", FORM).body == b""


def test_upload_reads_to_the_end_where_the_server_promises_one() -> None:
    answer = post(b"chunked", "", CONTENT_LENGTH="", **{"wsgi.input_terminated": True})
    assert answer.text == line("raw content", b"chunked")


def test_upload_reads_no_further_than_content_length() -> None:
    source = BytesIO(b"content and the next request")
    assert post(b"", "", CONTENT_LENGTH="7", **{"wsgi.input": source}).text == line("raw content", b"content")
    assert source.tell() == 7


def test_upload_reads_in_bounded_pieces() -> None:
    class Source:
        """Endless as far as memory goes: 64 MiB made as they are read."""

        def __init__(self) -> None:
            self.left = 64 * 1024 * 1024
            self.largest = 0

        def read(self, size: int) -> bytes:
            self.largest = max(self.largest, size)
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

        def readline(self) -> bytes:
            raise NotImplementedError

        readlines = __iter__ = readline

    source = Source()
    answer = post(b"", "", CONTENT_LENGTH=str(source.left), **{"wsgi.input": source})
    assert f": {64 * 1024 * 1024} bytes" in answer.text
    assert source.largest <= 64 * 1024


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", FORM),
        (b"no boundary at all", FORM),
        (b"--xyz", FORM),
        (b"--xyz\r\nX: 1\r\n\r\nbroken off", FORM),
        (b"--xyz\r\nX: 1\r\n\r\nbroken off\r\n--xyz", FORM),
        (b"--xyz\r\nX: 1", FORM),
        (b"--xyzzy\r\nX: 1\r\n\r\n\r\n--xyz--", FORM),
        (b"--xyz\r\nX: " + b"1" * 9000 + b"\r\n\r\n\r\n--xyz--", FORM),
        (part("X: 1", b"") * 101 + b"--xyz--", FORM),
        (part("X: 1", b"") + b"--xyz--", "multipart/form-data"),
        (part("X: 1", b"") + b"--xyz--", 'multipart/form-data; boundary=""'),
    ],
)
def test_upload_refuses_a_malformed_form(content: bytes, content_type: str) -> None:
    answer = post(content, content_type)
    assert answer.status == "400 Bad Request"
    assert answer.text.endswith(".\n")


def test_upload_takes_as_many_parts_as_it_says() -> None:
    assert post(part("X: 1", b"") * 100 + b"--xyz--", FORM).text == line("", b"") * 100


def test_upload_refuses_content_that_ends_early() -> None:
    assert post(b"half", "", CONTENT_LENGTH="8").status == "400 Bad Request"


def test_upload_leaves_no_control_character_in_a_name() -> None:
    answer = post(part(FILE.format("a\tb\x1b[2J"), b"") + b"--xyz--", FORM)
    assert answer.text == line("a\tb\x1b[2J", b"")
    assert "\x1b" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_upload_says_which_methods_it_takes() -> None:
    answer = call(load("upload").application, REQUEST_METHOD="DELETE")
    assert answer.status == "405 Method Not Allowed"
    assert answer.headers["Allow"] == "GET, HEAD, POST"


# stream.py


@pytest.mark.parametrize(
    ("query", "pieces"),
    [
        ("pause=0", 10),
        ("pause=0&pieces=3", 3),
        ("pause=-1&pieces=0", 1),
        ("pause=nan&pieces=2", 2),
        ("pause=0&pieces=1000000000", 60),
    ],
)
def test_stream_gives_a_bounded_number_of_pieces(query: str, pieces: int) -> None:
    answer = call(load("stream").application, query=query)
    assert len(answer.pieces) == pieces
    assert answer.pieces[-1].endswith(b"piece %d of %d\n" % (pieces, pieces))


def test_stream_pauses_a_second_unless_asked_for_less() -> None:
    asked = load("stream").asked
    assert asked("") == (10, 1.0)
    assert asked("pieces=3&pause=inf") == (3, 1.0)
    assert asked("pieces=3&pause=0.25") == (3, 0.25)


@pytest.mark.parametrize("query", ["pieces=many", "pieces=1.5", "pause=long", "pieces=" + "9" * 5000])
def test_stream_refuses_what_is_no_number(query: str) -> None:
    assert call(load("stream").application, query=query).status == "400 Bad Request"


def test_stream_ends_when_it_is_closed() -> None:
    environ: dict[str, object] = {"QUERY_STRING": "pause=0"}
    setup_testing_defaults(environ)
    stream = load("stream").application(environ, lambda status, headers: None)
    assert b"piece 1 of 10" in next(stream)
    stream.close()
    assert list(stream) == []


# environ.py


def test_environ_is_sorted_and_masks_secrets() -> None:
    answer = call(
        load("environ").application,
        "/Zo\xc3\xab",
        HTTP_COOKIE="session=secret",
        HTTP_AUTHORIZATION="Basic secret",
        HTTP_PROXY_AUTHORIZATION="Basic secret",
        HTTP_ACCEPT="text/*",
    )
    names = [row.split(" = ")[0] for row in answer.text.splitlines()]
    assert names == sorted(names)
    assert "HTTP_COOKIE = (masked)\n" in answer.text
    assert "HTTP_ACCEPT = 'text/*'\n" in answer.text
    assert "PATH_INFO = '/ZoÃ«'\n" in answer.text
    assert "secret" not in answer.text


def test_environ_shows_no_variable_of_the_process() -> None:
    assert "PRIVATE" not in call(load("environ").application, PRIVATE_KEY="of the server's own").text


# framework.py


def test_framework_is_importable_by_name_from_the_root() -> None:
    module = importlib.import_module("apps.framework")
    assert module.application is module.app


@pytest.fixture
def site(tmp_path: Path) -> WSGIApplication:
    """An application over a folder with things that must and must not be found."""
    folder = tmp_path / "static"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "index.html").write_bytes(b"index")
    (folder / "sub" / "picture.png").write_bytes(b"\x89PNG\r\n")
    (folder / "grüße.txt").write_bytes(b"hello")
    (folder / "unknown").write_bytes(b"?")
    (folder / "pages.tar.gz").write_bytes(b"packed")
    for secret in (tmp_path / "secret", folder / ".env", folder / ".git" / "config"):
        secret.write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "static-sibling").mkdir()
    (tmp_path / "static-sibling" / "secret").write_bytes(b"secret")
    module = load("framework")
    application: WSGIApplication = module.Application(
        [
            ("/hello", lambda environ: module.Response("Grüße")),
            ("/bytes", lambda environ: module.Response(b"\x00", media_type="application/octet-stream")),
            ("/世界", lambda environ: module.Response("", "302 Found", headers=(("Location", "/hello"),))),
        ],
        folder,
    )
    return application


def test_framework_gives_a_path_to_its_view(site: WSGIApplication) -> None:
    assert call(site, "/hello").text == "Grüße"
    assert call(site, "/hello").headers["Content-Type"] == "text/html; charset=utf-8"
    assert call(site, "/bytes").body == b"\x00"
    redirect = call(site, latin1("/世界"))
    assert (redirect.status, redirect.headers["Location"]) == ("302 Found", "/hello")


@pytest.mark.parametrize("path", ["/nothing", "/hello/", "/Hello", "/static", "/index.html", "/\xff"])
def test_framework_answers_404_for_the_rest(site: WSGIApplication, path: str) -> None:
    assert call(site, path).status == "404 Not Found"


@pytest.mark.parametrize(
    ("path", "body", "media_type"),
    [
        ("/", b"index", "text/html; charset=utf-8"),
        ("", b"index", "text/html; charset=utf-8"),
        ("/static/index.html", b"index", "text/html; charset=utf-8"),
        ("/static/sub/picture.png", b"\x89PNG\r\n", "image/png"),
        ("/static/grüße.txt", b"hello", "text/plain; charset=utf-8"),
        ("/static/unknown", b"?", "application/octet-stream"),
        ("/static/pages.tar.gz", b"packed", "application/octet-stream"),
    ],
)
def test_framework_answers_files(site: WSGIApplication, path: str, body: bytes, media_type: str) -> None:
    answer = call(site, latin1(path))
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == ("200 OK", body, media_type)


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "sub/../../secret",
        "./index.html",
        "..",
        "../static-sibling/secret",
        "/etc/passwd",
        "//etc/passwd",
        "sub//../../secret",
        "..\\secret",
        ".env",
        ".git/config",
        "sub/../.env",
        "link",
        "sub",
        "sub/",
        "",
        "index.html\x00",
        "index.html/",
        "a" * 5000,
        "%2e%2e/secret",
    ],
)
def test_framework_finds_nothing_hidden_or_outside_its_folder(site: WSGIApplication, name: str) -> None:
    answer = call(site, "/static/" + name)
    assert answer.status == "404 Not Found"
    assert b"secret" not in answer.body


def test_framework_lets_nobody_write_to_a_file(site: WSGIApplication) -> None:
    answer = call(site, "/static/index.html", REQUEST_METHOD="POST")
    assert (answer.status, answer.headers["Allow"]) == ("405 Method Not Allowed", "GET, HEAD")


def test_framework_demo_works_where_it_is_mounted() -> None:
    app = load("framework").app
    assert 'href="/framework.py/static/style.css"' in call(app, "/", SCRIPT_NAME="/framework.py").text
    assert "&lt;b&gt;" in call(app, "/hello", "name=%3Cb%3E").text
    assert call(app, "/static/img/request.png").body == (HTML / "img" / "request.png").read_bytes()


# The pages


class Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts_inside = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.found += [attributes[key] or "" for key in ("href", "src") if key in attributes]
        inline = tag == "style" or (tag == "script" and "src" not in attributes)
        self.scripts_inside += inline or any(key == "style" or key.startswith("on") for key in attributes)


PAGES = sorted(HTML.glob("*.html"))


def target(link: str) -> Path:
    """The file a link of a page leads to, on a site made of html/ and apps/."""
    path = unquote(urlsplit(link).path).removeprefix("/").removeprefix("./") or "index.html"
    return (APPS if path.endswith(".py") else HTML) / path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name.encode("ascii", "replace")))
def test_every_link_leads_to_a_file_of_this_site(page: Path) -> None:
    links = Links(page.read_text("utf-8"))
    missing = [link for link in links.found if not target(link).is_file()]
    assert missing == (["/no-such-page.html"] if page.name == "index.html" else [])
    assert links.scripts_inside == 0  # a strict Content-Security-Policy fits


def test_the_index_links_to_every_script() -> None:
    links = Links((HTML / "index.html").read_text("utf-8")).found
    assert {target(link).name for link in links if link.partition("?")[0].endswith(".py")} == set(SCRIPTS)


def test_the_404_page_works_at_any_depth() -> None:
    assert all(link.startswith("/") for link in Links((HTML / "404.html").read_text("utf-8")).found)


def test_the_picture_is_a_small_png() -> None:
    picture = (HTML / "img" / "request.png").read_bytes()
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) < 60 * 1024
