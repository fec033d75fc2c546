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
_KILL = 1 << 5  # in the first word, which is of the effective set


def drop_capabilities() -> None:
    """Have this thread, and whatever it starts, be without any; nothing to do on other systems. Raises OSError.

    The system drops them by itself where root becomes another user, and in no other case. No right is needed for it;
    what is not permitted any more is not ambient either, and no program that is started has it.
    """
    if sys.platform == "linux":
        _call("capset", _NONE)


def may_signal_others() -> bool:
    """Return whether this thread, which is root's, may send signals to the processes of other users. Raises OSError."""
    if sys.platform != "linux":
        return True
    return bool(struct.unpack_from("=I", _call("capget", _NONE))[0] & _KILL)


def _call(function: str, data: bytes) -> bytes:
    """Have the system read ``data``, or return what it has written in its place."""
    if ctypes is None:
        raise OSError(0, "Python has no ctypes")
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(data, len(data))
    if libc[function](ctypes.create_string_buffer(struct.pack("=Ii", _VERSION, 0)), buffer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw
