"""The site in a real Chromium, as a visitor sees it. Skipped where there is no Chromium."""

import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.server import RunningServer

CHROMIUM = shutil.which("chromium")
ROOT = Path(__file__).parent.parent
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


def dom(url: str, profile: Path) -> str:
    """Return the page as it stands after three seconds of its own time."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_the_index_page_shows_a_live_clock_and_its_picture(tmp_path: Path) -> None:
    with RunningServer("--access-log", str(tmp_path / "log"), cwd=ROOT) as server:
        page = dom(server.url + "/", tmp_path / "profile")
        assert time.strftime("%Y") in re.search(r'id="clock"[^>]*>([^<]*)<', page)[1]  # type: ignore[index]
        assert server.stop() == 0
    log = (tmp_path / "log").read_text()
    assert log.count("GET /ctime.py ") >= 2
    assert re.search(r'"GET /img/\S+\.png HTTP/1.1" 200 ', log)
    assert re.search(r'"GET /style\.css HTTP/1.1" 200 ', log)
    assert " 404 " not in log
