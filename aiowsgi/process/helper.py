"""A process beside the workers that serves nobody, and ends with the supervisor."""

import logging
import os
import signal

from aiowsgi.process.child import Child

logger = logging.getLogger("aiowsgi.supervisor")


class Helper:
    """Where it dies by itself, that is told once, and nobody takes its place: the server does without."""

    def __init__(self, child: Child) -> None:
        self._child: Child | None = child

    @property
    def pid(self) -> int:
        return 0 if self._child is None else self._child.pid

    def reap(self) -> None:
        """See whether it has ended."""
        child = self._child
        if child is not None and os.waitpid(child.pid, os.WNOHANG)[0]:
            child.hear_rest()
            logger.error(
                "changes of files are not noticed any more: %s", child.words.strip() or "who watched is gone"
            )
            self.close()

    def end(self) -> None:
        """End it, and return when it has."""
        if self._child is not None:
            os.kill(self._child.pid, signal.SIGKILL)  # it holds nothing that is to be put away
            os.waitpid(self._child.pid, 0)
            self.close()

    def close(self) -> None:
        """Close what the supervisor alone has of it."""
        if self._child is not None:
            self._child.close()
            self._child = None
