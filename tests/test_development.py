"""``--reload``: a whole server, and files that are edited while it runs."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import monotonic

import pytest

from tests.authority import Authority
from tests.crowd import Crowd, CrowdedServer
from tests.secure_client import SecurePeer
from tests.server import PATIENCE, RunningServer
from tests.test_reload import PROMPT, until, until_true, write
from tests.thread_server import Peer, get

# Code whose import never ends, and says so first.
STUCK = "import os\nos.write(1, b'stuck\\n')\nwhile True: pass\n"

Answer = tuple[int, str]  # the status and the content


@contextmanager
def developing(
    folder: Path, *arguments: str, kind: type[RunningServer] = RunningServer
) -> Iterator[RunningServer]:
    """Run a server in ``folder`` that watches it already."""
    with kind("--reload", *arguments, cwd=folder) as server:
        server.until(rf"watching .*{re.escape(str(folder))}")
        yield server


def ask(server: RunningServer, path: str = "/", *lines: str) -> Answer:
    with Peer(("127.0.0.1", server.port)) as peer:
        peer.send(get(path, *lines))
        answer = peer.answer()
        return answer.status, answer.content.decode()


def until_it_is(ask: Callable[[], Answer], expected: Callable[[Answer], bool]) -> Answer:
    """Ask until the answer is as ``expected``: the worker before it may accept somebody until it has closed."""
    end = monotonic() + PATIENCE
    answer = None
    while monotonic() < end:
        with suppress(ConnectionError):  # it has closed before the request came
            answer = ask()
            if expected(answer):
                return answer
    raise AssertionError(answer)


def until_it_says(server: RunningServer, said: str, path: str = "/") -> None:
    until_it_is(lambda: ask(server, path), lambda answer: answer[1].startswith(said))


async def test_code_that_is_edited_takes_over_and_no_request_fails_meanwhile(tmp_path: Path) -> None:
    write(tmp_path, "first")
    with developing(tmp_path, "app:application", "--workers", "2", kind=CrowdedServer) as server:
        async with Crowd(server.port, steady=4, hasty=2).asking() as crowd:
            await crowd.more()
            for number in range(1, 4):
                write(tmp_path, f"edit{number}")
                await until(server, r"\breloaded$", number)
            await crowd.more()
        assert crowd.failures == []
        assert crowd.slowest < 2 * PROMPT
        until_it_says(server, "edit3")
        assert "app.py has changed" in server.log()


def test_many_changes_at_once_are_one_reload(tmp_path: Path) -> None:
    write(tmp_path)
    with developing(tmp_path, "app:application") as server:
        package = tmp_path / "package"
        package.mkdir()
        for number in range(500):
            (package / f"module{number}.py").write_text("")
        write(tmp_path, "second")
        until_it_says(server, "second")
        # Those that come at once are one, and a machine that is slow to write them makes it a few.
        assert len(re.findall(" changed$", server.log(), re.MULTILINE)) < 10


def test_settings_are_code_and_a_mistake_in_them_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    settings = tmp_path / "aiowsgi.toml"
    settings.write_text("max_fields = 1\n")
    with developing(tmp_path, "app:application") as server:
        assert ask(server, "/", "X: 1")[0] == 431
        settings.write_text("max_fields = none\n")
        server.until("no reload: aiowsgi.toml: expected a TOML file")
        settings.write_text("max_fields = 2\n")
        until_it_is(lambda: ask(server, "/", "X: 1"), lambda answer: answer[0] == 200)


def test_a_worker_that_never_ends_its_import_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path)
    with developing(tmp_path, "app:application") as server:
        (tmp_path / "app.py").write_text(STUCK)
        server.until("^stuck$")
        assert ask(server)[1].startswith("first")
        write(tmp_path, "second")
        until_it_says(server, "second")


def test_without_watchfiles_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['watchfiles'] = None; from aiowsgi.cli import main; sys.exit(main())"
    write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "app:application", "--reload"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "aiowsgi: --reload: expected watchfiles to be installed: pip install 'aiowsgi[reload]'\n"
    )


BROWSER = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
BROKEN = "def application(environ, start_response):\n    return [\n\nimport no_such_module\n"


def test_a_mistake_is_shown_until_it_is_mended(tmp_path: Path) -> None:
    write(tmp_path)
    with developing(tmp_path, "app:application") as server:
        (tmp_path / "app.py").write_text("import shop\n\n" + BROKEN.replace("[", "[]"))
        (tmp_path / "shop.py").write_text("")
        server.until("^ModuleNotFoundError: No module named 'no_such_module'$")
        text = until_it_is(lambda: ask(server, "/any/path"), lambda answer: answer[0] == 500)[1]
        assert text.startswith("Traceback (most recent call last):\n")
        assert "ModuleNotFoundError: No module named 'no_such_module'" in text
        page = until_it_is(lambda: ask(server, "/", BROWSER), lambda answer: answer[0] == 500)[1]
        assert "<h1>ModuleNotFoundError: No module named &#x27;no_such_module&#x27;</h1>" in page
        assert "<p><code>app.py</code>, line 6</p>" in page
        write(tmp_path, "mended")
        until_it_says(server, "mended")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BROKEN, "SyntaxError: '[' was never closed"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("application = None", "'app:application' is None, not a callable"),
        ("", "module 'app' has no 'application'"),
    ],
)
def test_a_mistake_at_the_first_start_is_one_as_any_other(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "app.py").write_text(text)
    with developing(tmp_path, "app:application", "--workers", "2", "--ready-check", "/") as server:
        status, said = ask(server)
        assert status == 500
        assert told in said
        write(tmp_path, "mended")
        until_it_says(server, "mended")


def test_a_mistake_in_one_application_leaves_all_else_as_it_is(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "other.py").write_text("1 / 0")
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text("a file")
    options = ("--mount", "/other=other:app", "--static", "/public=public")
    with developing(tmp_path, "app:application", *options) as server:
        assert ask(server, "/")[0] == 200
        assert ask(server, "/public/a.txt") == (200, "a file")
        assert "ZeroDivisionError" in ask(server, "/other/")[1]


def test_whoever_wants_no_tracebacks_shown_has_none(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1 / 0")
    with developing(tmp_path, "app:application", "--no-debug") as server:
        status, page = ask(server, "/", BROWSER)
        assert (status, "ZeroDivisionError" in page) == (500, False)


def test_without_reload_a_mistake_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1 / 0")
    with (
        pytest.raises(AssertionError, match="ZeroDivisionError"),
        RunningServer("app:application", cwd=tmp_path),
    ):
        pass


def test_a_script_that_fails_is_shown_and_mended_too(tmp_path: Path) -> None:
    for name in ("html", "apps"):
        (tmp_path / name).mkdir()
    script = tmp_path / "apps" / "a.py"
    script.write_text("1 / 0")
    with developing(tmp_path) as server:
        assert "ZeroDivisionError" in ask(server, "/a.py")[1]
        script.write_text(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'mended']\n"
        )
        until_it_says(server, "mended", "/a.py")


def test_a_server_that_others_can_reach_warns_of_what_it_shows(tmp_path: Path) -> None:
    write(tmp_path)
    with RunningServer("app:application", "--reload", "--bind", "0.0.0.0:0", cwd=tmp_path) as server:
        server.until(r"whoever can reach http://0\.0\.0\.0:\d+ is shown tracebacks")
    with RunningServer("app:application", "--reload", cwd=tmp_path) as server:
        server.until("watching")
        assert "is shown tracebacks" not in server.log()


# Open pages.


@contextmanager
def listening(server: RunningServer) -> Iterator[Peer]:
    """Wait for events, as a page does."""
    with Peer(("127.0.0.1", server.port)) as peer:
        peer.send(get("/.aiowsgi/reload", "Accept: text/event-stream"))
        assert b"Content-Type: text/event-stream\r\n" in peer.until(b"\r\n\r\n")
        yield peer


def generation_in(peer: Peer) -> int:
    peer.until(b"data: ")
    return int(peer.until(b"\n\n"))


PAGE = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html"), ("ETag", '"1"')])
    return [b"<title>{title}</title>{more}"]
"""


