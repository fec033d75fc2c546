"""What SIGTERM does to the first process of a container: the system has no default action for it.

A signal that PID 1 does not handle is dropped (pid_namespaces(7)). One that comes while the modules of the server are
being imported would be lost, and whoever sent it would wait in vain and kill in the end. So this module is imported
before them. Where the process has another number, or has said by itself what SIGTERM does, nothing happens.
"""

import contextlib
import os
import signal


def have_default_action() -> None:
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))


have_default_action()
