"""What the parts of the server get of the settings: each a few of them, never all."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may use up; sizes in bytes."""

    connections: int = 0  # of a worker; 0 is what its open files allow
    client_connections: int = 0  # of an address, in a worker; 0 is any number
    requests: int = 0  # of a connection; 0 is any number
    request_line: int = 8 * 1024
    head: int = 64 * 1024
    fields: int = 100
    content: int = 128 * 1024 * 1024
    content_memory: int = 256 * 1024  # a request's content past this goes on in a temporary file
    response_memory: int = 1024 * 1024  # a response its client is slow to take, the same
    response_file: int = 1024 * 1024 * 1024  # and past this its thread waits
    pipelined: int = 64 * 1024  # bytes read ahead of the request that is being answered
    queue: int = 1000  # requests waiting for a thread


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long what may stay as it is without progress, in seconds; infinity where for ever."""

    keep_alive: float = 75.0
    head: float = 20.0
    transfer: float = 60.0
    linger: float = 5.0
    graceful: float = 30.0
    min_rate: int = 240  # bytes per second, over the transfer timeout; 0 is any
    queue: float = 30.0  # for a thread
    request: float = 300.0  # that an application may be silent


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a worker serves before another process takes its place; 0 is for ever."""

    requests: int = 0
    jitter: int | None = None  # most requests to put that off by chance; None is a tenth of them
    rss: int = 0  # bytes of memory
    age: float = 0.0  # seconds


@dataclass(frozen=True, slots=True)
class Tls:
    """The files that TLS is spoken with; the settings of the same names."""

    certificates: tuple[
        tuple[str, str], ...
    ]  # the files of a certificate and of its key; the first is the default
    client_ca: str | None = None
    client_certificates: str = "none"  # none, optional or required

    @property
    def files(self) -> tuple[str, ...]:
        pairs = tuple(path for pair in self.certificates for path in pair)
        return pairs if self.client_ca is None else (*pairs, self.client_ca)


@dataclass(frozen=True, slots=True)
class Files:
    """How the files of a folder are served; the settings of the same names."""

    charset: str = "utf-8"
    nosniff: bool = True
    media_types: tuple[tuple[str, str], ...] = ()  # extension and type
    cache_control: str = "no-cache"
    headers: tuple[tuple[str, str, str], ...] = ()  # pattern, name and value, "" for none
    spa: bool = False
    autoindex: bool = False
    follow_links: bool = False
    # Sources, secrets, databases, and what editors and patch leave.
    refused: tuple[str, ...] = (
        *("*.py", "*.pyc", "*.pyi", "*.pyo", "*.pyw", "*.env", "*.sqlite3"),
        *("*~", "*.bak", "*.swp", "*.orig", "*.rej", "#*#"),
    )
