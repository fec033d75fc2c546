"""A second request that hides in a first one: nobody answers it, sent to this server or by way of a real proxy."""

import logging
import selectors
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from threading import Lock
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from tests.fronts import FRONTS, Connect
from tests.thread_server import LOOPS, Peer, get, serving
from tests.wire_client import WAIT

# The second ends in the middle of a field: what a proxy sends next on the same connection would become its value.
WHOLE = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
BEGUN = b"GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Swallows: "
END = b"0\r\n\r\n"


def post(*lines: str | bytes, version: str = "1.1") -> bytes:
    head = [f"POST /first HTTP/{version}", "Host: a", *lines, "", ""]
    return b"\r\n".join(line.encode("latin-1") if isinstance(line, str) else line for line in head)


def both(hidden: bytes, *lines: str | bytes, version: str = "1.1") -> bytes:
    """Return a request that for who goes by Content-Length has ``hidden`` as a part of its content.

    For who goes by the other ``lines`` it is a request of its own, behind the last chunk.
    """
    content = END + hidden
    return post(*lines, f"Content-Length: {len(content)}", version=version) + content


def in_a_chunk(hidden: bytes, *lines: str | bytes) -> bytes:
    """Return one that for who goes by chunks has ``hidden`` as a part of its content, and else behind it."""
    size = b"%x\r\n" % len(hidden)
    return post(*lines, f"Content-Length: {len(size)}") + size + hidden + b"\r\n" + END


CHUNKED = "Transfer-Encoding: chunked"

TRANSFER_ENCODINGS: dict[str, str | bytes] = {
    "as it should be": CHUNKED,
    "other letters": "tRANSFER-eNCODING: cHUNKED",
    "space before the colon": "Transfer-Encoding : chunked",
    "tab before the colon": "Transfer-Encoding\t: chunked",
    "tab": "Transfer-Encoding:\tchunked",
    "no blank": "Transfer-Encoding:chunked",
    "blanks behind": "Transfer-Encoding: chunked \t",
    "vertical tab": "Transfer-Encoding: \x0bchunked",
    "vertical tab behind": "Transfer-Encoding: chunked\x0b",
    "form feed": "Transfer-Encoding:\x0cchunked",
    "no-break space": "Transfer-Encoding: \xa0chunked",
    "NUL": "Transfer-Encoding: chunked\x00",
    "NUL in the name": "Transfer-Encoding\x00: chunked",
    "CR in the name": "Transfer-Encoding\r: chunked",
    "bare LF before": b"X: y\nTransfer-Encoding: chunked",
    "bare CR before": b"X: y\rTransfer-Encoding: chunked",
    "LF CR before": b"X: y\n\rTransfer-Encoding: chunked",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "folded by a tab": b"Transfer-Encoding:\r\n\tchunked",
    "folded into the field before": b"X: y\r\n Transfer-Encoding: chunked",
    "blank before": " Transfer-Encoding: chunked",
    "quotes": 'Transfer-Encoding: "chunked"',
    "apostrophes": "Transfer-Encoding: 'chunked'",
    "another coding": "Transfer-Encoding: xchunked",
    "identity": "Transfer-Encoding: identity",
    "identity before": "Transfer-Encoding: identity, chunked",
    "identity behind": "Transfer-Encoding: chunked, identity",
    "gzip before": "Transfer-Encoding: gzip, chunked",
    "twice": "Transfer-Encoding: chunked, chunked",
    "two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "two lines, the second another": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "two lines, the first another": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "empty element": "Transfer-Encoding: ,chunked",
    "parameter": "Transfer-Encoding: chunked;q=1",
    "underscore": "Transfer_Encoding: chunked",
    "empty": "Transfer-Encoding:",
    "named by Connection": b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
    "another name": "Transfer-Encodin: chunked",
}


