"""How a setting is declared, and how the sources of settings spell it."""

from dataclasses import dataclass, field
from typing import Any

from aiowsgi.config import values
from aiowsgi.config.values import Kind


def setting(
    group: str, kind: Kind, default: object, help: str, shown: str = "", *, fixed: bool = False
) -> Any:
    """Declare a field of Config; ``shown`` is its default as people read it, where the value does not say.

    What is ``fixed`` stays as it was at the start, for a reload cannot change it any more: it was used before the first
    worker, or is the supervisor's own.
    """
    told = {"group": group, "kind": kind, "help": help, "shown": shown, "fixed": fixed}
    return field(default=default, metadata=told)


def as_option(name: str) -> str:
    """Return how the command line spells the setting ``name``."""
    return "APP" if name == "app" else "--" + name.replace("_", "-")


def as_variable(name: str) -> str:
    """Return how the environment spells the setting ``name``."""
    return "AIOWSGI_" + name.upper()


@dataclass(frozen=True, slots=True)
class Setting:
    """What a field of Config declares, and how the sources of settings spell it."""

    name: str
    group: str
    kind: Kind
    help: str
    default: str
    fixed: bool

    @property
    def option(self) -> str:
        return as_option(self.name)

    @property
    def variable(self) -> str:
        return as_variable(self.name)


def default_text(kind: Kind, default: Any) -> str:
    if default in (None, ()):
        return "none"
    if kind is values.SIZE:
        return values.size_text(default)
    if kind is values.FLAG:
        return "yes" if default else "no"
    if kind in (values.SECONDS, values.SECONDS_OR_NONE):
        return f"{default:g}"
    return ", ".join(default) if kind.many else str(default)
