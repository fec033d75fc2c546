"""What a worker has told malloc, by what malloc says of itself."""

import os
from contextlib import ExitStack

import pytest

from aiowsgi.process.allocator import ARENAS
from tests.arenas_site import THREADS
from tests.server import RunningServer
from tests.thread_server import Peer, get

LIBRARY = "CS_GNU_LIBC_VERSION"

pytestmark = pytest.mark.skipif(
    LIBRARY not in getattr(os, "confstr_names", ()) or not os.confstr(LIBRARY),
    reason="only glibc's malloc has arenas",
)


@pytest.fixture(autouse=True)
def told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tests may have told malloc something."""
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)


def arenas(*options: str) -> int:
    """Return how many a worker has all of whose threads are at work."""
    site = ["tests.arenas_site:application", "--threads", str(THREADS)]
    with RunningServer(*site, *options) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(("127.0.0.1", server.port))) for _ in range(THREADS)]
        for peer in peers:
            peer.send(get("/"))
        return max(int(peer.answer().content) for peer in peers)


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_the_threads_of_a_worker_share_two_arenas(options: tuple[str, ...]) -> None:
    assert arenas(*options) == ARENAS


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_ARENA_MAX", "4"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=4")]
)
def test_what_the_environment_says_of_malloc_counts(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert arenas() == 4
