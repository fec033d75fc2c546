"""A folder of scripts: which file a path runs, what is not there for the web, and that edits live at once."""

import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from types import ModuleType
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from aiowsgi.http.messages import HTTPError, Request
from aiowsgi.site import scripts as scripts_module
from aiowsgi.site.applications import ApplicationError
from aiowsgi.site.router import Answer, Lookup
from aiowsgi.site.scripts import Script, Scripts
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.environ import server_environ
from aiowsgi.wsgi.pool import Pool
from tests.calls import PlainErrors
from tests.turned_loop import Receiver

_moments = itertools.count(1_600_000_000)


def saying(text: str) -> str:
    return f"""
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [{text.encode()!r}]
"""


NAMES = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [(environ["SCRIPT_NAME"] + "|" + environ["PATH_INFO"]).encode("latin-1")]
"""


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    path, modules = sys.path[:], set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith(("aiowsgi_script_", "helper_")):
            del sys.modules[name]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "apps"
    folder.mkdir()
    return folder


@pytest.fixture
def scripts(root: Path) -> Scripts:
    return Scripts(str(root))


def write(path: Path, source: str | bytes) -> Path:
    """Write a script, at a moment of its own so that a change is one for the clock too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    moment = next(_moments)
    os.utime(path, (moment, moment))
    return path


def request_for(raw_path: str) -> Request:
    request = Request()
    request.strict = b""
    request.method, request.version = "GET", "HTTP/1.1"
    request.target = request.raw_path = raw_path
    request.path = unquote_to_bytes(raw_path).decode("latin-1")
    request.query = ""
    request.fields = {"HTTP_HOST": "localhost"}
    request.keep_alive, request.content_length = True, 0
    return request


def handle(scripts: Scripts, raw_path: str, prefix: str = "") -> Call | Lookup | None:
    request = request_for(raw_path)
    assert request.path.startswith(prefix)
    return scripts.handle(request, prefix, request.path[len(prefix) :])


def get(scripts: Scripts, raw_path: str, prefix: str = "") -> bytes:
    """Go the way of a request, threads aside, and return the content of its answer."""
    found: Answer = handle(scripts, raw_path, prefix)
    if isinstance(found, Lookup):
        found.run()
        found = found.answer()
    assert isinstance(found, Call)
    outbox = Receiver(Pool(0, lambda release: None, lambda deliver: None)).outbox
    server = server_environ("localhost", "80", "http", False)
    found.accept(outbox, None, server, ("127.0.0.1", "1"), PlainErrors(False))
    found.run()
    answer = bytearray()
    while isinstance(piece := outbox.take(), bytes):
        answer += piece
    return bytes(answer.partition(b"\r\n\r\n")[2])


def status_of(scripts: Scripts, raw_path: str, prefix: str = "") -> int:
    with pytest.raises(HTTPError) as caught:
        get(scripts, raw_path, prefix)
    return caught.value.status


def call(script: Script) -> Any:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    return script(environ, lambda *head: lambda data: None)


# Which file a path runs.


