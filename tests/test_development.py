"""``--reload``: a whole server, and files that are edited while it runs."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from tests.crowd import Crowd
from tests.server import PATIENCE, RunningServer
from tests.test_reload import PROMPT, until, write
from tests.thread_server import Peer, get


@contextmanager
def developing(folder: Path, *arguments: str) -> Iterator[RunningServer]:
    """Run a server in ``folder`` that watches it already."""
    with RunningServer("--reload", *arguments, cwd=folder) as server:
        server.until(rf"watching .*{re.escape(str(folder))}")
        yield server


def ask(server: RunningServer, path: str = "/", *lines: str) -> tuple[int, str]:
    with Peer(("127.0.0.1", server.port)) as peer:
        peer.send(get(path, *lines))
        answer = peer.answer()
        return answer.status, answer.content.decode()


def until_it_is(expected: Callable[[], bool]) -> None:
    """Ask until it is as ``expected``: an edit takes its time, and the worker before it may accept until it closes."""
    end = monotonic() + PATIENCE
    while not expected():
        assert monotonic() < end


async def test_code_that_is_edited_takes_over_and_no_request_fails_meanwhile(tmp_path: Path) -> None:
    write(tmp_path, "first")
    with developing(tmp_path, "app:application", "--workers", "2") as server:
        async with Crowd(server.port, steady=4, hasty=2).asking() as crowd:
            await crowd.more()
            for number in range(1, 4):
                write(tmp_path, f"edit{number}")
                await until(server, r"\breloaded$", number)
            await crowd.more()
        assert crowd.failures == []
        assert crowd.slowest < 4 * PROMPT
        until_it_is(lambda: ask(server)[1].startswith("edit3"))
        assert "app.py has changed" in server.log()


def test_many_changes_at_once_are_one_reload(tmp_path: Path) -> None:
    write(tmp_path)
    with developing(tmp_path, "app:application") as server:
        package = tmp_path / "package"
        package.mkdir()
        for number in range(500):
            (package / f"module{number}.py").write_text("")
        write(tmp_path, "second")
        until_it_is(lambda: ask(server)[1].startswith("second"))
        assert len(re.findall(" changed$", server.log(), re.MULTILINE)) <= 2


def test_settings_are_code_and_a_mistake_in_them_ends_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    settings = tmp_path / "aiowsgi.toml"
    settings.write_text("max_fields = 1\n")
    with developing(tmp_path, "app:application") as server:
        assert ask(server, "/", "X: 1")[0] == 431
        settings.write_text("max_fields = none\n")
        server.until("no reload: aiowsgi.toml: expected a TOML file")
        settings.write_text("max_fields = 2\n")
        until_it_is(lambda: ask(server, "/", "X: 1")[0] == 200)


def test_a_worker_that_never_ends_its_import_is_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path)
    with developing(tmp_path, "app:application") as server:
        (tmp_path / "app.py").write_text("import os\nos.write(1, b'stuck\\n')\nwhile True: pass\n")
        server.until("^stuck$")
        assert ask(server)[1].startswith("first")
        write(tmp_path, "second")
        until_it_is(lambda: ask(server)[1].startswith("second"))


def test_without_watchfiles_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = "import sys; sys.modules['watchfiles'] = None; from aiowsgi.cli import main; sys.exit(main())"
    write(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "app:application", "--reload"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "aiowsgi: --reload: expected watchfiles to be installed: pip install 'aiowsgi[reload]'\n"
    )
