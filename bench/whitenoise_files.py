"""WhiteNoise before the smallest application: what a framework's static files are usually answered by."""

from pathlib import Path
from wsgiref.types import WSGIApplication

from whitenoise import WhiteNoise

from bench.applications import hello


def files(folder: str) -> WSGIApplication:
    """Return an application that answers the files of ``folder``, looked at once, now."""
    application: WSGIApplication = WhiteNoise(hello, root=Path(folder).resolve(), autorefresh=False)
    return application
