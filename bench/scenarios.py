"""What is measured: each scenario is a site, the load on it, and the servers that can take part.

A new scenario is a line in ``SCENARIOS``.
"""

from dataclasses import dataclass
from importlib.util import find_spec

from bench.load import BROWSER
from bench.loads import Idle, LargeFile, Load, SmallFile, Wrk
from bench.reading import Readers, SlowReaders
from bench.servers import FILE_SERVERS, WSGI_SERVERS, Server, Site, file_site


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
        "idle",
        "Memory of keep-alive connections that have each made one request",
        _HELLO,
        Idle(),
        "It is the growth of the worker's private memory; the kernel's buffers are not in it. Afterwards "
        "every connection must answer once more. One round says it all.",
        most_rounds=1,
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
