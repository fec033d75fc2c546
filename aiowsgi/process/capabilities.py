"""The capabilities of Linux, see capabilities(7): pieces of root's rights that a process of any user may have."""

import os
import struct
import sys

try:
    import ctypes
except ImportError:  # a Python that was built without libffi
    ctypes = None  # type: ignore[assignment]

_VERSION = (
    0x20080522  # of what capset(2) is given: a head with a thread's id, and two words for each of three sets
)
_NONE = bytes(24)


def drop_capabilities() -> None:
    """Have this thread, and whatever it starts, be without any; nothing to do on other systems. Raises OSError.

    The system drops them by itself where root becomes another user, and in no other case. No right is needed for it;
    what is not permitted any more is not ambient either, and no program that is started has it.
    """
    if sys.platform != "linux":
        return
    if ctypes is None:
        raise OSError(0, "Python has no ctypes")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.create_string_buffer(struct.pack("=Ii", _VERSION, 0)), _NONE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
