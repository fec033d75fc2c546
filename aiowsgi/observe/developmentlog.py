"""The access log of a developer: a line that a person reads, with where the time of a request has gone."""

from time import localtime, strftime, time

from aiowsgi.http.messages import Request, shortened
from aiowsgi.observe.accesslog import AccessLog

SLOW = 0.5  # seconds from which on a time stands out

_PLAIN, _BOLD, _DIM = "0", "1", "2"
_COLOURS = {
    2: "32",
    3: "36",
    4: "33",
    5: "1;31",
}  # green, cyan, yellow, red: by the first digit of the status
_YELLOW = "33"


class DevelopmentLog(AccessLog):
    """Writes to a terminal, or to whatever stands for it; ``coloured`` says whether that understands colours.

    Requests for paths that begin with ``hidden`` are nobody's business.
    """

    coloured = False
    hidden = "\0"  # is in no path

    def write(self, client: str, request: Request, status: int, size: int, seconds: float) -> None:
        if request.path.startswith(self.hidden) or not self._waiting.has_room():
            return
        now = int(time())
        if now != self._second:
            self._second, self._stamp = now, strftime("%H:%M:%S", localtime(now))
        self._waiting.add(self._line(request, status, seconds).encode("ascii", "backslashreplace"))
        if not self._writing:
            self._begin()

    def _line(self, request: Request, status: int, seconds: float) -> str:
        # Whatever a client sends: with nothing in it that ends the line, or commands the terminal.
        method, target = shortened(request.method), shortened(request.target)
        spent = getattr(request, "spent", None)
        queue = application = None
        if spent is not None:
            queue, application = spent.queue, spent.application
        parts = [
            self._in(_DIM, self._stamp),
            self._in(_BOLD, f"{method:<4}"),
            f"{target:<40}",
            self._in(_COLOURS.get(status // 100, _PLAIN), str(status)),
            self._time("queue", queue),
            self._time("app", application),
            self._time("total", seconds),
        ]
        return " ".join(parts).rstrip() + "\n"

    def _time(self, name: str, seconds: float | None) -> str:
        if seconds is None:
            return " " * (len(name) + 13)
        text = f" {name} {seconds * 1000:8.1f} ms"
        return self._in(_YELLOW if seconds >= SLOW else _DIM, text)

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self.coloured else text
