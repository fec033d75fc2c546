"""Bodies of answers that the applications of all frameworks give: large ones, and streams that wait for the client.

A stream waits between its pieces for what the client does next, so a server that holds pieces back cannot pass:
what it holds back is what the client waits for.
"""

import os
from collections.abc import Iterator
from threading import Event

PATIENCE = 20.0  # seconds; only a server that fails has anybody wait so long

LARGE = b"0123456789abcde\n" * (256 * 1024)
# Where the server runs; absolute, as some frameworks start from the folder of the application's module.
DOWNLOAD = os.path.abspath("static/large.bin")

RELEASED = Event()  # the client has asked for the pieces behind the first
LEFT = Event()  # an endless stream was closed


def two_pieces() -> Iterator[bytes]:
    """Give the second piece once ``RELEASED`` is set."""
    RELEASED.clear()
    yield b"first\n"
    yield b"second\n" if RELEASED.wait(PATIENCE) else b"too late\n"


def endless() -> Iterator[bytes]:
    """Give piece upon piece once ``RELEASED`` is set; set ``LEFT`` when closed."""
    RELEASED.clear()
    LEFT.clear()
    yield b"first\n"
    RELEASED.wait(PATIENCE)
    try:
        while True:
            yield b"more\n"
    except GeneratorExit:
        LEFT.set()
        raise


def breaking() -> Iterator[bytes]:
    """Fail behind the first piece."""
    yield b"first\n"
    raise RuntimeError("broken on purpose")


def was_left() -> bool:
    """Wait until an endless stream was closed, and tell whether that has come."""
    return LEFT.wait(PATIENCE)
