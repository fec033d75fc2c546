"""A crowd of clients that never stops asking, and notes what an operator would hear complaints about."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from time import monotonic

from tests.server import RunningServer

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class CrowdedServer(RunningServer):
    """One that keeps its idle connections for long when it drains.

    By default it does for half a second, in which no client of a busy machine can promise to ask again.
    """

    def __init__(self, *arguments: str, cwd: Path) -> None:
        super().__init__(*arguments, cwd=cwd)
        self.first("from aiowsgi.server import draining", "draining.GRACE = 20.0")


class Crowd:
    """``steady`` clients use a connection for as long as they may, the ``hasty`` ones each for one request.

    All ask again as soon as they have their answer, which has to be status 200 and Content-Length bytes.
    """

    def __init__(self, port: int, steady: int = 16, hasty: int = 4) -> None:
        self.answers = 0
        self.slowest = 0.0  # seconds from the request, or before the connection, to the answer's end
        self.failures: list[str] = []
        self._port = port
        self._sizes = steady, hasty
        self._stopping = False
        self._counted = asyncio.Event()

    @asynccontextmanager
    async def asking(self) -> AsyncIterator["Crowd"]:
        """Ask for as long as the block lasts, and until each has its last answer."""
        steady, hasty = self._sizes
        tasks = [asyncio.create_task(self._ask_on(False)) for _ in range(steady)]
        tasks += [asyncio.create_task(self._ask_on(True)) for _ in range(hasty)]
        try:
            yield self
        finally:
            self._stopping = True
            await asyncio.gather(*tasks)

    async def more(self, count: int = 100) -> None:
        """Wait for so many answers more."""
        enough = self.answers + count
        while self.answers < enough:
            self._counted.clear()
            await self._counted.wait()

    async def _ask_on(self, hasty: bool) -> None:
        while not self._stopping:
            begin = monotonic()
            writer = None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                while await self._ask(reader, writer, hasty, begin):
                    begin = monotonic()
            except (OSError, EOFError, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.01)  # whatever is wrong, not a thousand times
            finally:
                if writer is not None:
                    writer.close()
                    with suppress(OSError):
                        await writer.wait_closed()

    async def _ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hasty: bool, begin: float
    ) -> bool:
        """Return whether there may be one more request on this connection."""
        writer.write(LAST_REQUEST if hasty else REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(head.partition(b"\r\n")[0])
        length = int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self.answers += 1
        self._counted.set()
        self.slowest = max(self.slowest, monotonic() - begin)
        return not (hasty or self._stopping or b"\r\nconnection: close\r\n" in head.lower())
