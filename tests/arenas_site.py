"""A site that tells how many arenas its worker's malloc has, when all its threads are at work."""

import ctypes
import re
from collections.abc import Iterable
from threading import Barrier
from wsgiref.types import StartResponse, WSGIEnvironment

THREADS = 8

_all = Barrier(THREADS)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with the number."""
    _all.wait()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % _arenas()]


def _arenas() -> int:
    """Count malloc's arenas, by malloc_info(3)."""
    library = ctypes.CDLL(None)
    library.open_memstream.restype = ctypes.c_void_p
    text, size = ctypes.c_char_p(), ctypes.c_size_t()
    stream = ctypes.c_void_p(library.open_memstream(ctypes.byref(text), ctypes.byref(size)))
    library.malloc_info(0, stream)
    library.fclose(stream)
    assert text.value is not None
    found = len(re.findall(rb"<heap nr=", text.value))
    library.free(text)
    return found
