"""What is believed of X-Forwarded-* and Forwarded, and what is not."""

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiowsgi.http.fields import is_host
from aiowsgi.http.forwarded import MOST_HOPS, Origin, Proxies, drops_of_proxies

PROXIES = Proxies(["10.0.0.0/8", "2001:db8:1::/48"])


def origin(scheme: str = "http", **fields: str) -> Origin:
    """Return what becomes of fields by their names behind HTTP_, those of X-Forwarded-* behind x_ for short."""
    named = {
        f"HTTP_X_FORWARDED_{name[2:].upper()}" if name.startswith("x_") else f"HTTP_{name.upper()}": value
        for name, value in fields.items()
    }
    return PROXIES.origin({"HTTP_HOST": "app.test", **named}, scheme)


def test_who_is_trusted() -> None:
    proxies = Proxies(["192.0.2.1", "10.0.0.0/8", "2001:db8::/32"])
    for address in ("192.0.2.1", "10.255.0.1", "2001:db8::9", "::ffff:10.0.0.1", "2001:db8::1%eth0"):
        assert proxies.trusts(address), address
    for address in ("192.0.2.2", "11.0.0.1", "2001:db9::", "::1", "::ffff:11.0.0.1", ""):
        assert not proxies.trusts(address), address
    assert Proxies(["unix"]).trusts("")
    assert not Proxies(["unix"]).trusts("127.0.0.1")


def test_nothing_said_is_nothing_changed() -> None:
    fields = {"HTTP_HOST": "a", "HTTP_ACCEPT": "*/*", "HTTP_X_REAL_IP": "192.0.2.1"}
    assert PROXIES.origin(dict(fields), "https") == Origin(fields, None, {}, "")


# Who the client is.

CLIENT = ("192.0.2.9", "")


@pytest.mark.parametrize(
    ("value", "client", "kept"),
    [
        ("192.0.2.9", CLIENT, "192.0.2.9"),
        # From the right, past trusted ones only.
        ("192.0.2.9, 10.0.0.1", CLIENT, "192.0.2.9, 10.0.0.1"),
        ("1.1.1.1, 192.0.2.9", CLIENT, "192.0.2.9"),
        ("1.1.1.1, 192.0.2.9, 10.0.0.2 ,10.0.0.1", CLIENT, "192.0.2.9, 10.0.0.2, 10.0.0.1"),
        ("10.0.0.3, 192.0.2.9", CLIENT, "192.0.2.9"),
        ("10.0.0.3, 10.0.0.2", ("10.0.0.3", ""), "10.0.0.3, 10.0.0.2"),
        # Ports, brackets, other spellings.
        ("192.0.2.9:4711", ("192.0.2.9", "4711"), "192.0.2.9:4711"),
        ("2001:DB8::0:9", ("2001:db8::9", ""), "2001:DB8::0:9"),
        ("[2001:db8::9]", ("2001:db8::9", ""), "[2001:db8::9]"),
        ("[2001:db8::9]:4711", ("2001:db8::9", "4711"), "[2001:db8::9]:4711"),
        ("192.0.2.9, 2001:db8:1::1, [2001:db8:1::2]:80", CLIENT, "192.0.2.9, 2001:db8:1::1, [2001:db8:1::2]:80"),
        ("::ffff:192.0.2.9", CLIENT, "::ffff:192.0.2.9"),
        ("192.0.2.9, ::ffff:10.0.0.1", CLIENT, "192.0.2.9, ::ffff:10.0.0.1"),
        (",, 192.0.2.9 ,, 10.0.0.1,", CLIENT, "192.0.2.9, 10.0.0.1"),
        # What is no address ends the chain at who said it; what is left of the client is not even looked at.
        ("unknown", None, None),
        ("192.0.2.9, unknown", None, None),
        ("192.0.2.9, unknown, 10.0.0.1", ("10.0.0.1", ""), "10.0.0.1"),
        ("<script>, 192.0.2.9", CLIENT, "192.0.2.9"),
        *((value, None, None) for value in ("", ",", "_hidden", "localhost", "192.0.2", "192.0.2.09", "192.0.2.9:")),
        *((value, None, None) for value in ("192.0.2.9:65536", "192.0.2.9:x", "[192.0.2.9]", "[::1", "::1]:80")),
        *((value, None, None) for value in ("2001:db8::g", "fe80::1%eth0", "192.0.2.9/32", "9" * 5000, "1" * 60)),
    ],
)  # fmt: skip
def test_x_forwarded_for(value: str, client: tuple[str, str] | None, kept: str | None) -> None:
    for _ in range(3):  # the third time it is known
        found = origin(x_for=value)
        assert found.client == client
        assert found.fields.get("HTTP_X_FORWARDED_FOR") == kept
        assert (found.environ, found.prefix) == ({}, "")


