"""Mounts: which handler is asked, in which order, and with which SCRIPT_NAME and PATH_INFO."""

import pytest

from aiowsgi.http.messages import Request
from aiowsgi.site.router import Answer, Mount, Router


class Named:
    """A handler that is only looked at."""

    def __init__(self, name: str) -> None:
        self.name = name

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        raise AssertionError("the router picks handlers, it does not call them")


def mount(prefix: str, name: str) -> Mount:
    return prefix, Named(name)


def asked(router: Router, path: str) -> list[tuple[str, str, str]]:
    found = []
    for handler, script_name, path_info in router.candidates(path):
        assert isinstance(handler, Named)
        found.append((handler.name, script_name, path_info))
    return found


def test_a_single_mount_at_the_root_takes_every_path() -> None:
    router = Router([mount("", "app")])
    assert asked(router, "/") == [("app", "", "/")]
    assert asked(router, "/a/b") == [("app", "", "/a/b")]
    assert asked(router, "*") == [("app", "", "*")]


def test_a_prefix_becomes_script_name_and_the_rest_path_info() -> None:
    router = Router([mount("/api", "api")])
    assert asked(router, "/api/users/7") == [("api", "/api", "/users/7")]
    assert asked(router, "/api/") == [("api", "/api", "/")]
    assert asked(router, "/api") == [("api", "/api", "")]


@pytest.mark.parametrize("path", ["/", "/apiary", "/ap", "/API", "/x/api", "//api", "*"])
def test_a_prefix_matches_whole_segments_only(path: str) -> None:
    assert asked(Router([mount("/api", "api")]), path) == []


def test_longer_prefixes_are_asked_first_and_shorter_ones_when_they_decline() -> None:
    router = Router([mount("", "site"), mount("/a", "a"), mount("/a/b", "ab"), mount("/c", "c")])
    assert asked(router, "/a/b/x") == [("ab", "/a/b", "/x"), ("a", "/a", "/b/x"), ("site", "", "/a/b/x")]
    assert asked(router, "/a/x") == [("a", "/a", "/x"), ("site", "", "/a/x")]
    assert asked(router, "/x") == [("site", "", "/x")]


def test_mounts_of_one_prefix_are_asked_in_the_order_given() -> None:
    router = Router([mount("", "2nd"), mount("/a", "1st"), mount("", "3rd"), mount("/a", "0th")])
    assert [name for name, _, _ in asked(router, "/a")] == ["1st", "0th", "2nd", "3rd"]


def test_a_site_without_mounts_has_nobody_to_ask() -> None:
    assert asked(Router([]), "/") == []


@pytest.mark.parametrize("prefix", ["/", "api", "/api/"])
def test_a_prefix_that_could_never_match_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="begins with '/'"):
        Router([mount(prefix, "api")])