def lengths(hidden: bytes) -> dict[str, bytes]:
    size = len(hidden)
    values: dict[str, tuple[str | bytes, ...]] = {
        "two": (f"Content-Length: {size}", "Content-Length: 0"),
        "two, the other way": ("Content-Length: 0", f"Content-Length: {size}"),
        "the same twice": (f"Content-Length: {size}", f"Content-Length: {size}"),
        "list": (f"Content-Length: 0, {size}",),
        "list of the same": (f"Content-Length: {size}, {size}",),
        "plus": (f"Content-Length: +{size}",),
        "minus": (f"Content-Length: -{size}",),
        "hex": (f"Content-Length: {size:#x}",),
        "blank within": (f"Content-Length: 0 {size}",),
        "point": (f"Content-Length: {size}.0",),
        "exponent": (f"Content-Length: {size}e0",),
        "underscore within": (f"Content-Length: {size}_0",),
        "vertical tab": (f"Content-Length: \x0b{size}",),
        "space before the colon": (f"Content-Length : {size}",),
        "folded": (b"Content-Length:\r\n %d" % size,),
        "underscore": (f"Content_Length: {size}",),
        "underscore and none": (f"Content_Length: {size}", "Content-Length: 0"),
        "too many digits": (f"Content-Length: {size + (1 << 64)}",),
        "too many digits, for 32 bits": (f"Content-Length: {size + (1 << 32)}",),
        "named by Connection": (f"Content-Length: {size}", "Connection: content-length"),
        "an expectation of its own": (f"Content-Length: {size}", "Expect: x 100-continue"),
        "a query that waits": (f"Content-Length: {size}", "Expect: 100-continue"),
    }
    return {name: post(*lines) + hidden for name, lines in values.items()}


def chunks(hidden: bytes) -> dict[str, bytes]:
    contents = {
        "size: 0x": b"0x0\r\n\r\n" + hidden,
        "size: minus": b"-1\r\n\r\n" + hidden,
        "size: plus": b"+0\r\n\r\n" + hidden,
        "size: space before": b" 0\r\n\r\n" + hidden,
        "size: space behind": b"0 \r\n\r\n" + hidden,
        "size: underscore": b"1_0\r\n" + hidden,
        "size: more than 64 bits": b"1" + b"0" * 15 + b"0\r\n\r\n" + hidden,
        "size: more than 32 bits": b"100000000\r\n\r\n" + hidden,
        "size: empty": b"\r\n\r\n" + hidden,
        "size: bare LF": b"0\n\n" + hidden,
        "size: CR alone": b"0\r\r\n" + hidden,
        "size: LF within": b"2\nxx\r\n0\r\n\r\n" + hidden,
        # To one the LF ends the line; to the other the extension goes on.
        "extension: LF": b"2;\nxx\r\n%x\r\n0\r\n\r\n%b\r\n0\r\n\r\n" % (5 + len(hidden), hidden),
        "extension: CR": b"2;\rxx\r\n%x\r\n0\r\n\r\n%b\r\n0\r\n\r\n" % (5 + len(hidden), hidden),
        "extension: quoted LF": b'2;a="\nxx\r\n%x\r\n0\r\n\r\n%b\r\n0\r\n\r\n' % (5 + len(hidden), hidden),
        "extension: NUL": b"0;\0\r\n\r\n" + hidden,
        "data: longer": b"1\r\nab\r\n0\r\n\r\n" + hidden,
        "data: bare LF behind": b"1\r\na\n0\r\n\r\n" + hidden,
        "data: two bytes that are no CRLF": b"1\r\naXX0\r\n\r\n" + hidden,
        "trailer: Content-Length": b"0\r\nContent-Length: %d\r\n\r\n" % len(hidden) + hidden,
        "trailer: Transfer-Encoding": b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden,
        "trailer: a request": b"0\r\n" + hidden,
        "trailer: behind a field": b"0\r\nX: y\r\n" + hidden,
        "trailer: bare LF": b"0\r\nX: y\n\n" + hidden,
        "trailer: folded": b"0\r\nX: y\r\n \r\n\r\n" + hidden,
        "trailer: LF alone": b"0\r\n\n" + hidden,
    }
    # All are content to who goes by a length, or has none behind an end that is none.
    return {name: post(CHUNKED) + content for name, content in contents.items()}


