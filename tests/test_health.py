"""The health path."""

import pytest

from aiowsgi.config import Config
from aiowsgi.site.build import build_router
from tests.wire_client import Server, echo


@pytest.mark.parametrize(("leaving", "status"), [(False, b"200 OK"), (True, b"503 Service Unavailable")])
async def test_it_answers_its_path_and_no_other(leaving: bool, status: bytes) -> None:
    with Server() as server:
        config = Config(health_path="/health")
        server.shared.router = build_router(config, echo, lambda: leaving)
        client = server.connect()
        client.send(b"GET /health?x HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.sent.startswith(b"HTTP/1.1 " + status + b"\r\n")
        assert b"\r\nCache-Control: no-store\r\n" in client.sent
        client.send(b"GET /health/below HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await client.closed()).endswith(b"GET /health/below .")


async def test_a_head_request_has_no_content() -> None:
    with Server() as server:
        server.shared.router = build_router(Config(health_path="/health"), echo)
        client = server.connect()
        client.send(b"HEAD /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await client.closed()).endswith(b"\r\n\r\n")
