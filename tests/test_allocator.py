"""What a worker has told malloc, by what malloc says of itself."""

import ctypes
import os
from contextlib import ExitStack

import pytest

from aiowsgi.process.allocator import ARENAS, LARGE
from tests.malloc_site import THREADS
from tests.server import RunningServer
from tests.thread_server import Peer, get

LIBRARY = "CS_GNU_LIBC_VERSION"

pytestmark = pytest.mark.skipif(
    LIBRARY not in getattr(os, "confstr_names", ())
    or not os.confstr(LIBRARY)
    or not hasattr(ctypes.CDLL(None), "mallinfo2"),
    reason="only glibc's malloc is told, and it tells since 2.33",
)


@pytest.fixture(autouse=True)
def told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tests may have told malloc something."""
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)


def told(path: str, *options: str, threads: int = THREADS) -> int:
    """Return what a worker says, so many of whose threads are at work."""
    site = ["tests.malloc_site:application", "--threads", str(THREADS)]
    with RunningServer(*site, *options) as server, ExitStack() as stack:
        peers = [stack.enter_context(Peer(("127.0.0.1", server.port))) for _ in range(threads)]
        for peer in peers:
            peer.send(get(path))
        return max(int(peer.answer().content) for peer in peers)


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_a_large_block_goes_back_to_the_system_and_threads_share_two_arenas(options: tuple[str, ...]) -> None:
    assert told(f"/blocks?{2 * LARGE}", *options, threads=1) == 1
    assert told("/arenas", *options) == ARENAS


@pytest.mark.parametrize(
    ("name", "value"), [("MALLOC_ARENA_MAX", "4"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=4")]
)
def test_what_the_environment_says_of_malloc_counts(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert told("/arenas") == 4