@pytest.mark.parametrize(
    ("raw_path", "expected"),
    [
        ("/tools/hello.py", b"/tools/hello.py|"),
        ("/tools/hello.py/", b"/tools/hello.py|/"),
        ("/tools/hello.py/more/b.py", b"/tools/hello.py|/more/b.py"),
        ("/tools/hello.py/a%2Fb/..//_x/%00", b"/tools/hello.py|/a/b/..//_x/\0"),
        ("/%74ools/hello%2epy", b"/tools/hello.py|"),
        ("/tools/my-page.2.py", b"/tools/my-page.2.py|"),
        ("/gr%C3%BC%C3%9Fe.py/%C3%BC", "/grüße.py|/ü".encode()),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/cgi", "/a%2Fb".replace("%2F", "/")])
def test_the_first_py_segment_is_the_script_and_the_rest_path_info(
    scripts: Scripts, root: Path, raw_path: str, expected: bytes, prefix: str
) -> None:
    for name in ("tools/hello.py", "tools/my-page.2.py", "grüße.py"):
        write(root / name, NAMES)
    for _ in ("on first sight", "from then on"):
        assert get(scripts, prefix + raw_path, prefix) == prefix.encode() + expected


@pytest.mark.parametrize("raw_path", ["/", "", "/tools/", "/hello", "/a.pyc", "/a.pyx/b.python", "/a.PY"])
def test_a_path_without_a_script_is_declined(scripts: Scripts, raw_path: str) -> None:
    assert handle(scripts, raw_path) is None


@pytest.mark.parametrize(
    "raw_path",
    [
        "/_private.py",
        "/.hidden.py",
        "/.py",
        "/_folder/hello.py",
        "/.git/hello.py",
        "/__pycache__/hello.py",
        "/../hello.py",
        "/tools/../hello.py",
        "/%2e%2e/hello.py",
        "/./hello.py",
        "//hello.py",
        "/tools//hello.py",
        "/tools%2Fhello.py",
        "/tools%2fhello.py/more",
        "/tools%5Chello.py",
        "/tools\\hello.py",
        "/hello.py%00.py",
        "/%00.py",
    ],
)
def test_private_and_odd_names_do_not_exist_even_where_there_is_a_file(
    scripts: Scripts, root: Path, raw_path: str
) -> None:
    names = ("_private.py", ".hidden.py", ".py", "_folder/hello.py", ".git/hello.py", "__pycache__/hello.py")
    for name in ("hello.py", "../hello.py", "tools/hello.py", "tools\\hello.py", *names):
        write(root / name, saying("not for you"))
    assert get(scripts, "/tools/hello.py") == get(scripts, "/hello.py") == b"not for you"
    assert status_of(scripts, raw_path) == 404


def test_an_encoded_slash_in_a_mounts_prefix_is_refused(scripts: Scripts, root: Path) -> None:
    write(root / "hello.py", saying("hello"))
    assert get(scripts, "/a/b/hello.py", "/a/b") == b"hello"
    assert status_of(scripts, "/a%2Fb/hello.py", "/a/b") == 404


def test_a_path_that_does_not_begin_with_a_slash_is_refused(scripts: Scripts, root: Path) -> None:
    write(root / "hello.py", saying("hello"))
    assert status_of(scripts, "hello.py") == 404


def test_an_unknown_script_is_404_and_is_not_remembered(scripts: Scripts, root: Path) -> None:
    for number in range(10):
        assert status_of(scripts, f"/random-{number}.py") == 404
    assert isinstance(handle(scripts, "/random-1.py"), Lookup)
    write(root / "random-1.py", saying("here now"))
    assert get(scripts, "/random-1.py") == b"here now"


def test_only_regular_files_are_scripts(scripts: Scripts, root: Path) -> None:
    (root / "folder.py").mkdir()
    write(root / "folder.py" / "inner.py", saying("inner"))
    os.mkfifo(root / "pipe.py")
    (root / "dangling.py").symlink_to("nowhere.py")
    for name in ("folder.py", "folder.py/inner.py", "pipe.py", "dangling.py", "x" * 300 + ".py"):
        assert status_of(scripts, "/" + name) == 404


def test_links_are_followed_as_long_as_they_stay_within_the_root(scripts: Scripts, root: Path) -> None:
    outside = write(root.parent / "apps-private" / "secret.py", saying("secret"))
    write(root / "real.py", saying("real"))
    (root / "inside.py").symlink_to("real.py")
    (root / "outside.py").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    assert get(scripts, "/inside.py") == b"real"
    assert status_of(scripts, "/outside.py") == 404
    assert status_of(scripts, "/folder/secret.py") == 404


def test_a_script_replaced_by_a_link_that_leaves_the_root_is_gone(scripts: Scripts, root: Path) -> None:
    outside = write(root.parent / "secret.py", saying("secret"))
    script = write(root / "hello.py", saying("hello"))
    assert get(scripts, "/hello.py") == b"hello"
    script.unlink()
    script.symlink_to(outside)
    assert status_of(scripts, "/hello.py") == 404


def test_the_root_itself_may_be_a_link_and_may_be_turned_to_another_release(tmp_path: Path) -> None:
    write(tmp_path / "1" / "hello.py", saying("release 1"))
    write(tmp_path / "2" / "hello.py", saying("release 2"))
    current = tmp_path / "current"
    current.symlink_to("1")
    scripts = Scripts(str(current))
    assert get(scripts, "/hello.py") == b"release 1"
    current.unlink()
    current.symlink_to("2")
    assert get(scripts, "/hello.py") == b"release 2"


def test_a_missing_root_has_no_scripts(tmp_path: Path) -> None:
    assert status_of(Scripts(str(tmp_path / "missing")), "/hello.py") == 404


# What happens on the loop, and what is kept.


def test_the_first_sight_of_a_path_looks_at_the_disk_in_run_only(scripts: Scripts, root: Path) -> None:
    found = handle(scripts, "/hello.py")
    assert isinstance(found, Lookup)
    script = write(root / "hello.py", saying("hello"))
    found.run()
    script.unlink()
    assert isinstance(found.answer(), Call)
    assert isinstance(handle(scripts, "/hello.py"), Call)


def test_two_first_sights_of_one_path_share_one_script(scripts: Scripts, root: Path) -> None:
    write(root / "hello.py", saying("hello"))
    first, second = scripts.find("/hello.py"), scripts.find("/hello.py")
    assert first is not None
    assert second is not None
    assert scripts.keep("/hello.py", first) is first
    assert scripts.keep("/hello.py", second) is first


def test_of_too_many_scripts_the_oldest_makes_room(
    scripts: Scripts, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scripts_module, "_MOST_SCRIPTS", 2)
    for name in ("a", "b", "c"):
        write(root / f"{name}.py", saying(name))
        assert get(scripts, f"/{name}.py") == name.encode()
    assert isinstance(handle(scripts, "/a.py"), Lookup)
    assert isinstance(handle(scripts, "/b.py"), Call)
    assert not [name for name in sys.modules if name.startswith("aiowsgi_script_a_")]
    assert get(scripts, "/a.py") == b"a"


# Edits live.


def test_a_changed_script_is_loaded_afresh_and_an_unchanged_one_is_not(scripts: Scripts, root: Path) -> None:
    count = "number = 0\ndef application(environ, start_response):\n    global number\n    number += 1\n"
    count += "    start_response('200 OK', [])\n    return [b'%d' % number]\n"
    write(root / "count.py", count)
    assert [get(scripts, "/count.py") for _ in range(2)] == [b"1", b"2"]
    write(root / "count.py", count)
    assert get(scripts, "/count.py") == b"1"


def test_a_change_of_the_same_moment_is_seen_by_its_size_or_its_inode(scripts: Scripts, root: Path) -> None:
    script = write(root / "hello.py", saying("one"))
    moment = script.stat().st_mtime_ns
    assert get(scripts, "/hello.py") == b"one"
    write(script, saying("three"))
    os.utime(script, ns=(moment, moment))
    assert get(scripts, "/hello.py") == b"three"
    other = write(root / "other", saying("seven"))
    os.utime(other, ns=(moment, moment))
    other.replace(script)
    assert get(scripts, "/hello.py") == b"seven"


def test_a_deleted_script_is_404_until_it_is_back(scripts: Scripts, root: Path) -> None:
    script = write(root / "hello.py", saying("hello"))
    assert get(scripts, "/hello.py") == b"hello"
    script.unlink()
    assert status_of(scripts, "/hello.py") == 404
    write(script, saying("again"))
    assert get(scripts, "/hello.py") == b"again"


def test_a_broken_edit_fails_until_it_is_mended(scripts: Scripts, root: Path) -> None:
    script = write(root / "hello.py", saying("hello"))
    assert get(scripts, "/hello.py") == b"hello"
    for _ in range(2):
        write(script, "def application(\n")
        with pytest.raises(SyntaxError, match="was never closed"):
            get(scripts, "/hello.py")
    write(script, saying("mended"))
    assert get(scripts, "/hello.py") == b"mended"


def test_what_a_script_raises_at_import_is_raised_with_its_own_line(scripts: Scripts, root: Path) -> None:
    write(root / "hello.py", "import os\nos.environ['NO_SUCH_VARIABLE']\n")
    with pytest.raises(KeyError) as caught:
        get(scripts, "/hello.py")
    assert f"{root / 'hello.py'}" in str(caught.traceback[-2].path)
    assert caught.traceback[-2].lineno == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "hello.py defines no 'application'; a script is run by calling its application"),
        ("application = 7", "hello.py is an object of type 'int', not a callable that takes"),
        ("def application(): ...", "hello.py does not take (environ, start_response)"),
        ("async def application(a, b): ...", "looks like an ASGI application"),
    ],
)
def test_a_script_without_an_application_says_what_was_expected(
    scripts: Scripts, root: Path, source: str, message: str
) -> None:
    write(root / "hello.py", source)
    with pytest.raises(ApplicationError) as caught:
        get(scripts, "/hello.py")
    assert message in str(caught.value)
    assert "'module:" not in str(caught.value)


