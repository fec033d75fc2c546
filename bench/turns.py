"""Many slow clients in one process: each does a little at its turn, and the turns are spread over time."""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from threading import get_native_id
from typing import Protocol

_LONGEST_WAIT = 0.05  # between two looks whether it is time to end


class Client(Protocol):
    """One connection."""

    def turn(self) -> None:
        """Send or read a little, without waiting. Raises Failed."""


class Turns:
    """Clients that each have a turn every ``interval`` seconds, evenly spread, so that they disturb others little."""

    def __init__(self, clients: Sequence[Client], interval: float) -> None:
        """``begin`` has to follow."""
        self._clients = clients
        self._interval = interval
        self._waiting: deque[tuple[float, Client]] = deque()  # they have one interval, and so stay in order

    def begin(self) -> None:
        """Have the turns begin now."""
        begun = time.monotonic()
        step = self._interval / max(len(self._clients), 1)
        self._waiting = deque((begun + number * step, client) for number, client in enumerate(self._clients))

    @property
    def due(self) -> float:
        """When the next turn is, on the monotonic clock."""
        return self._waiting[0][0]

    def take(self) -> None:
        """Have the next client take its turn. Raises Failed."""
        due, client = self._waiting.popleft()
        client.turn()
        self._waiting.append((due + self._interval, client))


def take_turns(groups: Sequence[Turns], ended: Callable[[], bool]) -> None:
    """Have the clients of all ``groups`` take their turns until ``ended()``. Raises Failed."""
    while not ended():
        group = min(groups, key=lambda group: group.due)
        if (wait := group.due - time.monotonic()) > 0:
            time.sleep(min(wait, _LONGEST_WAIT))
        else:
            group.take()


def after(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so many seconds have passed from now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def give_way() -> None:
    """Have this thread wait for all others that want its core; on Linux, where a thread has a niceness of its own."""
    os.setpriority(os.PRIO_PROCESS, get_native_id(), 19)
