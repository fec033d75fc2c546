"""The settings that bound what clients may use up: limits and timeouts."""

import math
from dataclasses import dataclass

from aiowsgi.config import values
from aiowsgi.config.declaring import setting
from aiowsgi.config.parts import Limits, Timeouts

_LIMIT, _TIMEOUT = "Limits", "Timeouts"
_LIMITS = Limits()
_TIMEOUTS = Timeouts()


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    max_connections: int = setting(
        _LIMIT,
        values.automatic("connections"),
        _LIMITS.connections,
        "Connections of a worker; past it, the one that is idle for longest is closed for a new one, which waits if"
        " none is. auto: seven eighths of the open files it may have, up to 65536, as HAProxy and lighttpd ask the same"
        " limit.",
        "auto",
    )
    max_connections_per_client: int = setting(
        _LIMIT,
        values.bound("connections"),
        _LIMITS.client_connections,
        "Connections of an address, or of a network of 64 bits in IPv6, to a worker; past it, a new one is cut. As in"
        " nginx there is none by default, for whole offices share an address.",
        "0, none",
    )
    max_requests_per_connection: int = setting(
        _LIMIT,
        values.bound("requests"),
        _LIMITS.requests,
        "Requests of a connection, which is closed behind the last one. nginx has 1000 for the sake of memory that it"
        " keeps until then; here there is none, but a number spreads the clients over several workers anew.",
        "0, none",
    )
    max_request_line: int = setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.request_line,
        "Longest request line; past it, 414. As in Apache and nginx.",
    )
    max_head: int = setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.head,
        "Longest request head; past it, 431. Twice the 4 buffers of 8K that nginx has.",
    )
    max_fields: int = setting(
        _LIMIT,
        values.count("header fields"),
        _LIMITS.fields,
        "Header fields of a request; past it, 431. As in Apache.",
    )
    max_body: int = setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.content,
        "Longest request body; past it, 413. Room for an upload from a phone: nginx has 1M,"
        " Kestrel 28.6M, gunicorn none.",
    )
    max_body_memory: int = setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.content_memory,
        "How much of a request body is kept in memory; past it, a temporary file. Between nginx's 16K and the 512K of"
        " waitress.",
    )
    max_response_memory: int = setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.response_memory,
        "How much of a response a slow client may leave in memory; past it, a temporary file. As in waitress.",
    )
    max_response_file: int = setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.response_file,
        "Longest temporary file of a response; past it, its thread waits for the client. As nginx's"
        " proxy_max_temp_file_size.",
    )
    max_pipelined: int = setting(
        _LIMIT,
        values.SIZE,
        _LIMITS.pipelined,
        "Most bytes read ahead of the request that is being answered; past it, the client waits. What a browser's"
        " longest head may be.",
    )
    max_queue: int = setting(
        _LIMIT,
        values.count("requests"),
        _LIMITS.queue,
        "Most requests waiting for a thread; past it, 503. As gunicorn's worker_connections.",
    )

    keep_alive_timeout: float = setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.keep_alive,
        "How long a connection may idle. Longer than the 60 seconds of load balancers,"
        " which would send a request into a connection that is just being closed.",
    )
    head_timeout: float = setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.head,
        "How long a request head may take to arrive, from its first byte; past it, 408. As in"
        " Apache's mod_reqtimeout.",
    )
    transfer_timeout: float = setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.transfer,
        "How long a request body or a response may stand still; past it, 408 or a cut. As nginx's client_body_timeout"
        " and send_timeout.",
    )
    min_rate: int = setting(
        _TIMEOUT,
        values.bound("bytes per second"),
        _TIMEOUTS.min_rate,
        "How fast a request body has to come and a response to be taken, but for pauses of as long as"
        " --transfer-timeout; 0 is any rate. As in Kestrel.",
    )
    linger_timeout: float = setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.linger,
        "How long a refused client may go on sending. As nginx's lingering_timeout.",
    )
    graceful_timeout: float = setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.graceful,
        "How long running requests may take at the end. As in gunicorn.",
        fixed=True,
    )
    queue_timeout: float = setting(
        _TIMEOUT,
        values.SECONDS,
        _TIMEOUTS.queue,
        "How long a request may wait for a thread; past it, 503. Half of the 60 s that nginx and others wait.",
    )
    request_timeout: float = setting(
        _TIMEOUT,
        values.SECONDS_OR_NONE,
        _TIMEOUTS.request,
        "How long an application may be silent; past it, 504, and its stack in the log. Firefox waits no longer.",
    )

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
