"""The site in a real Chromium, as a visitor sees it. Skipped where there is no Chromium."""

import os
import re
import shutil
import signal
import subprocess
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def visiting(url: str, profile: Path) -> Iterator[None]:
    """Have ``url`` open in a browser, in real time, as long as the block takes."""
    assert CHROMIUM is not None
    flags = [flag for flag in FLAGS if not flag.startswith("--virtual-time")]
    browser = subprocess.Popen(
        [CHROMIUM, *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        yield
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


# Jumps near the end of what src names as soon as its length is known, and tells the server what came of it.
JUMPING = """<!doctype html><meta charset="utf-8"><title>Jump</title>
<video id="film" src="{src}" preload="metadata" muted></video>
<script>
const film = document.getElementById("film");
film.addEventListener("loadedmetadata", () => {{ film.currentTime = {second}; }});
film.addEventListener("error", () => fetch("/failed/" + film.error.message));
function colour() {{
  const canvas = document.createElement("canvas");
  canvas.width = film.videoWidth;
  canvas.height = film.videoHeight;
  const context = canvas.getContext("2d");
  context.drawImage(film, 0, 0);
  return context.getImageData(10, 10, 1, 1).data.map((value) => value > 127).join("");
}}
function shown(_, frame) {{
  if (frame.mediaTime >= {second}) {{
    fetch("/shown/" + film.currentTime + "/" + colour());
  }} else {{
    film.requestVideoFrameCallback(shown);
  }}
}}
film.requestVideoFrameCallback(shown);
film.addEventListener("seeked", () => fetch("/seeked/" + film.currentTime));
</script>
"""


def test_a_film_is_jumped_in(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(ROOT / "html/media/colours.webm", site)
    (site / "index.html").write_text(JUMPING.format(src="colours.webm", second=12))
    with (
        RunningServer("--html", str(site), "--access-log", "-") as server,
        visiting(server.url, tmp_path / "profile"),
    ):
        # The bar at the top of the frame is blue from the tenth to the fifteenth second.
        assert server.until(r'"GET /(shown|failed)/(\S*) HTTP')[2] == "12/0011"
        server.until(r'"GET /colours\.webm HTTP/1\.1" 206 ')


def test_of_a_long_recording_only_the_parts_that_are_played_are_fetched(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    seconds, rate = 300, 44100
    with wave.open(str(site / "long.wav"), "wb") as recording:
        recording.setparams((1, 2, rate, 0, "NONE", ""))
        for _ in range(seconds):
            recording.writeframes(bytes(2 * rate))
    size = (site / "long.wav").stat().st_size
    (site / "index.html").write_text(JUMPING.format(src="long.wav", second=seconds - 100))
    with (
        RunningServer("--html", str(site), "--access-log", "-") as server,
        visiting(server.url, tmp_path / "profile"),
    ):
        assert server.until(r'"GET /(seeked|failed)/(\S*) HTTP')[2] == f"{seconds - 100}"
    parts = re.findall(r'"GET /long\.wav HTTP/1\.1" (\d+) (\d+)', server.log())
    assert len(parts) >= 2
    assert sum(int(sent) for status, sent in parts if status in {"206", "499"}) < size


# Tells the server that it is shown, and what its title is.
TELLING = """\
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Security-Policy", "{policy}")])
    return [b"<!doctype html><title>{title}</title><link rel=stylesheet href=/public/shown.css?{title}>"]
"""
BROKEN = "import nothing_of_that_name\n"


@pytest.mark.parametrize(
    "options", [[], ["--workers", "2"], ["--loop", "asyncio", "--threads", "1", "--compress"]], ids=str
)
def test_a_page_that_is_open_shows_a_mistake_and_what_has_been_mended(
    tmp_path: Path, options: list[str]
) -> None:
    def write(title: str) -> None:
        (tmp_path / "app.py").write_text(TELLING.format(title=title, policy="default-src 'self'"))

    (tmp_path / "app.py").write_text(BROKEN)
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "shown.css").write_text("p { color: red }")
    settings = ["--reload", "--static", "/public=public", *options]
    with RunningServer("app:application", *settings, cwd=tmp_path) as server:
        server.until("watching ")
        with visiting(server.url, tmp_path / "profile"):
            server.until(r"GET  / +500 ")
            server.until(r"GET  /favicon\.ico +500 ")  # it has read the page, and its script with it
            write("mended")
            server.until(r"GET  /public/shown\.css\?mended +200 ")
            write("edited")
            server.until(r"GET  /public/shown\.css\?edited +200 ")
            shown = len(re.findall(r"css\?edited", server.log()))
            (tmp_path / "public" / "shown.css").write_text("p { color: green }")
            server.until(r"css\?edited", shown + 1)
            mistakes = len(re.findall(r"GET  / +500 ", server.log()))
            (tmp_path / "app.py").write_text(BROKEN)
            server.until(r"GET  / +500 ", mistakes + 1)
