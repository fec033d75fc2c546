"""Where a thread is: its stack, as another thread sees it."""

import sys
from threading import Thread
from traceback import FrameSummary, StackSummary, walk_stack
from types import CodeType


def stack_of(thread: Thread, below: CodeType) -> StackSummary:
    """Return what ``thread`` has called, down to ``below``. It does not look at the disk, nor hold the thread up."""
    calls: list[FrameSummary] = []
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is not None:  # or it has ended
        for each, line in walk_stack(frame):
            code = each.f_code
            if code is below:
                break
            calls.append(FrameSummary(code.co_filename, line, code.co_name, lookup_line=False))
    return StackSummary.from_list(calls[::-1])


def stack_text(stack: StackSummary) -> str:
    """Return it as in a traceback, with the lines of the source files, which are read."""
    return "".join(stack.format()).rstrip()
