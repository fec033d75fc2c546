"""A server that is asked for twice of what it can do, as a process of its own: it does what it can, and in time."""

from pathlib import Path

from bench.openloop import crowd_of
from bench.overload import IN_TIME, in_time
from tests.server import RunningServer

SLOW = """\
import time

def application(environ, start_response):
    time.sleep(0.02)  # it waits for something, and burns nothing: the machine is not what is overloaded
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


def test_twice_the_load_is_answered_at_nine_tenths_of_the_peak_and_in_time(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)
    options = ("--threads", "4", "--queue-timeout", str(IN_TIME))
    with RunningServer("slow:application", *options, cwd=tmp_path) as server:
        with crowd_of(server.port, "/") as crowd:
            peak = len(in_time(crowd.keep_asking(8, 1.0)))
        with crowd_of(server.port, "/") as crowd:
            answers = crowd.ask_at(2 * peak, 3.0)
        assert {answer.status for answer in answers} == {200, 503}
        assert max(answer.seconds for answer in answers if answer.status == 200) < IN_TIME
        assert len(in_time(answers)) >= 0.9 * 3.0 * peak
        # And nobody is left without an answer, nor waits for longer to be refused.
        assert len(answers) == 6 * peak
        assert max(answer.seconds for answer in answers) < IN_TIME
        server.until(r"\d+ requests were answered 503: no thread had time for them")
