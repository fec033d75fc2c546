"""When a worker should be replaced: each bound by itself, on a clock that the test turns."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aiowsgi.config import Lifetime
from aiowsgi.server.recycling import Recycling, resident
from tests.wire_client import Applied, Server, echo


class Asked(list[str]):
    def __init__(self, server: Server, lifetime: Lifetime) -> None:
        self._shared = server.shared
        self._look = Recycling(lifetime, server.shared, self.append).look

    def after(self, requests: int = 0, seconds: float = 0.0) -> list[str]:
        """Return the reasons that were given until then."""
        self._shared.requests += requests
        self._shared.now += seconds
        self._look()
        return self


@contextmanager
def asking(lifetime: Lifetime) -> Iterator[Asked]:
    with Server(Applied(echo)) as server:
        yield Asked(server, lifetime)


async def test_without_bounds_a_worker_serves_for_ever() -> None:
    with asking(Lifetime()) as asked:
        assert asked.after(1_000_000_000, 1e9) == []


async def test_it_asks_once_it_has_had_its_requests_and_never_again() -> None:
    with asking(Lifetime(requests=100, jitter=0)) as asked:
        assert asked.after(99) == []
        assert asked.after(2) == ["it has had 101 requests"]
        assert asked.after(100) == ["it has had 101 requests"]


async def test_chance_puts_it_off_by_no_more_than_it_may() -> None:
    for _ in range(50):
        with asking(Lifetime(requests=100)) as asked:
            assert asked.after(99) == []
            assert asked.after(11) != []
        with asking(Lifetime(requests=100, jitter=1)) as asked:
            assert asked.after(101) != []
        with asking(Lifetime(age=100)) as asked:
            assert asked.after(seconds=99) == []
            assert asked.after(seconds=11.1) == ["it has reached its age"]


@pytest.mark.skipif(not resident(), reason="the system does not tell")
async def test_it_asks_when_it_has_too_much_memory() -> None:
    with asking(Lifetime(rss=1 << 40)) as asked:
        assert asked.after() == []
    with asking(Lifetime(rss=1 << 20)) as asked:
        [reason] = asked.after()
        assert reason == f"it has {resident() >> 20} MiB of memory"
