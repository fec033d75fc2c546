"""Which changed files count, and as what."""

import os
import sys
from pathlib import Path

import pytest

from aiowsgi.config import Config
from aiowsgi.process.watching import CODE, PAGES, Watch, roots


def watch(*folders: str, include: tuple[str, ...] = ()) -> Watch:
    return Watch(list(folders), include, 0, lambda: None)


@pytest.mark.parametrize("name", ["app.py", "shop/models.py", "aiowsgi.toml", "pyproject.toml"])
def test_code(name: str) -> None:
    assert watch("/site").of([f"/site/{name}"], CODE) == [name]
    assert watch("/site").of([f"/site/{name}"], PAGES) == []


@pytest.mark.parametrize("name", ["templates/a.html", "style.css", "js/main.js", "x.jinja2", "logo.svg"])
def test_pages(name: str) -> None:
    assert watch("/site").of([f"/site/{name}"], PAGES) == [name]
    assert watch("/site").of([f"/site/{name}"], CODE) == []


@pytest.mark.parametrize(
    "name",
    [
        *(".venv/lib/python3.11/site-packages/a.py", "env/lib/python3.13/site-packages/a.py"),
        *(".git/hooks/a.py", "node_modules/a/b.js", "__pycache__/app.py", "app.cpython-311.pyc"),
        *(".#app.py", "app.py~", "flycheck_app.py", ".app.py.swp", "data.sqlite3", "access.log", "a.png"),
    ],
)
def test_neither(name: str) -> None:
    assert watch("/site").of([f"/site/{name}"], (*CODE, *PAGES)) == []


def test_what_is_above_the_folder_does_not_count() -> None:
    assert watch("/home/a/.cache/node_modules/site").of(
        ["/home/a/.cache/node_modules/site/app.py"], CODE
    ) == ["app.py"]


def test_the_folder_of_each_is_found() -> None:
    assert watch("/lib/shop", "/site").of(["/site/app.py", "/lib/shop/a.py"], CODE) == ["a.py", "app.py"]


def test_folders_are_those_of_the_site_and_of_the_path_but_not_of_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("site", "site/html", "public", "library", "library/.venv", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "site")
    installed = [folder for folder in sys.path if "site-packages" in folder]
    path = ["", str(tmp_path / "library"), str(tmp_path / "library/.venv"), os.__file__, *installed]
    monkeypatch.setattr(sys, "path", [*path, os.path.dirname(os.__file__), str(tmp_path / "missing")])
    config = Config(html=str(tmp_path / "site/html"), static=(("/static", str(tmp_path / "public")),))
    assert roots(config) == [str(tmp_path / name) for name in ("library", "public", "site")]
