"""What a worker tells glibc's malloc, which is made for other programs: that its threads share what is free.

By itself it gives each thread an arena of its own, keeps some MiB free in each, and what is free in one is of no use to
the others. Of Python's threads hardly ever two allocate at once.
"""

import os

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None  # type: ignore[assignment]

# One for the event loop, which frees what threads have made, and one beside. With a single one, threads that compute
# outside of Python wait for each other: four of them in zlib take a third longer.
ARENAS = 2
_ARENA_MAX = -8  # <malloc.h> of glibc


def share_arenas() -> None:
    """Have the threads of this process, and of those it forks, share two arenas; to be called before there are any.

    Where the environment says what malloc is to do, it is told nothing; nor where the C library is another one.
    """
    if ctypes is None or _is_told():
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl and macOS have none; TypeError: Windows
        return
    mallopt(_ARENA_MAX, ARENAS)


def _is_told() -> bool:
    """Tell whether there are variables of mallopt(3), or tunables of ld.so(8) that are malloc's."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return "glibc.malloc." in tunables or any(name.startswith("MALLOC_") for name in os.environ)
