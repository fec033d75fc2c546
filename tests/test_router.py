"""Mounts: which handler is asked, in which order, with which SCRIPT_NAME and PATH_INFO, and who answers."""

import pytest

from aiowsgi.http.messages import HTTPError, Request, Response
from aiowsgi.site.router import Answer, Candidate, Mount, Router


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


class Answering:
    """A handler that has its answer, and notes that it was asked."""

    def __init__(self, answer: Answer | HTTPError) -> None:
        self.answer = answer
        self.asked_as: tuple[str, str] | None = None

    def handle(self, request: Request, script_name: str, path_info: str) -> Answer:
        self.asked_as = (script_name, path_info)
        if isinstance(self.answer, HTTPError):
            raise self.answer
        return self.answer

    @property
    def candidate(self) -> Candidate:
        return self, "/a", "/b"


def test_the_first_that_does_not_decline_answers() -> None:
    response = Response(200)
    declining, answering, last = Answering(None), Answering(response), Answering(Response(500))
    candidates = iter([declining.candidate, answering.candidate, last.candidate])
    assert Router([]).first_answer(Request(), candidates) is response
    assert declining.asked_as == answering.asked_as == ("/a", "/b")
    assert last.asked_as is None


def test_nobody_is_asked_beyond_an_answer_that_was_found() -> None:
    response, other = Response(200), Answering(Response(500))
    assert Router([]).first_answer(Request(), iter([other.candidate]), response) is response
    assert other.asked_as is None


def test_a_handler_that_refuses_has_answered() -> None:
    refusing, other = Answering(HTTPError(405, fields=[("Allow", "GET")])), Answering(Response(200))
    answer = Router([]).first_answer(Request(), iter([refusing.candidate, other.candidate]))
    assert isinstance(answer, Response)
    assert answer.status == 405
    assert b"Allow: GET\r\n" in answer.fields
    assert other.asked_as is None


def test_where_nobody_is_left_to_ask_nothing_is_found() -> None:
    answer = Router([]).first_answer(Request(), iter([Answering(None).candidate]))
    assert isinstance(answer, Response)
    assert answer.status == 404
