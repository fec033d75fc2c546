"""Unmodified frameworks: a small application of each, served as a user would and driven by a real client."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from aiowsgi.config import Limits
from tests.frameworks.bodies import LARGE
from tests.server import RunningServer

FLASK = "tests.frameworks.flask_app:app"
DJANGO = "tests.frameworks.django_app:application"
PYRAMID = "tests.frameworks.pyramid_app:main({})"
BOTTLE = "tests.frameworks.bottle_app:app"
FALCON = "tests.frameworks.falcon_app:app"
VALIDATED = "tests.frameworks.validated_app"

# How each tells of an exception: two log it through logging, two on wsgi.errors, Pyramid leaves it to the server.
# Django does not say the method, Bottle nothing but the traceback.
TOLD = {
    FLASK: r"ERROR .*: Exception on /error \[GET\]",
    DJANGO: r"ERROR .*: Internal Server Error: /error",
    PYRAMID: r"ERROR aiowsgi\.application: GET /error: RuntimeError",
    BOTTLE: r"^Traceback",
    FALCON: r"\[FALCON\] \[ERROR\] GET /error",
}

# Every framework, and two of them on the other event loop and with the other parser.
RUNS = {
    "flask": [FLASK],
    "django": [DJANGO],
    "pyramid": [PYRAMID],
    "bottle": [BOTTLE],
    "falcon": [FALCON],
    "flask-asyncio": [FLASK, "--loop", "asyncio"],
    "django-h11": [DJANGO, "--parser", "h11"],
}


@dataclass
class Site:
    server: RunningServer
    application: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder to serve from, with static files."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "static").mkdir()
    (folder / "static" / "style.css").write_text("body { color: teal }\n")
    (folder / "static" / "large.bin").write_bytes(LARGE)
    return folder


@pytest.fixture(scope="module", params=RUNS.values(), ids=[*RUNS])
def site(request: pytest.FixtureRequest, folder: Path) -> Iterator[Site]:
    """A server with the application at / and below /prefix, and files below /static."""
    application, *options = request.param
    mounts = ["--mount", f"/prefix={application}", "--static", "/static=static"]
    with RunningServer(
        application, *mounts, *options, cwd=folder, PYTHONWARNINGS="always::ResourceWarning"
    ) as server:
        yield Site(server, application)
    # Every file that was given to the server to be sent has been closed.
    assert re.search(r"ResourceWarning: .*large\.bin", server.log()) is None


def connect(server: RunningServer) -> httpx.Client:
    # Without verification no certificates are loaded, which would take longer than a test.
    return httpx.Client(base_url=server.url, timeout=30, trust_env=False, verify=False)


@pytest.fixture
def client(site: Site) -> Iterator[httpx.Client]:
    with connect(site.server) as client:
        yield client


at_root_and_below_a_prefix = pytest.mark.parametrize("prefix", ["", "/prefix"])


def connection_of(response: httpx.Response) -> object:
    """Return what tells one connection from another: the client's address and port."""
    return response.extensions["network_stream"].get_extra_info("client_addr")


@at_root_and_below_a_prefix
def test_request_is_what_the_client_sent(site: Site, client: httpx.Client, prefix: str) -> None:
    assert client.get(f"{prefix}/request", params={"q": "a b&c"}).json() == {
        "method": "GET",
        "address": "127.0.0.1",
        "host": f"127.0.0.1:{site.server.port}",
        "url": f"{site.server.url}{prefix}/request?q=a+b%26c",
        "script_name": prefix,
        "path": "/request",
        "q": "a b&c",
    }


def test_host_field_names_the_host_and_the_port(client: httpx.Client) -> None:
    facts = client.get("/request", headers={"Host": "shop.example:8080"}).json()
    assert facts["host"] == "shop.example:8080"
    assert facts["url"] == "http://shop.example:8080/request"


@at_root_and_below_a_prefix
@pytest.mark.parametrize("name", ["you", "Zoë", "日本語", "two words", "50%", "a+b"])
def test_path_may_hold_any_character(client: httpx.Client, prefix: str, name: str) -> None:
    assert client.get(f"{prefix}/hello/{name.replace('%', '%25')}").text == f"hello, {name}"