# Threads.


@pytest.fixture
def meeting() -> Any:
    """A module through which scripts and the test wait for each other."""
    module: Any = ModuleType("helper_meeting")
    module.loads, module.loading, module.go, module.both = [], Event(), Event(), Barrier(2, timeout=30)
    sys.modules[module.__name__] = module
    return module


def test_two_first_requests_load_a_script_once(root: Path, meeting: Any) -> None:
    source = "import helper_meeting as meeting\nmeeting.loads.append(__name__)\nmeeting.loading.set()\n"
    write(root / "slow.py", source + "meeting.go.wait(30)\n" + saying("slow"))
    script = Script(str(root), "slow.py")
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(call, script)
        assert meeting.loading.wait(30)
        second = threads.submit(call, script)
        meeting.go.set()
        assert first.result(30) == second.result(30) == [b"slow"]
    assert len(meeting.loads) == 1


def test_while_one_tries_a_broken_script_again_the_others_are_told_how_it_failed(
    root: Path, meeting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import helper_meeting as meeting\nmeeting.loads.append(1)\nif len(meeting.loads) == 2:\n"
    source += "    meeting.loading.set()\n    meeting.go.wait(30)\nraise ValueError('no database')\n"
    write(root / "broken.py", source)
    script = Script(str(root), "broken.py")
    clock = [0.0]
    monkeypatch.setattr(scripts_module, "monotonic", lambda: clock[0])
    with pytest.raises(ValueError, match="no database"):
        call(script)
    with ThreadPoolExecutor(1) as threads:
        again = threads.submit(call, script)  # the first has taken no time
        assert meeting.loading.wait(30)
        for clock[0] in (5.0, 1000.0):
            with pytest.raises(ApplicationError, match=r"a moment ago: ValueError\('no database'\)"):
                call(script)
        meeting.go.set()
        assert isinstance(again.exception(30), ValueError)
    clock[0] = 1000.9
    with pytest.raises(ApplicationError):
        call(script)
    clock[0] = 1001.0
    with pytest.raises(ValueError, match="no database"):
        call(script)
    write(root / "broken.py", saying("mended"))
    assert call(script) == [b"mended"]
    assert len(meeting.loads) == 3


def test_calls_of_one_script_run_side_by_side(root: Path, meeting: Any) -> None:
    source = "import helper_meeting as meeting\ndef application(environ, start_response):\n"
    write(root / "meet.py", source + "    meeting.both.wait()\n    return [b'met']\n")
    script = Script(str(root), "meet.py")
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(call, script) for _ in range(2)]
        assert [result.result(30) for result in calls] == [[b"met"], [b"met"]]


