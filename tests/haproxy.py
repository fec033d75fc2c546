"""A real HAProxy, from Debian, in front of a server."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import Output

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")

_CONFIGURATION = """
global
    maxconn 500
    stats timeout 5s
defaults
    timeout connect 5s
    timeout client {seconds}s
    timeout http-request {seconds}s
    timeout http-keep-alive {seconds}s
    timeout server 20s
frontend front
    bind fd@{descriptor}
    default_backend back
    {front}
backend back
    {back}
    server back {server}
"""


@contextmanager
def running_haproxy(
    folder: Path, server: str, *, front: str = "mode http", back: str = "mode http", seconds: int = 20
) -> Iterator[tuple[str, int]]:
    """Hand on to ``server``, an address and options; yields where it listens.

    ``front`` and ``back`` belong to those sections; ``seconds`` are how long it waits for its clients.
    """
    assert HAPROXY is not None
    file = folder / "haproxy.cfg"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        file.write_text(
            _CONFIGURATION.format(
                seconds=seconds, descriptor=listener.fileno(), front=front, back=back, server=server
            )
        )
        # In the foreground, with a master that says when its worker serves.
        with subprocess.Popen(
            [HAPROXY, "-W", "-db", "-f", str(file)], stderr=subprocess.PIPE, pass_fds=[listener.fileno()]
        ) as process:
            assert process.stderr is not None
            try:
                Output(process.stderr).until("Loading success")
                address, port = listener.getsockname()
                yield address, port
            finally:
                process.terminate()
