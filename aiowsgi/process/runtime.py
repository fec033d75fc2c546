"""What tells of a server while it runs: the path of its control socket, and the file with its process id."""

import contextlib
import logging
import os
import stat

from aiowsgi.server.lateness import lives
from aiowsgi.server.listeners import Listener, ListenError, open_private

logger = logging.getLogger("aiowsgi.runtime")

NONE = "none"  # stands for: there is to be no such file

_USUAL_HOSTS = ("", "0.0.0.0", "::", "127.0.0.1", "localhost")  # of which one alone has a port


class RuntimeFileError(OSError):
    """A file that cannot be had; one line says which and why."""


def control_path(given: str | None, address: str) -> str | None:
    """Return the path of the control socket: the one that is ``given``, or None if that is "none".

    Where nothing is, ``address`` says it, the first one that is listened on, as it was given: unix:PATH has
    PATH.control, and HOST:PORT has aiowsgi-HOST-PORT.sock in ``runtime_folder``, without a HOST that most have.
    """
    if given is not None:
        return None if given == NONE else given
    for scheme in ("tls:", "http://", "https://"):
        address = address.removeprefix(scheme)
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not path.startswith("@"):  # with which the names begin that are no files
            return os.path.abspath(path) + ".control"
        host, port = "", path
    else:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
    name = port if host in _USUAL_HOSTS else f"{host}-{port}"
    return os.path.join(runtime_folder(), f"aiowsgi-{name.replace('/', '-')}.sock")


def runtime_folder() -> str:
    """Return XDG_RUNTIME_DIR; where there is none, /run for root, and for others a folder in that for temporary files.

    As the XDG Base Directory Specification asks, others may not write to any of them.
    """
    given = os.environ.get("XDG_RUNTIME_DIR")
    if given:
        return given
    user = os.geteuid()
    return "/run" if user == 0 else os.path.join(os.environ.get("TMPDIR") or "/tmp", f"aiowsgi-{user}")


def open_control(given: str | None, address: str, handed: list[Listener]) -> Listener | None:
    """Return the control socket, as ``control_path`` says; None where there is to be none.

    It is taken out of ``handed``, the sockets of a server in whose stead this one was started, if it is there.

    Where it cannot be had: raises OSError if one was asked for, else logs that, for the server does without.
    """
    if not hasattr(os, "fork"):  # on Windows there is no supervisor to be asked
        return None
    path = control_path(given, address)
    try:
        if given is None:
            _make_runtime_folder()
        return open_private(path, handed) if path is not None else None
    except OSError as error:
        if given is not None:
            raise ListenError(f"control socket {error}") from None
        logger.warning("no control socket: %s", error)
        return None


def _make_runtime_folder() -> None:
    """Make it, where it is the one in the folder for temporary files.

    Raises RuntimeFileError where it cannot be made, or somebody else has.
    """
    folder, user = runtime_folder(), os.geteuid()
    if os.path.basename(folder) != f"aiowsgi-{user}":
        return
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        found = os.lstat(folder)
    except OSError as error:
        raise RuntimeFileError(f"folder {folder} cannot be made: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022:
        raise RuntimeFileError(f"folder {folder} is not this user's alone")


class PidFile:
    """The file that holds the process id: this process's from ``claim`` on, and until ``close`` removes it."""

    def __init__(self, path: str, predecessor: int | None = None) -> None:
        """Prepare for what is in the place of ``path``: nothing, what a dead process has left, or ``predecessor``.

        Raises RuntimeFileError where a living process has it, where it holds something else, and where it cannot be
        written.
        """
        self._path = path
        self._pid = os.getpid()
        try:
            there = _process_in(path)
            if there is not None and there not in (self._pid, predecessor) and lives(there):
                raise RuntimeFileError(f"PID file {path} is that of process {there}, which is running")
            os.unlink(self._write())  # not to be told of it when another server has given way
        except RuntimeFileError:
            raise
        except (OSError, ValueError) as error:
            raise RuntimeFileError(f"PID file {path} cannot be written: {_reason(error)}") from None

    def claim(self) -> None:
        try:
            _process_in(self._path)  # something else may have come there since
            # Whoever reads the file finds the one before or this one, and no half of it.
            os.replace(self._write(), self._path)
        except (OSError, ValueError) as error:
            logger.error("PID file %s cannot be written: %s", self._path, _reason(error))

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            if _process_in(self._path) == self._pid:  # and not a newer server's
                os.unlink(self._path)

    def _write(self) -> str:
        """Write another file beside it, for that moment alone, and return its path. Raises OSError.

        What somebody has put in its place beforehand, a link say, is removed and not written through.
        """
        path = f"{self._path}.{self._pid}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with open(path, "x") as file:
            file.write(f"{self._pid}\n")
        return path


def _process_in(path: str) -> int | None:
    """Return the process id in ``path``; None where there is no such file, or it is empty.

    Raises OSError, and ValueError for what is no file of that kind: a device, a FIFO, a diary.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # and is not opened, which a FIFO would have wait
            raise ValueError("it is no regular file")
        with open(path, "rb") as file:
            text = file.read(64).strip()
    except FileNotFoundError:
        return None
    if not text:
        return None
    if not (text.isdigit() and 0 < int(text) < 1 << 31):
        raise ValueError("it holds something else than a process id")
    return int(text)


def _reason(error: OSError | ValueError) -> str | None:
    return error.strerror if isinstance(error, OSError) else str(error)
