"""One function for many items, by several threads at once, for commands that have no event loop."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item, Callable[[], bool]], Result], items: Iterable[Item], threads: int
) -> Generator[Result, None, None]:
    """Yield what ``function(item, stopped)`` returns for each of ``items``, in the order they are done.

    Guarantees: it is called once for each, begun in their order, by at most ``threads`` threads at a time. Once the
    caller has closed this, or was interrupted in it, nothing more is begun, ``stopped()`` is true for what is
    still running, and that has ended. What ``function`` raises ends all in the same way.
    """
    stop = Event()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for done in as_completed([pool.submit(function, item, stop.is_set) for item in items]):
                yield done.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
