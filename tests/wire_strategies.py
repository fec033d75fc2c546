"""Hypothesis strategies for what a client may send: requests, what is nearly one, and anything."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from aiowsgi.http.messages import Request
from tests.reading import cgi_fields
from tests.wire_corpus import INVALID, VALID

# Requests.

_NAMES = [
    *("Accept", "Cookie", "Content-Type", "X-A", "User-Agent", "Referer", "Authorization", "proxy"),
    *("X_A", "TE", "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Port"),
    *("Content_Length", "Transfer-Encodin", "Hos", "Upgrade", "Connection", "Trailer", "Keep-Alive", "Host-"),
]
_token = st.text("!#$%&'*+-.^`|~09azAZ", min_size=1, max_size=20)
_values = st.one_of(
    st.sampled_from(["", "close", "Keep-Alive, x", "a=1; b", "*/*", "5", "chunked"]),
    st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=20),
).map(lambda text: text.strip(" \t"))
_names = st.one_of(st.sampled_from(_NAMES), _token.map("X-".__add__)).flatmap(
    lambda name: st.sampled_from([name, name.lower(), name.upper(), name.title()])
)
_blanks = st.text(" \t", max_size=3)
_paths = st.text("abz09/%._-~!$&'()*+,;=:@[]|", max_size=20).map(
    lambda text: "/" + re.sub("%(?![0-9A-Fa-f]{2})", "%e9", text)
)
_queries = st.one_of(st.just(""), st.text("ab%=&?/", max_size=9).map("?".__add__))
_hosts = st.sampled_from(["a", "example.org:8080", "[::1]", "192.0.2.1:80", "b:"])
_contents = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n", b"0\r\n\r\n"]),
)
_seldom = st.integers(0, 3).map(lambda number: number == 3)


class Written(NamedTuple):
    data: bytes
    message: dict[
        str, Any
    ]  # what must be read: attributes of the Request, "content", and that it has "ended"


@st.composite
def _chunked(draw: st.DrawFn, content: bytes) -> bytes:
    data = b""
    while content:
        size = draw(st.integers(1, len(content)))
        line = draw(st.sampled_from(["{:x}", "{:X}", "000{:x}", "{:x};a", '{:x};b="c d"']))
        data += line.format(size).encode() + b"\r\n" + content[:size] + b"\r\n"
        content = content[size:]
    trailers = draw(st.sampled_from([b"", b"X-A: b\r\n", b"Content-Type: 5\r\nHost:\tb \r\n"]))
    return data + draw(st.sampled_from([b"0", b"000", b"0;a"])) + b"\r\n" + trailers + b"\r\n"


written_chunks = _contents.flatmap(_chunked)


def _keep_alive(fields: dict[str, str], version: str) -> bool:
    options = re.split(r"[ \t]*,[ \t]*", fields.get("HTTP_CONNECTION", "").lower())
    upgrades = fields.get("HTTP_UPGRADE", "").lower() not in ("", "h2c")
    return "close" not in options and not upgrades and (version == "HTTP/1.1" or "keep-alive" in options)


@st.composite
def requests(draw: st.DrawFn) -> Written:
    """Write a request in one of the many ways, and tell what must be read."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "PROPFIND", "get", "M-1"]))
    minor = draw(st.sampled_from(["1", "1", "1", "0", "2"]))
    version = "HTTP/1.0" if minor == "0" else "HTTP/1.1"
    raw_path, query, host = draw(_paths), draw(_queries), draw(_hosts)
    target = raw_path + query
    if draw(_seldom):
        target = f"http://{host}{target}"
    fields = draw(st.lists(st.tuples(_names, _values), max_size=8))
    fields.insert(draw(st.integers(0, len(fields))), ("Host", host))
    content = draw(st.one_of(st.none(), _contents))
    chunked = content is not None and version == "HTTP/1.1" and draw(st.booleans())
    body = content or b""
    if chunked:
        coding = draw(st.sampled_from(["chunked", "Chunked"]))
        fields.insert(draw(st.integers(0, len(fields))), ("Transfer-Encoding", coding))
        body = draw(_chunked(body))
    elif content is not None:
        length = draw(st.sampled_from(["{}", "00{}"])).format(len(content))
        fields.insert(draw(st.integers(0, len(fields))), ("content-length", length))
    expects = draw(_seldom)
    if expects:
        fields.append(("Expect", draw(st.sampled_from(["100-continue", "100-CONTINUE"]))))
    lines = [f"{method} {target} HTTP/1.{minor}"]
    lines += [f"{name}:{draw(_blanks)}{value}{draw(_blanks)}" for name, value in fields]
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    read_fields = cgi_fields((name.encode(), value.encode("latin-1")) for name, value in fields)
    message = {
        "method": method,
        "target": target,
        "raw_path": raw_path,
        "path": re.sub("%(..)", lambda match: chr(int(match[1], 16)), raw_path),
        "query": query[1:],
        "version": version,
        "fields": read_fields,
        "keep_alive": _keep_alive(read_fields, version),
        "chunked": chunked,
        "content_length": Request.UNKNOWN if chunked else len(content or b""),
        "has_content": chunked or bool(content),
        "expect_continue": expects and version == "HTTP/1.1" and (chunked or bool(content)),
        "content": content or b"",
        "ended": True,
    }
    return Written(draw(st.sampled_from([b"", b"", b"\r\n"])) + head + body, message)


