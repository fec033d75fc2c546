"""Which names are never served, by default and by the settings, and that to tell costs little."""

from time import process_time

import pytest

from aiowsgi.config import Files
from aiowsgi.site.names import refusing

LONG = "/" + "a" * 4000


REFUSED = r"""
/app.py /sub/app.PY /app.pyc /a.py/b /sub/prod.env/x /db.sqlite3 /a~ /sub~/a /#a# /##
/.env /sub/.git/config /.well-known /sub/.well-known/x //a /a//b /a. /sub./a /a\b a
"""
SERVED = "/ /a /py /happy /a.pyx /a.py.txt /env /a.envy /.well-known/acme /a~b /a#b# /#a /sub/ /a.b/c"


@pytest.mark.parametrize(
    "path", [*REFUSED.split(), "/a\0", "/a\n", "/a \x7f", "/a ", "/sub /a", "/" + "a" * 4096]
)
def test_what_is_never_served(path: str) -> None:
    assert refusing(Files().refused)(path)


@pytest.mark.parametrize("path", [*SERVED.split(), ""])
def test_what_may_be_served(path: str) -> None:
    assert not refusing(Files().refused)(path)


@pytest.mark.parametrize(
    ("glob", "refused", "served"),
    [
        ("*.sql", ["/a.sql", "/A.SQL", "/a.sql/b", "/sub/.sql"], ["/a.sqlx", "/sql", "/a.sql.txt"]),
        ("private", ["/private", "/Private/a", "/sub/private"], ["/privately", "/my-private", "/a.private"]),
        ("a*c", ["/ac", "/abbc/d", "/sub/a c"], ["/ab/c", "/ac.txt", "/bac"]),
        ("a?c", ["/abc", "/a.c/"], ["/ac", "/abbc", "/a/c"]),
        ("*", ["/a", "/sub/a"], []),
        ("a.b+(c)[d]|^$", ["/a.b+(c)[d]|^$"], ["/axb", "/a.bb+(c)d"]),
        ("a # b", ["/a # b"], ["/a", "/ab"]),
        ("*a*b*", ["/ab", "/xaxbx"], ["/ba", "/a/b"]),
        ("größe", ["/größe".encode().decode("latin-1")], ["/größe"]),
    ],
)
def test_names_may_be_added(glob: str, refused: list[str], served: list[str]) -> None:
    is_refused = refusing([glob])
    assert all(is_refused(path) for path in [*refused, "/.env", "//"])
    assert not any(is_refused(path) for path in [*served, "/.well-known/x"] if glob != "*")
    assert is_refused("/app.py") is (glob == "*")


def test_with_no_names_what_is_hidden_is_refused_still() -> None:
    assert refusing([])("/.env")
    assert not refusing([])("/app.py")


@pytest.mark.parametrize("globs", [Files().refused, ("*a*a*a*a*b", "a*a*a*a*ab", "?*a?*a?*a?*b")])
@pytest.mark.parametrize(
    "path", [LONG, "/a" * 2000, "/" + "a." * 2000 + "a", "/#a" * 1300, "/" + ".p" * 2000]
)
def test_a_hostile_path_costs_little(globs: tuple[str, ...], path: str) -> None:
    is_refused = refusing(globs)
    started = process_time()
    for _ in range(10):
        is_refused(path)
    assert (process_time() - started) / 10 < 0.02
