"""An errand to a thread: what is told of it, and what it leaves behind."""

import asyncio
import gc
from weakref import ref

from aiowsgi.server.shared import Errand
from tests.wire_client import WAIT, Server


class Work:
    """What may hold a file."""

    def fail(self) -> None:
        raise OSError("no room")


async def test_an_errand_that_failed_says_why_and_holds_nothing_on() -> None:
    """Not until the collector comes, that is: on a full disk the file is what takes the room."""
    told: list[str] = []
    gc.disable()
    try:
        with Server() as server:
            work = Work()
            held = ref(work)
            server.disk.submit(Errand(server.disk, work.fail, lambda error: told.append(str(error))))
            del work
            async with asyncio.timeout(WAIT):
                while held() is not None:
                    await asyncio.sleep(0)
    finally:
        gc.enable()
    assert told == ["no room"]
