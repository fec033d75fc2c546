"""The application that a name stands for: "package.module:attribute" or a factory's call."""

import ast
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, cast
from wsgiref.types import WSGIApplication

from aiowsgi.site.tracebacks import without_server

_FORMS = "'package.module:attribute' or 'package.module:factory()'"
_DEFAULT_ATTRIBUTES = ("application", "app")
_NAMES_SHOWN = 8


class ApplicationError(Exception):
    """No application to run; its text is one line that says what was expected.

    What the application itself raised, if it did, is the ``__cause__``: see ``describe``.
    """


def load(specification: str) -> WSGIApplication:
    """Import what ``specification`` names and return the application.

    The forms: ``package.module:attribute``, where the attribute may be dotted; the same with a factory's
    call, ``package.module:factory("prod", debug=True)``, whose arguments are literals; and ``package.module``
    alone, which means its ``application`` or ``app``. The module is looked for along sys.path, which is the
    caller's to set. Raises ApplicationError.
    """
    module_name, _, expression = specification.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")) or module_name.endswith(".py"):
        raise ApplicationError(_not_a_module(specification, module_name, expression or "application"))
    if ":" in specification and not expression:
        raise ApplicationError(f"{specification!r} names no attribute: {_FORMS} was expected")
    names, arguments, keywords = _parse(specification, expression) if expression else ([], None, {})
    module = _import(module_name)
    if not names:
        names = [next((name for name in _DEFAULT_ATTRIBUTES if hasattr(module, name)), "")]
        specification = f"{module_name}:{names[0]}"
    found = _attribute(module, names)
    if arguments is not None:
        found = _create(specification, found, arguments, keywords)
        return check(found, f"what {specification!r} returned")
    return check(found, repr(specification), f"; if it is a factory, write its call: '{specification}()'")


def find(specification: str) -> object:
    """Import and return what ``specification`` names, ``package.module:attribute``; the attribute may be dotted.

    Raises ApplicationError.
    """
    module_name, _, attribute = specification.partition(":")
    return _attribute(_import(module_name), attribute.split("."))


def check(found: object, label: str, advice: str = "") -> WSGIApplication:
    """Return ``found`` if it can be called with (environ, start_response), as PEP 3333 asks.

    ``label`` says where it comes from, ``advice`` what to do if it takes something else. Raises
    ApplicationError for what is certain to fail at every request.
    """
    if not callable(found):
        raise ApplicationError(
            f"{label} is {_kind(found)}, not a callable that takes (environ, start_response)"
        )
    if inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(type(found).__call__):
        raise ApplicationError(f"{label} looks like an ASGI application; aiowsgi runs WSGI")
    try:
        # Not what a decorator wraps: that may well have other parameters than the decorated callable.
        signature = inspect.signature(found, follow_wrapped=False)
    except (TypeError, ValueError):  # some callables written in C tell nothing
        return cast(WSGIApplication, found)
    if list(signature.parameters) == ["scope", "receive", "send"]:
        raise ApplicationError(f"{label} looks like an ASGI application; aiowsgi runs WSGI")
    try:
        signature.bind(None, None)
    except TypeError:
        raise ApplicationError(f"{label} does not take (environ, start_response){advice}") from None
    return cast(WSGIApplication, found)


def describe(error: ApplicationError) -> str:
    """Return what to show: the traceback of what the application raised, if it did, and the line.

    The frames between the server and the application's first own one are left out.
    """
    cause = error.__cause__
    if cause is None:
        return str(error)
    shown = traceback.TracebackException(type(cause), cause, without_server(cause.__traceback__))
    return "".join(shown.format()) + str(error)


def _parse(specification: str, expression: str) -> tuple[list[str], list[Any] | None, dict[str, Any]]:
    """Return the attribute's names, then the factory's arguments, or None where nothing is called."""
    arguments: list[Any] | None = None
    keywords: dict[str, Any] = {}
    try:
        node = ast.parse(expression.strip(), mode="eval").body
        if isinstance(node, ast.Call):
            arguments = [ast.literal_eval(argument) for argument in node.args]
            keywords = {keyword.arg or "**": ast.literal_eval(keyword.value) for keyword in node.keywords}
            node = node.func
        names = ast.unparse(node).split(".")
    except (SyntaxError, ValueError):
        names = []
    if not names or "**" in keywords or not all(name.isidentifier() for name in names):
        raise ApplicationError(
            f"{specification!r} is not {_FORMS}, where the factory's arguments are literals,"
            " as in 'shop:create_app(\"prod\", debug=True)'"
        )
    return names, arguments, keywords


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        # A module that the application misses is its own failure, and needs the traceback.
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            where = os.path.abspath(sys.path[0]) if sys.path else "an empty sys.path"
            if not os.access(where, os.R_OK | os.X_OK):
                where += ", which this user may not read"
            missing = f" ({error.name!r} is missing)" if error.name != name else ""
            raise ApplicationError(f"there is no module {name!r} in {where}{missing}") from None
        raise ApplicationError(f"importing {name!r} raised {_one_line(error)}") from error


def _attribute(found: Any, names: Iterable[str]) -> Any:
    for name in names:
        if not hasattr(found, name):
            raise ApplicationError(_no_attribute(found, name))
        found = getattr(found, name)
    return found


def _create(specification: str, factory: Any, arguments: list[Any], keywords: dict[str, Any]) -> object:
    if not callable(factory):
        raise ApplicationError(f"the factory of {specification!r} is {_kind(factory)}, not a callable")
    try:
        return factory(*arguments, **keywords)
    except (Exception, SystemExit) as error:
        raise ApplicationError(f"calling {specification!r} raised {_one_line(error)}") from error


def _not_a_module(specification: str, module_name: str, expression: str) -> str:
    if module_name.endswith(".py"):
        module = module_name.removesuffix(".py").replace("/", ".").strip(".")
        return f"{specification!r} names a file; name its module, as in '{module}:{expression}'"
    return f"{specification!r} is not {_FORMS}"


def _no_attribute(holder: object, name: str) -> str:
    where = f"module {holder.__name__!r}" if isinstance(holder, ModuleType) else _kind(holder)
    line = f"{where} has no {name!r}" if name else f"{where} has neither 'application' nor 'app'"
    likely = _likely_names(holder) if isinstance(holder, ModuleType) else []
    return f"{line}; its callables are: {', '.join(likely[:_NAMES_SHOWN])}" if likely else line


def _likely_names(module: ModuleType) -> list[str]:
    """Name the module's public callables, without the functions and classes it only imported."""
    return [
        name
        for name, value in vars(module).items()
        # type(), because isinstance() would make a framework's context-local proxy look for its context.
        if not name.startswith("_")
        and callable(value)
        and (
            not issubclass(type(value), type | FunctionType | BuiltinFunctionType)
            or value.__module__ == module.__name__
        )
    ]


def _kind(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__!r}"
    return f"an object of type {type(value).__qualname__!r}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