def write_page(folder: Path, title: str, more: str = "") -> None:
    (folder / "app.py").write_text(PAGE.format(title=title, more=more))


def test_open_pages_are_told_of_code_by_the_worker_that_has_it(tmp_path: Path) -> None:
    write_page(tmp_path, "first")
    with developing(tmp_path, "app:application") as server:
        with listening(server) as peer:
            before = generation_in(peer)
            assert f"reload.js?{before}" in ask(server, "/", BROWSER)[1]
            write_page(tmp_path, "second")
            peer.until(b"0\r\n\r\n")  # the worker ends
            assert peer.rest() == b""
        server.until(r"\breloaded$")
        page = until_it_is(lambda: ask(server, "/", BROWSER), lambda answer: "second" in answer[1])[1]
        with listening(server) as peer:
            assert generation_in(peer) > before
            assert f"reload.js?{before}" not in page


def test_open_pages_are_told_of_other_files_and_nothing_is_started_anew(tmp_path: Path) -> None:
    write_page(tmp_path, "first")
    with developing(tmp_path, "app:application") as server, listening(server) as peer:
        before = generation_in(peer)
        (tmp_path / "style.css").write_text("")
        assert generation_in(peer) > before
        server.until(r"style\.css has changed$")
        assert "reloading" not in server.log()


