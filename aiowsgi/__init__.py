"""An asyncio HTTP server with a WSGI bridge: pages, scripts and whole applications from one process tree."""

from aiowsgi import firstprocess  # noqa: F401 - before all others
from aiowsgi.config import Config
from aiowsgi.observe.requestends import RequestEnd
from aiowsgi.process.embedded import make_server, serve
from aiowsgi.version import __version__

__all__ = ["Config", "RequestEnd", "__version__", "make_server", "serve"]
