"""The small application, in Pyramid."""

import hashlib
from collections.abc import Callable
from typing import Any

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPFound
from pyramid.response import FileResponse, Response

from tests.frameworks import bodies


def hello(request: Any) -> Any:
    return Response(f"hello, {request.matchdict['name']}")


def facts(request: Any) -> dict[str, Any]:
    return {
        "method": request.method,
        "address": request.remote_addr,
        "host": request.host,
        "url": request.url,
        "script_name": request.script_name,
        "path": request.path_info,
        "q": request.GET.get("q"),
    }


def form(request: Any) -> dict[str, Any]:
    return {"name": request.POST["name"], "colours": request.POST.getall("colour")}


def upload(request: Any) -> dict[str, Any]:
    part = request.POST["file"]
    content = part.file.read()
    return {
        "title": request.POST["title"],
        "name": part.filename,
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def cookies(request: Any) -> dict[str, str]:
    return dict(request.cookies)


def set_cookies(request: Any) -> Any:
    response = Response("set")
    response.set_cookie("taste", "sweet")
    response.set_cookie("size", "large", httponly=True)
    return response


def to_hello(request: Any) -> Any:
    return HTTPFound(request.route_path("hello", name="you"))


def links(request: Any) -> dict[str, str]:
    return {
        "path": request.route_path("hello", name="Zoë"),
        "url": request.route_url("hello", name="you"),
    }


def stream(request: Any) -> Any:
    return Response(app_iter=bodies.two_pieces(), content_type="text/plain")


def endless(request: Any) -> Any:
    return Response(app_iter=bodies.endless(), content_type="text/plain")


def breaking(request: Any) -> Any:
    return Response(app_iter=bodies.breaking(), content_type="text/plain")


def release(request: Any) -> Any:
    bodies.RELEASED.set()
    return Response("released")


def left(request: Any) -> dict[str, bool]:
    return {"left": bodies.was_left()}


def error(request: Any) -> Any:
    raise RuntimeError("broken on purpose")


def large(request: Any) -> Any:
    return Response(bodies.LARGE, content_type="text/plain")


def download(request: Any) -> Any:
    return FileResponse(bodies.DOWNLOAD, request=request)


VIEWS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("GET", "/hello/{name}", hello),
    ("GET", "/request", facts),
    ("POST", "/form", form),
    ("POST", "/upload", upload),
    ("GET", "/cookies", cookies),
    ("GET", "/cookies/set", set_cookies),
    ("GET", "/redirect", to_hello),
    ("GET", "/links", links),
    ("GET", "/stream", stream),
    ("GET", "/endless", endless),
    ("GET", "/break", breaking),
    ("POST", "/release", release),
    ("GET", "/left", left),
    ("GET", "/error", error),
    ("GET", "/large", large),
    ("GET", "/download", download),
]


def main(global_config: dict[str, str], **settings: str) -> Any:
    """Return the application, as the factory of every Pyramid project does."""
    with Configurator(settings=settings) as config:
        for method, pattern, view in VIEWS:
            config.add_route(view.__name__, pattern)
            config.add_view(view, route_name=view.__name__, request_method=method, renderer="json")
        return config.make_wsgi_app()
