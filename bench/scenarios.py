"""What is measured: each scenario is a site, the load on it, and the servers that can take part.

A new scenario is a line in ``SCENARIOS``.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec

from bench.applications import LARGE, MEBIBYTE
from bench.beside import SlowCrowd, SlowReaders
from bench.crowd import HEADS, READERS, UPLOADS
from bench.idle import Idle
from bench.load import BROWSER
from bench.loads import LargeFile, Load, SmallFile, Wrk
from bench.overload import IN_TIME, Overload
from bench.reading import Readers
from bench.servers import FILE_SERVERS, FULL_SERVERS, WSGI_SERVERS, Server, Site, file_site
from bench.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Scenario:
    """A part of the report: a site under a load, and the servers that can serve it."""

    name: str
    title: str
    site: Site
    load: Load
    details: str = ""
    servers: tuple[Server, ...] = WSGI_SERVERS
    most_rounds: int | None = None  # for figures that hardly vary
    needs: str = ""  # the module of the site's framework

    def possible(self) -> bool:
        """Tell whether what the site needs is installed."""
        return not self.needs or find_spec(self.needs) is not None


_HELLO = Site("bench.applications:hello", b"Hello, world!")
_HELLO_OR_MEBIBYTE = Site("bench.applications:hello_or_mebibyte", b"Hello, world!")
_SLOW = Site("bench.applications:slow", b"Hello, world!", options=("--queue-timeout", str(IN_TIME)))
_UPLOAD = Site("bench.applications:upload", b"0")
_STREAM = Site("bench.applications:stream", bytes(LARGE))  # the system gives no memory for zeros nobody reads
_FLASK = Site("bench.flask_json:app", b'{"message":"Hello, world!"}\n')
_WRK_READS = "wrk reads 8 KiB at a time, and so it may be the slower side: then the CPU time tells more."

SCENARIOS = (
    Scenario("hello-bare", "13 bytes of text, asked for with a Host field alone", _HELLO, Wrk()),
    Scenario(
        "hello-browser",
        "13 bytes of text, asked for with a browser's twelve fields",
        _HELLO,
        Wrk(options=("--script", str(BROWSER))),
        "A part of Cookie, Referer and If-None-Match is new in every request; the other nine stay the same.",
    ),
    Scenario(
        "flask-json", "A Flask application that answers a small JSON object", _FLASK, Wrk(), needs="flask"
    ),
    Scenario("one-connection", "One connection, one request after another, as in hello-bare", _HELLO, Wrk(1)),
    Scenario(
        "tls-hello", "The same as hello-bare by TLS", replace(_HELLO, tls=True), Wrk(), "", FULL_SERVERS
    ),
    Scenario(
        "stream-100m",
        "A generator of 100 MiB in pieces of 64 KiB, of unknown length, for one client",
        _STREAM,
        LargeFile(1),
        _WRK_READS,
        FULL_SERVERS,
    ),
    Scenario(
        "upload-100m",
        "An upload of 100 MiB to an application that reads it in pieces of 64 KiB",
        _UPLOAD,
        Uploads(),
        "aiowsgi keeps it in a temporary file until it is whole and calls the application then; the others call it at "
        "once. Memory is the growth of the worker's private memory, the most of many looks.",
        FULL_SERVERS,
    ),
    Scenario(
        "idle-15000",
        "Keep-alive connections that have each made one request: memory, and the pace of 64 active ones beside them",
        _HELLO,
        Idle(15_000),
        "Memory is the growth of the worker's private memory; the kernel's buffers are not in it. Afterwards "
        "every connection must answer once more. One round says it all.",
        most_rounds=1,
    ),
    Scenario(
        "idle-30000",
        "The same with two workers and twice as many",
        replace(_HELLO, workers=2),
        Idle(30_000),
        "",
        FULL_SERVERS,
        most_rounds=1,
    ),
    Scenario(
        "slow-crowd",
        f"13 bytes of text while {HEADS.count:,} others are slow with a head, {UPLOADS.count} with an upload and "
        f"{READERS} with an answer of 1 MiB",
        _HELLO_OR_MEBIBYTE,
        SlowCrowd("/mebibyte", MEBIBYTE),
        "wrk's sixteen connections ask as fast as they are answered, first alone, then beside the slow ones. One of "
        "these that is answered, closed or starved before its time makes the figures invalid.",
    ),
    Scenario(
        "overload",
        "Twice the requests that four threads can answer, of 10 ms each",
        _SLOW,
        Overload(),
        f"An answer that comes after more than {IN_TIME:g} s is not a good one. aiowsgi is told so, by "
        "--queue-timeout; the others have no such setting.",
    ),
    Scenario(
        "static-13b",
        "A file of 13 bytes",
        file_site("13b.txt"),
        SmallFile(),
        "nginx believes what it knows of a file for 60 seconds and WhiteNoise for ever; aiowsgi looks again "
        "after one, granian each time.",
        FILE_SERVERS,
    ),
    Scenario("static-10k", "A file of 10 KiB", file_site("10k.txt"), SmallFile(), "", FILE_SERVERS),
    Scenario("static-1m", "A file of 1 MiB", file_site("1m.bin"), LargeFile(16), _WRK_READS, FILE_SERVERS),
    Scenario(
        "static-100m", "A file of 100 MiB", file_site("100m.bin"), LargeFile(4), _WRK_READS, FILE_SERVERS
    ),
    Scenario(
        "static-readers",
        "Memory of 100 readers of one file of 100 MiB",
        file_site("100m.bin"),
        Readers(),
        "It is the growth of the workers' private memory, the most of many looks while all of them read; the "
        "kernel's buffers are not in it. A reader that gets wrong bytes, or less than half of its pace, makes "
        "the figures invalid. One round says it all.",
        FILE_SERVERS,
        most_rounds=1,
    ),
    Scenario(
        "slow-readers",
        "A file of 10 KiB while 500 others read 10 KiB a second each of a large one",
        file_site("10k.txt"),
        SlowReaders(),
        "wrk's four connections ask for the small file as fast as they are answered, first alone, then beside "
        "the slow readers, whose bytes are checked as above.",
        FILE_SERVERS,
    ),
)