def test_what_is_included_is_code(tmp_path: Path) -> None:
    write_page(tmp_path, "first")
    with developing(tmp_path, "app:application", "--reload-include", "*.html") as server:
        (tmp_path / "page.html").write_text("")
        server.until(r"\breloaded$")


def test_who_waits_for_events_is_kept_and_holds_no_thread_nor_the_end_of_the_server(tmp_path: Path) -> None:
    write_page(tmp_path, "first")
    names = ("transfer", "keep-alive", "request", "queue", "head")
    timeouts = [text for name in names for text in (f"--{name}-timeout", "0.2")]
    with developing(tmp_path, "app:application", "--threads", "1", *timeouts) as server, ExitStack() as stack:
        peers = [stack.enter_context(listening(server)) for _ in range(5)]
        before = [generation_in(peer) for peer in peers]
        assert ask(server, "/", BROWSER)[0] == 200
        with Peer(("127.0.0.1", server.port)) as idle:
            assert idle.rest() == b""  # as long as it takes: a deadline has passed, and been looked at
        (tmp_path / "style.css").write_text("")
        assert all(generation_in(peer) > then for peer, then in zip(peers, before, strict=True))
        os.kill(server.pid, signal.SIGTERM)
        for peer in peers:
            peer.until(b"0\r\n\r\n")
            assert peer.rest() == b""
            peer.socket.close()  # as a browser does; who does not is waited for a while


def test_html_and_scripts_end_with_the_tag_and_are_never_answered_by_304(tmp_path: Path) -> None:
    for name in ("html", "apps"):
        (tmp_path / name).mkdir()
    (tmp_path / "html" / "index.html").write_text("<p>file")
    (tmp_path / "html" / "large.html").write_text("<p>" + "x" * 100_000)
    (tmp_path / "html" / "a.css").write_text("p {}")
    (tmp_path / "apps" / "page.py").write_text(PAGE.format(title="script", more=""))
    (tmp_path / "apps" / "wrong.py").write_text("1 / 0")
    unchanged = "If-None-Match: *"
    with developing(tmp_path) as server:
        for path, status in (
            ("/", 200),
            ("/large.html", 200),
            ("/page.py", 200),
            ("/wrong.py", 500),
            ("/none", 404),
        ):
            for _ in range(2):  # files: from the disk, and from memory
                answer = ask(server, path, BROWSER, unchanged)
                assert (answer[0], "/.aiowsgi/reload.js?" in answer[1]) == (status, True), path
            assert "/.aiowsgi/" not in ask(server, path)[1]
        assert ask(server, "/a.css", "Accept: text/css", unchanged)[0] == 304
        assert ask(server, "/.aiowsgi/reload.js")[0] == 200


