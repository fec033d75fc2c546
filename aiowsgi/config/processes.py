"""The settings of the processes: how they come and go, and what they log."""

from collections.abc import Callable
from dataclasses import dataclass

from aiowsgi.config import values
from aiowsgi.config.declaring import setting
from aiowsgi.config.parts import Lifetime

_PROCESS, _HOOKS, _LOG, _DEVELOPMENT = "Processes", "Hooks", "Logging", "Development"
_Hook = str | Callable[..., object] | None
_LIFETIME = Lifetime()


@dataclass(frozen=True, kw_only=True)
class ProcessSettings:
    health_path: str | None = setting(
        _PROCESS,
        values.PATH,
        None,
        "Answer 200 at this path, and 503 once the server is going to stop: for the health check of a load balancer.",
    )
    ready_check: str | None = setting(
        _PROCESS,
        values.REQUEST_PATH,
        None,
        "What each worker asks itself before it serves. Below status 400 it is ready; else, or after 30 seconds, it has"
        " failed to start, and whom it was to replace serves on.",
    )
    preload: bool = setting(
        _PROCESS,
        values.FLAG,
        False,
        "Import the application once, before the workers are forked, so that they share its memory. Not by default:"
        " connections and threads that an application opens or starts at its import are not for sharing.",
        fixed=True,
    )
    drain_delay: float = setting(
        _PROCESS,
        values.SECONDS_OR_NONE,
        0.0,
        "How long to serve on after SIGTERM, while the health path says 503: as long as a load balancer takes to"
        " notice. 0 stops at once, for there may be none.",
        fixed=True,
    )
    max_requests: int = setting(
        _PROCESS,
        values.bound("requests"),
        _LIFETIME.requests,
        "Replace a worker after so many, as in gunicorn: against what leaks. None by default, because most do not.",
    )
    max_requests_jitter: int | None = setting(
        _PROCESS,
        values.bound("requests"),
        _LIFETIME.jitter,
        "Most requests to put that off by chance, so that workers are not replaced together.",
        "a tenth of them",
    )
    max_rss: int = setting(
        _PROCESS,
        values.SIZE,
        _LIFETIME.rss,
        "Replace a worker that has so much memory in use; 0 for no bound.",
    )
    max_age: float = setting(
        _PROCESS,
        values.SECONDS_OR_NONE,
        _LIFETIME.age,
        "Replace a worker after so long, put off by up to a tenth by chance; 0 for no bound.",
    )
    control: str | None = setting(
        _PROCESS,
        values.SOCKET,
        None,
        "Socket for the commands aiowsgi status, reload, stop and so on, for this user and root alone. By default"
        " aiowsgi-PORT.sock, or aiowsgi-HOST-PORT.sock, in the folder XDG_RUNTIME_DIR, else in /run for root or"
        " /tmp/aiowsgi-UID for others;"
        " beside a Unix socket PATH it is PATH.control.",
        "by the first address",
        fixed=True,
    )
    pid_file: str | None = setting(
        _PROCESS,
        values.FILE_TO_BE,
        None,
        "Write the process id here, for whoever cannot do without; removed at the end.",
        fixed=True,
    )

    on_start: _Hook = setting(
        _HOOKS,
        values.HOOK,
        None,
        "Called in the supervisor before the first worker is started, with nothing of an application imported.",
        fixed=True,
    )
    on_worker_start: _Hook = setting(
        _HOOKS,
        values.HOOK,
        None,
        "Called in each worker before it is ready: the place for pools of connections and for what starts threads. What"
        " it raises is a failed start.",
    )
    on_worker_stop: _Hook = setting(
        _HOOKS, values.HOOK, None, "Called in each worker behind its last request. What it raises is logged."
    )
    on_request_end: _Hook = setting(
        _HOOKS,
        values.HOOK,
        None,
        "Called behind each answer, in a thread of its own, with what an aiowsgi.RequestEnd tells of it.",
    )

    access_log: str | None = setting(
        _LOG,
        values.FILE,
        None,
        "Write a line for each request; - is standard output.",
        "-, on a terminal or with reload",
        fixed=True,
    )
    log_level: str = setting(
        _LOG,
        values.LEVEL,
        "info",
        "Least severity to log: debug, info, warning, error or critical.",
        fixed=True,
    )
    debug: bool = setting(
        _LOG, values.FLAG, False, "Show tracebacks to clients, as --reload does by itself; never in public."
    )

    reload: bool = setting(
        _DEVELOPMENT,
        values.FLAG,
        False,
        "Replace the workers when code has changed, show what is wrong with it in the browser, and have open pages"
        " refresh themselves. Takes watchfiles: pip install 'aiowsgi[reload]'.",
        fixed=True,
    )
    reload_include: tuple[str, ...] = setting(
        _DEVELOPMENT,
        values.GLOBS,
        (),
        "Names of other files that count as code, such as templates that an application keeps in memory; those"
        " of Python and TOML do already.",
        fixed=True,
    )

    @property
    def lifetime(self) -> Lifetime:
        return Lifetime(self.max_requests, self.max_requests_jitter, self.max_rss, self.max_age)
