"""What trusted proxies say of a request, in X-Forwarded-* or Forwarded -> who asks, and for which URL.

Rule 1: each proxy adds what it knows at the right end of a list (RFC 7239 section 4). A list is therefore read from
the right, as long as those who wrote it are trusted: the first address that is no trusted proxy's is the client's,
and what is to the left of it is hearsay.
Rule 2: what is not as it should be counts as not said. If it is an address, the proxy that wrote it is the last one
who is known, and its own address is the client's.
Rule 3: where any X-Forwarded-* is there, Forwarded is not read: most proxies set the first and hand on the second.
Rule 4: what remains in ``fields`` is what was believed.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import unquote_to_bytes

from aiowsgi.http.fields import TOKEN, is_host
from aiowsgi.http.lines import cgi_name, is_dropped
from aiowsgi.http.memo import Memo

UNIX = "unix"  # stands for the peers of a Unix socket, which have no address

# Elements of a list that are looked at: no chain of proxies is so long, but a client may send a list of thousands.
MOST_HOPS = 20
# Characters of an element of Forwarded.
_LONGEST_ELEMENT = 1024
_LONGEST_NODE = 64

# An IPv4 address or an IPv6 one in brackets, perhaps with a port, which may be hidden (RFC 7239 section 6); or, in
# X-Forwarded-For, an IPv6 address alone.
_node = re.compile(
    r"(?:([0-9.]+)|\[([0-9A-Fa-f:.]+)\])(?::(?:([0-9]{1,5})|_[0-9A-Za-z._-]+))?|([0-9A-Fa-f:.]+)"
).fullmatch

_PAIR = rf'({TOKEN})=(?:({TOKEN})|"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)")'
_pairs = re.compile(rf"{_PAIR}(?:[ \t]*;[ \t]*|\Z)").match
_authority = re.compile(r"(\[[^]]*\]|[^:]*)(?::([0-9]*))?").fullmatch
# What RFC 3986 section 3.3 lets a path be made of, but for the comma, which stands between the values of a list.
_raw_prefix = re.compile(r"(?:[0-9A-Za-z._~!$&'()*+;=:@/-]|%[0-9A-Fa-f]{2})+").fullmatch
# No empty segment, which would make a path the name of a host, and none of dots. Browsers take "\\" for "/".
_prefix = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[^/\\\x00-\x1f\x7f]+)+").fullmatch

_X_FIELDS = tuple(f"HTTP_X_FORWARDED_{name}" for name in ("FOR", "PROTO", "HOST", "PORT", "PREFIX"))
_FIELDS = (*_X_FIELDS, "HTTP_FORWARDED")


class _Nodes(Memo[str, tuple[str, str, bool] | None]):
    """A node as a proxy wrote it -> its address, its port ("" if it is not known), and whether it is trusted.

    None for what is no address: "unknown", a hidden name (RFC 7239 section 6.3), or what is malformed.
    """

    def __init__(self, trusts: Callable[[str], bool]) -> None:
        super().__init__()
        self._trusts = trusts

    def __missing__(self, key: str) -> tuple[str, str, bool] | None:
        known = self._read(key) if len(key) <= _LONGEST_NODE else None
        if len(key) <= _LONGEST_NODE:
            self.remember(key, known)
        return known

    def _read(self, text: str) -> tuple[str, str, bool] | None:
        match = _node(text)
        if match is None:
            return None
        v4, bracketed, port, bare = match.groups()
        try:
            address = IPv6Address(bracketed) if bracketed else ip_address(v4 or bare)
        except ValueError:
            return None
        if port and int(port) > 65535:
            return None
        name = canonical(address)
        return name, port or "", self._trusts(name)


def canonical(address: object) -> str:
    """Return the address as text, an IPv4 one that is written as an IPv6 one (RFC 4291 section 2.5.5.2) as such."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


