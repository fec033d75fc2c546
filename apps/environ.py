"""What an application is told about a request: the environ of PEP 3333, sorted, with the secrets masked."""

from wsgiref.types import StartResponse, WSGIEnvironment

CGI = {
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
}
SECRET = {"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_PROXY_AUTHORIZATION"}


def shown(name: str) -> bool:
    """Only what belongs to the request: some servers put the variables of their own process in as well."""
    return name in CGI or name.startswith(("HTTP_", "wsgi."))


def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    lines = [
        f"{name} = {'(masked)' if name in SECRET else repr(environ[name])}\n"
        for name in sorted(filter(shown, environ))
    ]
    body = "".join(lines).encode("utf-8")
    start_response(
        "200 OK",
        [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ],
    )
    return [body]
