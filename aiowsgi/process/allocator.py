"""What a worker tells glibc's malloc, which is made for other programs: how much that is free it may keep.

By itself it gives each thread an arena of its own, of which others have nothing, though of Python's threads hardly ever
two allocate at once. And it learns from what is freed: behind one large block, blocks up to that size are no longer the
system's, and each arena keeps twice as much at its end.
"""

import os

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None  # type: ignore[assignment]

# Bytes from which on a block is the system's own, to which it goes back when it is freed. What is read from a socket at
# once, 256 KiB, is below: to have each of those from the system takes an upload twice its CPU time.
LARGE = 512 * 1024
_MMAP_THRESHOLD = -3  # <malloc.h> of glibc

# Bytes that an arena keeps free at its end: more than an upload has in memory, for the same reason.
KEPT = 1024 * 1024
_TRIM_THRESHOLD = -1

# One for the event loop, which frees what threads have made, and one beside. With a single one, threads that compute
# outside of Python wait for each other: four of them in zlib take a third longer.
ARENAS = 2
_ARENA_MAX = -8


def bound_what_is_kept() -> None:
    """Have what is free in this process, and in those it forks, go back to the system past these bounds.

    To be called before there are threads.

    Where the environment says what malloc is to do, it is told nothing; nor where the C library is another one.
    """
    if ctypes is None or _is_told():
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none; TypeError: Windows
        return
    mallopt(_MMAP_THRESHOLD, LARGE)
    mallopt(_TRIM_THRESHOLD, KEPT)
    mallopt(_ARENA_MAX, ARENAS)


def _is_told() -> bool:
    """Tell whether there are variables of mallopt(3), or tunables of ld.so(8) that are malloc's."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc." in tunables or any(name.startswith("MALLOC_") for name in os.environ)