# What is nearly a request, and anything.

_FRAGMENTS = [
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b" ", b"\t", b":", b",", b";", b"\0", b"\x0b"),
    *(b"\x85", b"\xff", b"_"),
    *(b"%", b"#", b"?", b"*", b"//", b"@", b"0", b"5", b"F", b"-", b"+", b"GET ", b"CONNECT ", b" /"),
    *(b"/", b"POST"),
    *(b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.1\r\n", b"Host: a\r\n", b"Host:", b"host: b"),
    *(b"http://b", b"chunked"),
    *(b"Content-Length: 5\r\n", b"Content-Length:", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding:"),
    *(b"Expect: 100-continue\r\n", b"Upgrade: a\r\n", b"Connection: close\r\n"),
    *(b"X_A: b\r\n", b"5\r\nhello\r\n"),
    *(b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"hello", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
]
_REQUEST_LINES = [b"GET / HTTP/1.1", b"POST /a?b HTTP/1.0", b"OPTIONS * HTTP/1.1", b"PUT http://b/c HTTP/1.2"]
_FIELDS = [
    *(b"Transfer-Encoding: chunked", b"Transfer_Encoding: chunked"),
    *(b"Expect: 100-continue", b"Connection: close"),
    *(b"Connection: keep-alive", b"Cookie: a", b"Cookie: b", b"A: b", b"a:c", b"A_: b"),
    *(b"Proxy: a", b"Upgrade: a"),
    *(b"host:b:80 ", b"Content-Length: 5", b"content-length:0", b"Transfer-Encoding: gzip"),
]
_CHUNKS = [
    *(b"5\r\nhello\r\n", b"5;a\r\nhello\r\n", b"00A\r\n\r\n\r\n\r\n\r\n\r\n\r\n"),
    *(b"1\r\n0\r\n", b"0\r\n\r\n", b"1;\r\n\r\r\n", b"2\r\n\r\n\r\n", b"3\r\n0\r\n", b"3\r\nabcd\r\n"),
    *(b"5\r\nhe", b"llo", b"0\r\nContent-Length: 5\r\n\r\n"),
    *(b"0\r\nA: b\r\nC:\r\n\r\n", b"0\r\n", b"A: b\r\n", b"\r\n"),
]

_fragments = st.one_of(st.sampled_from(_FRAGMENTS), st.binary(min_size=1, max_size=2))
any_bytes = st.lists(_fragments, max_size=30).map(b"".join)


def _mostly(usual: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Draw one of ``usual``, and sometimes a fragment of anything."""
    return st.integers(0, 15).flatmap(lambda number: st.sampled_from(usual) if number else _fragments)


chunks = st.lists(_mostly(_CHUNKS), max_size=8).map(b"".join)
near_requests = st.lists(
    st.builds(
        lambda line, fields, content: b"\r\n".join([line, b"Host: a", *fields, b"", content]),
        _mostly(_REQUEST_LINES),
        st.lists(_mostly(_FIELDS), max_size=6),
        st.one_of(st.just(b""), st.just(b"hello"), chunks),
    ),
    max_size=3,
).map(b"".join)


# The corpus, changed.


def _delete(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    return data[:at] + data[end:]


def _insert(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    return data[:at] + draw(_fragments) + data[at:]


def _replace(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    return data[:at] + draw(_fragments) + data[end:]


def _change_case(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    return data[:at] + data[at:end].swapcase() + data[end:]


def _double(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    return data[:end] + data[at:]


def _break_off(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    return data[:at]


def _change_line_ends(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    line_end = draw(st.sampled_from([b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n "]))
    return data[:at] + data[at:].replace(b"\r\n", line_end, draw(st.sampled_from([1, -1])))


def _swap_lines(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    lines = re.split(rb"(?<=\r\n)", data)
    one, other = draw(st.tuples(*[st.integers(0, len(lines) - 1)] * 2))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _double_line(draw: st.DrawFn, data: bytes, at: int, end: int) -> bytes:
    lines = re.split(rb"(?<=\r\n)", data)
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(lines)))
    return b"".join(lines)


_MUTATIONS: list[Callable[[st.DrawFn, bytes, int, int], bytes]] = [
    _delete,
    _insert,
    _replace,
    _change_case,
    _double,
    _break_off,
    _change_line_ends,
    _swap_lines,
    _double_line,
]
_GOOD = [file.data for file in VALID if len(file.data) < 600]
_BAD = [file.data for file in INVALID if len(file.data) < 600]


def _mutate(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(at + 8, len(data))))
        data = draw(st.sampled_from(_MUTATIONS))(draw, data, at, end)
    return data


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Take files of the corpus and do something to them, a few times."""
    data = b"".join(draw(st.lists(st.sampled_from(_GOOD), min_size=1, max_size=2)))
    data += draw(st.sampled_from([b"", b"", *_BAD]))
    return _mutate(draw, data)


@st.composite
def broken_chunks(draw: st.DrawFn) -> bytes:
    """Write chunked content and do something to it, a few times."""
    return _mutate(draw, draw(written_chunks))
