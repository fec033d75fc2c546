"""The grammar of header fields (RFC 9110 sections 5 and 7), both ways, one rule for each thing."""

import re
from ipaddress import AddressValueError, IPv6Address

# RFC 9110 section 5.6.2
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9110 section 5.5: visible characters, obs-text, and blanks between them. The control characters that the
# section lets a lenient recipient keep are not kept here.
VALUE = r"[\t\x20-\x7e\x80-\xff]*"

# RFC 9112 section 5, without its CRLF; the value is still to be stripped of blanks at its end. The quantifiers are
# possessive: blanks fit in two places, and to try them all takes a square of their number.
FIELD_LINE = rb"(%b):[ \t]*+([^\x00-\x08\x0a-\x1f\x7f]*+)" % TOKEN.encode()

# Names whose values are nobody's business but the two ends': never kept longer than the message.
SECRET = re.compile(
    r"auth|cookie|referer|token|key|secret|session|passw|signature|credential|jwt|csrf|xsrf", re.IGNORECASE
)

# Fields by which a proxy tells of its client. X-Forwarded-User, say, is whom it has let in.
is_proxy_field = re.compile(r"forwarded|x-forwarded-.*|x-real-ip", re.IGNORECASE).fullmatch

# Fields that Connection may not name, for whoever hands the request on would take them out: what says where a message
# ends and whom it is for, what is for all recipients (RFC 9110 section 7.6.1), and what proxies say.
END_TO_END = frozenset(
    (
        *(
            "authorization",
            "cache-control",
            "content-encoding",
            "content-length",
            "content-range",
            "content-type",
        ),
        *("cookie", "expect", "host", "max-forwards", "range", "trailer", "transfer-encoding"),
    )
)

_is_host = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|[0-9A-Za-z._~%-]+)(?::([0-9]{0,5}))?").fullmatch
_is_percent_encoded = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*").fullmatch


def is_host(value: str) -> bool:
    """Tell whether ``value`` is the host, with or without a port, of an http URI (RFC 9110 section 7.2).

    A DNS name, an IPv4 address or an IPv6 one in brackets. RFC 3986 would also let a name hold ``,`` or ``;``
    and the like, and be empty; no host is called so, and proxies differ in what they make of it.
    """
    match = _is_host(value)
    if match is None or not _is_percent_encoded(value):
        return False
    address, port = match.groups()
    if port and int(port) > 65535:
        return False
    if address is None:
        return True
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return True


def tokens(value: str) -> list[str]:
    """Split a comma-separated list of tokens, in lower case (RFC 9110 section 5.6.1)."""
    return [token for part in value.lower().split(",") if (token := part.strip(" \t"))]
