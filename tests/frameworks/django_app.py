"""The small application, in Django."""

import hashlib
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from tests.frameworks import bodies

settings.configure(
    ALLOWED_HOSTS=["*"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of no use",
)


def hello(request: Any, name: str) -> Any:
    return HttpResponse(f"hello, {name}")


def facts(request: Any) -> Any:
    return JsonResponse(
        {
            "method": request.method,
            "address": request.META["REMOTE_ADDR"],
            "host": request.get_host(),
            "url": request.build_absolute_uri(),
            "script_name": request.META["SCRIPT_NAME"],
            "path": request.path_info,
            "q": request.GET.get("q"),
        }
    )


def form(request: Any) -> Any:
    return JsonResponse({"name": request.POST["name"], "colours": request.POST.getlist("colour")})


def upload(request: Any) -> Any:
    file = request.FILES["file"]
    content = hashlib.sha256()
    for piece in file.chunks():
        content.update(piece)
    return JsonResponse(
        {
            "title": request.POST["title"],
            "name": file.name,
            "size": file.size,
            "sha256": content.hexdigest(),
        }
    )


def cookies(request: Any) -> Any:
    return JsonResponse(request.COOKIES)


def set_cookies(request: Any) -> Any:
    response = HttpResponse("set")
    response.set_cookie("taste", "sweet")
    response.set_cookie("size", "large", httponly=True)
    return response


def to_hello(request: Any) -> Any:
    return redirect("hello", name="you")


def links(request: Any) -> Any:
    return JsonResponse(
        {
            "path": reverse("hello", args=["Zoë"]),
            "url": request.build_absolute_uri(reverse("hello", args=["you"])),
        }
    )


def stream(request: Any) -> Any:
    return StreamingHttpResponse(bodies.two_pieces(), content_type="text/plain")


def endless(request: Any) -> Any:
    return StreamingHttpResponse(bodies.endless(), content_type="text/plain")


def breaking(request: Any) -> Any:
    return StreamingHttpResponse(bodies.breaking(), content_type="text/plain")


def release(request: Any) -> Any:
    bodies.RELEASED.set()
    return HttpResponse("released")


def left(request: Any) -> Any:
    return JsonResponse({"left": bodies.was_left()})


def error(request: Any) -> Any:
    raise RuntimeError("broken on purpose")


def large(request: Any) -> Any:
    return HttpResponse(bodies.LARGE, content_type="text/plain")


def download(request: Any) -> Any:
    return FileResponse(open(bodies.DOWNLOAD, "rb"))


urlpatterns = [
    path("hello/<name>", hello, name="hello"),
    path("request", facts),
    path("form", require_POST(form)),
    path("upload", require_POST(upload)),
    path("cookies", cookies),
    path("cookies/set", set_cookies),
    path("redirect", to_hello),
    path("links", links),
    path("stream", stream),
    path("endless", endless),
    path("break", breaking),
    path("release", require_POST(release)),
    path("left", left),
    path("error", error),
    path("large", large),
    path("download", download),
]

application = get_wsgi_application()
