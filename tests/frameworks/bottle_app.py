"""The small application, in Bottle."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from bottle import Bottle, redirect, request, response, static_file

from tests.frameworks import bodies


def hello(name: str) -> str:
    return f"hello, {name}"


def facts() -> dict[str, Any]:
    return {
        "method": request.method,
        "address": request.remote_addr,
        "host": request.urlparts.netloc,
        "url": request.url,
        "script_name": request.script_name.rstrip("/"),
        "path": request.path,
        "q": request.query.getunicode("q"),
    }


def form() -> dict[str, Any]:
    fields = request.forms.decode()
    return {"name": fields["name"], "colours": fields.getall("colour")}


def upload() -> dict[str, Any]:
    part = request.files["file"]
    content = part.file.read()
    return {
        "title": request.forms.getunicode("title"),
        "name": part.raw_filename,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def cookies() -> dict[str, str]:
    return dict(request.cookies)


def set_cookies() -> str:
    response.set_cookie("taste", "sweet", path="/")
    response.set_cookie("size", "large", path="/", httponly=True)
    return "set"


def to_hello() -> None:
    redirect(app.get_url("hello", name="you"), 302)


def links() -> dict[str, str]:
    here = request.urlparts
    return {
        "path": app.get_url("hello", name=quote("Zoë")),
        "url": f"{here.scheme}://{here.netloc}{app.get_url('hello', name='you')}",
    }


def stream() -> Iterator[bytes]:
    response.content_type = "text/plain"
    return bodies.two_pieces()


def endless() -> Iterator[bytes]:
    response.content_type = "text/plain"
    return bodies.endless()


def breaking() -> Iterator[bytes]:
    response.content_type = "text/plain"
    return bodies.breaking()


def release() -> str:
    bodies.RELEASED.set()
    return "released"


def left() -> dict[str, bool]:
    return {"left": bodies.was_left()}


def error() -> str:
    raise RuntimeError("broken on purpose")


def large() -> bytes:
    response.content_type = "text/plain"
    return bodies.LARGE


def download() -> Any:
    folder, name = os.path.split(bodies.DOWNLOAD)
    return static_file(name, root=folder)


app = Bottle()
app.route("/hello/<name>", "GET", hello, name="hello")
app.route("/request", "GET", facts)
app.route("/form", "POST", form)
app.route("/upload", "POST", upload)
app.route("/cookies", "GET", cookies)
app.route("/cookies/set", "GET", set_cookies)
app.route("/redirect", "GET", to_hello)
app.route("/links", "GET", links)
app.route("/stream", "GET", stream)
app.route("/endless", "GET", endless)
app.route("/break", "GET", breaking)
app.route("/release", "POST", release)
app.route("/left", "GET", left)
app.route("/error", "GET", error)
app.route("/large", "GET", large)
app.route("/download", "GET", download)
