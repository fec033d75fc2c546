"""The same requests to a real nginx and to aiowsgi: the same answers, or a difference with its reason.

Skipped where there is no nginx. docs/static.md tells the differences to the operator, and is held to this list.
"""

import gzip
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection

import pytest

from tests.nginx import NGINX, running_nginx
from tests.server import ROOT, RunningServer

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx")

DATE = "Wed, 01 Jan 2020 00:00:00 GMT"
BEFORE, AFTER = "Tue, 31 Dec 2019 23:59:59 GMT", "Wed, 01 Jan 2020 00:00:01 GMT"
TEXT = b"0123456789" * 5
LARGE = bytes(range(256)) * 1024


@dataclass(frozen=True)
class Answer:
    """What both must agree on. The boundary of several parts is another each time."""

    status: int
    content_range: str | None
    content_type: str | None
    content_encoding: str | None
    content: bytes


class UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=15)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(15)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Both:
    nginx: str
    aiowsgi: int

    def ask(self, connection: HTTPConnection, method: str, target: str, fields: dict[str, str]) -> Answer:
        try:
            etag = ""
            if any("{etag}" in value for value in fields.values()):
                connection.request("HEAD", target)
                response = connection.getresponse()
                response.read()
                etag = response.headers["ETag"]
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in fields.items():
                connection.putheader(name, value.replace("{etag}", etag))
            connection.endheaders()
            response = connection.getresponse()
            content, kind = response.read(), response.headers["Content-Type"]
            if response.status >= 300:
                content, kind = b"", None  # each has its own pages
            boundary = re.search("boundary=(.*)", kind or "")
            if boundary is not None:
                content = content.replace(boundary[1].encode(), b"BOUNDARY")
                kind = kind.replace(boundary[1], "BOUNDARY")
            return Answer(
                response.status,
                response.headers["Content-Range"],
                kind,
                response.headers["Content-Encoding"],
                content,
            )
        finally:
            connection.close()

    def answers(self, method: str, target: str, fields: dict[str, str]) -> tuple[Answer, Answer]:
        """Return nginx's answer and ours."""
        theirs = self.ask(UnixConnection(self.nginx), method, target, fields)
        ours = self.ask(HTTPConnection("127.0.0.1", self.aiowsgi, timeout=15), method, target, fields)
        return theirs, ours


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("beside")
    root = folder / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "index.html").write_bytes(b"<p>sub")
    (root / "empty-folder").mkdir()
    (root / "text.txt").write_bytes(TEXT)
    (root / "large.bin").write_bytes(LARGE)
    (root / "empty.txt").write_bytes(b"")
    (root / "style.css").write_bytes(b"p {} " * 200)
    (root / "style.css.gz").write_bytes(gzip.compress(b"p {} " * 200, mtime=0))
    (root / "a b+c.txt").write_bytes(b"blank")
    (root / "\u4f60.txt").write_bytes(b"not ASCII")
    (root / ".hidden").write_bytes(b"hidden")
    for path in root.rglob("*"):
        os.utime(path, (1577836800, 1577836800))
    more = "gzip_static on; gzip_vary on;"
    with (
        running_nginx(root, folder / "nginx", more) as listening,
        RunningServer("--html", str(root)) as server,
    ):
        yield Both(listening, server.port)


