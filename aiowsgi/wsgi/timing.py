"""A Call that takes the time: how long it waited for its thread, and how long the application took.

Where nobody wants to know, calls are not of this kind, and the clock is not asked.
"""

from time import monotonic

from aiowsgi.http.framing import Head
from aiowsgi.http.messages import Spent
from aiowsgi.wsgi.rewriting import RewritingCall


class TimedCall(RewritingCall):
    """Notes it as ``spent`` of the request, before the end of the answer is on its way."""

    __slots__ = ("_began", "_spent")

    _began: float
    _spent: Spent

    def run(self) -> None:
        self._began = monotonic()
        self._request.spent = self._spent = Spent(self._began - self.since)
        super().run()

    def failed(self, error: BaseException) -> None:
        self._note()
        super().failed(error)

    def _send_all(self, head: Head, data: bytes) -> None:
        self._note()
        super()._send_all(head, data)

    def _finish(self, data: bytes, keep_alive: bool) -> None:
        self._note()
        super()._finish(data, keep_alive)

    def _note(self) -> None:
        if self._spent.application is None:
            self._spent.application = monotonic() - self._began
