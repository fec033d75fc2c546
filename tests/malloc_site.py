"""A site that tells what its worker's malloc does with large blocks, and with threads."""

import ctypes
import re
from collections.abc import Iterable
from threading import Barrier
from wsgiref.types import StartResponse, WSGIEnvironment

THREADS = 8

_all = Barrier(THREADS)


class Mallinfo(ctypes.Structure):
    """``struct mallinfo2`` of mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks"),
            "keepcost",
        )
    ]


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer with a number: of arenas once all threads are at work, or what ``blocks`` says of QUERY_STRING bytes."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/blocks":
        return [b"%d" % _blocks(int(environ["QUERY_STRING"]))]
    _all.wait()
    return [b"%d" % _arenas()]


def _blocks(size: int) -> int:
    """Count the blocks that are the system's own of one of ``size`` bytes, behind a larger one that was freed."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    del (block := [bytearray(16 * size)])[:]
    before: int = mallinfo().hblks
    block.append(bytearray(size))
    after: int = mallinfo().hblks
    return after - before


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
