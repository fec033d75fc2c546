"""Scripts: a path that names a .py file below a folder runs that file's ``application``."""

import logging
import os
import re
import stat
import sys
import zlib
from collections.abc import Iterable
from math import inf
from time import monotonic
from types import ModuleType
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from aiowsgi.http.messages import HTTPError, Request
from aiowsgi.site.applications import ApplicationError, check
from aiowsgi.site.habits import put_right
from aiowsgi.site.router import Lookup
from aiowsgi.wsgi.application import Call
from aiowsgi.wsgi.rewriting import MakeCall
from aiowsgi.wsgi.serial import one_at_a_time

logger = logging.getLogger("aiowsgi.scripts")

_SUFFIX = ".py"
_ENCODED_SEPARATOR = re.compile("%2f|%5c", re.IGNORECASE)
_NOT_IN_A_NAME = re.compile(r"\W")

# Scripts kept ready. Only files that exist get a place, but links can give one file many paths.
_MOST_SCRIPTS = 1000

# Seconds for which a script that could not be loaded is not tried again, at most: as long as that has taken.
_PAUSE = 1.0

Signature = tuple[int, int, int]  # of a file's state: time of its change in nanoseconds, size in bytes, inode


class _Failure(NamedTuple):
    """Why a file could not be loaded, in words: the error itself would keep its request alive."""

    signature: Signature
    until: float  # which it counts, in seconds of the clock
    reason: str


class Scripts:
    """The handler of a folder of scripts.

    ``/tools/hello.py/more`` runs ``tools/hello.py`` with SCRIPT_NAME ``/tools/hello.py`` and PATH_INFO
    ``/more``; a path without a ``.py`` segment is declined. Names that begin with ``_`` or ``.`` do not exist
    for the web. The root is put at the end of sys.path, so that scripts can import helpers kept beside them,
    and none of their names hides an installed module; a helper is imported once, as usual: its changes count
    from the next start.
    """

    def __init__(self, root: str, make_call: MakeCall = Call) -> None:
        self.make_call = make_call
        self._root = os.path.abspath(root)
        self._scripts: dict[str, Script] = {}
        if self._root not in sys.path:
            sys.path.append(self._root)

    def handle(self, request: Request, script_name: str, path_info: str) -> Call | Lookup | None:
        """Answer for the first segment of ``path_info`` that ends in ".py". Raises HTTPError(404)."""
        end = _end_of_script(path_info)
        if not end:
            return None
        name, rest = path_info[:end], path_info[end:]
        # Decoded, an encoded separator would look like a real one (RFC 3986 section 2.2).
        if "%" in request.raw_path and _has_encoded_separator(request.raw_path, script_name + name):
            raise HTTPError(404)
        script = self._scripts.get(name)
        if script is not None:
            return self.make_call(script, request, script_name + name, rest)
        if not _is_public(name):
            raise HTTPError(404)
        return _FirstSight(self, request, script_name, name, rest)

    def find(self, name: str) -> "Script | None":
        """Return a new Script for ``name``, a path that begins with "/", if there is one on the disk."""
        script = Script(self._root, os.fsdecode(name[1:].encode("latin-1")))
        return script if script.exists() else None

    def keep(self, name: str, script: "Script") -> "Script":
        """Return the Script to use for ``name`` from now on: ``script``, unless another was first."""
        if name not in self._scripts and len(self._scripts) >= _MOST_SCRIPTS:
            oldest = self._scripts.pop(next(iter(self._scripts)))
            sys.modules.pop(oldest.module_name, None)
        return self._scripts.setdefault(name, script)


class _FirstSight(Lookup):
    """Is there a file for a path that was not asked for before?"""

    __slots__ = ("_found", "_name", "_request", "_rest", "_script_name", "_scripts")

    def __init__(self, scripts: Scripts, request: Request, script_name: str, name: str, rest: str) -> None:
        self._scripts = scripts
        self._request = request
        self._script_name = script_name
        self._name = name
        self._rest = rest
        self._found: Script | None = None

    def run(self) -> None:
        self._found = self._scripts.find(self._name)

    def answer(self) -> Call:
        if self._found is None:
            raise HTTPError(404)
        script = self._scripts.keep(self._name, self._found)
        return self._scripts.make_call(script, self._request, self._script_name + self._name, self._rest)


