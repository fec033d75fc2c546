"""The load of twice what a server can carry: how much of that it still does, and how long it lets people wait."""

from bench.loads import Load, Plan
from bench.openloop import Answer, crowd_of
from bench.report import Column, Figures
from bench.running import Running
from bench.servers import THREADS, Failed, Site

IN_TIME = 0.5  # seconds; an answer that comes later helps nobody
_AT_THE_PEAK = 2 * THREADS  # connections that ask again and again: no thread has to wait for one
_SHORTEST = 4  # seconds of the overload: a queue has to have stood for a while


def in_time(answers: list[Answer]) -> list[float]:
    """Return the seconds of those answers that are good ones, and in time."""
    return [answer.seconds for answer in answers if answer.status == 200 and answer.seconds <= IN_TIME]


class Overload(Load):
    """Requests at twice the rate of the server's peak, whether it answers them or not."""

    compared = Column("goodput", "goodput / peak", ".2f")
    columns = (
        compared,
        Column("peak", "peak requests/s"),
        Column("rate", "good answers/s"),
        Column("p50", "p50 ms", ",.0f"),
        Column("longest", "longest ms", ",.0f"),
        Column("late", "% too late", ".1f"),
        Column("refused", "% refused", ".1f"),
        Column("refusal", "longest refusal ms", ",.0f"),
    )

    def connections(self, plan: Plan) -> int:
        """Return how many there are at the peak; in an overload there are as many as it takes."""
        return _AT_THE_PEAK

    def command(self, site: Site, plan: Plan) -> str:
        """Return a comment: the client is a part of this program."""
        seconds = max(plan.seconds, _SHORTEST)
        return (
            f"# {_AT_THE_PEAK} connections ask again and again for 2 s: the peak; "
            f"then twice as many requests a second for {seconds} s, answered or not"
        )

    def measure(self, started: Running, plan: Plan) -> Figures:
        """Find the peak, then ask twice as often. Raises Failed."""
        seconds = max(plan.seconds, _SHORTEST)
        with crowd_of(started.port, started.site.path) as crowd:
            peak = len(in_time(crowd.keep_asking(_AT_THE_PEAK, 2.0))) / 2.0
        if not peak:
            raise Failed("no answers")
        with crowd_of(started.port, started.site.path) as crowd:
            answers = crowd.ask_at(2 * peak, seconds)
        good = sorted(in_time(answers))
        given = [answer.seconds for answer in answers if answer.status == 200]
        refusals = [answer.seconds for answer in answers if answer.status != 200]
        return {
            "goodput": len(good) / seconds / peak,
            "peak": peak,
            "rate": len(good) / seconds,
            "p50": 1e3 * sorted(given)[len(given) // 2] if given else 0.0,
            "longest": 1e3 * max(given, default=0.0),
            "late": 100 * (len(given) - len(good)) / len(answers),
            "refused": 100 * len(refusals) / len(answers),
            "refusal": 1e3 * max(refusals, default=0.0),
        }
