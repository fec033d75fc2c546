"""The fields of a file: which names have a hash of the content, what patterns set, and what a 304 keeps."""

from pathlib import Path
from time import process_time

import pytest

from aiowsgi.site.headers import IMMUTABLE, has_content_hash
from tests.static_site import DATE, Site, content, fields

HASHED = """
app.4f2a9c81d3e5.js css/site.55e7cbb9ba48.css logo.5f1d9e3ab27c.svg fonts/a.0b1c2d3e4f5a.woff2
main.4f2a9c81.chunk.js main.4f2a9c81.js main.4f2a9c81.js.map 2.7f3b09ac.chunk.css runtime-main.5ef47ed3.js
main.3f8b7a0c9d1e2f4a5b6c.js vendors~main.3f8b7a0c9d1e2f4a5b6c.js
static/media/logo.6ce24c58023cc2f8fd88fe9d219db6c6.svg media/film.6ce24c58023cc2f8fd88fe9d219db6c6.mp4
index-BxYz12_9.js index-D4k_f8Qz.css assets/vendor-C0xk9-Lp.js roboto-latin-400-normal-CNwBRw8h.woff2
app-4XDYNBSA.js chunk-2VN7QK5X.js styles-5INURTSO.css
main-4f2a9c81d3e5b6a7.js framework-2c79e2a64abdb08b.js polyfills.a1b2c3d4e5f60718.js
application-3b7e0c5f7ab1d2a8b0e9c6f4d3a2918273645546372819a0b1c2d3e4f5061728.css
app-3b7e0c5f7ab1d2a8b0e9c6f4d3a29182.js app_4f2a9c81d3e5.js Button.module.4f2a9c81.css
manual.4f2a9c81d3e5.pdf jquery-3.7.1.min.4f2a9c81d3e5.js
"""

PLAIN = """
jquery-3.7.1.min.js photo-20240101.jpg main-navigation.css app.js style.css index.html favicon.ico robots.txt
bootstrap.bundle.min.js bootstrap-5.3.3.min.css main-carousel.css icon-facebook.svg jquery.validate.js
photo-1dec2023.jpg menu-cafe2024.css photo-12feb2024.jpg effaced.decade90.js menu.cafe2024.js
scan.20240101120000.pdf report-2024-01-01.pdf IMG_20240101_123456.jpg IMG-20240101-WA0001.jpg DSC01234.jpg
slide-DSC01234.jpg slide-DSC01234.js book-Chapter1.css book-Version2.js lib-MODULE22.js my-JavaScript.js
product-iPhone6s.jpg product-iPhone14.jpg lib-WebSocket.js lib-McDonald.js lib-ABCDEFGH.js lib-abcdefgh.js
photo-550e8400-e29b-41d4-a716-44665544000a.jpg photo-550e8400-e29b-41d4-a716-446655440000.jpg
lodash-4.17.21.js d3.v7.min.js three.r160.js de-DE.json v1.2.3.js app-1.0.0-beta.2.js moment-2.29.4.js
4f2a9c81d3e5.js 4f2a9c81d3e5/app.js .4f2a9c81.js app.4f2a9c81 app.4F2A9C81D3E5.js app.4f2a9c8.1d3e5.js app.4f2a9c8.js
app.4f2a9c81d.js app.4f2a9c81d3e5.html index-BxYz12_9.html index-BxYz12_9.pdf photo-BxYz12_9.jpg
app4f2a9c81d3e5.js 00000000.js app.00000000.js app.123456789012.js app.deadbeef.js deadbeef-cafebabe.js
""" + " ".join("." * n + "a" * n for n in (100, 1000))


@pytest.mark.parametrize("name", HASHED.split())
def test_names_with_a_hash_of_the_content(name: str) -> None:
    assert has_content_hash("/" + name)


@pytest.mark.parametrize("name", PLAIN.split())
def test_names_without_one(name: str) -> None:
    assert not has_content_hash("/" + name)


