"""What an ``Answering`` needs of a loop, for the loop of a supervisor: select, and call what belongs to the ready."""

import selectors
import socket
from collections.abc import Callable

_Call = Callable[[], None]


class Selecting:
    """A ``Loop`` of ``server/answering.py`` over a selector whose keys have a function without arguments as their data.

    It may be called for nothing, as one is for both directions: what is watched has to be non-blocking.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._calls: dict[socket.socket, dict[int, _Call]] = {}  # by event

    def add_reader(self, fd: socket.socket, callback: _Call, /) -> None:
        self._change(fd, selectors.EVENT_READ, callback)

    def add_writer(self, fd: socket.socket, callback: _Call, /) -> None:
        self._change(fd, selectors.EVENT_WRITE, callback)

    def remove_reader(self, fd: socket.socket, /) -> None:
        self._change(fd, selectors.EVENT_READ, None)

    def remove_writer(self, fd: socket.socket, /) -> None:
        self._change(fd, selectors.EVENT_WRITE, None)

    def _change(self, fd: socket.socket, event: int, callback: _Call | None) -> None:
        before = self._calls.pop(fd, {})
        calls = {each: call for each, call in before.items() if each != event}
        if callback is not None:
            calls[event] = callback
        if before:
            self._selector.unregister(fd)
        if calls:
            self._calls[fd] = calls
            self._selector.register(fd, sum(calls), lambda: [call() for call in calls.values()])
