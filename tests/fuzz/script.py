"""What a fuzz input says: the bytes that a client sends, where they are cut, and what else happens between them."""

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

_MARK = b"\xff"
_part = re.compile(rb"\xff(.)|[^\xff]+", re.DOTALL).finditer


class Step(IntEnum):
    """What happens between two pieces."""

    CUT = 0  # nothing
    TURN = 1  # the loop calls what is due
    THREAD = 2  # a thread does its next job for an application
    DISK = 3  # a thread does its next job with a file
    BLOCK = 4  # the client takes nothing from now on
    TAKE = 5  # it takes a few bytes
    UNBLOCK = 6  # it takes all, from now on
    SECOND = 7  # a second passes
    AGE = 8  # the longest of all deadlines passes
    EOF = 9  # the client sends no more
    LOSE = 10  # the client is gone
    OTHER = 11  # what follows is about the other client
    DRAIN = 12  # the worker stops


class Script(NamedTuple):
    """An input. Every run of bytes is one, so that whatever a fuzzer changes has a meaning.

    Its first byte chooses among the settings that a target knows; the second is the most bytes that come at once, 0
    for all up to the next step. In what follows, 0xFF and another byte are a Step, and twice 0xFF is that byte itself.
    """

    setting: int
    size: int
    steps: list[bytes | Step]

    @property
    def pieces(self) -> list[bytes]:
        return [step for step in self.steps if isinstance(step, bytes)]


def read_script(data: bytes) -> Script:
    steps: list[bytes | Step] = []
    setting, size = data[:2].ljust(2, b"\0")
    piece = b""
    for part in _part(data, 2):
        if part[1] is None:
            piece += part[0]
        elif part[1] == _MARK:
            piece += _MARK
        else:
            steps += _cut(piece, size)
            steps.append(Step(part[1][0] % len(Step)))
            piece = b""
    return Script(setting, size, steps + _cut(piece, size))


def write_script(steps: Iterable[bytes | Step], setting: int = 0, size: int = 0) -> bytes:
    """Return the input that says this."""
    data = bytes([setting, size])
    for step in steps:
        data += _MARK + bytes([step]) if isinstance(step, Step) else step.replace(_MARK, _MARK + _MARK)
    return data


def _cut(piece: bytes, size: int) -> list[bytes | Step]:
    step = size or len(piece)
    return [piece[at : at + step] for at in range(0, len(piece), step)] if piece else []
