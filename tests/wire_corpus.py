"""The files of tests/wire; its README.md tells what is in them."""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from aiowsgi.http.messages import Request

_WIRE = Path(__file__).parent / "wire"


class Valid(NamedTuple):
    name: str
    data: bytes
    messages: list[dict[str, Any]]  # attributes of each Request, and "content"


class Invalid(NamedTuple):
    name: str
    data: bytes
    status: int
    heads: int


def _read(folder: str) -> list[tuple[str, bytes, Any]]:
    expected = tomllib.loads((_WIRE / folder / "expected.toml").read_text("utf-8"))
    files = {path.stem: path.read_bytes() for path in (_WIRE / folder).glob("*.http")}
    assert files.keys() == expected.keys(), f"without file or table: {files.keys() ^ expected.keys()}"
    return [(name, files[name], expected[name]) for name in sorted(files)]


def _message(table: dict[str, Any]) -> dict[str, Any]:
    raw_path, _, query = table["target"].partition("?")
    message = {"version": "HTTP/1.1", "raw_path": raw_path, "query": query, "keep_alive": True}
    message |= {"chunked": False, "expect_continue": False, "content": ""} | table
    message.setdefault("path", message["raw_path"])
    message["content"] = message["content"].encode("latin-1")
    message["content_length"] = Request.UNKNOWN if message["chunked"] else len(message["content"])
    message["has_content"] = message["content_length"] != 0
    return message


VALID = [Valid(name, data, [_message(table) for table in tables]) for name, data, tables in _read("valid")]
INVALID = [
    Invalid(name, data, table["status"], table.get("heads", 0)) for name, data, table in _read("invalid")
]