Client = tuple[str, str] | None  # address and port; None where nobody has said


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from, as far as trusted proxies have said so."""

    fields: dict[str, str]  # the request's, with what was believed in place of what was said
    client: Client
    environ: dict[str, str]  # variables of the environ that differ from those of the connection
    prefix: str  # where the proxies show this server's root, decoded; "" at the root


class Proxies:
    """The peers that are trusted to say for whom they ask, and what they say."""

    def __init__(self, trusted: Sequence[str]) -> None:
        """``trusted`` are addresses, networks (CIDR), and UNIX."""
        self._unix = UNIX in trusted
        self._networks = [ip_network(text) for text in trusted if text != UNIX]
        self._nodes = _Nodes(self.trusts)

    def trusts(self, address: str) -> bool:
        """Tell whether the peer at ``address`` is trusted; it is "" for that of a Unix socket."""
        if not address:
            return self._unix
        found = ip_address(address)
        if isinstance(found, IPv6Address):
            found = found.ipv4_mapped or found
        return any(found in network for network in self._networks)

    def origin(self, fields: dict[str, str], scheme: str) -> Origin:
        """Read ``fields`` of a trusted peer's request; ``scheme`` is that of its connection."""
        kept = {name: value for name, value in fields.items() if name not in _FIELDS}
        client: Client = None
        said: dict[str, str] = {}
        if any(name in fields for name in _X_FIELDS):
            client, said = self._x_forwarded(fields, kept)
        elif "HTTP_FORWARDED" in fields:
            client, said = self._forwarded(fields["HTTP_FORWARDED"], kept)
        environ = _url(kept, scheme, said)
        return Origin(kept, client, environ, unquote_to_bytes(said.get("prefix", "")).decode("latin-1"))

    def _x_forwarded(self, fields: dict[str, str], kept: dict[str, str]) -> tuple[Client, dict[str, str]]:
        nodes = list(_last_first(fields.get("HTTP_X_FORWARDED_FOR", "")))
        client, count = self._client(nodes)
        if client is not None:
            known = [node for node in nodes[:count] if self._nodes[node]]
            kept["HTTP_X_FORWARDED_FOR"] = ", ".join(reversed(known))
        said: dict[str, str] = {}
        for name, check in _CHECKS.items():
            variable = f"HTTP_X_FORWARDED_{name.upper()}"
            # Each proxy may have put its own behind what it got, or in place of it.
            values = list(_last_first(fields.get(variable, "")))[: max(1, count)]
            if values and (value := check(values[-1])):
                said[name] = kept[variable] = value
        return client, said

    def _forwarded(self, value: str, kept: dict[str, str]) -> tuple[Client, dict[str, str]]:
        elements = list(_elements(value))
        client, count = self._client(pairs.get("for", "") for _, pairs in elements)
        said: dict[str, str] = {}
        for _, pairs in elements[:count]:
            for name in ("proto", "host"):
                if checked := _CHECKS[name](pairs.get(name, "")):
                    said[name] = checked
        if count:
            kept["HTTP_FORWARDED"] = ", ".join(text for text, _ in reversed(elements[:count]))
        return client, said

    def _client(self, nodes: Iterable[str]) -> tuple[Client, int]:
        """Return who the client is, and how many of ``nodes``, the last one first, trusted proxies have written."""
        client: Client = None
        count = 0
        for node in nodes:
            count += 1
            known = self._nodes[node]
            if known is None:
                break
            client = known[:2]
            if not known[2]:
                break
        return client, count


def drops_of_proxies(read: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells of a field's name whether a trusted proxy's is dropped: where it is not one of ``read``."""
    return partial(_is_dropped_of_proxies, frozenset(map(cgi_name, read)))


def _is_dropped_of_proxies(read: frozenset[str], name: str) -> bool:
    return is_dropped(name) or (cgi_name(name) in _FIELDS and cgi_name(name) not in read)


def _last_first(value: str) -> Iterator[str]:
    """Yield the members of a list (RFC 9110 section 5.6.1) from the right, as many as are looked at."""
    members = value.rsplit(",", MOST_HOPS)
    for member in members[: -MOST_HOPS - 1 : -1]:
        if text := member.strip(" \t"):
            yield text


def _elements(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the elements of Forwarded from the right, up to one that is malformed.

    Whoever sent the left end may have opened a quote and not closed it: so the right end has to speak for itself.
    """
    end = comma = len(value)
    for _ in range(MOST_HOPS):
        comma = value.rfind(",", 0, comma)
        if end - comma > _LONGEST_ELEMENT:
            return
        text = value[comma + 1 : end].strip(" \t")
        pairs = _read_pairs(text)
        if pairs is not None:
            yield text, pairs
        if pairs is not None or not text:
            end = comma
        # Else the comma may be one of a quoted string, which begins further to the left.
        if comma < 0:
            return


def _read_pairs(text: str) -> dict[str, str] | None:
    """Read one element (RFC 7239 section 4); None if it is malformed. Blanks around a semicolon are let pass."""
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _pairs(text, position)
        if match is None:
            return None
        name = match[1].lower()
        if name in pairs:
            return None
        pairs[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])
        position = match.end()
    return pairs or None


def _checked_proto(text: str) -> str:
    scheme = text.lower()
    return scheme if scheme in ("http", "https") else ""


def _checked_host(text: str) -> str:
    return text if text and is_host(text) else ""


def _checked_port(text: str) -> str:
    number = int(text) if re.fullmatch("[0-9]{1,5}", text) else 0
    return str(number) if 0 < number <= 65535 else ""


def _checked_prefix(text: str) -> str:
    raw = text.rstrip("/")
    decoded = unquote_to_bytes(raw).decode("latin-1")
    return raw if _raw_prefix(raw) and _prefix(decoded) else ""


# What is said of the URL -> the same in the form to use, or "" where it is malformed.
_CHECKS = {"proto": _checked_proto, "host": _checked_host, "port": _checked_port, "prefix": _checked_prefix}


def _url(fields: dict[str, str], scheme: str, said: dict[str, str]) -> dict[str, str]:
    """Return the variables of what is ``said`` of the URL, and put its authority into ``fields``."""
    if not said.keys() & {"proto", "host", "port"}:
        return {}
    scheme = said.get("proto", scheme)
    usual = "443" if scheme == "https" else "80"
    environ = {"wsgi.url_scheme": scheme, "HTTPS": "on" if scheme == "https" else "off"}
    match = _authority(said.get("host") or fields.get("HTTP_HOST", ""))
    assert match is not None  # is_host has seen it
    name, own_port = match[1], match[2] or ""
    port = said.get("port", "")
    environ["SERVER_PORT"] = port or own_port or usual
    if "host" in said:
        environ["SERVER_NAME"] = name.strip("[]")
    if name:
        # A port that the client has sent in Host is the URL's. Some proxies take it out, and tell of it beside.
        own_port = own_port or (port if port != usual else "")
        fields["HTTP_HOST"] = f"{name}:{own_port}" if own_port else name
    return environ
