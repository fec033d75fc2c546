"""An asyncio HTTP server with a WSGI bridge."""

from aiowsgi.version import __version__

__all__ = ["__version__"]