SAME: list[tuple[str, str, dict[str, str]]] = [
    *(
        ("GET", f"/{name}", {})
        for name in ("text.txt", "large.bin", "empty.txt", "style.css", "sub/", "text.txt?a=b")
    ),
    *(("HEAD", f"/{name}", {}) for name in ("text.txt", "large.bin", "empty.txt", "sub/", "none.txt")),
    *(
        ("GET", f"/{name}", {})
        for name in ("none.txt", "sub/none", "text.txt/", "text.txt/x", "sub", "sub?a=b", "Sub/")
    ),
    *(
        ("GET", f"/{name}", {})
        for name in ("a%20b+c.txt", "%e4%bd%a0.txt", "%74ext.txt", "text%2Etxt", "text.txt%20")
    ),
    *(("GET", "/" + "x" * length, {}) for length in (255, 256, 4000)),
    *((method, "/text.txt", {}) for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")),
    *(
        (method, f"/{name}", {"Range": f"bytes={ranges}"})
        for method in ("GET",)
        for name in ("text.txt", "large.bin")
        for ranges in (
            "0-0",
            "0-9",
            "5-",
            "-1",
            "-5",
            "-999999999",
            "0-999999999",
            "49-49",
            "49-",
            "0-",
            "262143-",
        )
    ),
    *(
        ("GET", f"/{name}", {"Range": f"bytes={ranges}"})
        for name in ("text.txt", "large.bin")
        for ranges in (
            "0-1,4-5",
            "0-0,-1",
            "-1,0-0",
            "0-1, 4-5",
            "10-12,2-3,30-40",
            "0-0,999999999-",
            "1-2,4-5,7-8,10-11",
        )
    ),
    *(
        ("GET", "/text.txt", {"Range": f"bytes={ranges}"})
        for ranges in ("50-", "50-60", "999999999999-", "100-,200-")
    ),
    *(("GET", "/text.txt", {"Range": value}) for value in ("lines=0-1", "0-1", "", "byte=0-1")),
    *(
        ("GET", "/text.txt", {"If-None-Match": value})
        for value in ("{etag}", "*", '"x"', '"x", {etag}', "W/{etag}", "x")
    ),
    *(("HEAD", "/text.txt", {"If-None-Match": value}) for value in ("{etag}", '"x"')),
    *(("GET", "/text.txt", {"If-Modified-Since": value}) for value in (DATE, BEFORE, "yesterday", "")),
    *(("GET", "/text.txt", {"If-Match": value}) for value in ("{etag}", "*", '"x"', '"x", {etag}')),
    *(("GET", "/text.txt", {"If-Unmodified-Since": value}) for value in (DATE, AFTER, BEFORE)),
    *(
        ("GET", "/text.txt", {"Range": "bytes=0-1", "If-Range": value})
        for value in ("{etag}", DATE, BEFORE, '"x"', "x")
    ),
    ("GET", "/text.txt", {"Range": "bytes=0-1", "If-None-Match": "{etag}"}),
    ("GET", "/text.txt", {"Range": "bytes=0-1", "If-Match": '"x"'}),
    ("GET", "/text.txt", {"Range": "bytes=99-", "If-None-Match": "{etag}"}),
    *(
        ("GET", "/style.css", {"Accept-Encoding": value})
        for value in ("gzip", "gzip, br", "deflate", "gzip;q=0", "")
    ),
    ("HEAD", "/style.css", {"Accept-Encoding": "gzip"}),
    ("GET", "/text.txt", {"Accept-Encoding": "gzip"}),
]


@pytest.mark.parametrize(("method", "target", "fields"), SAME, ids=lambda value: str(value)[:60] or "-")
def test_the_answers_are_the_same(both: Both, method: str, target: str, fields: dict[str, str]) -> None:
    theirs, ours = both.answers(method, target, fields)
    assert ours == theirs


@dataclass(frozen=True)
class Difference:
    """Requests that the two answer with different status codes, and why we do as we do."""

    nginx: int
    aiowsgi: int
    reason: str  # as docs/static.md has it
    requests: tuple[tuple[str, str, dict[str, str]], ...]


DIFFERENCES = [
    Difference(
        206,
        200,
        "RFC 9110 section 14.2 defines Range for GET alone",
        (("HEAD", "/text.txt", {"Range": "bytes=0-9"}), ("HEAD", "/large.bin", {"Range": "bytes=-1"})),
    ),
    Difference(
        416,
        200,
        "a Range that is not well-formed is ignored (RFC 9110 section 14.2)",
        (("GET", "/text.txt", {"Range": "bytes=5-2"}), ("GET", "/text.txt", {"Range": "bytes=a-b"})),
    ),
    Difference(
        200,
        206,
        "a part of the encoded file is a part of that representation (RFC 9110 section 14)",
        (("GET", "/style.css", {"Accept-Encoding": "gzip", "Range": "bytes=0-9"}),),
    ),
    Difference(
        200,
        206,
        "ranges that overlap are merged, so they are never more than the file (RFC 9110 section 15.3.7.2)",
        (("GET", "/text.txt", {"Range": "bytes=0-40,10-49"}),),
    ),
    Difference(
        200,
        304,
        "If-None-Match decides, If-Modified-Since beside it is ignored (RFC 9110 section 13.1.3)",
        (("GET", "/text.txt", {"If-None-Match": "{etag}", "If-Modified-Since": BEFORE}),),
    ),
    Difference(
        200,
        304,
        "a date later than the file's says that it has not been modified since (RFC 9110 section 13.1.3)",
        (("GET", "/text.txt", {"If-Modified-Since": AFTER}),),
    ),
    Difference(
        412,
        200,
        "If-Match decides, If-Unmodified-Since beside it is ignored (RFC 9110 section 13.1.4)",
        (("GET", "/text.txt", {"If-Match": "{etag}", "If-Unmodified-Since": BEFORE}),),
    ),
    Difference(
        412,
        200,
        "a date that is none is ignored (RFC 9110 section 13.1.4)",
        (("GET", "/text.txt", {"If-Unmodified-Since": "yesterday"}),),
    ),
    Difference(
        200,
        406,
        "a client that forbids the identity is told that there is nothing else (RFC 9110 section 12.5.3)",
        (("GET", "/text.txt", {"Accept-Encoding": "identity;q=0"}),),
    ),
    Difference(
        200,
        404,
        "one file has one spelling: a path with an empty segment, dots or an encoded slash names none",
        tuple(
            ("GET", target, {})
            for target in ("//text.txt", "/sub/../text.txt", "/./text.txt", "/sub%2Findex.html")
        ),
    ),
    Difference(
        200,
        404,
        "a hidden file is not there, nor is an encoded file by its own name beside its original",
        (("GET", "/.hidden", {}), ("GET", "/style.css.gz", {})),
    ),
    Difference(
        400,
        404,
        "a path that leads out, or has a control character, names no file",
        (("GET", "/%2e%2e/x", {}), ("GET", "/text.txt%00", {})),
    ),
    Difference(403, 404, "a folder without an index is not there", (("GET", "/empty-folder/", {}),)),
    Difference(301, 404, "and is not hinted at by a redirect", (("GET", "/empty-folder", {}),)),
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: difference.reason[:60])
def test_the_answers_differ_for_a_reason(both: Both, difference: Difference) -> None:
    for request in difference.requests:
        theirs, ours = both.answers(*request)
        assert (theirs.status, ours.status) == (difference.nginx, difference.aiowsgi), request


def test_the_differences_are_told() -> None:
    told = re.findall(
        r"^\| (\d+) \| (\d+) \| ([^|]+) \|$", (ROOT / "docs/static.md").read_text(), re.MULTILINE
    )
    assert told == [(str(one.nginx), str(one.aiowsgi), one.reason) for one in DIFFERENCES]
