"""Which files a developer has changed: a process of its own watches them, and tells the others what to do.

It is none of the workers', whose code may be broken, and not the supervisor's, which forks: watching takes threads.
"""

import logging
import os
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path

from aiowsgi.config import Config
from aiowsgi.http.messages import printable
from aiowsgi.process.child import Report

logger = logging.getLogger("aiowsgi.reload")

CODE = ("*.py", "*.toml")
# What the server and applications read when they are asked for it. Not what applications write while they answer, as
# data, logs and pictures: a page that is refreshed by being asked for would never rest.
PAGES = (
    *("*.html", "*.htm", "*.xhtml", "*.css", "*.js", "*.mjs", "*.svg"),
    *("*.jinja", "*.jinja2", "*.j2", "*.mako", "*.pt", "*.tpl"),
)
# Names that begin with a dot, too, are nobody's code: version control, virtual environments, caches, editors' files.
_IGNORED = ("__pycache__", "node_modules", "site-packages", "dist-packages", "flycheck_*")

# Milliseconds: how long nothing more has to change for what has changed to count, how long to wait for that at most,
# and how often to see whether the supervisor is still there.
_REST, _LONGEST, _TURN = 50, 1600, 100


def roots(config: Config) -> list[str]:
    """Return the folders to watch, all that is below them included.

    They are the current one, those of the site, and those of sys.path that are neither Python's own nor those of
    installed packages: PYTHONPATH, and packages that are installed as editable.
    """
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # loaded already
    installed = [own, *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))]
    folders = [os.getcwd(), config.html, config.apps]
    folders += [folder for _, folder in (*config.static, *config.scripts)]
    folders += [
        folder
        for folder in map(os.path.abspath, sys.path)
        if not _is_below(folder, installed) and not any(map(_is_ignored, Path(folder).parts))
    ]
    found = {os.path.abspath(folder) for folder in folders if folder is not None and os.path.isdir(folder)}
    return sorted(folder for folder in found if not _is_below(folder, found - {folder}))


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(os.path.join(folder, "")) for folder in folders)


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in _IGNORED)


@dataclass(frozen=True, slots=True)
class Watch:
    """The ``Work`` of the process: it sends ``supervisor`` a SIGHUP when code has changed.

    ``refresh`` is called when nothing but pages has. ``include`` are patterns of names that count as code, too.
    """

    folders: list[str]
    include: tuple[str, ...]
    supervisor: int
    refresh: Callable[[], None]

    def __call__(self, report: Report, life: int | None) -> None:
        try:
            self._watch()
        except OSError as error:  # the system watches no more files for this user, most often
            report.failed(str(error))

    def _watch(self) -> None:
        for number, changes in enumerate(_changes(self.folders)):
            if os.getppid() != self.supervisor:
                return
            if number == 0:
                logger.info("watching %s", ", ".join(self.folders))
            code = self.of(changes, (*CODE, *self.include))
            if code:
                logger.info("%s", _told(code))
                os.kill(self.supervisor, signal.SIGHUP)
            elif pages := self.of(changes, PAGES):
                logger.info("%s", _told(pages))
                self.refresh()

    def of(self, paths: Iterable[str], patterns: tuple[str, ...]) -> list[str]:
        """Return those of ``paths``, shortened, whose names one of ``patterns`` matches."""
        found = []
        for path in sorted(paths):
            root = next(folder for folder in self.folders if _is_below(path, [folder]))
            short = os.path.relpath(path, root)
            parts = Path(short).parts
            if not any(map(_is_ignored, parts)) and any(fnmatchcase(parts[-1], one) for one in patterns):
                found.append(short)
        return found


def _changes(folders: list[str]) -> Iterator[set[str]]:
    """Yield what has changed, and now and then nothing, at first as soon as all is watched."""
    options = {
        "watch_filter": None,
        "debounce": _LONGEST,
        "step": _REST,
        "yield_on_timeout": True,
        "ignore_permission_denied": True,
    }
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    watchfiles = import_module("watchfiles")
    for changes in watchfiles.watch(*folders, rust_timeout=_TURN, **options):
        yield {path for _, path in changes}


def _told(names: list[str]) -> str:
    more = f" and {len(names) - 1} more have" if len(names) > 1 else " has"
    return f"{printable(names[0])}{more} changed"
