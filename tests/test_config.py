"""Settings: what each source may say, which one wins, and what a mistake reads like."""

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowsgi.config import (
    SETTINGS,
    Config,
    ConfigError,
    Files,
    Lifetime,
    Limits,
    Timeouts,
    Tls,
    load,
    settings_page,
    values,
)
from aiowsgi.config.processors import processors
from aiowsgi.http.framing import field_lines

Site = Callable[..., Config]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Load the settings of a folder in which there is nothing but an empty ``public``."""
    (tmp_path / "public").mkdir()

    def load_here(environ: Mapping[str, str] | None = None, **command_line: object) -> Config:
        return load(command_line, environ or {}, tmp_path)

    return load_here


def mistake(call: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_defaults_hold_for_whoever_makes_a_config_without_any_source() -> None:
    config = Config()
    assert (config.app, config.html, config.apps, config.access_log) == (None, None, None, None)
    assert config.bind == ("127.0.0.1:8000",)
    loop = "uvloop" if find_spec("uvloop") else "asyncio"
    assert (config.workers, config.threads, config.loop, config.parser) == (1, 4, loop, "auto")
    assert (config.log_level, config.debug) == ("info", False)
    assert Config(threads=2).threads == 2


def test_parts_get_limits_and_timeouts_whose_defaults_are_their_own(site: Site) -> None:
    assert Config().limits == Limits()
    assert Config().timeouts == Timeouts()
    config = site(app="a:b", max_request_line="1", max_head="2", max_fields="3", max_body="4", max_queue="5")
    assert config.limits == Limits(request_line=1, head=2, fields=3, content=4, queue=5)
    config = site(
        app="a:b", max_body_memory="1", max_response_memory="2", max_response_file="3", max_pipelined="4"
    )
    assert config.limits == Limits(content_memory=1, response_memory=2, response_file=3, pipelined=4)
    config = site(
        app="a:b", max_connections="1", max_connections_per_client="2", max_requests_per_connection="3"
    )
    assert config.limits == Limits(connections=1, client_connections=2, requests=3)
    assert site(app="a:b", max_connections="auto").limits == Limits()
    names = ("keep_alive", "head", "transfer", "linger", "graceful", "queue", "request")
    config = site(app="a:b", **{f"{name}_timeout": str(at + 0.5) for at, name in enumerate(names)})
    assert config.timeouts == Timeouts(0.5, 1.5, 2.5, 3.5, 4.5, queue=5.5, request=6.5)
    assert site(app="a:b", request_timeout="0").timeouts.request == math.inf
    assert site(app="a:b", min_rate="9").timeouts == Timeouts(min_rate=9)
    assert Config().lifetime == Lifetime()
    config = site(app="a:b", max_requests="1", max_requests_jitter="2", max_rss="3", max_age="4")
    assert config.lifetime == Lifetime(requests=1, jitter=2, rss=3, age=4.0)
    assert Config().files == Files()
    assert site(app="a:b", charset="", nosniff=False, refused=("*.sql",), spa="yes").files == Files(
        charset="", nosniff=False, refused=("*.sql",), spa=True
    )


def test_every_setting_can_be_given_in_every_source(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "p").touch()
    given = {
        "app": ("a:b", '"a:b"'),
        "html": ("d", '"d"'),
        "apps": ("d", '"d"'),
        "static": ("/s=d,/t=d", '["/s=d", "/t=d"]'),
        "scripts": ("/s=d,/t=d", '["/s=d", "/t=d"]'),
        "mount": ("/m=a:b, /n=c:d()", '["/m=a:b", "/n=c:d()"]'),
        "x_sendfile": ("/s=d,/t=d", '["/s=d", "/t=d"]'),
        "compress": ("yes", "true"),
        "charset": ("gbk", '"gbk"'),
        "nosniff": ("no", "false"),
        "media_types": ("x=a/b,.Y=text/c; p=1", '["x=a/b", ".Y=text/c; p=1"]'),
        "cache_control": ("max-age=60, public", '"max-age=60, public"'),
        "headers": ("*.x=A: b, c\n/d/*=E:", r'["*.x=A: b, c", "/d/*=E:"]'),
        "spa": ("yes", "true"),
        "try_files": ("yes", "true"),
        "autoindex": ("yes", "true"),
        "follow_links": ("yes", "true"),
        "refused": ("*.a,b?", '["*.a", "b?"]'),
        "bind": (":1,tls:unix:x", '[":1", "tls:unix:x"]'),
        "trusted_proxies": ("10.0.0.0/8, ::1,unix", '["10.0.0.0/8", "::1", "unix"]'),
        "forwarded_fields": ("X-Forwarded-For,forwarded", '["x-forwarded-for", "FORWARDED"]'),
        "proxy_protocol": ("yes", "true"),
        "workers": ("3", "3"),
        "threads": ("5", "5"),
        "stream_requests": ("yes", "true"),
        "loop": ("asyncio", '"asyncio"'),
        "parser": ("h11", '"h11"'),
        "user": ("www-data", '"www-data"'),
        "group": ("33", "33"),
        "umask": ("027", '"0027"'),
        "certificate": ("p,p", '["p", "p"]'),
        "key": ("p,p", '["p", "p"]'),
        "client_ca": ("p", '"p"'),
        "client_certificates": ("optional", '"optional"'),
        "redirect_https": ("yes", "true"),
        "hsts": ("60", "60"),
        "health_path": ("/health", '"/health"'),
        "ready_check": ("/r?d=1", '"/r?d=1"'),
        "preload": ("yes", "true"),
        "drain_delay": ("0", "0"),
        "max_requests": ("8", "8"),
        "max_requests_jitter": ("0", "0"),
        "max_rss": ("1G", '"1GiB"'),
        "max_age": ("6", "6.0"),
        "control": ("c", '"c"'),
        "pid_file": ("d/../pid", '"pid"'),
        "on_start": ("a:b", '"a:b"'),
        "on_worker_start": ("a.b:c", '"a.b:c"'),
        "on_worker_stop": ("a:b.c", '"a:b.c"'),
        "on_request_end": ("a:b", '"a:b"'),
        "access_log": ("log", '"log"'),
        "log_level": ("error", '"error"'),
        "debug": ("yes", "true"),
        "reload": ("yes", "true"),
        "reload_include": ("*.tpl,b?", '["*.tpl", "b?"]'),
        "max_connections": ("5", "5"),
        "max_connections_per_client": ("6", "6"),
        "max_requests_per_connection": ("7", "7"),
        "max_request_line": ("1K", '"1K"'),
        "max_head": ("70000", "70000"),
        "max_fields": ("7", "7"),
        "max_body": ("2M", '"2MiB"'),
        "max_body_memory": ("3K", '"3KiB"'),
        "max_response_memory": ("0", "0"),
        "max_response_file": ("2G", '"2GiB"'),
        "max_pipelined": ("5000", "5000"),
        "max_queue": ("9", "9"),
        "keep_alive_timeout": ("1", "1"),
        "head_timeout": ("1.5", "1.5"),
        "transfer_timeout": ("2", "2.0"),
        "min_rate": ("0", "0"),
        "linger_timeout": ("3", "3"),
        "graceful_timeout": ("4", "4"),
        "queue_timeout": ("5", "5"),
        "request_timeout": ("0", "0"),
    }
    assert list(given) == [field.name for field in fields(Config)] == list(SETTINGS)
    (tmp_path / "other.toml").write_text("".join(f"{name} = {toml}\n" for name, (_, toml) in given.items()))
    from_file = load({"config": "other.toml"}, {}, tmp_path)
    variables = {f"AIOWSGI_{name.upper()}": text for name, (text, _) in given.items()}
    from_variables = load({}, variables, tmp_path)
    options: dict[str, object] = {name: text for name, (text, _) in given.items()}
    options |= {
        name: tuple(given[name][0].split(","))
        for name in (
            "static",
            "scripts",
            "x_sendfile",
            "media_types",
            "refused",
            "bind",
            "certificate",
            "key",
        )
    }
    options["headers"] = tuple(given["headers"][0].split("\n"))
    options["mount"] = ("/m=a:b", "/n=c:d()")
    from_options = load(options, {}, tmp_path)
    assert from_file == from_variables == from_options
    folder, pem = str(tmp_path / "d"), str(tmp_path / "p")
    assert from_file == Config(
        app="a:b",
        html=folder,
        apps=folder,
        static=(("/s", folder), ("/t", folder)),
        scripts=(("/s", folder), ("/t", folder)),
        mount=(("/m", "a:b"), ("/n", "c:d()")),
        x_sendfile=(("/s", folder), ("/t", folder)),
        compress=True,
        charset="gbk",
        nosniff=False,
        media_types=(("x", "a/b"), ("y", "text/c; p=1")),
        cache_control="max-age=60, public",
        headers=(("*.x", "A", "b, c"), ("/d/*", "E", "")),
        spa=True,
        try_files=True,
        autoindex=True,
        follow_links=True,
        refused=("*.a", "b?"),
        bind=(":1", "tls:unix:x"),
        trusted_proxies=("10.0.0.0/8", "::1/128", "unix"),
        forwarded_fields=("x-forwarded-for", "forwarded"),
        proxy_protocol=True,
        workers=3,
        threads=5,
        stream_requests=True,
        loop="asyncio",
        parser="h11",
        user="www-data",
        group="33",
        umask=0o27,
        certificate=(pem, pem),
        key=(pem, pem),
        client_ca=pem,
        client_certificates="optional",
        redirect_https=True,
        hsts="max-age=60",
        health_path="/health",
        ready_check="/r?d=1",
        preload=True,
        drain_delay=0.0,
        max_requests=8,
        max_requests_jitter=0,
        max_rss=1 << 30,
        max_age=6.0,
        control=str(tmp_path / "c"),
        pid_file=str(tmp_path / "pid"),
        on_start="a:b",
        on_worker_start="a.b:c",
        on_worker_stop="a:b.c",
        on_request_end="a:b",
        access_log=str(tmp_path / "log"),
        log_level="error",
        debug=True,
        reload=True,
        reload_include=("*.tpl", "b?"),
        max_connections=5,
        max_connections_per_client=6,
        max_requests_per_connection=7,
        max_request_line=1024,
        max_head=70000,
        max_fields=7,
        max_body=2 * 1024 * 1024,
        max_body_memory=3 << 10,
        max_response_memory=0,
        max_response_file=2 << 30,
        max_pipelined=5000,
        max_queue=9,
        keep_alive_timeout=1.0,
        head_timeout=1.5,
        transfer_timeout=2.0,
        min_rate=0,
        linger_timeout=3.0,
        graceful_timeout=4.0,
        queue_timeout=5.0,
        request_timeout=0.0,
    )


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(
    site: Site, tmp_path: Path
) -> None:
    assert site(app="a:b").threads == 4
    (tmp_path / "aiowsgi.toml").write_text('threads = 5\ndebug = true\nbind = [":1", ":2"]\n')
    assert site(app="a:b").threads == 5
    variables = {"AIOWSGI_THREADS": "6", "AIOWSGI_BIND": ":3"}
    assert site(variables, app="a:b").threads == 6
    assert site(variables, app="a:b").bind == (":3",)
    assert site(variables, app="a:b").debug
    config = site(variables, app="a:b", threads="7", debug=False, bind=(":4", ":5"))
    assert (config.threads, config.debug, config.bind) == (7, False, (":4", ":5"))


def test_an_option_not_given_and_an_empty_variable_or_list_say_nothing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "aiowsgi.toml").write_text("threads = 5\nstatic = []\n")
    assert site({"AIOWSGI_THREADS": "", "AIOWSGI_CONFIG": ""}, app="a:b", threads=None, bind=()) == Config(
        app="a:b", threads=5
    )


def test_variables_of_other_programs_are_nobodys_mistake(site: Site) -> None:
    assert site({"HOME": "/", "AIOWSGIX": "1", "WEB_THREADS": "9"}, app="a:b") == Config(app="a:b")


@pytest.mark.parametrize("name", ["AIOWSGI", "AIOWSGI_API", "AIOWSGI_BIND"])
def test_variables_that_kubernetes_makes_of_a_service_are_passed_over(site: Site, name: str) -> None:
    service = {
        f"{name}_SERVICE_HOST": "10.0.0.11",
        f"{name}_SERVICE_PORT": "8000",
        f"{name}_SERVICE_PORT_HTTP": "8000",
        f"{name}_PORT": "tcp://10.0.0.11:8000",
        f"{name}_PORT_8000_TCP": "tcp://10.0.0.11:8000",
        f"{name}_PORT_8000_TCP_PROTO": "tcp",
        f"{name}_PORT_8000_TCP_PORT": "8000",
        f"{name}_PORT_8000_TCP_ADDR": "10.0.0.11",
    }
    assert site(service, app="a:b") == Config(app="a:b")
    assert mistake(lambda: site({"AIOWSGI_PORT": "8000"})).startswith("AIOWSGI_PORT: expected the name")


# Which file is read


def test_the_projects_file_is_read_where_there_is_no_own_one(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.aiowsgi]\nthreads = 8\n[tool.x]\nthreads = 1\n")
    assert site(app="a:b").threads == 8
    (tmp_path / "aiowsgi.toml").write_text("")
    assert site(app="a:b").threads == 4


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'\n", "[tool.x]\ny = 1\n", "tool = 1\n"])
def test_a_projects_file_of_others_is_passed_over_unless_it_is_asked_for(
    site: Site, tmp_path: Path, text: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert site(app="a:b") == Config(app="a:b")
    assert mistake(lambda: site(app="a:b", config="pyproject.toml")) == (
        "--config: expected a file with [tool.aiowsgi], got 'pyproject.toml'"
    )


def test_a_named_file_takes_the_place_of_the_others(site: Site, tmp_path: Path) -> None:
    (tmp_path / "aiowsgi.toml").write_text("threads = 5\nworkers = 2\n")
    (tmp_path / "one.toml").write_text("threads = 6\n")
    (tmp_path / "public" / "pyproject.toml").write_text("[tool.aiowsgi]\nthreads = 7\n")
    assert site(app="a:b", config="one.toml") == Config(app="a:b", threads=6)
    assert site({"AIOWSGI_CONFIG": str(tmp_path / "one.toml")}, app="a:b").threads == 6
    assert site({"AIOWSGI_CONFIG": "none"}, app="a:b", config="public/pyproject.toml").threads == 7


def test_paths_in_a_file_elsewhere_start_from_the_current_directory(site: Site, tmp_path: Path) -> None:
    (tmp_path / "public" / "x.toml").write_text('html = "public"\n')
    assert site(config="public/x.toml").html == str(tmp_path / "public")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"threads 4\n", r"Expected '=' after a key.*"),
        (b"app = '\xff'\n", r".*can't decode byte 0xff.*"),
        (b"threads = " + b"9" * 5000, r"Exceeds the limit.*"),
    ],
)
def test_a_file_that_is_not_toml_is_a_mistake(
    site: Site, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "aiowsgi.toml").write_bytes(content)
    pattern = rf"aiowsgi\.toml: expected a TOML file, got 'aiowsgi\.toml' \({reason}\)"
    assert re.fullmatch(pattern, mistake(lambda: site(app="a:b")))


def test_a_named_file_that_cannot_be_read_is_a_mistake(site: Site) -> None:
    assert mistake(lambda: site(config="none.toml")) == (
        "--config: expected a TOML file, got 'none.toml' (No such file or directory)"
    )
    assert mistake(lambda: site({"AIOWSGI_CONFIG": "public"})) == (
        "AIOWSGI_CONFIG: expected a TOML file, got 'public' (Is a directory)"
    )


def test_the_projects_table_has_to_be_a_table(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\naiowsgi = 3\n")
    assert mistake(lambda: site()) == "pyproject.toml: tool.aiowsgi: expected a table, got 3"


# Mistakes


def test_a_mistake_names_the_place_what_was_expected_and_what_was_given(site: Site, tmp_path: Path) -> None:
    expected = "expected a whole number of at least 1, got"
    assert mistake(lambda: site(app="a:b", threads="many")) == f"--threads: {expected} 'many'"
    assert mistake(lambda: site({"AIOWSGI_MAX_QUEUE": "0"})) == f"AIOWSGI_MAX_QUEUE: {expected} '0'"
    (tmp_path / "aiowsgi.toml").write_text('threads = "4"\n')
    assert mistake(lambda: site()) == f"aiowsgi.toml: threads: {expected} '4'"
    (tmp_path / "aiowsgi.toml").unlink()
    assert mistake(lambda: site(app="")) == (
        'APP: expected "module:attribute" or "module:factory()", got \'\''
    )


def test_a_mistake_counts_also_where_a_stronger_source_overrules_it(site: Site) -> None:
    assert mistake(lambda: site({"AIOWSGI_THREADS": "-1"}, app="a:b", threads="4")).startswith(
        "AIOWSGI_THREADS: "
    )


def test_an_unknown_name_is_a_mistake_with_a_suggestion(site: Site, tmp_path: Path) -> None:
    expected = "expected the name of a setting,"
    assert mistake(lambda: site(max_bodies="1")) == f"--max-bodies: {expected} did you mean --max-body?"
    assert mistake(lambda: site(ap="1")) == f"--ap: {expected} did you mean APP?"
    assert mistake(lambda: site({"AIOWSGI_THREDS": "1"})) == (
        f"AIOWSGI_THREDS: {expected} did you mean AIOWSGI_THREADS?"
    )
    (tmp_path / "aiowsgi.toml").write_text("threds = 4\n")
    assert mistake(lambda: site()) == f"aiowsgi.toml: threds: {expected} did you mean threads?"
    (tmp_path / "aiowsgi.toml").write_text("[xyzzy]\nthreads = 4\n")
    assert mistake(lambda: site()) == f"aiowsgi.toml: xyzzy: {expected} see aiowsgi serve --help"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app", "\0"),
        ("html", ""),
        ("access_log", "a\0b"),
        ("bind", "8000"),
        ("bind", "localhost"),
        ("bind", "localhost:"),
        ("bind", "localhost:http"),
        ("bind", "localhost:65536"),
        ("bind", "localhost:\u0661"),
        ("bind", "::1:8000"),
        ("bind", "[::1]"),
        ("bind", "[]:8000"),
        ("bind", "[127.0.0.1]:8000"),
        ("bind", "http://localhost:8000"),
        ("bind", "a b:80"),
        ("bind", "a:80,"),
        ("bind", "unix:"),
        ("bind", "tls:"),
        ("bind", "tls:8443"),
        ("bind", "tls:unix:"),
        ("bind", "tls:tls:a:80"),
        ("client_certificates", "maybe"),
        ("hsts", ""),
        ("hsts", "-1"),
        ("hsts", "1.5"),
        ("hsts", "includeSubDomains"),
        ("hsts", "max-age=1\r\nX: y"),
        ("hsts", "max-age=1; forever"),
        ("trusted_proxies", "all"),
        ("trusted_proxies", "127.0.0.1,"),
        ("trusted_proxies", "10.0.0.1/8"),
        ("trusted_proxies", "::1,localhost"),
        ("trusted_proxies", "10.0.0.0/33"),
        ("forwarded_fields", "x-real-ip"),
        ("proxy_protocol", "on"),
        ("workers", "0"),
        ("workers", "all"),
        ("health_path", "health"),
        ("health_path", "/health/"),
        ("health_path", "/a/../b"),
        ("health_path", "/a b"),
        ("health_path", "/a?b"),
        ("ready_check", "ready"),
        ("ready_check", "/a b"),
        ("ready_check", "/a\r\nX: y"),
        ("drain_delay", "-1"),
        ("max_age", "nan"),
        ("threads", "1_0"),
        ("threads", "4.0"),
        ("threads", "9" * 5000),
        ("loop", "trio"),
        ("parser", "H11"),
        ("user", "a:b"),
        ("umask", "18"),
        ("umask", "1777"),
        ("umask", "0o27"),
        ("on_start", "hooks"),
        ("on_start", "hooks:start()"),
        ("on_worker_start", "hooks.py:start"),
        ("on_worker_stop", "1:stop"),
        ("log_level", "loud"),
        ("debug", "on"),
        ("max_body", "-1"),
        ("max_body", "1T"),
        ("max_body", "64KB"),
        ("max_body", "1.5M"),
        ("max_body", "K"),
        ("head_timeout", "0"),
        ("queue_timeout", "0"),
        ("request_timeout", "-1"),
        ("request_timeout", "inf"),
        ("request_timeout", "no"),
        ("head_timeout", "-1"),
        ("head_timeout", "nan"),
        ("head_timeout", "inf"),
        ("head_timeout", "1m"),
        ("charset", "utf 8"),
        ("cache_control", "no-cache\nX: y"),
        ("cache_control", "\u20ac"),
        ("media_types", "md"),
        ("media_types", "md=markdown"),
        ("media_types", "md=text/"),
        ("media_types", "=text/plain"),
        ("media_types", "a/b=text/plain"),
        ("media_types", "tar.gz=text/plain"),
        ("media_types", "md=text/plain\r\nX: y"),
        ("headers", "*.html"),
        ("headers", "*.html=Cache-Control"),
        ("headers", "=Cache-Control: no-cache"),
        ("headers", "*.html=Cache Control: no-cache"),
        ("headers", "*.html=: no-cache"),
        ("headers", "*.html=X: \x00"),
        ("headers", "*.html=X: a\rY: b"),
        ("headers", "*.html=X: \u20ac"),
        ("headers", "*=Content-Length: 0"),
        ("headers", "*=transfer-encoding: chunked"),
        ("headers", "*=ETag: x"),
        ("headers", "*=Server:"),
        ("refused", "a/b"),
        ("static", "public"),
        ("static", "=public"),
        ("static", "/static="),
        ("static", "/a//b=public"),
        ("static", "/../b=public"),
        ("static", "/a/.=public"),
        ("static", "/a?b=public"),
        ("scripts", "public"),
        ("mount", "api:app"),
    ],
)
def test_values_that_are_refused(site: Site, name: str, text: str) -> None:
    item = text.rpartition(SETTINGS[name].kind.separator)[2] if SETTINGS[name].kind.many else text
    assert mistake(lambda: site(**{"app": "a:b", name: text})) == (
        f"{SETTINGS[name].option}: expected {SETTINGS[name].kind.expected}, got {item!r}"
    )


@pytest.mark.parametrize(
    "line",
    [
        "app = 1",
        "html = true",
        "bind = 8000",
        "bind = [8000]",
        'bind = [[":80"]]',
        "workers = true",
        "threads = 4.0",
        "threads = true",
        "threads = []",
        'threads = "4"',
        "threads = 0",
        "loop = 1",
        'debug = "yes"',
        "debug = 1",
        "max_body = 1.0",
        "max_body = -1",
        'head_timeout = "1"',
        "head_timeout = inf",
        "head_timeout = 1979-05-27",
        'static = {"/static" = "public"}',
        "charset = 1",
        "cache_control = 60",
        "refused = [1]",
        "headers = 1",
        "headers = [1]",
        "media_types = {md = 'markdown'}",
        "headers = {'*' = {X = \"a\\nY: b\"}}",
        "headers = {'*' = {'X Y' = 'z'}}",
        "headers = {'*' = {Content-Length = '0'}}",
        "headers = {'a=X' = {Y = 'z'}}",
        "umask = 0o27",  # the same as 23, of which nobody can tell what it is
        "user = 1.0",
        "access_log = false",
    ],
)
def test_a_file_is_held_to_the_types_of_toml(site: Site, tmp_path: Path, line: str) -> None:
    (tmp_path / "aiowsgi.toml").write_text(line + "\n")
    name = line.split()[0]
    start = f"aiowsgi.toml: {name}: expected {SETTINGS[name].kind.expected}, got "
    assert mistake(lambda: site()).startswith(start)


@pytest.mark.parametrize(
    "line",
    [
        "headers = {'*' = 'X: y'}",
        "headers = {'*' = {X = 1}}",
        "headers = {'*' = {'X: y' = 'z'}}",
        "media_types = {md = 1}",
    ],
)
def test_a_table_is_held_to_its_form(site: Site, tmp_path: Path, line: str) -> None:
    (tmp_path / "aiowsgi.toml").write_text(line + "\n")
    name = line.split()[0]
    start = f"aiowsgi.toml: {name}: expected a table of {SETTINGS[name].kind.expected}, got {{"
    assert mistake(lambda: site()).startswith(start)


# Values


def test_fields_and_media_types_may_be_tables_of_a_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        """
        [tool.aiowsgi.media_types]
        Md = "text/markdown"
        [tool.aiowsgi.headers]
        "*.html" = {Cache-Control = "no-cache", Content-Security-Policy = "default-src 'self'; img-src *, a"}
        "/assets/*" = {Cache-Control = "max-age=60", X-Empty = ""}
        """
    )
    config = site(app="a:b")
    assert config.media_types == (("md", "text/markdown"),)
    assert config.headers == (
        ("*.html", "Cache-Control", "no-cache"),
        ("*.html", "Content-Security-Policy", "default-src 'self'; img-src *, a"),
        ("/assets/*", "Cache-Control", "max-age=60"),
        ("/assets/*", "X-Empty", ""),
    )


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_field_that_is_taken_can_be_sent(name: str, value: str) -> None:
    try:
        parsed = values.HEADERS.parse(f"*={name}: {value}")
    except ValueError:
        return
    assert isinstance(parsed, tuple)
    line = field_lines([parsed[1:]])
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == line.count(b"\r") == 1


@pytest.mark.parametrize(
    "address",
    ["localhost:0", ":65535", "[::1]:8000", "[fe80::1%eth0]:80", "0.0.0.0:80", "unix:/run/a b,c.sock"],
)
def test_addresses_that_are_taken(site: Site, address: str) -> None:
    assert site(app="a:b", bind=(address,)).bind == (address,)


def test_one_address_or_mount_in_a_file_needs_no_list(site: Site, tmp_path: Path) -> None:
    (tmp_path / "aiowsgi.toml").write_text('bind = ":80"\nmount = "/a=b:c"\n')
    config = site()
    assert (config.bind, config.mount) == ((":80",), (("/a", "b:c"),))


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("65536", 65536), ("64K", 65536), ("64KiB", 65536), ("3M", 3 << 20), ("1GiB", 1 << 30)],
)
def test_sizes_may_have_a_suffix(site: Site, text: str, size: int) -> None:
    assert site(app="a:b", max_body=text).max_body == size


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("YES", True), ("No", False), ("0", False)]
)
def test_flags_in_variables(site: Site, text: str, value: bool) -> None:
    assert site({"AIOWSGI_DEBUG": text}, app="a:b").debug is value


def test_auto_workers_are_as_many_as_the_processors_this_process_may_use(site: Site) -> None:
    assert site(app="a:b", workers="auto").workers == processors()


@pytest.mark.parametrize("prefix", ["/a/b", "a/b", "/a/b/", "//a/b//"])
def test_a_prefix_begins_with_a_slash_and_does_not_end_with_one(site: Site, prefix: str) -> None:
    assert site(mount=(f"{prefix}=m:x(y='=')",)).mount == (("/a/b", "m:x(y='=')"),)


def test_the_prefix_of_everything_is_empty(site: Site) -> None:
    assert site(mount=("/=m:x",)).mount == (("", "m:x"),)


# The site


def test_two_mounts_of_one_prefix_and_kind_are_a_mistake(site: Site) -> None:
    assert mistake(lambda: site(static=("/a=public", "a/=public"))) == (
        "--static: expected each prefix once, got '/a'"
    )
    assert mistake(lambda: site(mount=("/=a:b", "/=c:d"))) == "--mount: expected each prefix once, got '/'"
    assert site(static=("/a=public",), scripts=("/a=public",), mount=("/a=b:c",)).mount == (("/a", "b:c"),)


@pytest.mark.parametrize(("name", "root"), [("static", "html"), ("scripts", "apps")])
def test_a_second_root_of_one_kind_is_a_mistake(site: Site, name: str, root: str) -> None:
    assert mistake(lambda: site(**{name: ("/=public",), root: "public"})) == (
        f"--{name}: expected no prefix / beside --{root}, got '/'"
    )


def test_a_second_application_at_the_root_is_a_mistake(site: Site) -> None:
    assert mistake(lambda: site(app="a:b", mount=("/=c:d",))) == (
        "--mount: expected no prefix / beside APP, got '/'"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("html", "none"), ("apps", "none"), ("static", ("/a=none",)), ("scripts", ("/a=none",))],
)
def test_a_folder_has_to_exist(site: Site, tmp_path: Path, name: str, value: object) -> None:
    assert mistake(lambda: site(**{name: value})) == (
        f"--{name}: expected a folder that exists, got {str(tmp_path / 'none')!r}"
    )


def test_a_file_is_no_folder(site: Site, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("")
    assert mistake(lambda: site({"AIOWSGI_HTML": "page"})) == (
        f"AIOWSGI_HTML: expected a folder that exists, got {str(tmp_path / 'page')!r}"
    )


@pytest.mark.parametrize("path", ["none/log", "public", "page/log"])
def test_the_access_log_has_to_be_a_file_that_can_be_written(site: Site, tmp_path: Path, path: str) -> None:
    (tmp_path / "page").write_text("")
    assert mistake(lambda: site(app="a:b", access_log=path)) == (
        f"--access-log: expected a file that can be written, got {str(tmp_path / path)!r}"
    )


@pytest.mark.parametrize("path", ["-", "/dev/null"])
def test_the_access_log_may_be_standard_output_or_a_device(site: Site, path: str) -> None:
    assert site(app="a:b", access_log=path).access_log == path


def test_without_an_application_the_default_folders_are_the_site(site: Site, tmp_path: Path) -> None:
    (tmp_path / "html").mkdir()
    html, apps = str(tmp_path / "html"), str(tmp_path / "apps")
    assert site() == Config(html=html)
    (tmp_path / "apps").mkdir()
    assert site() == Config(html=html, apps=apps)
    assert site(html="public") == Config(html=str(tmp_path / "public"), apps=apps)
    assert site(static=("/=public",)) == Config(static=(("", str(tmp_path / "public")),), apps=apps)
    assert site(app="a:b") == Config(app="a:b")
    assert site(app="a:b", html="html") == Config(app="a:b", html=html)


def test_a_mount_alone_is_a_site(site: Site) -> None:
    assert site(mount=("/a=b:c",)) == Config(mount=(("/a", "b:c"),))


def test_nothing_to_serve_says_what_was_looked_for(site: Site, tmp_path: Path) -> None:
    assert mistake(lambda: site()) == (
        f"nothing to serve: expected APP, or a folder html or apps in {tmp_path}"
    )


# The page


def test_the_page_in_docs_is_the_one_that_the_declarations_give() -> None:
    page = Path(__file__).parent.parent / "docs" / "settings.md"
    # To write it anew: python -c "from aiowsgi.config import settings_page as p; print(p(), end='')"
    assert page.read_text("utf-8") == settings_page()


def test_the_page_tells_every_setting_in_all_its_spellings() -> None:
    rows = [line for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) == len(SETTINGS)
    for row, setting in zip(rows, SETTINGS.values(), strict=True):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert cells[0].startswith(f"`{setting.option}")
        assert cells[1:] == [
            f"`{setting.name}`",
            f"`{setting.variable}`",
            re.sub(r"([*~])", r"\\\1", setting.default),
            setting.kind.unit,
            setting.help,
        ]


def test_the_file_shown_on_the_page_can_be_used(site: Site, tmp_path: Path) -> None:
    example = "".join(line[4:] + "\n" for line in settings_page().splitlines() if line.startswith("    "))
    assert tomllib.loads(example)
    (tmp_path / "aiowsgi.toml").write_text(example)
    assert site().max_body == 1 << 30


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("app", "none"),
        ("bind", "127.0.0.1:8000"),
        ("max_body", "128M"),
        ("head_timeout", "20"),
        ("debug", "no"),
    ],
)
def test_defaults_are_shown_as_people_would_write_them(name: str, shown: str) -> None:
    assert SETTINGS[name].default == shown


def test_reload_shows_tracebacks_and_requests_unless_it_is_told_not_to(site: Site) -> None:
    assert site(app="a:b", reload="yes").access_log == "-"
    assert site(app="a:b", reload="yes").debug
    assert not site(app="a:b", reload="yes", debug="no").debug
    assert not site(app="a:b").debug


# TLS.


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"bind": ("tls::443",)}, "--bind: expected --certificate beside it, got 'tls::443'"),
        ({"certificate": ("p",)}, "--certificate: expected a bind that begins with tls: beside it"),
        ({"redirect_https": "yes"}, "--redirect-https: expected a bind that begins with tls: beside it"),
        ({"hsts": "60"}, "--hsts: expected a bind that begins with tls: beside it"),
        ({"bind": ("tls::443",), "certificate": ("none",)}, "--certificate: expected a file that exists"),
        (
            {"bind": ("tls::443",), "certificate": ("p", "p"), "key": ("p",)},
            "--key: expected one for each of --certificate",
        ),
        (
            {"bind": ("tls::443",), "certificate": ("p",), "client_certificates": "optional"},
            "--client-certificates: expected --client-ca beside it, got 'optional'",
        ),
        (
            {"bind": ("tls::443",), "certificate": ("p",), "redirect_https": "yes"},
            "--redirect-https: expected a bind without tls: beside it",
        ),
    ],
)
def test_what_tls_takes_is_asked_for(options: dict[str, object], expected: str, tmp_path: Path) -> None:
    (tmp_path / "p").touch()
    with pytest.raises(ConfigError) as caught:
        load({"app": "a:b", **options}, {}, tmp_path)
    assert str(caught.value).startswith(expected)


def test_what_tls_is_spoken_with(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    a, b, c = (str(tmp_path / name) for name in ("a", "b", "c"))
    options = {"app": "a:b", "bind": ("tls::443",), "certificate": ("a",)}
    assert load({"app": "a:b"}, {}, tmp_path).tls is None
    assert load(options, {}, tmp_path).tls == Tls(((a, a),), None, "none")
    assert load({**options, "key": ("b",), "client_ca": "c"}, {}, tmp_path).tls == Tls(
        ((a, b),), c, "required"
    )


def test_an_option_that_lists_may_be_given_again_and_again(site: Site) -> None:
    config = site(app="a:b", trusted_proxies=("10.0.0.0/8,unix", "::1"))
    assert config.trusted_proxies == ("10.0.0.0/8", "unix", "::1/128")
    assert mistake(lambda: site(app="a:b", trusted_proxies=("10.0.0.0/8,proxy",))) == (
        '--trusted-proxies: expected an address or a network, as in "10.0.0.0/8" or "::1",'
        " or \"unix\" for Unix sockets, got 'proxy'"
    )


def test_the_proxy_protocol_is_taken_from_somebody(site: Site) -> None:
    line = "--proxy-protocol: expected trusted proxies beside it, and there are none"
    assert mistake(lambda: site(app="a:b", proxy_protocol=True)) == line
    assert site(app="a:b", proxy_protocol=False) == Config(app="a:b")
