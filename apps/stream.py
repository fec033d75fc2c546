"""A piece of text a second, ten by default: ``/stream.py?pieces=3&pause=0.5``.

The first piece leaves before the last is made: there is no Content-Length, and each piece is sent at once.
A stream keeps a thread for as long as it runs, hence the bounds.
"""

import time
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

PIECES = 60  # at most
PAUSE = 1.0  # seconds, at most
MISTAKE = b"pieces is a whole number, pause a number of seconds.\n"


def asked(query_string: str) -> tuple[int, float]:
    """Pieces and pause as the query wants them, within the bounds. ValueError for what is no number."""
    query = parse_qs(query_string)
    pieces = int(query.get("pieces", ["10"])[0])
    pause = float(query.get("pause", ["1"])[0])
    # The bound stands first: max(0.0, nan) is 0.0, and max(nan, 0.0) would be nan.
    return min(max(1, pieces), PIECES), min(max(0.0, pause), PAUSE)


def stream(pieces: int, pause: float) -> Iterator[bytes]:
    """``pieces`` lines with ``pause`` seconds between them.

    When the client leaves early, the server calls ``close()`` on this generator and it ends at its ``yield``;
    a ``finally`` around the loop would be the place to give back what it holds.
    """
    for number in range(1, pieces + 1):
        yield f"{time.strftime('%H:%M:%S')}  piece {number} of {pieces}\n".encode()
        if number < pieces:
            time.sleep(pause)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    try:
        pieces, pause = asked(environ.get("QUERY_STRING", ""))
    except ValueError:
        start_response(
            "400 Bad Request",
            [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(MISTAKE)))],
        )
        return [MISTAKE]

    start_response(
        "200 OK",
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Cache-Control", "no-store"),
            # A browser that may guess the media type waits for more text before it shows the first line.
            ("X-Content-Type-Options", "nosniff"),
        ],
    )
    return stream(pieces, pause)
