"""From the settings to the Router: what is mounted where."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from wsgiref.types import WSGIApplication

from aiowsgi.config import Config
from aiowsgi.http.messages import HTTPError, Request, Response
from aiowsgi.site.applications import ApplicationError, describe, load
from aiowsgi.site.development import DevelopmentRouter, make_pages
from aiowsgi.site.errorpages import ErrorPages
from aiowsgi.site.health import Health
from aiowsgi.site.namedfiles import NamedFiles
from aiowsgi.site.refresh import Refresh
from aiowsgi.site.router import Handler, Mount, Router
from aiowsgi.site.scripts import Scripts
from aiowsgi.site.static import Static
from aiowsgi.site.tracebacks import Failure
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.compression import codings
from aiowsgi.wsgi.rewriting import MakeCall, RewritingCall, Rules
from aiowsgi.wsgi.timing import TimedCall

logger = logging.getLogger("aiowsgi.site")


class Mounted:
    """The handler of a WSGI application, which never declines."""

    def __init__(self, application: WSGIApplication, make_call: MakeCall = Call) -> None:
        self._application = application
        self._make_call = make_call

    def handle(self, request: Request, script_name: str, path_info: str) -> Call:
        return self._make_call(self._application, request, script_name, path_info)


class Broken:
    """The handler of an application that cannot be had, as long as that is so: its code is being worked on."""

    def __init__(self, failure: Failure | None) -> None:
        """``failure`` is for all to see, if it is given."""
        self._failure = failure

    def handle(self, request: Request, script_name: str, path_info: str) -> Response:
        if self._failure is None:
            raise HTTPError(500)
        return self._failure.response(request)


def build_router(
    config: Config,
    application: WSGIApplication | None = None,
    leaving: Callable[[], bool] = lambda: False,
    generation: Callable[[], int] = lambda: 0,
) -> Router:
    """Return the Router of what ``config`` mounts; ``application`` comes behind it all, at "".

    ``leaving`` tells whether the health path should say so, ``generation`` what grows with each change (``reload``).
    At one prefix scripts are asked first, because they want ``.py`` paths only, and applications last, because they
    never decline. Files decline what they do not have if an application is there to be asked, or, with try_files,
    anybody. The site's error pages are those of the files at "".
    Imports the applications; raises ApplicationError. With ``reload`` one that fails is answered for.
    """
    named = list(_mounts(config))
    applications = {prefix for prefix, kind, _ in named if kind == "application"}
    if application is not None:
        applications.add("")
    # Who may have what the files at a longer prefix have not; of scripts it is known what they have.
    followers = applications | {prefix for prefix, kind, _ in named if kind == "files"}
    mounts: list[Mount] = []
    if config.health_path is not None:
        mounts.append((_as_path(config.health_path), Health(leaving)))
    error_pages: ErrorPages | None = None
    make_call = _make_call(config)
    refresh = Refresh(generation)
    if config.reload:
        make_call = partial(make_pages, make_call, refresh)
    for prefix, kind, target in named:
        handler: Handler
        if kind == "scripts":
            handler = Scripts(target, make_call)
        elif kind == "files":
            followed = any(prefix.startswith(other + "/") for other in followers)
            declines = prefix in applications or (config.try_files and followed)
            handler = Static(target, config.files, decline=declines)
            if not prefix:
                error_pages = handler.error_pages
                error_pages.load()
        else:
            handler = _application(target, config, make_call)
        mounts.append((_as_path(prefix), handler))
    if application is not None:
        mounts.append(("", Mounted(application, make_call)))
    return DevelopmentRouter(mounts, error_pages, refresh) if config.reload else Router(mounts, error_pages)


def _application(target: str, config: Config, make_call: MakeCall) -> Handler:
    try:
        return Mounted(load(target), make_call)
    except ApplicationError as error:
        if not config.reload:
            raise
        logger.error("%s", describe(error))
        return Broken(Failure(error.__cause__, str(error)) if config.debug else None)


def describe_mounts(config: Config) -> list[str]:
    """Return a line for each mount, in the order they are asked: its prefix, what it is, and its target."""
    mounts = sorted(_mounts(config), key=lambda mount: -len(_as_path(mount[0])))
    width = max((len(prefix) for prefix, _, _ in mounts), default=0)
    kinds = len("application")
    return [f"{prefix or '/':<{width}}   {kind:<{kinds}}   {target}" for prefix, kind, target in mounts]


def _mounts(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield prefix, kind and target of all mounts, those of one prefix in the order they are asked."""
    for kind, anywhere, at_root in (
        ("scripts", config.scripts, config.apps),
        ("files", config.static, config.html),
        ("application", config.mount, config.app),
    ):
        for prefix, target in anywhere:
            yield prefix, kind, target
        if at_root is not None:
            yield "", kind, at_root


def _make_call(config: Config) -> MakeCall:
    """Return what makes the calls of applications; where the settings ask for nothing more, it is Call itself."""
    timed = config.reload or config.on_request_end is not None
    if not (config.compress or config.x_sendfile or timed):
        return Call
    files = NamedFiles(config.x_sendfile, config.files) if config.x_sendfile else None
    make_call = TimedCall if timed else RewritingCall
    return partial(make_call, Rules(codings() if config.compress else (), files))


def _as_path(prefix: str) -> str:
    """Return ``prefix`` as a decoded path spells it: a latin-1 character for each byte (PEP 3333)."""
    return prefix.encode().decode("latin-1")
