"""A greeting for a name in the query or behind the script: ``sayhello.py?name=Ada``, ``sayhello.py/Ada``."""

from html import escape
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

LONGEST = 100  # characters of a name that are shown

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hello</title>
<link rel="stylesheet" href="/style.css">
<main>
<h1>Hello, <bdi>{name}</bdi>!</h1>
<form>
<p><label for="name">And who are you?</label>
<input id="name" name="name" autocomplete="name" maxlength="{longest}">
<button>Say hello</button></p>
</form>
<p><a href="/">Home</a></p>
</main>
</html>
"""


def text(native: str) -> str:
    """PEP 3333 keeps each byte of the environ as one latin-1 character; the bytes browsers send are UTF-8."""
    return native.encode("latin-1").decode("utf-8", "replace")


def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    # PEP 3333 lets a server leave out QUERY_STRING and PATH_INFO where they are empty.
    query = parse_qs(text(environ.get("QUERY_STRING", "")))
    path = text(environ.get("PATH_INFO", ""))
    name = query.get("name", [""])[0].strip() or path.strip("/ ") or "World"

    # Whatever comes from the client is escaped on its way into HTML, or it could bring a script along.
    body = PAGE.format(name=escape(name[:LONGEST]), longest=LONGEST).encode("utf-8")
    start_response(
        "200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))]
    )
    return [body]
