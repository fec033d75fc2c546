"""The pages for readers: the links, options, modules and tests that they name exist, and the examples are sound."""

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiowsgi.cli import main
from aiowsgi.config import SETTINGS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "aiowsgi"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
SECURITY = ROOT / "docs" / "security.md"
# What these pages say of options, they say of aiowsgi's.
MANUAL = [README, *ROOT.glob("docs/*.md")]

# Each does everything by itself in a clean clone; the checks take the second one from the README, by its line.
COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install --quiet . && .venv/bin/aiowsgi serve",
    "python3 -m venv .venv && .venv/bin/pip install --quiet --editable '.[test]' && .venv/bin/python -m pytest",
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
every_manual_page = pytest.mark.parametrize("page", MANUAL, ids=lambda page: page.name)

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [text for name, text in FENCED.findall(page.read_text("utf-8")) if name == language]


def prose(page: Path) -> str:
    """Return what is in no fenced or indented block."""
    return re.sub(r"^    .*$", "", FENCED.sub("", page.read_text("utf-8")), flags=re.MULTILINE)


def spans(page: Path) -> list[str]:
    """Return the pieces of code within the text."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def links(page: Path) -> list[str]:
    """Return where the page's links and pictures lead."""
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(page)))


def anchors(page: Path) -> set[str]:
    """Return the names by which the headings can be linked to, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command in the page's blocks for a shell or a container, and of each in the text."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for line in lines + [span for span in spans(page) if re.match(r"(python -m )?aiowsgi ", span)]:
        for command in line.split(" && "):
            yield shlex.split(command, comments=True)
    for block in blocks(page, "dockerfile"):
        for words in re.findall(r"^CMD (\[.*\])$", block.replace("\\\n", ""), re.MULTILINE):
            yield json.loads(words)


def options_of_aiowsgi(words: list[str]) -> list[str]:
    """Return the options in ``words``, if they are a call of aiowsgi."""
    for program in (["aiowsgi"], [".venv/bin/aiowsgi"], ["python", "-m", "aiowsgi"]):
        if words[: len(program)] == program:
            return [word.partition("=")[0] for word in words[len(program) :] if word[:1] == "-" != word]
    return []


@pytest.fixture
def known_options(capsys: pytest.CaptureFixture[str]) -> set[str]:
    """The options that the command line's own help shows."""
    main(["--help"])
    main(["serve", "--help"])
    main(["status", "--help"])
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", capsys.readouterr().out))


@every_page
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@every_manual_page
def test_options_exist(page: Path, known_options: set[str]) -> None:
    named = {span.split()[0] for span in spans(page) if span.startswith("--")}
    named.update(option for words in commands(page) for option in options_of_aiowsgi(words))
    assert named <= known_options


@every_manual_page
def test_variables_exist(page: Path) -> None:
    known = {setting.variable for setting in SETTINGS.values()} | {"AIOWSGI_CONFIG"}
    assert set(re.findall(r"AIOWSGI_\w+", page.read_text("utf-8"))) <= known


@every_manual_page
def test_examples_can_be_read_by_what_they_are_for(page: Path) -> None:
    for example in blocks(page, "python"):
        ast.parse(example)
    for example in blocks(page, "toml"):
        table = tomllib.loads(example)
        assert table.get("tool", {}).get("aiowsgi", table).keys() <= SETTINGS.keys()


@every_page
def test_tests_that_are_named_exist(page: Path) -> None:
    known = {path.stem for path in ROOT.glob("tests/test_*.py")}
    for path in ROOT.glob("tests/test_*.py"):
        known.update(re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"\btest_\w+", page.read_text("utf-8"))) <= known


def test_each_promise_names_its_tests_by_their_files() -> None:
    promises = re.findall(
        r"^\| (?!promise |---)(.+?) \| ([^|]+) \|$", SECURITY.read_text("utf-8"), re.MULTILINE
    )
    assert len(promises) > 20
    for promise, named in promises:
        tests = re.findall(r"`(tests/test_\w+\.py)::(test_\w+)`", named)
        assert tests, promise
        for file, name in tests:
            assert re.search(rf"^(?:async )?def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), (
                name
            )


@every_page
def test_files_of_the_project_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`((?:aiowsgi|bench|docs|html|tests|\.ci)/[\w./-]*)`", page.read_text("utf-8")):
        # The last run's page is written by a run.
        assert (ROOT / path).exists() or path == "bench/results/latest.md", path


def test_the_architecture_names_every_module_and_no_other() -> None:
    modules = {
        str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.stem != "__init__"
    } | {"__init__.py"}
    rows = re.findall(r"^\| `([\w/]+\.py)` \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(modules)
    folders = "|".join({module.partition("/")[0] for module in modules if "/" in module})
    assert set(re.findall(rf"`((?:{folders})/\w+\.py)`", ARCHITECTURE.read_text("utf-8"))) <= modules


def test_the_readme_has_each_of_the_two_commands_once_and_alone() -> None:
    alone = [block.strip() for block in blocks(README, "sh")]
    assert [alone.count(command) for command in COMMANDS] == [1, 1]
    lines = README.read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("python3 -m venv")] == list(COMMANDS)


def test_the_checks_find_the_test_command_in_the_readme() -> None:
    pattern = re.search(r"grep -E '([^']+)' README\.md", (ROOT / ".ci" / "run").read_text("utf-8"))
    assert pattern is not None
    assert re.findall(f"{pattern[1]}.*", README.read_text("utf-8"), re.MULTILINE) == [COMMANDS[1]]


def test_the_readme_shows_the_index_page() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README.read_text("utf-8"))
    assert pictures == ["docs/index.png"]
    data = (ROOT / pictures[0]).read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) < 200 * 1024
