"""The end of a worker's connections: each gets its answer, and is told that it is the last one.

A client on a kept-alive connection cannot know that its server is about to leave, and may have sent the next request
when the close gets to it; many clients do not repeat it then. So one that idles is not closed at once: for a grace its
next request is still answered, with ``Connection: close``, which tells it in time (RFC 9112 section 9.6).
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

from aiowsgi.config import Timeouts
from aiowsgi.http.states import deadlines
from aiowsgi.server.shared import Shared
from aiowsgi.server.sweep import sweep

# Seconds that an idle connection is kept: longer than a request is on its way from most places of the world (0.3), and
# shorter than the patience of who has pressed Ctrl-C.
GRACE = 0.5
SWEEP = 0.1  # seconds between two looks at the deadlines meanwhile

logger = logging.getLogger("aiowsgi.worker")


def begin_to_drain(shared: Shared, timeouts: Timeouts, now: float) -> None:
    """From ``now`` on answers say that they are the last ones, and nobody idles for long."""
    shared.draining = True
    shared.deadlines = deadlines(replace(timeouts, keep_alive=min(GRACE, timeouts.keep_alive)))
    shared.turn(now)
    for connection in list(shared.connections):
        connection.drain()
    shared.router.drain()


async def drain(shared: Shared, timeouts: Timeouts) -> None:
    """Return when the last connection has ended, at the latest after the graceful timeout; nobody is accepted."""
    shared.drained.clear()  # set, perhaps, while the last connections were made
    if not shared.connections:
        return
    looking = shared.loop.create_task(sweep(shared, SWEEP, shared.pool.sweep))
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(shared.drained.wait(), timeouts.graceful)
            return
        _cut(shared)
        # What they leave behind, in the access log and in waiting threads, is seen to before those end.
        await shared.drained.wait()
    finally:
        looking.cancel()


def _cut(shared: Shared) -> None:
    late = [connection for connection in shared.connections if not connection.idles()]
    if late:
        logger.warning("%d connections did not end in time and are cut", len(late))
    for connection in list(shared.connections):
        connection.abort()
