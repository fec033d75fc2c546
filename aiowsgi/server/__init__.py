"""The event loop: the only place that imports asyncio."""
