"""A pipe that comes to its end of file when the parent dies, however it does, and what comes of that in its child.

An event loop watches it, and drains. Who has none yet, as the application is being imported, perhaps for minutes, has
the system kill this process then: it serves nobody, and would hold the listening sockets for those who come.
"""

import os
import select
import signal

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]


def guard(life: int) -> int:
    """Return a descriptor of the same pipe, at whose end of file this process is killed, until ``release``.

    It takes Linux: elsewhere it returns ``life``, and nothing happens by itself.
    """
    try:
        # As it is opened anew, its flags and its owner are this process's, and not those of all that have the pipe.
        own = os.open(f"/proc/self/fd/{life}", os.O_RDONLY)
    except OSError:
        return life
    fcntl.fcntl(own, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(own, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(own, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([own], [], [], 0)[0]:  # it has died before
        os.kill(os.getpid(), signal.SIGKILL)
    return own


def release(life: int) -> None:
    """Have nothing happen by itself any more: an event loop watches ``life`` now."""
    if fcntl is not None:
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) & ~os.O_ASYNC)