def test_query_may_hold_any_character(client: httpx.Client) -> None:
    assert client.get("/request", params={"q": "日本語 & Zoë"}).json()["q"] == "日本語 & Zoë"


@at_root_and_below_a_prefix
def test_form_is_read_with_its_repeated_fields(client: httpx.Client, prefix: str) -> None:
    form = {"name": "Zoë & co", "colour": ["red", "green"]}
    answer = client.post(f"{prefix}/form", data=form)
    assert answer.json() == {"name": "Zoë & co", "colours": ["red", "green"]}


def test_form_may_come_in_chunks_without_its_length(client: httpx.Client) -> None:
    answer = client.post(
        "/form",
        content=iter([b"name=Zo%C3", b"%AB&colour=red&", b"colour=green"]),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.json() == {"name": "Zoë", "colours": ["red", "green"]}


# Behind the second one the server goes on in a temporary file.
@pytest.mark.parametrize("size", [0, 512, 4 * Limits().content_memory])
def test_upload_arrives_byte_for_byte(client: httpx.Client, size: int) -> None:
    content = (bytes(range(256)) + b"\r\n--\r\n\r\n") * (size // 256)
    answer = client.post("/upload", data={"title": "Größe"}, files={"file": ("data.bin", content)})
    assert answer.json() == {
        "title": "Größe",
        "name": "data.bin",
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@at_root_and_below_a_prefix
def test_cookies_are_set_and_come_back(client: httpx.Client, prefix: str) -> None:
    assert client.get(f"{prefix}/cookies").json() == {}
    fields = client.get(f"{prefix}/cookies/set").headers.get_list("Set-Cookie")
    assert len(fields) == 2
    assert "httponly" in fields[1].lower()
    assert client.get(f"{prefix}/cookies").json() == {"taste": "sweet", "size": "large"}


@at_root_and_below_a_prefix
def test_redirect_leads_to_a_page_of_the_same_mount(client: httpx.Client, prefix: str) -> None:
    answer = client.get(f"{prefix}/redirect", follow_redirects=True)
    assert [step.status_code for step in answer.history] == [302]
    assert answer.url.path == f"{prefix}/hello/you"
    assert answer.text == "hello, you"


@at_root_and_below_a_prefix
def test_built_urls_lead_to_their_pages(site: Site, client: httpx.Client, prefix: str) -> None:
    links = client.get(f"{prefix}/links").json()
    assert links == {
        "path": f"{prefix}/hello/Zo%C3%AB",
        "url": f"{site.server.url}{prefix}/hello/you",
    }
    assert client.get(links["path"]).text == "hello, Zoë"


def test_pieces_of_a_stream_arrive_one_by_one(client: httpx.Client) -> None:
    with client.stream("GET", "/stream") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first\n"
        # The application waits for this before it gives the second.
        assert client.post("/release").status_code == 200
        assert b"".join(pieces) == b"second\n"


def test_stream_is_closed_when_its_client_leaves(client: httpx.Client) -> None:
    with client.stream("GET", "/endless") as answer:
        assert next(answer.iter_raw()) == b"first\n"
    client.post("/release")
    assert client.get("/left").json() == {"left": True}


def test_exception_is_logged_and_the_connection_used_again(site: Site, client: httpx.Client) -> None:
    failed = client.get("/error")
    assert failed.status_code == 500
    assert "broken on purpose" not in failed.text
    site.server.until(TOLD[site.application])
    site.server.until(r"Traceback .*\n(?:.*\n)*RuntimeError: broken on purpose$")
    after = client.get("/hello/you")
    assert after.text == "hello, you"
    assert connection_of(after) == connection_of(failed)


def test_stream_that_breaks_is_cut_and_logged(site: Site, client: httpx.Client) -> None:
    with client.stream("GET", "/break") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first\n"
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)
    site.server.until(r"ERROR aiowsgi\.application: GET /break: RuntimeError.*\nTraceback")
    assert client.get("/hello/you").text == "hello, you"


@pytest.mark.parametrize("path", ["/hello/you", "/large", "/download"])
def test_head_is_the_head_of_get_and_nothing_else(client: httpx.Client, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert head.status_code == whole.status_code == 200
    assert head.headers["Content-Length"] == str(len(whole.content))
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]
    assert head.content == b""
    after = client.get("/hello/you")
    assert after.text == "hello, you"
    assert connection_of(after) == connection_of(head)


# The download is a file that the framework sends, by wsgi.file_wrapper where it knows that.
@pytest.mark.parametrize("path", ["/large", "/download", "/prefix/download", "/static/large.bin"])
def test_large_answer_arrives_whole(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["Content-Length"] == str(len(LARGE))
    assert answer.content == LARGE


def test_unknown_page_is_the_application_s_own_404(client: httpx.Client) -> None:
    assert client.get("/nowhere").status_code == 404


def test_static_files_are_served_beside_the_application(client: httpx.Client) -> None:
    style = client.get("/static/style.css")
    assert style.text == "body { color: teal }\n"
    assert style.headers["Content-Type"] == "text/css; charset=utf-8"
    etag = {"If-None-Match": style.headers["ETag"]}
    assert client.get("/static/style.css", headers=etag).status_code == 304
    assert client.get("/static/nothing.css").status_code == 404


def test_two_frameworks_share_one_server(folder: Path) -> None:
    with (
        RunningServer(FLASK, "--mount", f"/api={FALCON}", cwd=folder) as server,
        connect(server) as client,
    ):
        assert client.get("/hello/you").text == client.get("/api/hello/you").text == "hello, you"
        assert client.get("/links").json()["path"] == "/hello/Zo%C3%AB"
        assert client.get("/api/links").json()["path"] == "/api/hello/Zo%C3%AB"
        assert client.get("/api/request").json()["script_name"] == "/api"
        assert client.get("/apiary").status_code == 404
        assert client.get("/error").status_code == client.get("/api/error").status_code == 500
        server.until(TOLD[FLASK])
        server.until(TOLD[FALCON])


@pytest.fixture(scope="module")
def validated() -> Iterator[RunningServer]:
    """A server of which wsgiref's validator sees every call."""
    mounts = [f"--mount=/{name}={VALIDATED}:{name}_app" for name in ("written", "empty")]
    with RunningServer(f"{VALIDATED}:echo_app", "--mount", f"/ü={VALIDATED}:echo_app", *mounts) as server:
        yield server
    # What it has to complain about: an exception, a warning, a line about an iterator that was never closed.
    assert re.search(r"AssertionError|WSGIWarning|without being closed| ERROR ", server.log()) is None
    assert "errors are heard" in server.log()


def test_validator_finds_nothing_in_requests_without_content(validated: RunningServer) -> None:
    with connect(validated) as client:
        assert client.get("/a/b?q=1").text == " /a/b"
        assert client.get("/%C3%BC/a").text == "/ü /a"
        assert client.get("/ü").text == "/ü "
        assert client.head("/a").status_code == 200
        assert client.options("/a").status_code == 200
        assert client.delete("/a").status_code == 200


def test_validator_finds_nothing_in_requests_with_content(validated: RunningServer) -> None:
    lines = b"one\ntwo\nthree\n" * 1000
    with connect(validated) as client:
        assert client.post("/a", content=lines).content == lines + b" /a"
        assert client.put("/a", content=iter([lines, lines])).content == lines * 2 + b" /a"
        assert client.post("/a", content=b"").content == b" /a"
        large = lines * 50
        assert len(large) > Limits().content_memory
        assert client.post("/a", content=large).content == large + b" /a"


def test_validator_finds_nothing_in_other_answers(validated: RunningServer) -> None:
    with connect(validated) as client:
        assert client.get("/written").text == "written, then returned"
        assert client.get("/empty").status_code == 204
        assert client.get("/empty/").content == b""
