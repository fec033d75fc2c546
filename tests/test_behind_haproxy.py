"""A deployment without a gap: three servers behind a real HAProxy, stopped and started in turn."""

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.crowd import Crowd
from tests.haproxy import HAPROXY, running_haproxy
from tests.server import RunningServer

# Noticed within 50 ms, so the second of the server is plenty.
CHECKS = "check inter 50ms fall 1 rise 1"
DELAY = "1"


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


class Instance:
    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    async def start(self) -> None:
        """Start, and wait until it is sent requests."""
        options = ("--health-path", "/health", "--drain-delay", DELAY, "--access-log", "-")
        self.server = RunningServer("tests.wire_client:echo", *options, "--bind", self.address)
        await asyncio.to_thread(self.server.__enter__)
        await asyncio.to_thread(self.server.until, '"GET / ')

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.__exit__, None, None, None)


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
async def test_each_of_three_servers_is_stopped_and_started_and_no_request_fails(tmp_path: Path) -> None:
    instances = [Instance(port) for port in free_ports(3)]
    first, second, third = instances
    back = (
        # Without that, an answer that takes longer than those 50 ms would be as bad as none.
        f"mode http\n    option httpchk GET /health\n    timeout check 20s\n    default-server {CHECKS}\n"
        f"    server first {first.address}\n    server second {second.address}"
    )
    with running_haproxy(tmp_path, third.address, back=back) as (_, port):
        starting = [asyncio.create_task(instance.start()) for instance in instances]
        async with Crowd(port, steady=4, hasty=4).asking() as crowd:
            await asyncio.gather(*starting)
            crowd.failures.clear()  # while there was no server
            for instance in instances:
                await instance.stop()
                await instance.start()
            await crowd.more()
        assert crowd.failures == []
        await asyncio.gather(*(instance.stop() for instance in instances))
