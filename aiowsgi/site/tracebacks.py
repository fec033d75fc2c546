"""What is wrong with an application, told to its developer: a page for browsers, the traceback for all others."""

import linecache
import os
from contextlib import suppress
from html import escape
from traceback import FrameSummary, TracebackException
from types import TracebackType

from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import Request, Response

_SERVER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_LIBRARY = os.path.join(os.path.dirname(os.__file__), "")
_INSTALLED = ("/site-packages/", "/dist-packages/", "\\site-packages\\")

AROUND = 5  # lines of source before and behind the one that is told of
LONGEST = 128 * 1024  # characters of a traceback; an exception's text may be of any length
LONGEST_TITLE = 2000

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --mark: light-dark(#fde2e0, #5a2320); --edge: light-dark(#c62828, #ef6a62);
  --soft: light-dark(#f5f5f3, #242422); --dim: light-dark(#70706a, #97978f) }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 64rem; padding: 2.5rem 1.25rem;
  background: light-dark(#fff, #181817); color: light-dark(#1b1b19, #e8e8e4) }}
h1 {{ font-size: 1.5rem; line-height: 1.3; margin: 0 0 .75rem; padding-left: .9rem;
  border-left: .3rem solid var(--edge); overflow-wrap: anywhere; white-space: pre-wrap }}
h2 {{ font-size: .9rem; font-weight: 600; margin: 2rem 0 .5rem; color: var(--dim) }}
pre, code {{ font: .875rem/1.55 ui-monospace, "SF Mono", Menlo, Consolas, monospace; tab-size: 4 }}
pre {{ background: var(--soft); border-radius: .4rem; margin: 0; overflow-x: auto; padding: .75rem 0 }}
pre span {{ display: block; padding: 0 1rem; width: max-content; min-width: 100%; box-sizing: border-box }}
pre i {{ color: var(--dim); display: inline-block; font-style: normal; min-width: 2.5rem; padding-right: 1rem;
  text-align: right; user-select: none }}
pre .here {{ background: var(--mark); box-shadow: inset .25rem 0 var(--edge) }}
pre.whole {{ padding: .75rem 1rem }}
p {{ margin: 0 0 .75rem; overflow-wrap: anywhere }}
footer {{ color: var(--dim); font-size: .875rem; margin-top: 2rem }}
</style>
<h1>{title}</h1>
{place}<h2>Traceback</h2>
<pre class="whole">{text}</pre>
<footer>Shown because of <code>--debug</code>, which <code>--reload</code> implies: never to be used in public.</footer>
</html>
"""


class Failure:
    """An exception as it was, with the lines of source as they are now: made once, since both change."""

    __slots__ = ("_page", "text")

    def __init__(self, error: BaseException | None, words: str = "") -> None:
        """``words`` stand behind the traceback, or for it. Reads source files, so not on the event loop."""
        title, place, text = words, "", words
        if error is not None:
            shown = TracebackException(type(error), error, without_server(error.__traceback__))
            title, place, text = _title(error, shown), _place(error, shown), "".join(shown.format()) + words
        self.text = _shortened(text.rstrip("\n") + "\n")
        self._page = _PAGE.format(title=escape(title), place=place, text=escape(self.text))

    def response(self, request: Request) -> Response:
        """Answer 500: with the page where ``request`` asks for one, as browsers do and curl does not."""
        html = "text/html" in request.fields.get("HTTP_ACCEPT", "")
        kind = "text/html" if html else "text/plain"
        fields = [
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("Vary", "Accept"),
        ]
        text = self._page if html else self.text
        return Response(500, field_lines(fields), text.encode("utf-8", "backslashreplace"))


def without_server(frames: TracebackType | None) -> TracebackType | None:
    """Return ``frames`` from the application's first own one on."""
    own = frames
    while own is not None and _is_of_server(own.tb_frame.f_code.co_filename):
        own = own.tb_next
    return own


def _is_of_server(file: str) -> bool:
    return file.startswith((_SERVER, "<frozen importlib.", os.path.join(_LIBRARY, "importlib", "")))


def _is_installed(file: str) -> bool:
    return file.startswith((_LIBRARY, _SERVER, "<")) or any(part in file for part in _INSTALLED)


def _title(error: BaseException, shown: TracebackException) -> str:
    """Return the exception's name and text."""
    lines = [line for line in shown.format_exception_only() if not line.startswith(" ")]
    text = "".join(lines[:1]).partition(":")[2].strip()
    name = type(error).__qualname__
    return _shortened(f"{name}: {text}" if text else name, LONGEST_TITLE)


def _place(error: BaseException, shown: TracebackException) -> str:
    """Return where to look: the developer's own line that was run last, with those around it."""
    if isinstance(error, SyntaxError) and isinstance(error.filename, str):
        frame = FrameSummary(error.filename, error.lineno, "", lookup_line=False)
    elif shown.stack:
        own = [frame for frame in shown.stack if not _is_installed(frame.filename)]
        frame = (own or shown.stack)[-1]
    else:
        return ""
    where = f"<code>{escape(_short(frame.filename))}</code>, line {frame.lineno}"
    if frame.name and not frame.name.startswith("<"):
        where += f", in <code>{escape(frame.name)}</code>"
    return f"<p>{where}</p>\n{_source(frame.filename, frame.lineno or 0)}"


def _source(file: str, number: int) -> str:
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    if not 1 <= number <= len(lines):
        return ""
    first = max(1, number - AROUND)
    shown = [
        f"<span{' class=here' if at == number else ''}><i>{at}</i>{escape(line.rstrip())[:1000]} </span>"
        for at, line in enumerate(lines[first - 1 : number + AROUND], first)
    ]
    return f"<pre>{''.join(shown)}</pre>\n"


def _short(file: str) -> str:
    with suppress(OSError):  # the current folder may be gone
        return file.removeprefix(os.path.join(os.getcwd(), ""))
    return file


def _shortened(text: str, most: int = LONGEST) -> str:
    """Return ``text`` without its middle if it has more than ``most`` characters."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}\n[...]\n{text[-half:]}"