# What a script may do.


def test_a_script_knows_its_file_and_has_a_module_others_can_find(root: Path) -> None:
    source = """
import pickle, sys
from dataclasses import dataclass

@dataclass
class Point:
    x: "int"

def application(environ, start_response):
    assert sys.modules[__name__].Point is Point
    return [repr(pickle.loads(pickle.dumps(Point(1)))).encode(), __file__.encode()]
"""
    path = write(root / "tools" / "a.b-c.py", source)
    assert call(Script(str(root), "tools/a.b-c.py")) == [b"Point(x=1)", str(path).encode()]


def test_scripts_whose_names_differ_in_odd_characters_only_are_different_modules(root: Path) -> None:
    names = ["a.b.py", "a/b.py", "a-b.py", "a_b.py"]
    for name in names:
        write(root / name, saying(name))
    assert [call(Script(str(root), name)) for name in names] == [[name.encode()] for name in names]
    assert len({Script(str(root), name).module_name for name in names}) == len(names)


def test_helpers_are_imported_from_the_root_and_never_hide_an_installed_module(
    scripts: Scripts, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(root / "_helper_greeting.py", "text = b'from the helper'\n")
    write(root / "colorsys.py", "raise AssertionError('hides the standard library')\n")
    source = "import colorsys\nfrom _helper_greeting import text\n"
    write(root / "tools" / "hello.py", source + saying("").replace("[b'']", "[text]"))
    assert get(scripts, "/tools/hello.py") == b"from the helper"
    assert status_of(scripts, "/_helper_greeting.py") == 404
    assert sys.path.count(str(root)) == 1
    Scripts(str(root))
    assert sys.path.count(str(root)) == 1


def test_no_bytecode_is_written(scripts: Scripts, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    write(root / "hello.py", saying("hello"))
    assert get(scripts, "/hello.py") == b"hello"
    assert [path.name for path in root.iterdir()] == ["hello.py"]


def test_a_coding_cookie_is_obeyed(root: Path) -> None:
    source = "# coding: gbk\ndef application(environ, start_response):\n    return ['你好'.encode()]\n"
    write(root / "hello.py", source.encode("gbk"))
    assert call(Script(str(root), "hello.py")) == ["你好".encode()]


def test_a_script_can_be_a_flask_application(scripts: Scripts, root: Path) -> None:
    write(
        root / "shop.py",
        """
from flask import Flask, request, url_for
application = Flask(__name__)
@application.get("/items/<int:number>")
def item(number):
    return f"{request.script_root} {url_for('item', number=number + 1)}"
""",
    )
    assert get(scripts, "/cgi/shop.py/items/7", "/cgi") == b"/cgi/shop.py /cgi/shop.py/items/8"


def test_a_script_keeps_to_pep_3333_as_wsgiref_validates_it(root: Path) -> None:
    write(root / "hello.py", saying("hello"))
    environ: dict[str, Any] = {"QUERY_STRING": "", "wsgi.input_terminated": True}
    setup_testing_defaults(environ)

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[..., Any]:
        return lambda data: None

    body = validator(Script(str(root), "hello.py"))(environ, start_response)
    assert list(body) == [b"hello"]
    body.close()  # type: ignore[attr-defined]


# Old habits.

OLD = """
import time
def application(env, start_response):
    status = "HTTP/1.1 200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return "It is " + time.ctime(0)
"""


def test_a_tutorials_script_runs_and_is_warned_of_once(
    scripts: Scripts, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = write(root / "mytime.py", OLD)
    with caplog.at_level(logging.WARNING, "aiowsgi.scripts"):
        for _ in range(3):
            assert get(scripts, "/mytime.py").startswith(b"It is ")
    assert [record.getMessage() for record in caplog.records] == [
        f"{script}: leave the HTTP version out of the status, as in '200 OK'; it is cut off for now;"
        " give the body as bytes, not as str; it is encoded for now"
    ]


def test_an_edited_script_that_kept_a_habit_is_warned_of_again(
    scripts: Scripts, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(root / "mytime.py", OLD)
    get(scripts, "/mytime.py")
    write(root / "mytime.py", OLD.replace("HTTP/1.1 ", ""))
    get(scripts, "/mytime.py")
    assert [("HTTP" in record.getMessage()) for record in caplog.records] == [True, False]
