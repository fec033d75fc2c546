"""The hooks: functions of the operator's that the server calls at certain moments."""

import inspect
import logging
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from aiowsgi.site.applications import ApplicationError, find

logger = logging.getLogger("aiowsgi.hooks")

Hook = Callable[..., object]
Named = str | Hook | None  # "module:function", or in a program the function itself

# What Python and pip have brought: nothing of it changes while a server runs.
_INSTALLED = ("site-packages", "dist-packages")


class HookError(ApplicationError):
    """A hook that cannot be called, or has failed; its text is one line that begins with the setting's name."""


def find_hook(setting: str, named: Named, *arguments: object) -> Hook | None:
    """Return the function that ``setting`` names, which takes ``arguments``; None where it names none.

    Raises HookError for what is certain to fail.
    """
    if named is None:
        return None
    try:
        found = find(named) if isinstance(named, str) else named
    except ApplicationError as error:
        raise HookError(f"{setting}: {error}") from error.__cause__
    label = f"{setting}: {_label(named)}"
    if not callable(found):
        raise HookError(f"{label} is an object of type {type(found).__qualname__!r}, not a function")
    if inspect.iscoroutinefunction(found):
        raise HookError(f"{label} is a coroutine function, which nobody awaits")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # some callables written in C tell nothing
        return found
    try:
        signature.bind(*arguments)
    except TypeError:
        count = f"{len(arguments)} argument" if arguments else "no arguments"
        raise HookError(f"{label} is called with {count} and takes others") from None
    return found


def call_hook(setting: str, named: Named) -> None:
    """Call what ``setting`` names, if anything. Raises HookError, with what it has raised as the cause."""
    hook = find_hook(setting, named)
    if hook is not None:
        try:
            hook()
        except (Exception, SystemExit) as error:
            raise HookError(f"{setting}: {_label(named)} raised {type(error).__name__}") from error


def call_apart(setting: str, named: Named) -> None:
    """Do as ``call_hook``, and forget what was imported for it, so that workers load it anew.

    For a process whose children should see a project as it is when they are forked. What is installed is kept: it does
    not change, and not all of it can be loaded twice.
    """
    before = set(sys.modules)
    call_hook(setting, named)
    for name in sys.modules.keys() - before:
        if _is_project(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def call_last(setting: str, named: Named) -> None:
    """Call what ``setting`` names, if anything, where nobody is left who could be told of its failure but the log."""
    try:
        call_hook(setting, named)
    except HookError as error:
        logger.error("%s", error, exc_info=error.__cause__)


def _label(named: Named) -> str:
    return repr(named) if isinstance(named, str) else repr(getattr(named, "__qualname__", named))


def _is_project(path: str | None) -> bool:
    if path is None or not path.endswith(".py") or not set(_INSTALLED).isdisjoint(Path(path).parts):
        return False
    return not any(Path(path).is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
