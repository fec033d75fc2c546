"""Who is told of each answer at its end."""

from typing import Protocol

from aiowsgi.http.messages import Request


class Log(Protocol):
    """On the loop, which it never holds up."""

    def write(self, client: str, request: Request, status: int, size: int, seconds: float) -> None:
        """Note one answer.

        ``size`` is bytes on the wire, head included; ``seconds`` go from the request's head to the last of them.
        """


class Logs:
    """Several of them as one."""

    def __init__(self, *logs: Log) -> None:
        self._logs = logs

    def write(self, client: str, request: Request, status: int, size: int, seconds: float) -> None:
        for log in self._logs:
            log.write(client, request, status, size, seconds)
