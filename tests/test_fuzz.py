"""The fuzz targets: their seeds pass, what was found once does not come again, and a faulty server is noticed."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from aiowsgi.http.chunked import ChunkedContent
from aiowsgi.http.messages import Request
from aiowsgi.http.parser import CountedContent, Parser
from aiowsgi.server.connection import Connection
from tests.fuzz.script import Step, read_script, write_script
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.unguided import run
from tests.server import ROOT

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)

# What a target has failed with once, made small: the name of the target, and the input.
FOUND = {
    "part of a head, longer than what is read ahead": (
        "connection",
        b"\x02\x04POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    "content that comes while a file is sent, before it is thrown away": (
        "connection",
        b"\x02\x04T / HTTP/1.1\r\nHost:a\r\n\r\nP /file HTTP/1.1\r\nHost:a\r\nContent-Length:9\r\n\r\ns",
    ),
    "a refused HEAD has no content": ("connection", b"\2\0HEAD x HTTP/1.1\r\n"),
}


@targets
def test_seeds_pass(target: Target) -> None:
    for seed in target.seeds():
        target.check(seed)


@pytest.mark.parametrize(("name", "data"), FOUND.values(), ids=FOUND)
def test_what_was_found_is_mended(name: str, data: bytes) -> None:
    TARGETS[name].check(data)


@targets
def test_changed_seeds_pass(target: Target) -> None:
    run(target, 200)


def test_the_program_runs_a_target_for_so_many_seconds() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "parser", "--seconds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("parser: ")


def test_every_input_has_a_meaning() -> None:
    assert read_script(b"") == (0, 0, [])
    assert read_script(b"\5\0ab\xff\0c\xff") == (5, 0, [b"ab", Step.CUT, b"c"])
    assert read_script(b"\0\2abc\xff\xffd\xff\xfe") == (0, 2, [b"ab", b"c\xff", b"d", Step(0xFE % len(Step))])


def test_a_script_is_read_as_it_was_written() -> None:
    steps: list[bytes | Step] = [b"a\xff\xff", Step.DISK, Step.EOF, b"\r\n", Step.OTHER]
    assert read_script(write_script(steps, 1)).steps == steps


# Faults: whoever breaks the server in one of these ways is told.


def _byte_too_few(self: CountedContent, data: bytes) -> tuple[bytes, bool, bytes]:
    """Take the content's last byte for the next request's first."""
    piece, ended, rest = _counted(self, data)
    return (piece[:-1], ended, piece[-1:] + rest) if ended else (piece, ended, rest)


def _chunk_end_for_content(self: ChunkedContent, data: bytes) -> tuple[bytes, bool, bytes]:
    """Take the end of chunked content for more of it."""
    piece, ended, rest = _chunked(self, data)
    return piece + data[:1], ended, rest


def _goes_on(self: Parser, request: Request, fields: dict[str, str]) -> None:
    """Read on behind Connection: close."""
    _complete(self, request, fields)
    request.keep_alive = True


def _waits_for_ever(self: Connection, error: BaseException | None) -> None:
    """Forget to read on behind what went to the disk."""


def _forgets(self: Connection) -> None:
    """Leave a connection open whose time is over."""


def _sends_twice(self: Connection, data: bytes) -> bool:
    return _write(self, data + data)


_counted, _chunked = CountedContent.receive, ChunkedContent.receive
_complete, _write = Parser._complete, Connection._write


@pytest.mark.parametrize(
    ("name", "faulty", "method", "fault"),
    [
        ("parser", CountedContent, "receive", _byte_too_few),
        ("parser", ChunkedContent, "receive", _chunk_end_for_content),
        ("parser", Parser, "_complete", _goes_on),
        ("connection", CountedContent, "receive", _byte_too_few),
        ("connection", ChunkedContent, "receive", _chunk_end_for_content),
        ("connection", Parser, "_complete", _goes_on),
        ("connection", Connection, "_spilled", _waits_for_ever),
        ("connection", Connection, "expire", _forgets),
        ("connection", Connection, "_write", _sends_twice),
    ],
)
def test_a_fault_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, faulty: type, method: str, fault: Callable[..., object]
) -> None:
    monkeypatch.setattr(faulty, method, fault)
    assert _fails(name)


def _fails(name: str) -> bool:
    target = TARGETS[name]
    for seed in target.seeds():
        try:
            target.check(seed)
        except Exception:  # noqa: BLE001 - whatever it fails with
            return True
    return False
