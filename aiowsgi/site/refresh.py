"""Pages that are open in a browser refresh themselves: their script, and the events that it waits for (--reload)."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from html import escape
from wsgiref.types import StartResponse, WSGIEnvironment

from aiowsgi.http.framing import LAST_CHUNK, field_lines
from aiowsgi.http.messages import Field, Request, Response
from aiowsgi.wsgi.application import Call, ErrorAnswers
from aiowsgi.wsgi.bridge import ClientDisconnected, Inbox, Outbox
from aiowsgi.wsgi.environ import Environ
from aiowsgi.wsgi.streamed import StreamedInbox

# Names that begin with a dot do not exist for files and scripts, and applications have no use for this one.
PREFIX = "/.aiowsgi"

# Hidden pages hold no connection: browsers have six to a host. What has changed meanwhile they see when they are
# shown. A page that is as old as before, from a cache or a worker that is about to end, tries again after a while, and
# not for ever.
_SCRIPT = b"""\
(() => {
  "use strict";
  if (window.aiowsgiReload) return;
  window.aiowsgiReload = true;
  const source = new URL(document.currentScript.src);
  const own = Number(source.search.slice(1));
  const key = "aiowsgi " + location.href;
  let events = null;

  function heard(generation) {
    if (generation <= own) return;
    const [latest, before] = JSON.parse(sessionStorage.getItem(key) || "[0, 0]");
    const tries = latest === generation ? before + 1 : 1;
    if (tries > 10) return;
    sessionStorage.setItem(key, JSON.stringify([generation, tries]));
    close();
    setTimeout(() => location.reload(), 200 * (tries - 1));
  }

  function open() {
    if (events || document.hidden) return;
    events = new EventSource(new URL("reload", source));
    events.onmessage = (event) => heard(Number(event.data));
    events.onerror = () => {
      if (events && events.readyState === EventSource.CLOSED) {
        close();
        setTimeout(open, 1000);
      }
    };
  }

  function close() {
    if (events) events.close();
    events = null;
  }

  document.addEventListener("visibilitychange", () => document.hidden ? close() : open());
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
})();
"""

_NEVER_KEPT = ("Cache-Control", "no-store")
_SCRIPT_RESPONSE = Response(
    200, field_lines([("Content-Type", "text/javascript; charset=utf-8"), _NEVER_KEPT]), _SCRIPT
)
# The connection ends with the events: on another one the next request gets to the worker that is there then.
_EVENTS_FIELDS = [("Content-Type", "text/event-stream"), _NEVER_KEPT, ("Connection", "close")]
_START = b"retry: 100\n\n"  # milliseconds

_nonce = re.compile(r"'nonce-([A-Za-z0-9+/_=-]+)'").search


class Refresh:
    """The handler of what the pages ask for.

    ``generation`` returns what grows with each change, or 0 where this worker has loaded what is out of date.
    """

    def __init__(self, generation: Callable[[], int]) -> None:
        self.generation = generation
        self.closed = False
        self._streams: list[Events] = []

    def handle(self, request: Request, script_name: str, path_info: str) -> "Response | Events | None":
        if path_info == "/reload.js":
            return _SCRIPT_RESPONSE
        return Events(self, request) if path_info == "/reload" else None

    def tag(self, request: Request, fields: Iterable[Field]) -> bytes:
        """Return what a page with these ``fields`` has to end with."""
        prefix = request.fields.get("HTTP_X_FORWARDED_PREFIX", "")
        policies = [value for name, value in fields if name.lower() == "content-security-policy"]
        nonce = _nonce(" ".join(policies))
        source = escape(f"{prefix}{PREFIX}/reload.js?{self.generation()}")
        allowed = f' nonce="{nonce[1]}"' if nonce else ""
        return f'\n<script src="{source}" async{allowed}></script>\n'.encode("latin-1")

    def add(self, stream: "Events") -> None:
        self._streams.append(stream)

    def look(self) -> None:
        """Tell the pages what is new. On the loop, again and again."""
        self._streams = [stream for stream in self._streams if not stream.gone]
        for stream in self._streams:
            stream.tell(self.generation())

    def close(self) -> None:
        """End all streams, and those that may still come, at once: the pages ask again, and somebody else."""
        self.closed = True
        for stream in self._streams:
            stream.end()


class Events(Call):
    """An answer that stays open (server-sent events, HTML section 9.2): it holds a thread for no longer than its head.

    The thread writes first and sets ``told`` then; from there on the loop alone writes.
    """

    __slots__ = ("_refresh", "_told")

    def __init__(self, refresh: Refresh, request: Request) -> None:
        super().__init__(_no_application, request, "", "")
        self._refresh = refresh
        self._told = -1  # the generation; below 0 nothing has been written

    def accept(
        self,
        outbox: Outbox,
        inbox: Inbox | StreamedInbox | None,
        server: Environ,
        client: tuple[str, str],
        error_answers: ErrorAnswers,
    ) -> None:
        super().accept(outbox, inbox, server, client, error_answers)
        self._refresh.add(self)

    def run(self) -> None:
        if self.gone:
            return
        self.start_response("200 OK", _EVENTS_FIELDS)
        generation = self._refresh.generation()
        self.write(_START + _event(generation))
        self._told = generation
        if self._refresh.closed:
            self.end()

    def tell(self, generation: int) -> None:
        # A client that takes nothing is told nothing more: to write would be to wait.
        if generation > self._told >= 0 and self.progress is not None and not self._complete:
            self._told = generation
            with suppress(ClientDisconnected):
                self.write(_event(generation))

    def end(self) -> None:
        if self._told >= 0 and not self._complete:
            self._finish(LAST_CHUNK if self._chunked else b"", False)


def _event(generation: int) -> bytes:
    return b"data: %d\n\n" % generation if generation else b""


def _no_application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    raise NotImplementedError
