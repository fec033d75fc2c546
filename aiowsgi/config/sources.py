"""Where settings come from: command line over environment over file over default."""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aiowsgi.config.declaring import as_option, as_variable
from aiowsgi.config.paths import PathError
from aiowsgi.config.settings import SETTINGS, Config
from aiowsgi.config.values import Kind


class ConfigError(Exception):
    """A mistake in a setting, in one line: its place, what was expected, what was given."""


# Kubernetes tells each pod of a Service that is called aiowsgi, or aiowsgi-api, as Docker did of links: where its
# address is. See "Environment variables" in "Service" of its documentation.
_OF_SERVICES = r"AIOWSGI_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_[A-Z]+(_(PROTO|PORT|ADDR))?)=|AIOWSGI_(\w+_)?PORT=\w+://"

_Found = dict[str, tuple[str, Any]]  # a setting's name -> the place it was given in, its value

_PROJECT_FILE = "pyproject.toml"
_FILES = ("aiowsgi.toml", _PROJECT_FILE)
_ROOTS = {"static": "html", "scripts": "apps", "mount": "app"}  # the same kind of mount, at "/"


def current_folder() -> Path:
    """Return the current directory, where relative paths start. Raises ConfigError where it is there no longer."""
    try:
        return Path.cwd()
    except OSError as error:
        raise ConfigError(f"current directory: expected one that exists ({error.strerror})") from None


def load(
    command_line: Mapping[str, object],
    environ: Mapping[str, str],
    directory: Path,
    passed: Sequence[str] = (),
) -> Config:
    """Read and check all settings; relative paths start from ``directory``.

    ``command_line`` holds what was given there by a field's name (None and () are nothing), and as ``config``
    the file to read. ``passed`` are the binds of sockets that systemd has opened, which count instead of those that
    were given, unless descriptors are named there. Reads that file and looks whether folders exist; nothing else comes
    from outside the arguments. Raises ConfigError.
    """
    found = _find(command_line, environ, directory)
    _, binds = found.get("bind", ("", ()))
    if passed and not any(re.match("(tls:)?fd:", bind) for bind in binds):
        found["bind"] = "LISTEN_FDS", tuple(passed)
    return _checked(found, directory)


def load_some(
    names: Iterable[str], command_line: Mapping[str, object], environ: Mapping[str, str], directory: Path
) -> Config:
    """Read the settings ``names`` from where ``load`` does, and leave the others as they are by default.

    Whether they all go together is for who serves to say. Raises ConfigError.
    """
    found = _find(command_line, environ, directory)
    return Config(**{name: _settled(name, *found[name], directory) for name in names if name in found})


def keep_fixed(config: Config, running: Config) -> Config:
    """Return what a server that is ``running`` can become of ``config``, which was read anew.

    Raises ConfigError where that does not go together with the addresses that are listened on.
    """
    kept = replace(
        config, **{name: getattr(running, name) for name, setting in SETTINGS.items() if setting.fixed}
    )
    try:
        _check_tls(kept, {name: name for name in SETTINGS})
    except ConfigError as error:
        raise ConfigError(f"{error}; bind is that of the start until the next one") from None
    return kept


def _find(command_line: Mapping[str, object], environ: Mapping[str, str], directory: Path) -> _Found:
    options = dict(command_line)
    variables = {
        name.removeprefix("AIOWSGI_").lower(): text
        for name, text in environ.items()
        if name.startswith("AIOWSGI_") and text and not re.match(_OF_SERVICES, f"{name}={text}")
    }
    variable = variables.pop("config", None)
    option = options.pop("config", None)
    if option is not None:
        found = _named_file(str(option), "--config", directory)
    elif variable is not None:
        found = _named_file(variable, "AIOWSGI_CONFIG", directory)
    else:
        found = _file_of(directory)
    found |= _read(variables, as_variable, text=True)
    return found | _read(options, as_option, text=True)


def _named_file(name: str, place: str, directory: Path) -> _Found:
    found = _read_file(name, place, directory)
    if found is None:
        raise _mistake(place, "a file with [tool.aiowsgi]", name)
    return found


def _file_of(directory: Path) -> _Found:
    for name in _FILES:
        if os.path.isfile(directory / name) and (found := _read_file(name, name, directory)) is not None:
            return found
    return {}


