"""HTTP/1.1 without I/O: no asyncio, socket, ssl or threading."""
