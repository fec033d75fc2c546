"""From the settings to the Router: order, prefixes, and the lines of the start report."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

from aiowsgi.config import Config, Limits
from aiowsgi.http.messages import HTTPError, Request, Response
from aiowsgi.http.parser import Parser
from aiowsgi.site.applications import ApplicationError
from aiowsgi.site.build import Mounted, build_router, describe_mounts
from aiowsgi.site.router import Lookup, Router
from aiowsgi.site.scripts import Scripts
from aiowsgi.site.static import Static
from aiowsgi.wsgi.application import Call
from tests.static_site import a_request

SHOP = """
def application(environ, start_response): ...
def create_app(): return application
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one of everything, where the server was started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name in ("html", "apps", "public"):
        (tmp_path / name).mkdir()
    (tmp_path / "shop_of_test_build.py").write_text(SHOP)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("shop_of_test_build", None)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return []


def asked(router: Router, path: str) -> list[tuple[Any, ...]]:
    return [(type(handler), *names) for handler, *names in router.candidates(path)]


def test_a_folder_of_pages_and_scripts() -> None:
    router = build_router(Config(html="html", apps="apps"))
    assert asked(router, "/x.py") == [(Scripts, "", "/x.py"), (Static, "", "/x.py")]


def test_at_one_prefix_scripts_come_before_files_and_files_before_applications() -> None:
    shop = "shop_of_test_build:application"
    config = Config(
        app=shop,
        html="html",
        apps="apps",
        mount=(("/a", shop),),
        static=(("/a", "public"),),
        scripts=(("/a", "apps"),),
    )
    kinds = [kind for kind, _, _ in asked(build_router(config), "/a")]
    assert kinds == [Scripts, Static, Mounted] * 2


def test_a_given_application_comes_behind_everything_else() -> None:
    router = build_router(Config(static=(("/static", "public"),), html="html"), application)
    assert asked(router, "/static/a") == [
        (Static, "/static", "/a"),
        (Static, "", "/static/a"),
        (Mounted, "", "/static/a"),
    ]


def test_an_application_never_declines() -> None:
    ((handler, script_name, path_info),) = build_router(Config(), application).candidates("/x")
    assert isinstance(handler.handle(Request(), script_name, path_info), Call)


def test_factories_are_called_and_mistakes_raised_when_the_router_is_built() -> None:
    assert asked(build_router(Config(app="shop_of_test_build:create_app()")), "/") == [(Mounted, "", "/")]
    with pytest.raises(ApplicationError, match="has no 'app'"):
        build_router(Config(mount=(("/shop", "shop_of_test_build:app"),)))


def test_a_prefix_is_compared_as_the_bytes_of_its_utf_8() -> None:
    router = build_router(Config(static=(("/größe", "public"),)))
    path = "/größe/a".encode().decode("latin-1")
    assert asked(router, path) == [(Static, path[:-2], "/a")]


def test_the_start_report_has_a_line_for_each_mount_in_the_order_they_are_asked() -> None:
    config = Config(
        app="shop:create_app()",
        html="./html",
        apps="./apps",
        static=(("/static", "./public"),),
        scripts=(("/cgi", "./apps"),),
        mount=(("/api", "api:app"),),
    )
    assert describe_mounts(config) == [
        "/static   files         ./public",
        "/cgi      scripts       ./apps",
        "/api      application   api:app",
        "/         scripts       ./apps",
        "/         files         ./html",
        "/         application   shop:create_app()",
    ]


def test_a_site_without_mounts_reports_none() -> None:
    assert describe_mounts(Config()) == []


def test_files_at_the_prefix_of_an_application_leave_it_what_they_do_not_have(folder: Path) -> None:
    config = Config(app="shop_of_test_build:application", html="html", static=(("/static", "public"),))
    router = build_router(config)
    parsed = Parser(Limits()).head(b"GET /static/gone.txt HTTP/1.1\r\nHost: a\r\n\r\n")
    assert parsed is not None
    outcomes = []
    for handler, script_name, path_info in router.candidates("/static/gone.txt"):
        try:
            answer = handler.handle(parsed[0], script_name, path_info)
            if isinstance(answer, Lookup):
                answer.run()
                answer = answer.answer()
            outcomes.append(type(answer).__name__)
        except HTTPError as error:
            outcomes.append(str(error.status))
    assert outcomes == ["404", "NoneType", "Call"]


def answers(config: Config, target: str, application: WSGIApplication | None = None) -> list[str]:
    """Return what each that is asked for ``target`` answers, up to the one that does not decline."""
    router = build_router(config, application)
    request = a_request(target)
    outcomes: list[str] = []
    for handler, script_name, path_info in router.candidates(request.path):
        try:
            answer = handler.handle(request, script_name, path_info)
            if isinstance(answer, Lookup):
                answer.run()
                answer = answer.answer()
        except HTTPError as error:
            return [*outcomes, str(error.status)]
        outcomes.append(str(answer.status) if isinstance(answer, Response) else type(answer).__name__)
        if answer is not None:
            break
    return outcomes


def test_with_try_files_the_next_mount_is_asked(folder: Path) -> None:
    static = (("/static", "public"), ("/static/deep", "public"))
    config = Config(html="html", static=static, try_files=True)
    assert answers(config, "/static/deep/gone") == ["NoneType", "NoneType", "404"]
    (folder / "html" / "static").mkdir()
    (folder / "html" / "static" / "here.txt").write_text("here")
    assert answers(config, "/static/here.txt") == ["NoneType", "200"]
    assert answers(replace(config, try_files=False), "/static/here.txt") == ["404"]
    config = Config(static=static[:1], scripts=(("", "apps"),), try_files=True)
    assert answers(config, "/static/gone") == ["404"]  # scripts have nothing there
    assert answers(config, "/static/gone", application) == ["NoneType", "NoneType", "Call"]
    config = Config(static=static[:1], mount=(("", "shop_of_test_build:application"),), try_files=True)
    assert answers(config, "/static/gone") == ["NoneType", "Call"]
    assert answers(replace(config, try_files=False), "/static/gone") == ["404"]


def test_the_last_of_the_mounts_has_the_shell(folder: Path) -> None:
    for name in ("html", "public"):
        (folder / name / "index.html").write_text(name)
    config = Config(html="html", static=(("/static", "public"),), spa=True)
    assert answers(config, "/users/7") == answers(config, "/static/users") == ["200"]
    assert answers(replace(config, try_files=True), "/static/users") == ["NoneType", "200"]
    assert answers(config, "/users/7", application) == ["NoneType", "Call"]


def test_files_are_served_as_the_settings_say(folder: Path) -> None:
    (folder / "html" / "a.sql").write_text("")
    (folder / "html" / "a.py").write_text("")
    assert answers(Config(html="html"), "/a.sql") == ["200"]
    assert answers(Config(html="html"), "/a.py") == ["404"]
    config = Config(html="html", refused=("*.sql",), autoindex=True)
    assert answers(config, "/a.sql") == ["404"]
    assert answers(config, "/a.py") == answers(config, "/") == ["200"]


def test_the_sites_error_pages_are_those_of_the_files_at_its_root(folder: Path) -> None:
    for name in ("html", "public"):
        (folder / name / "500.html").write_text(name)
    static = (("/static", "public"),)
    for config, expected in (
        (Config(html="html", static=static), b"html"),
        (Config(static=(*static, ("", "public"))), b"public"),
        (Config(static=static), None),
        (Config(), None),
    ):
        pages = build_router(config, application).error_pages
        response = pages.response(500) if pages is not None else None
        assert (None if response is None else response.content) == expected
