"""The command line: its help, its one line for each mistake, and a server started with it."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import pytest

from aiowsgi import __version__
from aiowsgi.cli import main
from aiowsgi.config import SETTINGS
from aiowsgi.http.codings import INSTALLED
from aiowsgi.site.files import SUFFIXES
from tests.thread_server import Peer

ROOT = Path(__file__).parent.parent
MODULE = (sys.executable, "-m", "aiowsgi")

APPLICATION = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
"""


def environment(**variables: str) -> dict[str, str]:
    return {"NO_COLOR": "1", **os.environ, "PYTHONPATH": str(ROOT), **variables}


@pytest.fixture(autouse=True)
def _no_settings_of_the_tester(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AIOWSGI_"):
            monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application in a folder that is the current one."""
    (tmp_path / "hello.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Server:
    url: str
    process: subprocess.Popen[str]
    report: str  # what it has said up to the line that says where it listens


@contextmanager
def serving(command: Sequence[str], stdout: int | IO[str] = subprocess.PIPE) -> Iterator[Server]:
    """A server on any free port, stopped by SIGTERM at the end."""
    process = subprocess.Popen(
        [*command, "--bind", "127.0.0.1:0"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        report = ""
        while (found := re.search(r"listening on (\S+)\n", report)) is None:
            line = process.stderr.readline()
            assert line, report
            report += line
        yield Server(found[1], process, report)
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


# Help


def test_the_help_of_serve_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == 0
    shown = capsys.readouterr().out
    for setting in SETTINGS.values():
        assert setting.option in shown
    headings = re.findall(r"^(\w+):$", shown, re.MULTILINE)
    assert headings == [
        "Site",
        "Files",
        "Server",
        "TLS",
        "Processes",
        "Hooks",
        "Logging",
        "Development",
        "Limits",
        "Timeouts",
        "Other",
    ]
    assert re.search(r"--config FILE .*\n", shown)


def test_the_help_of_the_command_names_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^  serve +Serve WSGI applications", shown, re.MULTILINE)
    assert re.search(r"^  compress +Compress the text-like files", shown, re.MULTILINE)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"aiowsgi {__version__}\n"


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), r'Missing command\. Try "aiowsgi --help"\.'),
        (("serv",), r"No such command 'serv'\..* Try \"aiowsgi --help\"\."),
        (("serve", "--thread", "3"), r'No such option.* Try "aiowsgi serve --help"\.'),
        (("serve", "hello:application", "--threads"), r"Option '--threads' requires an argument\. Try .*"),
        (("serve", "a:b", "c:d"), r'Got unexpected extra argument \(c:d\) Try "aiowsgi serve --help"\.'),
        (("serve", "a:b", "--threads", "x"), r"--threads: expected a whole number of at least 1, got 'x'"),
        (("serve", "a:b", "--html", "no\nne"), r"--html: expected a folder that exists, got '.*/no\\nne'"),
        (
            ("serve", "--config", "x"),
            r"--config: expected a TOML file, got 'x' \(No such file or directory\)",
        ),
        (("compress",), r"Missing argument 'DIR'\. Try \"aiowsgi compress --help\"\."),
        (("compress", "no\nne"), r"Invalid value for 'DIR': Directory '.*' does not exist\. Try .*"),
        (("compress", "hello.py"), r"Invalid value for 'DIR': Directory 'hello\.py' is a file\. Try .*"),
        (("compress", ".", "--coding", "zip"), r"Invalid value for '--coding': 'zip' is not one of .*"),
        (("serve",), r"nothing to serve: expected APP, or a folder html or apps in .*"),
    ],
)
def test_a_mistake_is_one_line_on_standard_error_and_status_2(
    project: Path, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert re.fullmatch(f"aiowsgi: {line}\n", err)


def test_a_mistake_in_a_variable_or_a_file_reads_the_same(
    project: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOWSGI_PARSER", "fast")
    assert main(["serve", "hello:application"]) == 2
    assert capfd.readouterr().err == "aiowsgi: AIOWSGI_PARSER: expected auto or h11, got 'fast'\n"
    monkeypatch.delenv("AIOWSGI_PARSER")
    (project / "aiowsgi.toml").write_text('parser = "fast"\n"a\\nb" = 1\n')
    assert main(["serve", "hello:application"]) == 2
    assert capfd.readouterr().err == "aiowsgi: aiowsgi.toml: parser: expected auto or h11, got 'fast'\n"
    (project / "aiowsgi.toml").write_text('"a\\nb" = 1\n')
    assert main(["serve", "hello:application"]) == 2
    assert re.fullmatch(
        r"aiowsgi: aiowsgi\.toml: a b: expected the name of a setting, .*\n", capfd.readouterr().err
    )


@pytest.mark.parametrize("arguments", [("serve", "hello:application"), ("status",)])
def test_a_folder_that_is_gone_is_one_line(project: Path, arguments: tuple[str, ...]) -> None:
    gone = project / "gone"
    gone.mkdir()
    # Without coverage, which would look for its settings there.
    inherited = {name: text for name, text in environment().items() if not name.startswith("COVERAGE")}
    command = ["sh", "-c", 'rmdir "$PWD" && exec "$@"', "sh", *MODULE, *arguments]
    done = subprocess.run(command, cwd=gone, env=inherited, capture_output=True, text=True)
    line = "aiowsgi: current directory: expected one that exists (No such file or directory)\n"
    assert (done.returncode, done.stderr, done.stdout) == (2, line, "")


def test_the_status_of_a_mistake_is_that_of_the_process(project: Path) -> None:
    done = subprocess.run([*MODULE, "serve", "none:app"], env=environment(), capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"aiowsgi: .*'none'.*\n", done.stderr)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_an_interrupt_before_the_start_ends_it_quietly(project: Path) -> None:
    os.mkfifo(project / "settings.toml")
    command = [*MODULE, "serve", "--config", "settings.toml"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE)
    with open(project / "settings.toml", "w"):  # returns when the other end has been opened
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == b""


# Serving


def test_python_m_serves_an_application_of_the_current_folder(project: Path) -> None:
    with serving([*MODULE, "serve", "hello:application", "--threads", "3"]) as server:
        assert httpx.get(server.url).text == "hello"
        assert "threads in each: 3" in server.report


def test_the_installed_command_finds_the_application_in_the_current_folder(project: Path) -> None:
    script = project / "bin" / "aiowsgi"
    script.parent.mkdir()
    script.write_text("import sys\nfrom aiowsgi.cli import main\nsys.exit(main())\n")
    with serving([sys.executable, str(script), "serve", "hello:application"]) as server:
        assert httpx.get(server.url).text == "hello"


def test_settings_of_the_file_reach_the_server(project: Path) -> None:
    (project / "public").mkdir()
    (project / "public" / "a.txt").write_text("file")
    (project / "aiowsgi.toml").write_text(
        'app = "hello:application"\nstatic = ["/static=public"]\naccess_log = "log"\nmax_request_line = 40\n'
    )
    with serving([*MODULE, "serve"]) as server:
        assert httpx.get(f"{server.url}/static/a.txt").text == "file"
        assert httpx.get(f"{server.url}/x").text == "hello"
        assert httpx.get(f"{server.url}/{'x' * 40}").status_code == 414
    assert "GET /x" in (project / "log").read_text()


def test_requests_are_logged_to_a_terminal(project: Path) -> None:
    ours, theirs = pty.openpty()
    with (
        open(ours, "rb", buffering=0) as terminal,
        os.fdopen(theirs, "w") as stdout,
        serving([*MODULE, "serve", "hello:application"], stdout) as server,
    ):
        assert httpx.get(f"{server.url}/seen").text == "hello"
        shown = b""
        while b"GET /seen" not in shown:
            shown += terminal.read(4096)


@pytest.mark.parametrize(("variable", "coloured"), [("", True), ("1", False)])
def test_with_reload_they_are_in_colours_that_can_be_turned_off(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", variable)
    ours, theirs = pty.openpty()
    with (
        open(ours, "rb", buffering=0) as terminal,
        os.fdopen(theirs, "w") as stdout,
        serving([*MODULE, "serve", "hello:application", "--reload"], stdout) as server,
    ):
        assert httpx.get(f"{server.url}/seen").text == "hello"
        shown = b""
        while b"total" not in shown:
            shown += terminal.read(4096)
    assert (b"\x1b[32m200\x1b[0m" in shown) is coloured
    assert (b"\x1b" in shown) is coloured


def test_requests_are_not_logged_to_anything_else(project: Path) -> None:
    with open(project / "out", "w+") as stdout:
        with serving([*MODULE, "serve", "hello:application"], stdout) as server:
            assert httpx.get(f"{server.url}/seen").text == "hello"
        assert stdout.read() == ""


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_it_serves_where_standard_streams_are_closed_or_full(project: Path, streams: str) -> None:
    (project / "hello.py").write_text(f"import os\nos.write(int(os.environ['TOLD']), b'!')\n{APPLICATION}")
    listens = ("--bind", f"unix:{project / 'socket'}", "--access-log", "-")
    ours, theirs = os.pipe()
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {streams}', "sh", *MODULE, "serve", "hello:application", *listens],
        env=environment(TOLD=str(theirs)),
        pass_fds=[theirs],
    )
    os.close(theirs)
    try:
        assert os.read(ours, 1) == b"!"  # the application is imported
        with Peer(str(project / "socket")) as peer:
            assert peer.get("/").content == b"hello"
    finally:
        os.close(ours)
        process.terminate()
        assert process.wait(30) == 0


# Compressing


@pytest.fixture
def pages(project: Path) -> Path:
    """A folder with a page in a folder, and a picture."""
    (project / "site" / "deep").mkdir(parents=True)
    (project / "site" / "deep" / "page.html").write_text("<p>Hello!</p>" * 100)
    (project / "site" / "photo.jpg").write_bytes(bytes(1000))
    return project / "site"


def test_compress_makes_the_variants_and_says_so_in_one_line(
    pages: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["compress", "site"]) == 0
    assert {path.name for path in pages.rglob("*.*")} == {
        "photo.jpg",
        "page.html",
        *(f"page.html{SUFFIXES[coding].decode()}" for coding in INSTALLED),
    }
    out, err = capfd.readouterr()
    assert err == ""
    assert re.fullmatch(
        r"1 file; (\w+ 1\.3 KiB to \d+ B \(\d+%\), )+\d made, \d+\.\d s(; without .*)?\n", out
    )
    assert main(["compress", "site"]) == 0
    assert f" {len(INSTALLED)} up to date, " in capfd.readouterr().out


def test_compress_makes_the_codings_that_were_asked_for_quietly(
    pages: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["compress", "--quiet", "--coding", "gzip", "site"]) == 0
    assert {path.name for path in pages.rglob("*.*")} == {"photo.jpg", "page.html", "page.html.gz"}
    assert capfd.readouterr() == ("", "")


def test_a_file_that_cannot_be_compressed_is_one_line_and_status_1(
    pages: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (pages / "other.html").write_text("<p>Hello!</p>" * 100)
    (pages / "deep" / "page.html.gz").mkdir()
    assert main(["compress", "--quiet", "--coding", "gzip", "site"]) == 1
    assert capfd.readouterr() == ("", "aiowsgi: 'site/deep/page.html.gz': Is a directory\n")
    assert (pages / "other.html.gz").exists()


def test_codings_that_are_not_installed_are_left_out_or_refused(pages: Path) -> None:
    without = "import sys; sys.modules['brotli'] = None; from aiowsgi.cli import main; sys.exit(main())"

    def compress(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", without, "compress", *arguments, "site"]
        return subprocess.run(command, env=environment(), capture_output=True, text=True)

    refused = compress("--coding", "gzip", "--coding", "br")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(
        r"aiowsgi: br is not installed: pip install 'aiowsgi\[compress\]'\. Try .*\n", refused.stderr
    )
    assert not (pages / "deep" / "page.html.gz").exists()
    done = compress()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("; without br: pip install 'aiowsgi[compress]'\n")
    assert (pages / "deep" / "page.html.gz").exists()
    assert not (pages / "deep" / "page.html.br").exists()


def test_compress_shows_on_a_terminal_how_far_it_is(pages: Path) -> None:
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal, os.fdopen(theirs, "w") as stdout:
        done = subprocess.run([*MODULE, "compress", "site"], env=environment(TERM="xterm"), stdout=stdout)
        assert done.returncode == 0
        shown = b""
        while b" s\r\n" not in shown:
            shown += terminal.read(4096)
    assert re.search(rb"compressing.*0%.*compressing.*100%.*1 file; ", shown, re.DOTALL)


def test_an_interrupt_ends_compressing_soon_and_leaves_nothing_half_made(pages: Path) -> None:
    # The best brotli would take a minute, gzip seconds.
    (pages / "large.txt").write_text(os.urandom(10 * 2**20).hex())
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal, os.fdopen(theirs, "w") as stdout:
        command = [*MODULE, "compress", "site"]
        process = subprocess.Popen(
            command, env=environment(TERM="xterm"), stdout=stdout, stderr=subprocess.PIPE
        )
        shown = b""
        while b"compressing" not in shown:
            shown += terminal.read(4096)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.strip() == b""
    assert {path.name for path in pages.rglob("*.*")} == {"photo.jpg", "page.html", "large.txt"}
