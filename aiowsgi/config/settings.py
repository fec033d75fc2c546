"""The settings: name, type, default, unit and meaning of each, declared once as a field of Config."""

import math
from dataclasses import dataclass, field, fields
from typing import Any

from aiowsgi.config import values
from aiowsgi.config.parts import Files, Lifetime, Limits, Timeouts, Tls
from aiowsgi.config.values import Kind


def _setting(group: str, kind: Kind, default: object, help: str, shown: str = "") -> Any:
    """Declare a field of Config; ``shown`` is its default as people read it, where the value does not say."""
    return field(default=default, metadata={"group": group, "kind": kind, "help": help, "shown": shown})


_SITE, _FILES, _SERVER, _TLS = "Site", "Files", "Server", "TLS"
_PROCESS, _LOG, _LIMIT, _TIMEOUT = "Processes", "Logging", "Limits", "Timeouts"
_FILE = Files()
_LIMITS = Limits()
_TIMEOUTS = Timeouts()
_LIFETIME = Lifetime()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings. Making one checks nothing; ``load`` does."""

    app: str | None = _setting(
        _SITE, values.APPLICATION, None, "The application; a factory is called in each worker."
    )
    html: str | None = _setting(
        _SITE, values.FOLDER, None, "Serve the files of this folder at /.", "html, if there is no APP"
    )
    apps: str | None = _setting(
        _SITE, values.FOLDER, None, "Run the .py scripts of this folder at /.", "apps, if there is no APP"
    )
    static: tuple[tuple[str, str], ...] = _setting(
        _SITE, values.FOLDERS, (), "Serve the files of a folder below PREFIX."
    )
    scripts: tuple[tuple[str, str], ...] = _setting(
        _SITE, values.FOLDERS, (), "Run the .py scripts of a folder below PREFIX."
    )
    mount: tuple[tuple[str, str], ...] = _setting(
        _SITE, values.APPLICATIONS, (), "Serve another application below PREFIX."
    )
    x_sendfile: tuple[tuple[str, str], ...] = _setting(
        _SITE,
        values.FOLDERS,
        (),
        "Send the files of a folder that an application names: below PREFIX in X-Accel-Redirect, or in X-Sendfile.",
    )
    compress: bool = _setting(
        _SITE,
        values.FLAG,
        False,
        "Compress texts of applications, by gzip and what of brotli and zstd is installed.",
    )

    charset: str = _setting(
        _FILES,
        values.CHARSET,
        _FILE.charset,
        "What text files are declared to be in; empty leaves it to them.",
    )
    nosniff: bool = _setting(
        _FILES, values.FLAG, _FILE.nosniff, "Have browsers keep to the declared media type."
    )
    media_types: tuple[tuple[str, str], ...] = _setting(
        _FILES, values.MEDIA_TYPES, _FILE.media_types, "The media type of files with this extension."
    )
    cache_control: str = _setting(
        _FILES,
        values.FIELD_VALUE,
        _FILE.cache_control,
        "Cache-Control of files whose names have no hash of the content: without any, browsers guess, and show"
        " yesterday's page. Empty sends none.",
    )
    headers: tuple[tuple[str, str, str], ...] = _setting(
        _FILES,
        values.HEADERS,
        _FILE.headers,
        "A header field of the files that a pattern matches; an empty value leaves it out.",
    )
    spa: bool = _setting(
        _FILES,
        values.FLAG,
        _FILE.spa,
        "Answer with index.html where there is no page, nor an application to ask.",
    )
    try_files: bool = _setting(
        _FILES, values.FLAG, False, "Leave to the next mount what a folder does not have."
    )
    autoindex: bool = _setting(_FILES, values.FLAG, _FILE.autoindex, "List a folder that has no index.html.")
    follow_links: bool = _setting(
        _FILES, values.FLAG, _FILE.follow_links, "Let links lead out of the folder that is served."
    )
    refused: tuple[str, ...] = _setting(
        _FILES,
        values.GLOBS,
        _FILE.refused,
        "Names of files and folders that are never served; nor are those that begin with a dot.",
    )

    bind: tuple[str, ...] = _setting(
        _SERVER,
        values.ADDRESS,
        ("127.0.0.1:8000",),
        "Listen here, with tls: in front for HTTPS; port 0 is any free port.",
    )
    trusted_proxies: tuple[str, ...] = _setting(
        _SERVER,
        values.PEERS,
        (),
        "Believe what these peers say of their clients in X-Forwarded-For and the like: each proxy in front, and those"
        " in front of it. unix stands for whoever connects to a Unix socket. From all others such fields are dropped.",
    )
    forwarded_fields: tuple[str, ...] = _setting(
        _SERVER,
        values.FORWARDED_FIELDS,
        values.FORWARDED,
        "Of the fields that speak of a client, those that your proxies set or take out; the others are dropped, for a"
        " proxy hands on what it does not know.",
        "all of them",
    )
    proxy_protocol: bool = _setting(
        _SERVER,
        values.FLAG,
        False,
        "Expect the PROXY protocol, version 1 or 2, at the beginning of each connection, and refuse who is not one of"
        " --trusted-proxies.",
    )
    workers: int = _setting(_SERVER, values.WORKERS, 1, "Worker processes; auto: one for each processor.")
    threads: int = _setting(_SERVER, values.count("threads"), 4, "Threads for applications, in each worker.")
    stream_requests: bool = _setting(
        _SERVER,
        values.FLAG,
        False,
        "Call applications as soon as a request's head has come, and let them read its body while it arrives. It may be"
        " larger than the disk then, but a slow upload holds a thread; by default a body is read whole before.",
    )
    loop: str = _setting(_SERVER, values.LOOP, values.LOOPS[0], "The event loop.", "uvloop, if installed")
    parser: str = _setting(
        _SERVER, values.PARSER, "auto", "Parse requests on the fast road where it can, or with h11 alone."
    )
    user: str | None = _setting(
        _SERVER,
        values.ACCOUNT,
        None,
        "Run the workers as this user, of its own group unless --group says otherwise; by default as whoever starts"
        " the server, who need not be root: only a port below 1024 needs that.",
    )
    group: str | None = _setting(
        _SERVER,
        values.ACCOUNT,
        None,
        "Run the workers as this group; socket files and new logs are its own, too.",
    )
    umask: int | None = _setting(
        _SERVER,
        values.UMASK,
        None,
        "Rights that new files and socket files do not have: 007 lets a proxy of the same group connect. By default"
        " those of whoever starts the server, most often 022.",
    )

    certificate: tuple[str, ...] = _setting(
        _TLS,
        values.PEMS,
        (),
        "A certificate with its chain, in PEM form. Of several the name that a client asks for decides; the first one"
        " is for all others.",
    )
    key: tuple[str, ...] = _setting(
        _TLS,
        values.PEMS,
        (),
        "The private key of the certificate in the same place, in PEM form and not encrypted.",
        "in the files of the certificates",
    )
    client_ca: str | None = _setting(
        _TLS, values.PEM, None, "Who may have signed the certificates of clients, in PEM form."
    )
    client_certificates: str | None = _setting(
        _TLS,
        values.CLIENT_CERTIFICATES,
        None,
        "Ask clients for a certificate, and go on without one or not. One that is not valid ends the connection.",
        "required with client_ca, else none",
    )
    redirect_https: bool = _setting(
        _TLS,
        values.FLAG,
        False,
        "Answer what comes without TLS with a redirect to https; what a certificate authority asks for, below"
        " /.well-known/acme-challenge/, is answered as it is.",
    )
    hsts: str | None = _setting(
        _TLS,
        values.STRICT,
        None,
        "Strict-Transport-Security of answers by https, so that browsers come by https alone from then on. None by"
        " default, because it cannot be taken back; 31536000, a year, is what preload lists ask for.",
    )

    health_path: str | None = _setting(
        _PROCESS,
        values.PATH,
        None,
        "Answer 200 at this path, and 503 once the server is going to stop: for the health check of a load balancer.",
    )
    ready_check: str | None = _setting(
        _PROCESS,
        values.REQUEST_PATH,
        None,
        "What each worker asks itself before it serves. Below status 400 it is ready; else, or after 30 seconds, it has"
        " failed to start, and whom it was to replace serves on.",
    )
    drain_delay: float = _setting(
        _PROCESS,
        values.SECONDS_OR_NONE,
        0.0,
        "How long to serve on after SIGTERM, while the health path says 503: as long as a load balancer takes to"
        " notice. 0 stops at once, for there may be none.",
    )
    max_requests: int = _setting(
        _PROCESS,
        values.bound("requests"),
        _LIFETIME.requests,
        "Replace a worker after so many, as in gunicorn: against what leaks. None by default, because most do not.",
    )
    max_requests_jitter: int | None = _setting(
        _PROCESS,
        values.bound("requests"),
        _LIFETIME.jitter,
        "Most requests to put that off by chance, so that workers are not replaced together.",
        "a tenth of them",
    )
    max_rss: int = _setting(
        _PROCESS,
        values.SIZE,
        _LIFETIME.rss,
        "Replace a worker that has so much memory in use; 0 for no bound.",
    )
    max_age: float = _setting(
        _PROCESS,
        values.SECONDS_OR_NONE,
        _LIFETIME.age,
        "Replace a worker after so long, put off by up to a tenth by chance; 0 for no bound.",
    )

    access_log: str | None = _setting(
        _LOG, values.FILE, None, "Write a line for each request; - is standard output.", "-, on a terminal"
    )
    log_level: str = _setting(
        _LOG, values.LEVEL, "info", "Least severity to log: debug, info, warning, error or critical."
    )
    debug: bool = _setting(_LOG, values.FLAG, False, "Show tracebacks to clients; never in public.")

    max_connections: int = _setting(
        _LIMIT,
        values.automatic("connections"),
        _LIMITS.connections,
        "Connections of a worker; past it, the one that is idle for longest is closed for a new one, which waits if"
        " none is. auto: seven eighths of the open files it may have, up to 65536, as HAProxy and lighttpd ask the same"
        " limit.",
        "auto",
    )
    max_connections_per_client: int = _setting(
        _LIMIT,
        values.bound("connections"),
        _LIMITS.client_connections,
        "Connections of an address, or of a network of 64 bits in IPv6, to a worker; past it, a new one is cut. As in"
        " nginx there is none by default, for whole offices share an address.",
        "0, none",
    )
    max_requests_per_connection: int = _setting(
        _LIMIT,
        values.bound("requests"),
        _LIMITS.requests,
        "Requests of a connection, which is closed behind the last one. nginx has 1000 for the sake of memory that it"
        " keeps until then; here there is none, but a number spreads the clients over several workers anew.",
        "0, none",
    )
    max_request_line: int = _setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.request_line,
        "Longest request line; past it, 414. As in Apache and nginx.",
    )
    max_head: int = _setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.head,
        "Longest request head; past it, 431. Twice the 4 buffers of 8K that nginx has.",
    )
    max_fields: int = _setting(
        _LIMIT,
        values.count("header fields"),
        _LIMITS.fields,
        "Header fields of a request; past it, 431. As in Apache.",
    )
    max_body: int = _setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.content,
        "Longest request body; past it, 413. Room for an upload from a phone: nginx has 1M,"
        " Kestrel 28.6M, gunicorn none.",
    )
    max_body_memory: int = _setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.content_memory,
        "How much of a request body is kept in memory; past it, a temporary file. Between nginx's 16K and the 512K of"
        " waitress.",
    )
    max_response_memory: int = _setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.response_memory,
        "How much of a response a slow client may leave in memory; past it, a temporary file. As in waitress.",
    )
    max_response_file: int = _setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.response_file,
        "Longest temporary file of a response; past it, its thread waits for the client. As nginx's"
        " proxy_max_temp_file_size.",
    )
    max_pipelined: int = _setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.pipelined,
        "Most bytes read ahead of the request that is being answered; past it, the client waits. What a browser's"
        " longest head may be.",
    )
    max_queue: int = _setting(
        _LIMIT,
        values.count("requests"),
        _LIMITS.queue,
        "Most requests waiting for a thread; past it, 503. As gunicorn's worker_connections.",
    )

    keep_alive_timeout: float = _setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.keep_alive,
        "How long a connection may idle. Longer than the 60 seconds of load balancers,"
        " which would send a request into a connection that is just being closed.",
    )
    head_timeout: float = _setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.head,
        "How long a request head may take to arrive, from its first byte; past it, 408. As in"
        " Apache's mod_reqtimeout.",
    )
    transfer_timeout: float = _setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.transfer,
        "How long a request body or a response may stand still; past it, 408 or a cut. As nginx's client_body_timeout"
        " and send_timeout.",
    )
    min_rate: int = _setting(
        _TIMEOUT,
        values.bound("bytes per second"),
        _TIMEOUTS.min_rate,
        "How fast a request body has to come and a response to be taken, but for pauses of as long as"
        " --transfer-timeout; 0 is any rate. As in Kestrel.",
    )
    linger_timeout: float = _setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.linger,
        "How long a refused client may go on sending. As nginx's lingering_timeout.",
    )
    graceful_timeout: float = _setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.graceful,
        "How long running requests may take at the end. As in gunicorn.",
    )
    queue_timeout: float = _setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.queue,
        "How long a request may wait for a thread; past it, 503. Half of the 60 s that nginx and others wait.",
    )
    request_timeout: float = _setting(
        _TIMEOUT,
        values.SECONDS_OR_NONE,
        _TIMEOUTS.request,
        "How long an application may be silent; past it, 504, and its stack in the log. Firefox waits no longer.",
    )

    @property
    def tls(self) -> Tls | None:
        """What TLS is spoken with; None: there is no certificate."""
        if not self.certificate:
            return None
        asked = self.client_certificates or ("required" if self.client_ca else "none")
        return Tls(
            tuple(zip(self.certificate, self.key or self.certificate, strict=True)), self.client_ca, asked
        )

    @property
    def files(self) -> Files:
        return Files(**{field.name: getattr(self, field.name) for field in fields(Files)})

    @property
    def lifetime(self) -> Lifetime:
        return Lifetime(self.max_requests, self.max_requests_jitter, self.max_rss, self.max_age)

    @property
    def limits(self) -> Limits:
        return Limits(
            connections=self.max_connections,
            client_connections=self.max_connections_per_client,
            requests=self.max_requests_per_connection,
            request_line=self.max_request_line,
            head=self.max_head,
            fields=self.max_fields,
            content=self.max_body,
            content_memory=self.max_body_memory,
            response_memory=self.max_response_memory,
            response_file=self.max_response_file,
            pipelined=self.max_pipelined,
            queue=self.max_queue,
        )

    @property
    def timeouts(self) -> Timeouts:
        return Timeouts(
            keep_alive=self.keep_alive_timeout,
            head=self.head_timeout,
            transfer=self.transfer_timeout,
            linger=self.linger_timeout,
            graceful=self.graceful_timeout,
            min_rate=self.min_rate,
            queue=self.queue_timeout,
            request=self.request_timeout or math.inf,
        )


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

    @property
    def option(self) -> str:
        return as_option(self.name)

    @property
    def variable(self) -> str:
        return as_variable(self.name)


def _default_text(kind: Kind, default: Any) -> str:
    if default in (None, ()):
        return "none"
    if kind is values.SIZE:
        return values.size_text(default)
    if kind is values.FLAG:
        return "yes" if default else "no"
    if kind in (values.SECONDS, values.SECONDS_OR_NONE):
        return f"{default:g}"
    return ", ".join(default) if kind.many else str(default)


SETTINGS = {
    field.name: Setting(
        name=field.name,
        group=field.metadata["group"],
        kind=field.metadata["kind"],
        help=field.metadata["help"],
        default=field.metadata["shown"] or _default_text(field.metadata["kind"], field.default),
    )
    for field in fields(Config)
}
