"""A connection with a bound of its requests."""

import pytest

from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import echo


@pytest.mark.parametrize("loop", LOOPS)
def test_the_last_request_that_a_connection_may_have_is_told_so(loop: str) -> None:
    with (
        serving(echo, loop=loop, max_requests_per_connection=3) as server,
        Peer(server.server_address) as peer,
    ):
        peer.send(b"".join(get(f"/{number}") for number in range(5)))
        answers = [peer.answer() for _ in range(3)]
        assert [answer.content for answer in answers] == [b"GET /0 .", b"GET /1 .", b"GET /2 ."]
        assert ["connection" in answer.fields for answer in answers] == [False, False, True]
        assert answers[2].fields["connection"] == "close"
        assert peer.rest() == b""


def test_behind_the_last_request_the_client_may_still_be_sending() -> None:
    """Or what it has sent would have its answer destroyed on the way (RFC 9112 section 9.6)."""
    with (
        serving(echo, max_requests_per_connection=1) as server,
        Peer(server.server_address) as peer,
    ):
        peer.send(get("/"))
        assert peer.answer().fields["connection"] == "close"
        for _ in range(100):
            peer.send(get("/never" + "x" * 1000))
        assert peer.rest() == b""
