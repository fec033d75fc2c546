"""The settings of a server: where it listens, whom it believes, how it speaks TLS."""

from dataclasses import dataclass

from aiowsgi.config import values
from aiowsgi.config.declaring import setting
from aiowsgi.config.parts import Tls

_SERVER, _TLS = "Server", "TLS"


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    bind: tuple[str, ...] = setting(
        _SERVER,
        values.ADDRESS,
        ("127.0.0.1:8000",),
        "Listen here, with tls: in front for HTTPS; port 0 is any free port, fd:3 a socket that listens already, as"
        " descriptor 3. Those that systemd passes on stand in the stead of all others.",
        fixed=True,
    )
    trusted_proxies: tuple[str, ...] = setting(
        _SERVER,
        values.PEERS,
        (),
        "Believe what these peers say of their clients in X-Forwarded-For and the like: each proxy in front, and those"
        " in front of it. unix stands for whoever connects to a Unix socket. From all others such fields are dropped.",
    )
    forwarded_fields: tuple[str, ...] = setting(
        _SERVER,
        values.FORWARDED_FIELDS,
        values.FORWARDED,
        "Of the fields that speak of a client, those that your proxies set or take out; the others are dropped, for a"
        " proxy hands on what it does not know.",
        "all of them",
    )
    proxy_protocol: bool = setting(
        _SERVER,
        values.FLAG,
        False,
        "Expect the PROXY protocol, version 1 or 2, at the beginning of each connection, and refuse who is not one of"
        " --trusted-proxies.",
    )
    workers: int = setting(
        _SERVER,
        values.WORKERS,
        1,
        "Worker processes; auto: one for each processor that it may use, a container's CPU quota counted.",
        fixed=True,
    )
    threads: int = setting(_SERVER, values.count("threads"), 4, "Threads for applications, in each worker.")
    stream_requests: bool = setting(
        _SERVER,
        values.FLAG,
        False,
        "Call applications as soon as a request's head has come, and let them read its body while it arrives. It may be"
        " larger than the disk then, but a slow upload holds a thread; by default a body is read whole before.",
    )
    loop: str = setting(_SERVER, values.LOOP, values.LOOPS[0], "The event loop.", "uvloop, if installed")
    parser: str = setting(
        _SERVER, values.PARSER, "auto", "Parse requests on the fast road where it can, or with h11 alone."
    )
    user: str | None = setting(
        _SERVER,
        values.ACCOUNT,
        None,
        "Run the workers as this user, of its own group unless --group says otherwise; by default as whoever starts"
        " the server, who need not be root: only a port below 1024 needs that.",
        fixed=True,
    )
    group: str | None = setting(
        _SERVER,
        values.ACCOUNT,
        None,
        "Run the workers as this group; socket files and new logs are its own, too.",
        fixed=True,
    )
    umask: int | None = setting(
        _SERVER,
        values.UMASK,
        None,
        "Rights that new files and socket files do not have: 007 lets a proxy of the same group connect. By default"
        " those of whoever starts the server, most often 022.",
        fixed=True,
    )

    certificate: tuple[str, ...] = setting(
        _TLS,
        values.PEMS,
        (),
        "A certificate with its chain, in PEM form. Of several the name that a client asks for decides; the first one"
        " is for all others.",
    )
    key: tuple[str, ...] = setting(
        _TLS,
        values.PEMS,
        (),
        "The private key of the certificate in the same place, in PEM form and not encrypted.",
        "in the files of the certificates",
    )
    client_ca: str | None = setting(
        _TLS, values.PEM, None, "Who may have signed the certificates of clients, in PEM form."
    )
    client_certificates: str | None = setting(
        _TLS,
        values.CLIENT_CERTIFICATES,
        None,
        "Ask clients for a certificate, and go on without one or not. One that is not valid ends the connection.",
        "required with client_ca, else none",
    )
    redirect_https: bool = setting(
        _TLS,
        values.FLAG,
        False,
        "Answer what comes without TLS with a redirect to https; what a certificate authority asks for, below"
        " /.well-known/acme-challenge/, and the health path are answered as they are.",
    )
    hsts: str | None = setting(
        _TLS,
        values.STRICT,
        None,
        "Strict-Transport-Security of answers by https, so that browsers come by https alone from then on. None by"
        " default, because it cannot be taken back; 31536000, a year, is what preload lists ask for.",
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