@pytest.mark.parametrize(
    ("value", "client", "kept"),
    [
        ("for=192.0.2.9", CLIENT, "for=192.0.2.9"),
        ("For=192.0.2.9;By=10.0.0.1", CLIENT, "For=192.0.2.9;By=10.0.0.1"),
        ('for="192.0.2.9:4711"', ("192.0.2.9", "4711"), 'for="192.0.2.9:4711"'),
        ('for="192.0.2.9:_a-1"', CLIENT, 'for="192.0.2.9:_a-1"'),
        ('for="[2001:db8::9]:4711"', ("2001:db8::9", "4711"), 'for="[2001:db8::9]:4711"'),
        ('for="\\1\\92.0.2.9"', CLIENT, 'for="\\1\\92.0.2.9"'),
        ("for=192.0.2.9; proto=http ;by=_a", CLIENT, "for=192.0.2.9; proto=http ;by=_a"),
        ("for=1.1.1.1, for=192.0.2.9 , for=10.0.0.1", CLIENT, "for=192.0.2.9, for=10.0.0.1"),
        # What a client opens at the left does not reach into what the proxy has put at the right.
        ('for="1.1.1.1, for=192.0.2.9', CLIENT, "for=192.0.2.9"),
        ('for=1.1.1.1;by=", for="192.0.2.9"', CLIENT, 'for="192.0.2.9"'),
        ('"\\, for=192.0.2.9', CLIENT, "for=192.0.2.9"),
        ('for="192.0.2.9";by="a, b", for=10.0.0.1', CLIENT, 'for="192.0.2.9";by="a, b", for=10.0.0.1'),
        # The proxy does not say for whom it asks.
        ("for=192.0.2.9, for=unknown", None, "for=unknown"),
        ("for=192.0.2.9, for=_hidden, for=10.0.0.1", ("10.0.0.1", ""), "for=_hidden, for=10.0.0.1"),
        ("for=192.0.2.9, proto=http", None, "proto=http"),
        # Malformed.
        ("for=192.0.2.9, for=10.0.0.1, x", None, None),
        ("for=192.0.2.9, x, for=10.0.0.1", ("10.0.0.1", ""), "for=10.0.0.1"),
        *((value, None, None) for value in ("", "for", "for=", "for =192.0.2.9", "for= 192.0.2.9", "192.0.2.9")),
        *((value, None, None) for value in ("for=192.0.2.9;for=192.0.2.9", "for=[::1]", "for=192.0.2.9:80")),
        *((value, None, None) for value in ('for="192.0.2.9', "for=192.0.2.9 proto=http", "a=" + "b" * 2000)),
    ],
)  # fmt: skip
def test_forwarded(value: str, client: tuple[str, str] | None, kept: str | None) -> None:
    for _ in range(3):
        found = origin(forwarded=value)
        assert found.client == client
        assert found.fields.get("HTTP_FORWARDED") == kept


def test_where_x_forwarded_is_there_forwarded_is_not_read() -> None:
    found = origin(x_for="192.0.2.9", forwarded="for=1.1.1.1;proto=https;host=evil")
    assert found == Origin({"HTTP_HOST": "app.test", "HTTP_X_FORWARDED_FOR": "192.0.2.9"}, CLIENT, {}, "")
    found = origin(x_proto="http", forwarded="for=1.1.1.1")
    assert (found.client, "HTTP_FORWARDED" in found.fields) == (None, False)


# For which URL.