def _read_file(name: str, place: str, directory: Path) -> _Found | None:
    """Read a settings file; None if it is a pyproject.toml with nothing for us."""
    try:
        table: object = tomllib.loads((directory / name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{place}: expected a TOML file, got {name!r} ({reason})") from error
    if Path(name).name == _PROJECT_FILE:
        for key in ("tool", "aiowsgi"):
            table = table.get(key) if isinstance(table, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise _mistake(f"{name}: tool.aiowsgi", "a table", table)
    return _read(table, lambda key: f"{name}: {key}", text=False)


def _read(given: Mapping[str, object], spelt: Callable[[str], str], *, text: bool) -> _Found:
    """Read what one source gives; ``spelt`` turns a name into the place to name in a mistake.

    A file has types and is held to them. Elsewhere (``text``) every value may come as text.
    """
    found: _Found = {}
    for name, value in given.items():
        if name not in SETTINGS:
            near = [spelt(near) if text else near for near in get_close_matches(name, SETTINGS, 1)]
            hint = f"did you mean {near[0]}?" if near else "see aiowsgi serve --help"
            raise ConfigError(f"{spelt(name)}: expected the name of a setting, {hint}")
        if value is not None:
            found[name] = spelt(name), _value(SETTINGS[name].kind, value, spelt(name), text)
    return {name: entry for name, entry in found.items() if entry[1] != ()}


def _value(kind: Kind, given: object, place: str, text: bool) -> object:
    if not kind.many:
        return _single(kind, given, place, text)
    if isinstance(given, dict) and kind.items is not None:
        try:
            given = kind.items(given)
        except ValueError:
            raise _mistake(place, f"a table of {kind.expected}", given) from None
    if text and isinstance(given, str):
        given = [item.strip() for item in given.split(kind.separator)]
    items = given if isinstance(given, list | tuple) else [given]
    if text and kind.listed:
        items = [part.strip() for item in items for part in str(item).split(kind.separator)]
    return tuple(_single(kind, item, place, text) for item in items)


def _single(kind: Kind, given: object, place: str, text: bool) -> object:
    if kind.functions and callable(given):
        return given
    # Not isinstance, to which True is an int.
    if type(given) in kind.toml or (text and isinstance(given, str)):
        with suppress(ValueError):
            return kind.parse(str(given))
    raise _mistake(place, kind.expected, given)


def _mistake(place: str, expected: str, given: object) -> ConfigError:
    return ConfigError(f"{place}: expected {expected}, got {given!r}")


def _checked(found: _Found, directory: Path) -> Config:
    """Check the settings against each other and the file system, and settle what depends on them."""
    settled = {name: _settled(name, *found[name], directory) for name in found}
    for name, root in _ROOTS.items():
        prefixes = [prefix for prefix, _ in settled.get(name, ())]
        again = [prefix or "/" for prefix in prefixes if prefixes.count(prefix) > 1]
        if again:
            raise _mistake(found[name][0], "each prefix once", again[0])
        if "" in prefixes and root in found:
            raise _mistake(found[name][0], f"no prefix / beside {found[root][0]}", "/")
        free = "" not in prefixes and root not in found
        if free and root != "app" and "app" not in found and os.path.isdir(directory / root):
            settled[root] = str(directory / root)
    if settled.get("proxy_protocol") and "trusted_proxies" not in settled:
        raise ConfigError(
            f"{found['proxy_protocol'][0]}: expected trusted proxies beside it, and there are none"
        )
    if not settled.keys() & {*_ROOTS, *_ROOTS.values()}:
        raise ConfigError(f"nothing to serve: expected APP, or a folder html or apps in {directory}")
    if settled.get("reload"):
        _check_reload(found["reload"][0])
        settled = {"debug": True, "access_log": "-", **settled}
    config = Config(**settled)
    _check_tls(config, {name: place for name, (place, _) in found.items()})
    return config


def _check_tls(config: Config, places: Mapping[str, str]) -> None:
    """Refuse what says of TLS that it is there without saying all that it takes, or says it where there is none."""
    secure = [bind for bind in config.bind if bind.startswith("tls:")]
    if secure and not config.certificate:
        raise _mistake(places["bind"], f"{as_option('certificate')} beside it", secure[0])
    for name in ("certificate", "key", "client_ca", "client_certificates", "redirect_https", "hsts"):
        if getattr(config, name) and not secure:
            raise _mistake(
                places[name], f"a bind that begins with tls: beside it, as {as_option('bind')}", config.bind
            )
    if config.key and len(config.key) != len(config.certificate):
        raise _mistake(places["key"], f"one for each of {places['certificate']}", config.key)
    if config.client_certificates in ("optional", "required") and config.client_ca is None:
        raise _mistake(
            places["client_certificates"], f"{as_option('client_ca')} beside it", config.client_certificates
        )
    if config.redirect_https and len(secure) == len(config.bind):
        raise _mistake(places["redirect_https"], "a bind without tls: beside it", config.bind)


def _check_reload(place: str) -> None:
    if not hasattr(os, "fork"):
        raise ConfigError(f"{place}: expected on a system that can fork, which this one cannot")
    if find_spec("watchfiles") is None:
        raise ConfigError(f"{place}: expected watchfiles to be installed: pip install 'aiowsgi[reload]'")


def _settled(name: str, place: str, value: Any, directory: Path) -> Any:
    """Return a value with its paths made absolute, and what has to be there seen to be."""
    kind = SETTINGS[name].kind
    if kind.settle is None:
        return value
    try:
        if kind.many:
            return tuple(kind.settle(directory, item) for item in value)
        return kind.settle(directory, value)
    except PathError as error:
        raise _mistake(place, error.expected, error.path) from None
