"""Which names exist for the web, whatever is on the disk, and what a glob of names matches."""

import re
from collections.abc import Callable, Iterable

_LONGEST_PATH = 4096  # PATH_MAX of Linux; elsewhere it is shorter

_NEVER_SERVED = r"""
      ^[^/]                     # not below the mount at all
    | [\x00-\x1f\x7f\\]         # what no name has any business with, and another system's separator
    | //                        # an empty segment: two spellings of one file, and Location: //host
    | ^/\.(?!well-known/)       # hidden, ".", ".."; but RFC 8615
    | [^/]/\.
    | [. ](?:/|\Z)              # Windows takes "app.py." and "app.py " for "app.py"
"""


def refusing(globs: Iterable[str]) -> Callable[[str], bool]:
    """Return the predicate of the paths (latin-1, PEP 3333) that are never served, whatever is on the disk.

    They are what no name has any business with, what is hidden, and whatever has a segment that one of
    ``globs`` matches, in capitals or not: a file system may not tell them apart.
    """
    endings, others = [], []
    for glob in globs:
        name = glob.encode().decode("latin-1")
        if name.startswith("*") and not re.search(r"[*?]", name[1:]):
            endings.append(re.escape(name[1:]))
        else:
            others.append("/" + glob_expression(name, "[^/]"))
    # An ending is looked for everywhere at once. Anything else is tried at each slash.
    patterns = [rf"(?:{'|'.join(found)})(?:/|\Z)" for found in (endings, others) if found]
    # Only the first of them is written in the verbose form.
    pattern = "|".join([f"(?x:{_NEVER_SERVED})", *patterns])
    search = re.compile(pattern, re.IGNORECASE).search

    def is_refused(path_info: str) -> bool:
        return len(path_info) > _LONGEST_PATH or search(path_info) is not None

    return is_refused


def glob_expression(glob: str, character: str) -> str:
    """Return the regular expression of ``glob``: ``*`` is any number of ``character``, ``?`` is one.

    What follows a ``*`` is taken where it first fits, and never tried elsewhere, so the time to match grows
    with the name only.
    """
    first, *others = [
        re.escape(part).replace(r"\?", character) for part in re.sub(r"\*+", "*", glob).split("*")
    ]
    if not others:
        return first
    *inner, last = others
    return first + "".join(f"(?>{character}*?{part})" for part in inner) + f"{character}*{last}"