class Script:
    """One script as a WSGI application that follows its file: a changed file is loaded afresh.

    Only its loading is serialised; calls run side by side. One that fails slowly does not hold a thread for each
    request: for a moment, and while somebody tries again, the others are told how it ended the last time.
    """

    def __init__(self, root: str, relative: str) -> None:
        """``relative`` is the file's path below ``root``, checked."""
        self._root = root
        self._path = os.path.join(root, relative)
        stem = _NOT_IN_A_NAME.sub("_", relative.removesuffix(_SUFFIX))
        # Two files that differ only in the characters replaced must not share a module.
        self.module_name = f"aiowsgi_script_{stem}_{zlib.crc32(os.fsencode(self._path)):08x}"
        self._loading = one_at_a_time()
        self._loaded: tuple[Signature, WSGIApplication] | None = None
        self._failure: _Failure | None = None
        self._reported = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Run the file as it is now (PEP 3333).

        Raises HTTPError(404) if it is gone, ApplicationError if it has no ``application`` or could not be loaded a
        moment ago, and whatever the file itself raises.
        """
        return put_right(self._application(), environ, start_response, self._report)

    def exists(self) -> bool:
        """Tell whether there is a regular file, within the root also when links are followed."""
        try:
            real = os.path.realpath(self._path, strict=True)
            below = os.path.join(os.path.realpath(self._root), "")
            return real.startswith(below) and stat.S_ISREG(os.stat(real).st_mode)
        except OSError:
            return False

    def _application(self) -> WSGIApplication:
        application = self._ready(self._signature())
        return self._load_alone() if application is None else application

    def _ready(self, signature: Signature) -> WSGIApplication | None:
        """Return what was loaded of a file with that signature; raises ApplicationError if that failed just now."""
        loaded, failure = self._loaded, self._failure
        if loaded is not None and loaded[0] == signature:
            return loaded[1]
        if failure is not None and failure.signature == signature and monotonic() < failure.until:
            raise ApplicationError(f"{self._path} could not be loaded a moment ago: {failure.reason}")
        return None

    def _load_alone(self) -> WSGIApplication:
        with self._loading:
            # Taken before the file is read: a change in between is seen at the next request.
            signature = self._signature()
            application = self._ready(signature)  # somebody else may have tried while this thread waited
            if application is None:
                if not self.exists():
                    raise HTTPError(404)
                application = self._try_to_load(signature)
                self._loaded, self._failure = (signature, application), None
                self._reported = False
            return application

    def _try_to_load(self, signature: Signature) -> WSGIApplication:
        failure, began = self._failure, monotonic()
        if failure is not None and failure.signature == signature:
            self._failure = failure._replace(until=inf)  # nobody waits for this
        try:
            return self._load()
        except BaseException as error:
            now = monotonic()
            self._failure = _Failure(signature, now + min(now - began, _PAUSE), repr(error))
            raise

    def _signature(self) -> Signature:
        try:
            status = os.stat(self._path)
        except OSError:
            raise HTTPError(404) from None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _load(self) -> WSGIApplication:
        with open(self._path, "rb") as file:
            source = file.read()
        # Bytes, so that compile() obeys a coding cookie (PEP 263). No bytecode is written or read: its time
        # stamps are whole seconds, and two edits can be closer.
        code = compile(source, self._path, "exec", dont_inherit=True)
        module = ModuleType(self.module_name)
        module.__file__ = self._path
        module.__package__ = ""
        # dataclasses, pickle and some frameworks look a class's module up by its name.
        sys.modules[self.module_name] = module
        exec(code, module.__dict__)
        if not hasattr(module, "application"):
            raise ApplicationError(
                f"{self._path} defines no 'application'; a script is run by calling its"
                " application(environ, start_response)"
            )
        return check(module.application, f"'application' in {self._path}")

    def _report(self, habits: list[str]) -> None:
        with self._loading:  # two answers may be complete at once
            reported, self._reported = self._reported, True
        if not reported:
            logger.warning("%s: %s", self._path, "; ".join(habits))


def _end_of_script(path: str) -> int:
    """Return where the first segment that ends in ".py" ends, 0 if there is none."""
    end = path.find(_SUFFIX)
    while end >= 0:
        end += len(_SUFFIX)
        if end == len(path) or path[end] == "/":
            return end
        end = path.find(_SUFFIX, end)
    return 0


def _is_public(name: str) -> bool:
    """Tell whether the web may know of ``name``, a path that begins with "/"."""
    root, *segments = name.split("/")
    if root or "\0" in name or "\\" in name:
        return False
    return all(segment and segment[0] not in "_." for segment in segments)


def _has_encoded_separator(raw_path: str, decoded: str) -> bool:
    """Tell whether ``raw_path`` has one in the part that became ``decoded``; the rest is the script's."""
    count = decoded.count("/") + 1
    return any(_ENCODED_SEPARATOR.search(segment) for segment in raw_path.split("/", count)[:count])
