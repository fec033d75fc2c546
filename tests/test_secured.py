"""Names of clients, as applications are told of them."""

import pytest

from aiowsgi.server.secured import distinguished_name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ((), ""),
        (((("countryName", "DE"),), (("commonName", "a"),)), "CN=a,C=DE"),
        (((("commonName", "a"), ("userId", "b")),), "CN=a+UID=b"),
        (((("emailAddress", "a@b.example"),),), "emailAddress=a@b.example"),
        (((("1.2.3.4", "x"),),), "1.2.3.4=x"),
        (((("commonName", 'a,b+c"d\\e<f>g;h=i'),),), r"CN=a\,b\+c\"d\\e\<f\>g\;h=i"),
        (((("commonName", " a "),),), r"CN=\ a\ "),
        (((("commonName", "#a"),),), r"CN=\#a"),
        (((("commonName", " "),),), r"CN=\ "),
        (((("commonName", ""),),), "CN="),
        (((("commonName", "é\r\n\0€\x7f"),),), r"CN=\C3\A9\0D\0A\00\E2\82\AC\7F"),
    ],
)
def test_a_distinguished_name(name: tuple[tuple[tuple[str, str], ...], ...], expected: str) -> None:
    assert distinguished_name(name) == expected