def url(found: Origin) -> tuple[str | None, str | None, str | None, str]:
    """Return scheme, server name, port, and Host."""
    names = ("wsgi.url_scheme", "SERVER_NAME", "SERVER_PORT")
    scheme, name, port = (found.environ.get(name) for name in names)
    return scheme, name, port, found.fields["HTTP_HOST"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"x_proto": "https"}, ("https", None, "443", "app.test")),
        ({"x_proto": "HTTP"}, ("http", None, "80", "app.test")),
        ({"x_proto": "https", "host": "a:8443"}, ("https", None, "8443", "a:8443")),
        ({"x_host": "site.test"}, ("http", "site.test", "80", "site.test")),
        ({"x_host": "site.test:81"}, ("http", "site.test", "81", "site.test:81")),
        ({"x_host": "[::1]:81"}, ("http", "::1", "81", "[::1]:81")),
        ({"x_host": "site.test:"}, ("http", "site.test", "80", "site.test")),
        ({"x_host": "site.test", "x_proto": "https"}, ("https", "site.test", "443", "site.test")),
        # A port is put into Host where it is not the usual one, and Host has none.
        ({"x_port": "443", "x_proto": "https"}, ("https", None, "443", "app.test")),
        ({"x_port": "08443", "x_proto": "https"}, ("https", None, "8443", "app.test:8443")),
        ({"x_port": "8443"}, ("http", None, "8443", "app.test:8443")),
        ({"x_port": "8443", "host": "a:81"}, ("http", None, "8443", "a:81")),
        ({"x_port": "8443", "x_host": "[::1]"}, ("http", "::1", "8443", "[::1]:8443")),
        ({"x_port": "81", "x_host": "site.test:82"}, ("http", "site.test", "81", "site.test:82")),
        # The same of Forwarded.
        ({"forwarded": "proto=https"}, ("https", None, "443", "app.test")),
        ({"forwarded": "for=192.0.2.9;host=site.test;proto=https"}, ("https", "site.test", "443", "site.test")),
        ({"forwarded": 'host="site.test:81"'}, ("http", "site.test", "81", "site.test:81")),
    ],
)  # fmt: skip
def test_the_url_is_the_clients(fields: dict[str, str], expected: tuple[str | None, ...]) -> None:
    assert url(origin(**fields)) == expected


def test_a_connection_by_tls_stays_one_unless_it_is_said_otherwise() -> None:
    assert url(origin("https", x_host="site.test")) == ("https", "site.test", "443", "site.test")
    assert url(origin("https", x_proto="http")) == ("http", None, "80", "app.test")


def test_no_host_at_all_is_no_host() -> None:
    found = PROXIES.origin({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_PORT": "8443"}, "http")
    assert found.environ == {"wsgi.url_scheme": "https", "HTTPS": "on", "SERVER_PORT": "8443"}
    assert "HTTP_HOST" not in found.fields


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("x_proto", ["", "ftp", "wss", "https:", "https http", "\u017fttp"]),
        ("x_host", ["", "me@a", "a b", "a/b", "http://a", "a:65536", "a:b", "[::1"]),
        ("x_port", ["", "0", "65536", "-1", "8 0", "http", "\u0664", "+80"]),
        ("x_prefix", ["", "/", "//", "a", "//evil.test", "/a//b", "/../a", "/a/..", "/./a", "/\\evil.test"]),
        ("x_prefix", ["/%2fevil.test", "/a%2f%2fb", "/%2e%2e/a", "/%5cevil.test", "/a%00", "/a%", "/a?b", "/a#b"]),
        ("x_prefix", ["/a b", "/a\tb", "/\xe9", '/a"', "/<a>", "/a%0d%0ab"]),
    ],
)  # fmt: skip
def test_what_is_malformed_counts_as_not_said(name: str, values: list[str]) -> None:
    for value in values:
        assert origin(**{name: value}) == origin(), value
        assert origin(**{name: f"{value},"}) == origin(), value


@pytest.mark.parametrize(
    ("value", "raw", "prefix"),
    [
        ("/app", "/app", "/app"),
        ("/app/", "/app", "/app"),
        ("/a/b.c", "/a/b.c", "/a/b.c"),
        ("/%c3%a9%2Ex", "/%c3%a9%2Ex", "/\xc3\xa9.x"),
        ("/...", "/...", "/..."),
        ("/evil, /app", "/app", "/app"),
    ],
)
def test_a_prefix_is_decoded_as_paths_are(value: str, raw: str, prefix: str) -> None:
    found = origin(x_prefix=value)
    assert (found.prefix, found.fields["HTTP_X_FORWARDED_PREFIX"]) == (prefix, raw)