def test_without_reload_nothing_is_added_to_anything(tmp_path: Path) -> None:
    write_page(tmp_path, "first")
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.html").write_text("<p>file")
    with RunningServer("app:application", "--static", "/public=public", "--debug", cwd=tmp_path) as server:
        assert ask(server, "/", BROWSER) == (200, "<title>first</title>")
        assert ask(server, "/public/a.html", BROWSER) == (200, "<p>file")
        assert ask(server, "/.aiowsgi/reload.js") == (200, "<title>first</title>")  # the application's
        with Peer(("127.0.0.1", server.port)) as peer:
            peer.send(get("/", BROWSER))
            assert peer.answer().fields["etag"] == '"1"'


# The lines for requests.


def test_a_line_tells_where_the_time_of_a_request_has_gone(tmp_path: Path) -> None:
    write(tmp_path, slow=0.5)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "a.txt").write_text("a file")
    options = ("--threads", "1", "--static", "/public=public")
    with developing(tmp_path, "app:application", *options) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(("127.0.0.1", server.port))) for _ in range(2)]
        peers[0].send(get("/slow?1"))
        server.until("^entered$")
        peers[1].send(get("/slow?2"))
        assert [peer.answer().status for peer in peers] == [200, 200]
        line = r"^\d\d:\d\d:\d\d GET  /slow\?%d +200  queue +(\S+) ms  app +(\S+) ms  total +(\S+) ms$"
        first, second = (list(map(float, server.until(line % number).groups())) for number in (1, 2))
        assert first[0] < first[1]
        assert min(second) >= 100  # the second has waited for most of what the first one took
        for queue, application, total in (first, second):
            assert application >= 500
            assert queue + application <= total + 0.2
        assert ask(server, "/public/a.txt")[0] == 200
        server.until(r"^\S+ GET  /public/a\.txt +200 +total +\S+ ms$")
        assert ask(server, "/.aiowsgi/reload.js")[0] == 200
        assert ask(server, "/last")[0] == 200
        server.until("GET  /last ")
        assert "GET  /.aiowsgi" not in server.log()
        assert "\x1b" not in server.log()


def test_a_log_in_a_file_has_its_common_form(tmp_path: Path) -> None:
    write(tmp_path)
    with developing(tmp_path, "app:application", "--access-log", "log") as server:
        assert ask(server, "/?a")[0] == 200
        assert server.stop() == 0
    assert '"GET /?a HTTP/1.1" 200 ' in (tmp_path / "log").read_text()


# Together with others.


def test_it_works_by_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "keys")
    pair = authority.issue("localhost", "localhost")
    write_page(tmp_path, "first")
    files = ("--certificate", str(pair.certificate), "--key", str(pair.key))
    with developing(tmp_path, "app:application", "--bind", "tls:127.0.0.1:0", *files) as server:

        def connect() -> SecurePeer:
            return SecurePeer(("127.0.0.1", server.port), authority.trusted())

        with connect() as peer:
            peer.send(get("/.aiowsgi/reload"))
            before = generation_in(peer)
            (tmp_path / "style.css").write_text("")
            after = generation_in(peer)
            assert after > before
            write_page(tmp_path, "second")
            peer.until(b"0\r\n\r\n")
            assert peer.rest() == b""

        def page() -> Answer:
            with connect() as peer:
                peer.send(get("/", BROWSER))
                answer = peer.answer()
                return answer.status, answer.content.decode()

        assert "/.aiowsgi/reload.js?" in until_it_is(page, lambda answer: "second" in answer[1])[1]


def test_it_works_where_all_is_preloaded(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1 / 0")
    with developing(tmp_path, "app:application", "--preload", "--workers", "2") as server:
        assert "ZeroDivisionError" in ask(server)[1]
        write(tmp_path, "mended")
        until_it_says(server, "mended")
        write_page(tmp_path, "page")

        def is_edited() -> bool:
            page = ask(server, "/", BROWSER)[1]
            with listening(server) as peer:
                return "page" in page and f"reload.js?{generation_in(peer)}" in page

        until_true(is_edited)


def test_a_first_start_that_never_ends_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(STUCK)
    server = RunningServer("app:application", "--reload", cwd=tmp_path)

    def mend() -> None:
        server.until("watching ")
        server.until("^stuck$")
        write(tmp_path, "mended")

    mending = Thread(target=mend)
    mending.start()
    with server:
        mending.join()
        until_it_says(server, "mended")
