"""One thing at a time: a thread alone in a piece of work, and a thread that does one job behind the other."""

import _thread
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from threading import Lock, Thread
from types import BuiltinFunctionType


def are_replaced() -> bool:
    """Tell whether threads are the system's no more, as behind ``gevent.monkey.patch_all``.

    None that is started then runs by itself, and so whoever waits for it may wait for ever.
    """
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


def one_at_a_time() -> AbstractContextManager[bool]:
    """Return something to enter; who comes second waits. It is not re-entrant.

    Guarantees: whoever is inside ``with`` is alone there, and sees all that was done inside before.
    """
    return Lock()


class OneThread:
    """A thread that calls what it is given, for those who have no event loop and so no Pool.

    Guarantees: what was submitted before ``close`` is called once, in the order of submission. Any thread may submit.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        # A daemon, so that what blocks for ever cannot keep the process from ending.
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], object]) -> None:
        """Have ``job``, which raises nothing, called soon."""
        self._jobs.put(job)

    def close(self, timeout: float) -> bool:
        """End the thread behind what was submitted; False if it still runs after ``timeout`` seconds."""
        self._jobs.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