@pytest.mark.parametrize(
    ("nodes", "protos", "scheme"),
    [
        ("192.0.2.9", "https", "https"),
        ("192.0.2.9", "https, http", "http"),  # the client has sent the first
        ("1.1.1.1, 192.0.2.9", "https, http", "http"),
        ("192.0.2.9, 10.0.0.1", "https, http", "https"),  # the outer proxy has
        ("1.1.1.1, 192.0.2.9, 10.0.0.1", "http, https, http", "https"),
        ("192.0.2.9, 10.0.0.1", "https", "https"),  # the inner one has put its own in place of it
        ("unknown, 10.0.0.1", "https, http", "https"),
        ("", "https, http", "http"),
    ],
)
def test_of_several_values_that_of_the_clients_own_proxy_counts(nodes: str, protos: str, scheme: str) -> None:
    found = origin(x_for=nodes, x_proto=protos)
    assert found.environ["wsgi.url_scheme"] == found.fields["HTTP_X_FORWARDED_PROTO"] == scheme


def test_of_several_elements_that_of_the_clients_own_proxy_counts() -> None:
    value = (
        "for=1.1.1.1;proto=http;host=evil, for=192.0.2.9;proto=https, for=10.0.0.1;proto=http;host=site.test"
    )
    assert url(origin(forwarded=value)) == ("https", "site.test", "443", "site.test")


def test_an_application_that_reads_the_fields_itself_finds_what_was_believed() -> None:
    found = origin(x_for="1.1.1.1, 192.0.2.9", x_proto="gopher", x_host="evil@x", x_port="443", x_user="me")
    assert found.fields == {
        "HTTP_HOST": "app.test:443",
        "HTTP_X_FORWARDED_FOR": "192.0.2.9",
        "HTTP_X_FORWARDED_PORT": "443",
        "HTTP_X_FORWARDED_USER": "me",
    }


_PIECES = [
    *(
        "10.0.0.1",
        "192.0.2.1",
        "[::1]:80",
        "::1",
        "for=",
        ",",
        ";",
        '"',
        "\\",
        "proto=",
        "https",
        "host=",
        "a.b:80",
    ),
    *(
        "/x",
        "//",
        "..",
        "%2f",
        "%",
        "_h",
        "unknown",
        " ",
        "\t",
        "\xff",
        "=",
        "by=",
        ":",
        "[",
        "]",
        "1",
        "443",
    ),
]
_texts = st.lists(st.sampled_from(_PIECES), max_size=9).map("".join)


@given(
    st.dictionaries(
        st.sampled_from(["x_for", "x_proto", "x_host", "x_port", "x_prefix", "forwarded"]), _texts
    )
)
def test_what_is_left_says_the_same_again(fields: dict[str, str]) -> None:
    found = origin(**fields)
    again = PROXIES.origin(found.fields, found.environ.get("wsgi.url_scheme", "http"))
    assert (again.fields, again.client, again.prefix) == (found.fields, found.client, found.prefix)
    assert is_host(found.fields["HTTP_HOST"])
    assert not found.prefix.startswith("//")


# Which fields are read, and how much of them.


def test_a_proxy_is_believed_in_the_fields_it_sets() -> None:
    drops = drops_of_proxies(("x-forwarded-for", "forwarded"))
    names = ("X-Forwarded-For", "FORWARDED", "X-Forwarded-User", "X-Real-IP", "X-A")
    assert [name for name in names if drops(name)] == []
    others = ("X-Forwarded-Proto", "x-forwarded-prefix", "X_Forwarded_For", "Proxy")
    assert [name for name in others if not drops(name)] == []


def test_no_more_hops_are_looked_at_than_there_may_be() -> None:
    found = origin(x_for="192.0.2.9, " + "10.0.0.1, " * MOST_HOPS)
    assert found.client == ("10.0.0.1", "")
    assert origin(x_for="192.0.2.9, " + "10.0.0.1, " * (MOST_HOPS - 2)).client == CLIENT


@pytest.mark.parametrize(
    "value",
    [
        *("10.0.0.1," * 7000, ",for=10.0.0.1" * 5000, ',a="' * 16_000, 'a=",' * 16_000, "a=" + '"\\' * 30_000),
        *("," * 60_000, "for=" + "1" * 60_000, ";" * 60_000, "a=b;" * 16_000, "a=b " * 16_000, "/a" * 30_000),
        *(" " * 60_000, ":" * 60_000, "[" * 60_000, "/." * 30_000, "%41" * 20_000, '"' * 60_000),
    ],
)  # fmt: skip
def test_what_a_head_may_hold_costs_little_time(value: str) -> None:
    begun = process_time()
    for name in ("x_for", "x_proto", "x_host", "x_port", "x_prefix", "forwarded"):
        origin(**{name: value})
    assert process_time() - begun < 0.5
