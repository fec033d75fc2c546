"""The parser: both its roads, its memos cold and warm, and h11 read the same, however the bytes are cut."""

from aiowsgi.http.parser import Parser
from tests.fuzz.script import Step, read_script
from tests.reading import (
    LIMITS,
    NARROW,
    assert_as_h11_reads,
    assert_read_alike,
    assert_same_in_other_pieces,
    read,
)

SETTINGS = (LIMITS, NARROW)

# They read every input, so that their memos hold what others have sent, grow full, and start anew.
_OLD = {limits: Parser(limits) for limits in SETTINGS}


def check(data: bytes) -> None:
    """Raise AssertionError, or whatever the parser raises, if ``data`` shows a fault."""
    script = read_script(data)
    limits = SETTINGS[script.setting % len(SETTINGS)]
    pieces = script.pieces
    stream = b"".join(pieces)
    whole = assert_read_alike(stream, [stream], limits)
    in_pieces = assert_read_alike(stream, pieces, limits)
    assert_same_in_other_pieces(whole, in_pieces)
    assert_as_h11_reads(whole, stream)
    assert read(_OLD[limits], pieces) == in_pieces


# What a client may do besides sending is nothing to a parser.
STEPS = (Step.CUT,)
