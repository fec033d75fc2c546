"""The path where load balancers ask whether to send requests."""

from collections.abc import Callable

from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import Request, Response

_FIELDS = field_lines([("Content-Type", "text/plain"), ("Cache-Control", "no-store")])


class Health:
    """A handler that answers its very prefix, on the loop: a full queue of requests says nothing about health."""

    def __init__(self, leaving: Callable[[], bool]) -> None:
        self._leaving = leaving

    def handle(self, request: Request, script_name: str, path_info: str) -> Response | None:
        if path_info:
            return None
        return (
            Response(503, _FIELDS, b"stopping\n") if self._leaving() else Response(200, _FIELDS, b"ready\n")
        )