@pytest.mark.parametrize("part", ["-4f2a9c81", "a-", ".4f2a9c81d3e5", "0a", ".a", "-BxYz12_9", "-4f2a-9c81"])
def test_a_long_name_costs_little(part: str) -> None:
    started = process_time()
    assert not has_content_hash("/" + part * (4096 // len(part)))
    assert process_time() - started < 0.1


# Cache-Control


def test_a_file_whose_name_changes_with_it_is_kept_for_ever(tmp_path: Path) -> None:
    site = Site(tmp_path)
    for name in ("app.4f2a9c81d3e5.js", "app.js"):
        site.write(name)
    assert fields(site.get("/app.4f2a9c81d3e5.js"))["Cache-Control"] == IMMUTABLE
    assert fields(site.get("/app.js"))["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("value", ["max-age=60, public", ""])
def test_cache_control_is_a_setting(tmp_path: Path, value: str) -> None:
    site = Site(tmp_path, cache_control=value)
    for name in ("app.4f2a9c81d3e5.js", "app.js"):
        site.write(name)
    assert fields(site.get("/app.js")).get("Cache-Control", "") == value
    assert fields(site.get("/app.4f2a9c81d3e5.js"))["Cache-Control"] == IMMUTABLE


# Patterns


def ruled(root: Path, name: str, *rules: tuple[str, str, str]) -> dict[str, str]:
    site = Site(root, headers=rules)
    site.write(name)
    return fields(site.get("/" + name))


@pytest.mark.parametrize(
    ("pattern", "matched", "not_matched"),
    [
        ("*.html", ["a.html", "sub/b.html", "sub/sub/.html.html"], ["a.htm", "a.html.txt", "a.HTML"]),
        ("a?.txt", ["ab.txt", "sub/aé.txt"], ["a.txt", "abc.txt", "bab.txt"]),
        ("/a.txt", ["a.txt"], ["sub/a.txt", "a.txt.txt"]),
        ("sub/*", ["sub/a.txt", "sub/sub/a.txt"], ["a.txt", "other/sub/a.txt", "sub.txt"]),
        ("/s*b/*.txt", ["sub/a.txt", "s/b/c/b/a.txt"], ["sub.txt", "sub/a.html"]),
        ("[ab].txt", [], ["a.txt", "b.txt"]),
        ("*", ["a", "sub/a.b"], []),
        ("a*b*c", ["abc", "aXbYc", "abbcc"], ["ac", "acb", "abcd"]),
        ("größe.txt", ["größe.txt"], ["gr.txt"]),
    ],
)
def test_a_pattern(tmp_path: Path, pattern: str, matched: list[str], not_matched: list[str]) -> None:
    site = Site(tmp_path, headers=((pattern, "X-Found", "yes"),))
    for name in matched + not_matched:
        site.write(name)
        target = "/" + "".join(f"%{byte:02x}" if byte > 127 else chr(byte) for byte in name.encode())
        if name.startswith((".", "sub/sub/.")):
            continue
        assert ("X-Found" in fields(site.get(target))) is (name in matched), name


def test_a_rule_adds_overrides_and_removes(tmp_path: Path) -> None:
    rules = (
        ("*", "x-frame-options", "DENY"),
        ("*", "cache-control", "max-age=1"),
        ("*.js", "CACHE-CONTROL", "max-age=2"),
        ("*.js", "x-content-type-options", ""),
        ("*.js", "X-Absent", ""),
        ("*.js", "Content-Type", "text/x-js"),
        ("a.js", "X-Frame-Options", ""),
    )
    said = ruled(tmp_path, "a.js", *rules)
    assert next(iter(said)) == "Content-Type"
    assert said["Content-Type"] == "text/x-js"
    assert said["CACHE-CONTROL"] == "max-age=2"
    assert said.keys() == {
        *("Content-Type", "ETag", "Accept-Ranges", "Last-Modified", "CACHE-CONTROL", "Vary"),
    }
    assert ruled(tmp_path, "app.4f2a9c81.js", *rules)["CACHE-CONTROL"] == "max-age=2"


def test_what_a_rule_says_varies_comes_behind_what_varies_anyway(tmp_path: Path) -> None:
    rule = ("*", "vary", "Origin")
    assert ruled(tmp_path, "a.js", rule)["Vary"] == "Accept-Encoding, Origin"
    assert ruled(tmp_path, "a.jpg", rule)["vary"] == "Origin"
    assert ruled(tmp_path, "b.js", ("*", "Vary", ""))["Vary"] == "Accept-Encoding"


def test_not_modified_says_what_the_whole_says_to_caches(tmp_path: Path) -> None:
    rules = (
        *(("*", "Expires", DATE), ("*", "Content-Location", "/b"), ("*", "cache-control", "max-age=1")),
        *(("*", "X-Other", "1"), ("*", "Vary", "Origin")),
    )
    site = Site(tmp_path, headers=rules)
    site.write("a.js")
    whole = fields(site.get("/a.js"))
    response = site.get("/a.js", if_modified_since=DATE)
    assert response.status == 304
    kept = ("ETag", "Expires", "Content-Location", "cache-control", "Vary")
    assert fields(response) == {name: whole[name] for name in kept}


def test_a_content_type_may_go_and_parts_still_have_one(tmp_path: Path) -> None:
    site = Site(tmp_path, headers=(("*", "Content-Type", ""),))
    site.write("a.js", b"0123456789")
    assert "Content-Type" not in fields(site.get("/a.js"))
    parts = site.get("/a.js", range="bytes=0-0,4-5")
    assert fields(parts)["Content-Type"].startswith("multipart/byteranges; boundary=")
    assert b"Content-Type: application/octet-stream\r\n" in content(parts)


def test_media_types_and_nosniff_are_settings(tmp_path: Path) -> None:
    types = (("md", "text/x-own"), ("own", "text/x-own; charset=latin-1"))
    site = Site(tmp_path, media_types=types, nosniff=False)
    for name in ("a.md", "a.OWN", "a.txt", "own", ".own"):
        site.write(name)
    for target, expected in (
        ("/a.md", "text/x-own; charset=utf-8"),
        ("/a.OWN", "text/x-own; charset=latin-1"),
        ("/a.txt", "text/plain; charset=utf-8"),
        ("/own", "application/octet-stream"),
    ):
        said = fields(site.get(target))
        assert said["Content-Type"] == expected
        assert "X-Content-Type-Options" not in said
