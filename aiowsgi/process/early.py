"""Signals that come before the supervisor acts on them: a PID file may tell others by then where to send them."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self


class StoppedError(BaseException):
    """SIGTERM has come; an application's code is not to take it for an error of its own."""


class EarlySignals:
    """A context manager: a SIGTERM leaves its block, which ends without an error then, and other signals are kept.

    That is so until ``end``. From then on nothing comes of any: whoever asks twice does not interrupt the cleaning up.
    In the main thread; nothing happens where there is no supervisor (Windows).
    """

    def __init__(self) -> None:
        self._kept = b""
        self._ended = False

    def end(self) -> bytes:
        """Return the numbers of those that have been kept: whoever calls this acts on signals from now on."""
        self._ended = True
        return self._kept

    def __enter__(self) -> Self:
        numbers = []
        if hasattr(os, "fork"):
            numbers = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
            numbers += [signal.SIGTTIN, signal.SIGTTOU]
        self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None
    ) -> bool:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        return isinstance(error, StoppedError)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM and not self._ended:
            self._ended = True
            raise StoppedError
        self._kept += bytes([number])
