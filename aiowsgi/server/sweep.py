"""The look at the deadlines of all connections, now and then: there is no timer for each."""

import asyncio
import logging
from collections.abc import Callable

from aiowsgi.server.shared import Served, Shared

SWEEP = 1.0  # seconds between two looks
LOOK = 0.1  # the same, for a developer who waits for what comes of an edit

logger = logging.getLogger("aiowsgi.worker")


async def sweep(shared: Shared, seconds: float, *others: Callable[[], object]) -> None:
    """Look every so many ``seconds``, until cancelled; have ``others`` look, too.

    None that fails takes away the deadlines of others, or their look.
    """
    while True:
        await asyncio.sleep(seconds)
        now = shared.loop.time()
        shared.turn(now)
        for connection in list(shared.unread):
            _have(connection, connection.look)
        for look in others:
            try:
                look()
            except Exception:
                logger.exception("%r has failed, and is tried again", look)
        # A deadline counts from the sweep before it was set, which may be that long ago: none is to come early.
        for connection in [c for c in shared.connections if c.deadline <= now - seconds]:
            _have(connection, connection.expire)


def _have(connection: Served, act: Callable[[], None]) -> None:
    """Have ``connection`` act; one that cannot is cut."""
    try:
        act()
    except Exception:
        logger.exception("%r could not deal with its deadline, or with its client", connection)
        connection.abort()


async def again_and_again(seconds: float, look: Callable[[], object]) -> None:
    """Have somebody ``look`` every so many ``seconds``, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        look()
