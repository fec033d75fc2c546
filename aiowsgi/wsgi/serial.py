"""One thread at a time through a piece of work, for those who share no other state.

Guarantees: whoever is inside ``with`` is alone there, and sees all that was done inside before.
"""

from contextlib import AbstractContextManager
from threading import Lock


def one_at_a_time() -> AbstractContextManager[bool]:
    """Return something to enter; who comes second waits. It is not re-entrant."""
    return Lock()
