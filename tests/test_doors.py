"""The servers that accept: closed for as long as there is a reason, and open again behind the last one."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from aiowsgi.server.doors import Doors, Why
from aiowsgi.server.listeners import close_listeners, open_listeners
from tests.thread_server import LOOPS
from tests.wire_client import WAIT

NO_ROOM, NO_THREAD = Why


class Guest(asyncio.Protocol):
    """Counts who has come."""

    count = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Guest.count += 1
        transport.close()


@asynccontextmanager
async def opened() -> AsyncIterator[tuple[Doors, tuple[str, int]]]:
    listeners = open_listeners(["127.0.0.1:0"])
    doors = Doors(asyncio.get_running_loop())
    await doors.open([(listener, Guest) for listener in listeners])
    try:
        yield doors, listeners[0].getsockname()
    finally:
        await doors.close()
        close_listeners(listeners)


async def until(doors: Doors, shut: bool) -> None:
    async with asyncio.timeout(WAIT):
        while doors.shut != shut or doors._opening is not None:
            await asyncio.sleep(0)


async def come(address: tuple[str, int]) -> None:
    """Connect, and wait until that is accepted."""
    before = Guest.count
    with socket.create_connection(address):
        async with asyncio.timeout(WAIT):
            while Guest.count == before:
                await asyncio.sleep(0)


async def turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


async def open_behind_the_last_reason() -> None:
    async with opened() as (doors, address):
        await come(address)
        doors.close_for_now(NO_ROOM)
        doors.close_for_now(NO_THREAD)
        doors.open_again(NO_ROOM)
        await until(doors, shut=True)
        doors.open_again(NO_THREAD)
        await until(doors, shut=False)
        await come(address)


async def close_and_open_in_any_turn() -> None:
    async with opened() as (doors, address):
        for turns in range(12):  # so that it falls into each step of the opening
            doors.close_for_now(NO_THREAD)
            doors.open_again(NO_THREAD)
            await turn(turns)
            doors.close_for_now(NO_THREAD)
            await until(doors, shut=True)
            doors.open_again(NO_THREAD)
            await turn(turns)
            doors.close_for_now(NO_THREAD)
            doors.open_again(NO_THREAD)
            await until(doors, shut=False)
            await come(address)


async def accept_nobody_while_they_are_shut() -> None:
    async with opened() as (doors, address):
        for turns in range(12):
            doors.close_for_now(NO_THREAD)
            doors.open_again(NO_THREAD)
            await turn(turns)
            doors.close_for_now(NO_THREAD)
            await until(doors, shut=True)
            await turn(10)  # for who was accepted by then
            before = Guest.count
            with socket.create_connection(address):
                await turn(100)
            assert Guest.count == before
            doors.open_again(NO_THREAD)
            await until(doors, shut=False)


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


def test_they_open_again_behind_the_last_reason(runner: asyncio.Runner) -> None:
    runner.run(open_behind_the_last_reason())


def test_they_are_in_the_end_what_was_asked_for_last(runner: asyncio.Runner) -> None:
    runner.run(close_and_open_in_any_turn())


def test_nobody_is_accepted_while_they_are_shut(runner: asyncio.Runner) -> None:
    runner.run(accept_nobody_while_they_are_shut())
