"""The small application, in Falcon."""

import hashlib
import os
from collections.abc import Callable, Iterator
from urllib.parse import quote

import falcon
from falcon import App, Request, Response

from tests.frameworks import bodies

app = App()


class Hello:
    def on_get(self, request: Request, response: Response, name: str) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.text = f"hello, {name}"

    on_head = on_get


class Facts:
    def on_get(self, request: Request, response: Response) -> None:
        response.media = {
            "method": request.method,
            "address": request.remote_addr,
            "host": request.netloc,
            "url": request.url,
            "script_name": request.root_path,
            "path": request.path,
            "q": request.get_param("q"),
        }


class Form:
    def on_post(self, request: Request, response: Response) -> None:
        fields = request.get_media()
        response.media = {"name": fields["name"], "colours": fields["colour"]}


class Upload:
    def on_post(self, request: Request, response: Response) -> None:
        answer: dict[str, object] = {}
        for part in request.get_media():
            if part.name == "title":
                answer["title"] = part.text
            else:
                content = part.stream.read()
                answer |= {"name": part.filename, "size": len(content)}
                answer["sha256"] = hashlib.sha256(content).hexdigest()
        response.media = answer


class Cookies:
    def on_get(self, request: Request, response: Response) -> None:
        response.media = dict(request.cookies)

    def on_get_set(self, request: Request, response: Response) -> None:
        response.set_cookie("taste", "sweet", path="/", secure=False)
        response.set_cookie("size", "large", path="/", secure=False, http_only=True)


class Redirect:
    def on_get(self, request: Request, response: Response) -> None:
        raise falcon.HTTPFound(f"{request.root_path}/hello/you")


class Links:
    def on_get(self, request: Request, response: Response) -> None:
        response.media = {
            "path": f"{request.root_path}/hello/{quote('Zoë')}",
            "url": f"{request.prefix}/hello/you",
        }


class Stream:
    def __init__(self, body: Callable[[], Iterator[bytes]]) -> None:
        self.body = body

    def on_get(self, request: Request, response: Response) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.stream = self.body()


class Release:
    def on_post(self, request: Request, response: Response) -> None:
        bodies.RELEASED.set()


class Left:
    def on_get(self, request: Request, response: Response) -> None:
        response.media = {"left": bodies.was_left()}


class Error:
    def on_get(self, request: Request, response: Response) -> None:
        raise RuntimeError("broken on purpose")


class Large:
    def on_get(self, request: Request, response: Response) -> None:
        response.content_type = falcon.MEDIA_TEXT
        response.data = bodies.LARGE

    on_head = on_get


class Download:
    def on_get(self, request: Request, response: Response) -> None:
        response.set_stream(open(bodies.DOWNLOAD, "rb"), os.path.getsize(bodies.DOWNLOAD))

    def on_head(self, request: Request, response: Response) -> None:
        # Falcon would forget the stream, open.
        response.content_length = os.path.getsize(bodies.DOWNLOAD)


app.add_route("/hello/{name}", Hello())
app.add_route("/request", Facts())
app.add_route("/form", Form())
app.add_route("/upload", Upload())
app.add_route("/cookies", Cookies())
app.add_route("/cookies/set", Cookies(), suffix="set")
app.add_route("/redirect", Redirect())
app.add_route("/links", Links())
app.add_route("/stream", Stream(bodies.two_pieces))
app.add_route("/endless", Stream(bodies.endless))
app.add_route("/break", Stream(bodies.breaking))
app.add_route("/release", Release())
app.add_route("/left", Left())
app.add_route("/error", Error())
app.add_route("/large", Large())
app.add_route("/download", Download())
