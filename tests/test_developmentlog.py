"""The lines that a developer reads, whatever clients send."""

import os

import pytest

from aiowsgi.config import Limits
from aiowsgi.http.messages import UNREAD, Request, Spent
from aiowsgi.http.parser import Parser
from aiowsgi.observe.developmentlog import DevelopmentLog
from tests.turned_loop import TurnedLoop


def request(target: str = "/", spent: Spent | None = None) -> Request:
    found = Parser(Limits()).head(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode("latin-1"))
    assert found is not None
    if spent is not None:
        found[0].spent = spent
    return found[0]


def logged(*requests: Request, status: int = 200, coloured: bool = False, seconds: float = 0.01) -> str:
    ours, theirs = os.pipe()
    with TurnedLoop() as loop:
        log = DevelopmentLog(theirs, loop.pool.submit, loop.pool.hand_over)
        log.coloured, log.hidden = coloured, "/.aiowsgi/"
        for one in requests:
            log.write("192.0.2.1", one, status, 100, seconds)
        log.finish()
        loop.soon(lambda: None)
        loop.turn()
    os.close(theirs)
    with open(ours, encoding="ascii") as lines:
        return lines.read()


def spent(queue: float, application: float | None) -> Spent:
    found = Spent(queue)
    found.application = application
    return found


def test_a_line_has_method_path_status_and_times() -> None:
    line = logged(request("/a?b", spent(0.0012, 0.25)), seconds=0.3)
    assert line.split() == [
        line.split()[0],
        "GET",
        "/a?b",
        "200",
        *["queue", "1.2", "ms", "app", "250.0", "ms", "total", "300.0", "ms"],
    ]


def test_what_is_not_known_is_left_out() -> None:
    assert "queue" not in logged(request())
    assert "app" not in logged(request("/", spent(0.1, None)), status=499)
    assert " -  " in logged(UNREAD, status=400)


def test_times_stand_below_each_other() -> None:
    lines = logged(
        request("/file"), request("/view", spent(0.1, 0.2)), request("/view", spent(9, 99))
    ).splitlines()
    assert len({line.index("total") for line in lines}) == 1


@pytest.mark.parametrize(
    ("status", "colour"), [(200, "32"), (304, "36"), (404, "33"), (499, "33"), (500, "1;31")]
)
def test_the_colour_tells_the_kind_of_status(status: int, colour: str) -> None:
    assert f"\x1b[{colour}m{status}\x1b[0m" in logged(request(), status=status, coloured=True)
    assert "\x1b" not in logged(request(), status=status)


def test_a_time_that_is_long_stands_out() -> None:
    line = logged(request("/", spent(0.001, 2.0)), coloured=True, seconds=0.01)
    assert "\x1b[33m app   2000.0 ms" in line
    assert "\x1b[2m queue" in line


def test_no_client_commands_the_terminal_or_makes_a_line_long() -> None:
    hostile = request()
    hostile.method = "G\x1b[2J"
    hostile.target = "/\x1b]0;title\x07\r\n\x9b31m" + "x" * 5000
    line = logged(hostile, coloured=True)
    assert line.count("\n") == 1
    assert line.count("\x1b") == logged(request(), coloured=True).count("\x1b")
    assert "\x07" not in line
    assert r"/\x1b]0;title\x07\r\n\x9b31m" in line
    assert len(line) < 500


def test_what_is_hidden_has_no_line() -> None:
    assert logged(request("/.aiowsgi/reload?7"), request("/seen")).count("\n") == 1
