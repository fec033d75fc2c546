"""Where a thread is: its stack, as another thread sees it."""

import sys
import threading
from collections.abc import Collection, Iterator
from threading import Thread
from traceback import FrameSummary, StackSummary, walk_stack
from types import CodeType, FrameType


def stack_of(thread: Thread, below: CodeType) -> StackSummary:
    """Return what ``thread`` has called, down to ``below``. It does not look at the disk, nor hold the thread up."""
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:  # it has ended
        return StackSummary.from_list([])
    return _summary(frame, [below])


def stacks(below: Collection[CodeType]) -> Iterator[tuple[int, str, StackSummary]]:
    """Yield the id and the name of each thread of this process, and what it has called, down to any of ``below``.

    Of the one that asks there is nothing to tell.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        own = ident == threading.get_ident()
        yield ident, names.get(ident, f"thread {ident}"), StackSummary() if own else _summary(frame, below)


def other_threads() -> list[str]:
    """Return the names of the threads of this process but the one that asks."""
    asking = threading.current_thread()
    return [thread.name for thread in threading.enumerate() if thread is not asking]


def _summary(frame: FrameType, below: Collection[CodeType]) -> StackSummary:
    calls: list[FrameSummary] = []
    for each, line in walk_stack(frame):
        code = each.f_code
        if code in below:
            break
        calls.append(FrameSummary(code.co_filename, line, code.co_name, lookup_line=False))
    return StackSummary.from_list(calls[::-1])


def stack_text(stack: StackSummary) -> str:
    """Return it as in a traceback, with the lines of the source files, which are read."""
    return "".join(stack.format()).rstrip()
