"""The small application, in Flask."""

import hashlib

from flask import Flask, Response, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as AnyResponse

from tests.frameworks import bodies

app = Flask(__name__, static_folder=None)


@app.get("/hello/<name>")
def hello(name: str) -> str:
    return f"hello, {name}"


@app.get("/request")
def facts() -> dict[str, str | None]:
    return {
        "method": request.method,
        "address": request.remote_addr,
        "host": request.host,
        "url": request.url,
        "script_name": request.root_path,
        "path": request.path,
        "q": request.args.get("q"),
    }


@app.post("/form")
def form() -> dict[str, object]:
    return {"name": request.form["name"], "colours": request.form.getlist("colour")}


@app.post("/upload")
def upload() -> dict[str, object]:
    file = request.files["file"]
    content = file.read()
    return {
        "title": request.form["title"],
        "name": file.filename,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@app.get("/cookies")
def cookies() -> dict[str, str]:
    return dict(request.cookies)


@app.get("/cookies/set")
def set_cookies() -> Response:
    response = Response("set")
    response.set_cookie("taste", "sweet")
    response.set_cookie("size", "large", httponly=True)
    return response


@app.get("/redirect")
def to_hello() -> AnyResponse:
    return redirect(url_for("hello", name="you"))


@app.get("/links")
def links() -> dict[str, str]:
    return {"path": url_for("hello", name="Zoë"), "url": url_for("hello", name="you", _external=True)}


@app.get("/stream")
def stream() -> Response:
    return Response(bodies.two_pieces(), mimetype="text/plain")


@app.get("/endless")
def endless() -> Response:
    return Response(bodies.endless(), mimetype="text/plain")


@app.get("/break")
def breaking() -> Response:
    return Response(bodies.breaking(), mimetype="text/plain")


@app.post("/release")
def release() -> str:
    bodies.RELEASED.set()
    return "released"


@app.get("/left")
def left() -> dict[str, bool]:
    return {"left": bodies.was_left()}


@app.get("/error")
def error() -> str:
    raise RuntimeError("broken on purpose")


@app.get("/large")
def large() -> Response:
    return Response(bodies.LARGE, mimetype="text/plain")


@app.get("/download")
def download() -> Response:
    return send_file(bodies.DOWNLOAD)
