"""What a fuzzer begins with, made of the files of tests/wire; and the words it puts together."""

from collections.abc import Iterator, Sequence
from itertools import cycle

from tests.fuzz.script import Step, write_script
from tests.wire_corpus import INVALID, VALID

# Bytes. A longer file is about a limit, and there are many ways to be over one.
_LONGEST = 2000

_FILES = [
    data
    for data in [*(file.data for file in VALID), *(file.data for file in INVALID)]
    if len(data) <= _LONGEST
]
# The ways in which tests/fuzz/site.py answers.
WAYS = (
    *("x", "ready", "refused", "unchanged", "file", "parts", "none"),
    *("look", "look-call", "look-none", "look-refused", "look-broken"),
    *("raise", "unread", "empty", "last", "short", "over", "write", "wrapped", "big", "stream", "late"),
)

_WORDS = (
    *(
        "\r\n",
        "\r\n\r\n",
        "GET ",
        "HEAD ",
        "POST ",
        "OPTIONS * ",
        "CONNECT ",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
    ),
    *("Host: a\r\n", "Content-Length: 5\r\n", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"),
    *("Connection: close\r\n", "Connection: keep-alive\r\n", "Expect: 100-continue\r\n", "Upgrade: a\r\n"),
    *(
        "Proxy: a\r\n",
        "X_A: b\r\n",
        "Cookie: a=b\r\n",
        "http://b/",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        ";a=b",
        "%41",
    ),
)


def seeds(steps: Sequence[Step], settings: int) -> Iterator[bytes]:
    """Yield inputs for a target that knows so many settings, and takes these steps."""
    for number, data in enumerate(_FILES):
        yield write_script([data], number % settings)
        yield write_script([data], number % settings, 1 + number % 7)
    between = cycle(steps)
    for number, way in enumerate(WAYS):
        get = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % way.encode()
        post = b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome data" % way.encode()
        chunked = b"PUT /%b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" % way.encode()
        old = b"GET /%b HTTP/1.0\r\n\r\n" % way.encode()
        for setting in range(settings):
            yield write_script([get + post + chunked, b"hello\r\n0\r\n\r\n" + get + old + get], setting)
            pieces = [
                get,
                post[:50],
                post[50:],
                get[:9],
                get[9:],
                chunked[:-8],
                chunked[-8:],
                b"hello\r\n0\r\n\r\n",
                old,
            ]
            script: list[bytes | Step] = []
            for piece in pieces:
                script += [piece, next(between), next(between)]
            yield write_script(script, setting, number)


def words(steps: Sequence[Step]) -> list[bytes]:
    """Return what is worth putting somewhere in an input."""
    ways = [f"/{way}" for way in WAYS] if len(steps) > 1 else []
    return [word.encode() for word in (*_WORDS, *ways)] + [write_script([step])[2:] for step in steps]
