"""A folder without an index page: the list of what is in it, for people as HTML, for programs as JSON.

Names come from whoever may put files there, so a name is text wherever it is shown and one percent-encoded
segment wherever it is linked; and the page may load nothing and run nothing.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from hashlib import sha256
from html import escape
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

from aiowsgi.http.framing import field_lines
from aiowsgi.http.messages import Request, Response
from aiowsgi.site.folders import Item, counted, ordered, read_folder, readable, readable_size

# What ?sort= may say; the headings of their columns.
_SORT_KEYS = {"name": "Name", "size": "Size", "time": "Modified (UTC)"}

_LONGEST_QUERY = 1000  # characters; its links have 30
_LONGEST_ACCEPT = 1000  # characters; a browser's are 150


class View(NamedTuple):
    """What a client may choose of a list: as ``form`` says, "html" or "json", in which order."""

    form: str
    by_accept: bool  # Accept has chosen the form
    sort: str
    descending: bool


def view_for(request: Request) -> View:
    """Return the view that ``request`` asks for; what it says that is not understood is the default."""
    query = dict(parse_qsl(request.query, encoding="latin-1")) if len(request.query) <= _LONGEST_QUERY else {}
    form, sort = query.get("format", ""), query.get("sort", "")
    by_accept = form not in ("json", "html")
    if by_accept:
        form = "json" if prefers_json(request.fields.get("HTTP_ACCEPT", "*/*")) else "html"
    return View(form, by_accept, sort if sort in _SORT_KEYS else "name", query.get("order") == "desc")


def list_folder(
    folder: bytes, url_path: str, view: View, refused: Callable[[str], bool], root: bytes | None = None
) -> Response:
    """Return the list of what is in ``folder``, a real path. May block; raises OSError.

    ``url_path`` is the path the client asked for (latin-1, PEP 3333), with its slash at the end, and
    ``refused`` tells for that and a name behind it whether it is never served, and so not listed. A link is
    followed when it stays below ``root``, a real path too: ``folder`` itself if None, b"/" for wherever it leads.
    """
    fields = [("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff")]
    if view.by_accept:
        fields.append(("Vary", "Accept"))
    items, complete = read_folder(folder, url_path, refused, folder if root is None else root)
    items = ordered(items, view.sort, view.descending)
    if view.form == "json":
        fields.append(("Content-Type", "application/json"))
        if not complete:
            # The list itself has no place to say so.
            fields.append(("X-Truncated", "true"))
        return Response(200, field_lines(fields), _json(items))
    fields += [("Content-Type", "text/html; charset=utf-8"), ("Content-Security-Policy", _POLICY)]
    return Response(200, field_lines(fields), _page(url_path, items, complete, view.sort, view.descending))


# The form

# RFC 9110 section 12.4.2
_is_weight = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch


def prefers_json(accept: str) -> bool:
    """Tell whether an Accept field (RFC 9110 section 12.5.1) would rather have JSON than HTML.

    Of equal weights the more specific one decides, for "application/json, */*" names what it wants; a tie, as
    in "*/*", is HTML.
    """
    if len(accept) > _LONGEST_ACCEPT:
        return False
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip(" \t") for piece in part.split(";"))
        weight = next((piece[2:] for piece in parameters if piece.startswith("q=")), "1")
        if _is_weight(weight):
            weights[name] = max(weights.get(name, 0.0), float(weight))

    def preference(media_type: str) -> tuple[float, int]:
        kind = media_type.partition("/")[0]
        for place, name in enumerate((media_type, f"{kind}/*", "*/*")):
            if name in weights:
                return weights[name], -place
        return 0.0, 0

    return preference("application/json") > preference("text/html")


def _json(items: Iterable[Item]) -> bytes:
    listed = [
        {
            "name": item.name.decode("utf-8", "replace"),
            "type": "directory" if item.is_folder else "file",
            "size": None if item.is_folder else item.size,
            "modified": item.modified,
        }
        for item in items
    ]
    return json.dumps(listed, ensure_ascii=False).encode()


# The page


_STYLE = """
:root{color-scheme:light dark;--text:#1c2024;--soft:#60646c;--line:#e4e6ea;--link:#0b5cad;--over:#f3f5f8;--back:#fff;
--folder:#d9a01e;--file:#9aa2ad}
@media(prefers-color-scheme:dark){:root{--text:#e6e8eb;--soft:#9ba1a9;--line:#2b2f36;--link:#7db8f5;--over:#1e2227;
--back:#14171a}}
body{margin:0 auto;padding:2rem 1.25rem;max-width:60rem;background:var(--back);color:var(--text);
font:1rem/1.5 system-ui,sans-serif}
h1{margin:0 0 1.25rem;font-size:1.25rem;font-weight:600;overflow-wrap:anywhere}
h1 i{padding:0 .3em;color:var(--soft);font-style:normal;font-weight:400}
a{color:var(--link);text-decoration:none}
a:hover{text-decoration:underline}
table{width:100%;border-collapse:collapse}
th,td{padding:.45rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-size:.875rem;white-space:nowrap}
th[aria-sort=ascending] a::after{content:" \\2191"}
th[aria-sort=descending] a::after{content:" \\2193"}
tbody tr:hover{background:var(--over)}
th+th,td+td{width:1%;white-space:nowrap;text-align:right;color:var(--soft);font-variant-numeric:tabular-nums}
td:first-child{position:relative;padding-left:2.1rem;overflow-wrap:anywhere}
td:first-child a::before{content:"";position:absolute;left:.6rem;top:.7rem;width:1rem;height:1rem;
background:var(--file);clip-path:polygon(15% 0,60% 0,60% 30%,90% 30%,90% 100%,15% 100%)}
.d td:first-child a::before{background:var(--folder);
clip-path:polygon(0 10%,40% 10%,50% 25%,100% 25%,100% 92%,0 92%)}
p{margin:1rem .6rem;color:var(--soft);font-size:.875rem}
@media(max-width:38rem){body{padding:1.25rem .5rem}h1{margin-left:.6rem}
tr{display:grid;grid-template-columns:1fr auto auto;border-bottom:1px solid var(--line)}
th,td,th+th,td+td{width:auto;border:0}td+td{padding:0 .6rem .45rem 2.1rem;font-size:.875rem;text-align:left}
td:first-child{grid-column:1/-1;padding-bottom:0}td:last-child{grid-column:2/-1}}
"""
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
# Nothing is loaded, and no script is run, whatever a name would smuggle in.
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


def _page(url_path: str, items: list[Item], complete: bool, sort: str, descending: bool) -> bytes:
    headings = "".join(_heading(name, sort, descending) for name in _SORT_KEYS)
    rows = [_row(item) for item in items]
    if url_path != "/":
        rows.insert(0, '<tr class="d"><td><a href="../">..</a></td><td></td><td></td></tr>')
    folders = sum(item.is_folder for item in items)
    size = sum(item.size for item in items if not item.is_folder)
    summary = f"{counted(folders, 'folder')}, {counted(len(items) - folders, 'file')}, {readable_size(size)}"
    if not items:
        summary = "This folder is empty."
    if not complete:
        summary = f"This folder has more than is shown here: {summary}. The rest is left out."
    body = "\n".join(rows)
    text = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(readable(url_path.encode("latin-1")))}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_breadcrumb(url_path)}</h1>
<table>
<thead><tr>{headings}</tr></thead>
<tbody>
{body}
</tbody>
</table>
<p>{summary}</p>
</body>
</html>
"""
    return text.encode()


def _breadcrumb(url_path: str) -> str:
    """Link each folder on the way, by going up: where the site is mounted makes no difference."""
    *above, current = url_path.encode("latin-1").split(b"/")[:-1]
    steps = [
        f'<a href="{"../" * (len(above) - place)}"><bdi>{escape(readable(name)) or "Home"}</bdi></a>'
        for place, name in enumerate(above)
    ]
    steps.append(f"<bdi>{escape(readable(current)) or 'Home'}</bdi>")
    return "<i>/</i>".join(steps)


def _heading(name: str, sort: str, descending: bool) -> str:
    """Link to the list by this column; by the current one, to the other way round."""
    if name == sort:
        now, other = ("descending", "asc") if descending else ("ascending", "desc")
        return f'<th scope="col" aria-sort="{now}"><a href="?sort={name}&amp;order={other}">{_SORT_KEYS[name]}</a></th>'
    # Whoever sorts by these looks for the largest or the latest.
    order = "asc" if name == "name" else "desc"
    return f'<th scope="col"><a href="?sort={name}&amp;order={order}">{_SORT_KEYS[name]}</a></th>'


def _row(item: Item) -> str:
    # "./" keeps "javascript:x" from being a scheme; quote leaves nothing that ends a segment.
    link = "./" + quote(item.name, safe="")
    name = escape(readable(item.name))
    when = ""
    if item.modified is not None:
        when = f'<time datetime="{item.modified}">{item.modified[:10]} {item.modified[11:16]}</time>'
    if item.is_folder:
        return f'<tr class="d"><td><a href="{link}/"><bdi>{name}</bdi></a></td><td></td><td>{when}</td></tr>'
    size = readable_size(item.size)
    return f'<tr><td><a href="{link}"><bdi>{name}</bdi></a></td><td>{size}</td><td>{when}</td></tr>'
