"""The loop of a supervisor: it waits for signals, for what others write, and for the time when something is due."""

import contextlib
import math
import os
import selectors
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

# Seconds until it looks at its clock again where nothing happens: epoll has no number for more than 24 days.
LONGEST_WAIT = 3600.0


class Part(Protocol):
    """What time brings something to do for."""

    def due(self) -> float:
        """Return when that will be, on the monotonic clock; infinity if nothing is known of."""

    def act(self) -> None:
        """Do what is due by now."""


class Loop:
    """Waits, and calls what belongs to whatever has come.

    Guarantees:
    - Nothing happens in a signal handler: its number comes through a pipe and is acted on in a turn.
    - Nothing is polled: a worker's death is a SIGCHLD, and the clock is asked only for what is due.
    - What has been let go of in a turn is not called in it any more.
    """

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()  # its keys have functions without arguments as their data
        self.signals: dict[int, Callable[[], object]] = {}  # and what they ask for
        self._queue, self._queue_end = os.pipe()  # their numbers
        os.set_blocking(self._queue, False)
        os.set_blocking(self._queue_end, False)
        self.selector.register(self._queue, selectors.EVENT_READ, self._act_on_signals)

    @contextlib.contextmanager
    def hearing(self, early: Callable[[], bytes]) -> Iterator[None]:
        """Hear the signals inside the block; ``early`` returns the numbers of those that have come before."""
        before = {}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        # Before the handlers and behind them, or what comes in between would be nobody's.
        wakeup = signal.set_wakeup_fd(self._queue_end)
        try:
            for number in self.signals:
                before[number] = signal.signal(number, lambda *_: None)
            signal.pthread_sigmask(
                signal.SIG_UNBLOCK, self.signals
            )  # the mask is inherited, whoever has made it
            os.write(self._queue_end, early())
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            signal.set_wakeup_fd(wakeup)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def turn(self, parts: Iterable[Part], latest: float) -> None:
        """Wait for something to happen or to be due, until the time ``latest`` at most, and have it seen to."""
        due = min([latest, *(part.due() for part in parts)])
        seconds = None if due == math.inf else min(max(0.0, due - time.monotonic()), LONGEST_WAIT)
        for key, _ in self.selector.select(seconds):
            # One before it may have let go of it, or closed it, in this very turn.
            if self.selector.get_map().get(key.fd) is key:
                key.data()
        for part in parts:
            part.act()

    def close(self) -> None:
        self.selector.close()
        os.close(self._queue)
        os.close(self._queue_end)

    def _act_on_signals(self) -> None:
        for number in os.read(self._queue, 4096):
            if number in self.signals:  # whoever called ``run`` may have handlers of their own
                self.signals[number]()
