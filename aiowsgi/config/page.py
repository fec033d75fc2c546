"""The settings as a page of documentation."""

from itertools import groupby

from aiowsgi.config.settings import SETTINGS

_PAGE_HEAD = """\
# Settings

This page is generated from the declarations in `aiowsgi/config/`.

A setting is taken from the first of these places that gives it; lists are not joined.

1. The command line: `aiowsgi serve [OPTIONS] [APP]`.
2. The environment. An empty variable counts as none; lists are comma separated. Those that Kubernetes makes of a
   Service called aiowsgi, their names end with `SERVICE_HOST` and so on, are passed over.
3. One file: the one that `--config FILE` or `AIOWSGI_CONFIG` names, else `aiowsgi.toml` in the current
   directory, else `pyproject.toml` there. A `pyproject.toml` is read at `[tool.aiowsgi]`, any other file
   whole.
4. The default.

Paths start from the current directory, those in a file too. A size is a number of bytes, or of KiB, MiB or
GiB: `64K`, `1M`, `1G`. For a flag a variable says `true`, `1`, `yes` or `false`, `0`, `no`, the command line
`--debug` or `--no-debug`. Options with PREFIX, PATTERN or EXTENSION, and `--bind`, may be repeated; those with `,...`
may hold several values. In a file they are lists, and two of them may be tables:

    bind = ["127.0.0.1:8000", "unix:/run/site.sock"]
    static = ["/static=./public"]
    refused = ["*.py", "*.sql"]
    max_body = "1G"

    [media_types]
    geo = "application/geo+json"

    [headers]
    "*.html" = {Cache-Control = "no-cache", X-Frame-Options = "DENY"}
    "/fonts/*" = {Access-Control-Allow-Origin = "*"}

In a PATTERN `*` is any text and `?` a character. One with a slash is compared with the whole path below the folder,
and its `*` goes on into folders below; one without is compared with the last name of the path. Where several set a
field, the last one counts. The command line says the same with `--headers '*.html=Cache-Control: no-cache'`, and the
variable has each of them on a line of its own.

A [reload](processes.md#reload) reads all of them anew but for these, which count from the next start or
[upgrade](processes.md#upgrade) on: {fixed}.
"""


def _plain(text: str) -> str:
    """Return ``text`` as Markdown that has no emphasis in it."""
    return text.replace("*", r"\*").replace("~", r"\~")


def settings_page() -> str:
    """Return docs/settings.md."""
    fixed = ", ".join(f"`{setting.name}`" for setting in SETTINGS.values() if setting.fixed)
    lines = [_PAGE_HEAD.replace("{fixed}", fixed)]
    for group, settings in groupby(SETTINGS.values(), lambda setting: setting.group):
        lines += [f"## {group}", ""]
        lines += ["| option | TOML key | variable | default | unit | meaning |", "|---|---|---|---|---|---|"]
        for setting in settings:
            option = f"{setting.option} {setting.kind.metavar}".strip().replace("|", r"\|")
            if setting.name == "app":
                option = setting.option
            lines.append(
                f"| `{option}` | `{setting.name}` | `{setting.variable}` "
                f"| {_plain(setting.default)} | {setting.kind.unit} | {_plain(setting.help)} |"
            )
        lines.append("")
    return "\n".join(lines)
