"""The smallest application there is: what a request costs here, the server costs."""

from collections.abc import Iterable
from typing import Any


def hello(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer 13 bytes of text, counted, and look at nothing of the request."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "13")])
    return [b"Hello, world!"]