def others(hidden: bytes) -> dict[str, bytes]:
    size = len(hidden)
    return {
        "1.0 with chunks": both(hidden, CHUNKED, version="1.0"),
        "1.0 with chunks alone": post(CHUNKED, version="1.0") + END + hidden,
        "0.9": b"GET /first\r\n" + hidden,
        "0.9 with a version": b"GET /first HTTP/0.9\r\n\r\n" + hidden,
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hidden,
        "version: more digits": b"POST /first HTTP/1.10\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + hidden,
        "version: behind blanks": b"POST /first  HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + hidden,
        "target: with blanks": b"GET /first HTTP/1.1\r\nX: /x HTTP/1.1\r\nHost: a\r\n\r\n" + hidden,
        "blank line before a field": b"GET /first HTTP/1.1\r\n \r\n" + hidden,
        "tunnel": b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + hidden,
        "tunnel to a path": b"CONNECT /first HTTP/1.1\r\nHost: a\r\n\r\n" + hidden,
        "upgrade": get("/first", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 77")
        + hidden,
        "the last one": get("/first", "Connection: close") + hidden,
        "the last one of 1.0": b"GET /first HTTP/1.0\r\nHost: a\r\n\r\n" + hidden,
        "the last one, in a list": get("/first", "Connection: x, Close", "Connection: keep-alive") + hidden,
        "two Hosts": get("/first", "Host: b", f"Content-Length: {size}") + hidden,
        "Host named by Connection": get("/first", "Connection: close, Host", f"Content-Length: {size}")
        + hidden,
        "userinfo": b"GET http://a@b/first HTTP/1.1\r\nHost: b\r\n\r\n" + hidden,
        "HEAD with content": b"HEAD /first HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + hidden,
        "GET with content": get("/first", f"Content-Length: {size}") + hidden,
        "content of a method of its own": b"X /first HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
        + hidden,
        "PROXY": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + hidden,
    }  # fmt: skip


# Two requests, one behind the other, to whoever goes by RFC 9112; here, too. What is asked is what a proxy makes of it.
TWO = {
    "chunked, in one: underscore",
    "chunked, in one: another name",
    "length: underscore",
    "length: underscore and none",
    "target: with blanks",
}


def rows(hidden: bytes) -> dict[str, bytes]:
    return {
        **{f"chunked: {name}": both(hidden, line) for name, line in TRANSFER_ENCODINGS.items()},
        **{f"chunked, in one: {name}": in_a_chunk(hidden, line) for name, line in TRANSFER_ENCODINGS.items()},
        **{f"length: {name}": data for name, data in lengths(hidden).items()},
        **{f"chunk: {name}": data for name, data in chunks(hidden).items()},
        **others(hidden),
    }


class Site:
    """An application that notes what it is asked, and how the proxy in front has seen that."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.seen: list[tuple[str, str]] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read()
        asked = f"{environ['REQUEST_METHOD']} {environ['REQUEST_URI']}"
        with self._lock:
            self.seen.append((asked, environ.get("HTTP_X_FRONT", "")))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"seen"]


@pytest.fixture(
    scope="module", params=[("uvloop", "auto"), ("asyncio", "auto"), ("uvloop", "h11")], ids="-".join
)
def site(request: pytest.FixtureRequest) -> Iterator[tuple[Site, tuple[str, int]]]:
    site = Site()
    loop, parser = request.param
    with serving(site, loop=loop, parser=parser) as server:
        yield site, server.server_address


@pytest.mark.parametrize("name", sorted(rows(b"").keys() - TWO))
def test_nobody_answers_it(site: tuple[Site, tuple[str, int]], name: str) -> None:
    noted, address = site
    noted.seen.clear()
    with Peer(address) as peer:
        peer.send(rows(WHOLE)[name])
        peer.send_eof()  # or it would wait for the rest of the content
        peer.rest()
    assert [asked for asked, _ in noted.seen if "/first" not in asked] == []
    assert len(noted.seen) <= 1


# By way of a proxy, which may pass on what it understands in another way, on a connection that others use, too.


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("hidden", [WHOLE, BEGUN], ids=["whole", "begun"])
def test_a_proxy_and_the_server_agree_about_every_request(
    front: Callable[[Path, int, int], AbstractContextManager[Connect]],
    loop: str,
    hidden: bytes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    site = Site()
    with (
        serving(site, loop=loop, trusted_proxies=["127.0.0.1"]) as server,
        front(tmp_path, server.server_port, 20) as connect,
        ExitStack() as stack,
    ):
        peers = []
        for data in rows(hidden).values():
            peers.append(stack.enter_context(connect()))
            peers[-1].send(data)
            # Between them somebody else asks, perhaps on the connection that was just poisoned.
            with connect() as other:
                assert other.get("/other").content == b"seen"
        for peer in peers:
            with suppress(OSError):  # it is closed
                peer.send_eof()
        read_to_the_end(peers)
        for _ in range(20):
            with connect() as other:
                assert other.get("/other").content == b"seen"
    assert [pair for pair in site.seen if pair[0] != pair[1]] == []
    assert {"POST /first", "GET /other"} <= {asked for asked, _ in site.seen}
    assert caplog.messages == []


def read_to_the_end(peers: Iterable[Peer]) -> None:
    """Read until the proxy has closed all these connections."""
    with selectors.DefaultSelector() as selector:
        for peer in peers:
            selector.register(peer.socket, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(WAIT)
            assert ready, "the proxy keeps some"
            for key, _ in ready:
                try:
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                except ConnectionResetError:
                    data = b""
                if not data:
                    selector.unregister(key.fileobj)
