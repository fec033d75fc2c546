"""Workers whose event loops hang, so that nobody is served and nothing can be asked of them: they are killed.

A thread that holds the interpreter does it, in a regular expression for example. A worker says once a second that its
loop goes round, in memory that it shares with its parent, and who says nothing for a minute is taken for lost: what
else it serves is so as long as it lives. Then its place is filled as at any other death.
"""

import logging
import math
import time
from collections.abc import Callable, Collection
from functools import partial

from aiowsgi.process.child import Child
from aiowsgi.process.questions import Answers, Questions

LOOK = 20.0  # seconds between two looks
# How many looks in a row have to find a worker silent: a minute is longer than any collection of garbage, or than a
# machine swaps. Looks are counted, as a clock goes on while a container is frozen, and behind that a worker has to come
# to its turn first.
LOOKS = 4

logger = logging.getLogger("aiowsgi.supervisor")


class Silence:
    """Which workers are silent, and for how long."""

    def __init__(
        self, is_silent: Callable[[int], bool], questions: Questions, children: Collection[Child]
    ) -> None:
        """``children`` are those there are at any time, ``questions`` where their stacks are had from."""
        self._is_silent = is_silent
        self._questions = questions
        self._children = children
        self._due = -math.inf  # on the monotonic clock
        self._counts: dict[Child, int] = {}  # of looks

    def due(self) -> float:
        """Return when to look again, on the monotonic clock."""
        return self._due

    def act(self) -> None:
        """Look at them, if it is time."""
        now = time.monotonic()
        if self._due > now:
            return
        self._due = now + LOOK
        # Who loads may be silent, and who is asked to stop is killed in time.
        silent = [c for c in self._children if c.state == "serving" and self._is_silent(c.pid)]
        self._counts = {child: self._counts.get(child, 0) + 1 for child in silent}
        lost = [child for child in silent if self._counts[child] >= LOOKS]
        if lost:
            self._questions.show_stacks(lost, partial(self._kill, lost))

    def _kill(self, lost: Collection[Child], shown: Answers) -> None:
        for child in lost:
            if child in self._children and self._is_silent(child.pid):
                line = (
                    "%s has said nothing for %g s, as its event loop hangs, and is killed; its threads:\n%s"
                )
                logger.error(line, child, LOOK * (LOOKS - 1), shown.get(child, "they cannot be shown"))
                child.kill()
