"""What Python does at the end of a program, for a process that was forked and does not end as a program does.

It leaves by ``os._exit``, since above it, in the stack that came with the fork, is what its parent does on its way out.
But an application expects that its threads are waited for and that what it has registered with ``atexit`` is called:
that is how what is in the queue of a client for logs or traces is sent. ``multiprocessing`` does the same.
"""

import atexit
import logging
import signal
import sys
import threading
from types import FrameType

from aiowsgi.wsgi.serial import OneThread

logger = logging.getLogger("aiowsgi.worker")


def disown() -> None:
    """Forget what the parent has registered."""
    atexit._clear()


def bound(seconds: float) -> None:
    """Have this process end in so many ``seconds``, whatever it does, and heed no SIGTERM: its end has begun.

    For when nobody else ends it.
    """
    signal.signal(signal.SIGTERM, _do_nothing)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def wait_for_threads(seconds: float) -> None:
    """Wait for the threads that are no daemons, and for executors to do what they have been given."""
    # By a thread, since it takes no timeout. Executors end their threads in there, and those of processes theirs.
    waiting = OneThread("aiowsgi-exit")
    waiting.submit(threading._shutdown)  # type: ignore[attr-defined]
    if not waiting.close(seconds):
        names = [thread.name for thread in threading.enumerate() if _is_waited_for(thread)]
        logger.warning("threads of the application have not ended, and are left behind: %s", ", ".join(names))


def _is_waited_for(thread: threading.Thread) -> bool:
    ours = thread is threading.main_thread() or thread.name.startswith("aiowsgi-")
    return not (ours or thread.daemon)


def call_registered() -> None:
    """Call what is registered with ``atexit``; what it raises is shown on standard error.

    Not what ``multiprocessing`` does there: it would wait for processes, for as long as they live.
    """
    if (processes := sys.modules.get("multiprocessing.util")) is not None:
        atexit.unregister(processes._exit_function)
    atexit._run_exitfuncs()


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Unlike SIG_IGN this is not handed on to a program that is started."""
