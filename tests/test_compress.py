"""The variants made beside files: whose they are, when they are made again, and that nothing else is touched."""

import errno
import gzip
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiowsgi.http.codings import INSTALLED
from aiowsgi.site.compress import (
    SMALLEST,
    ChangedError,
    Outcome,
    Report,
    Result,
    StoppedError,
    Task,
    compressed,
    keep_variant,
    tasks,
)
from aiowsgi.site.files import SUFFIXES
from tests.full_disk import full_disk
from tests.static_site import JANUARY_2020
from tests.test_codings import decompressed

TEXT = b"body { color: black }\n" * 100
NOISE = random.Random(1).randbytes(1000)
NANOSECONDS = JANUARY_2020 * 10**9 + 123_456_789


def suffix(coding: str) -> str:
    return SUFFIXES[coding].decode()


def never() -> bool:
    return False


def found(folder: Path, *codings: str) -> list[Task]:
    errors: list[OSError] = []
    work = tasks(str(folder), codings or ("gzip",), errors.append)
    assert errors == []
    return work


def run(folder: Path, *codings: str) -> list[Result]:
    return sorted(compressed(found(folder, *codings), 2))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


class Site:
    """A folder with one file, app.css."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "app.css"
        self.variant = folder / "app.css.gz"
        self.write(TEXT)

    def write(self, content: bytes, modified: int = NANOSECONDS) -> None:
        self.file.write_bytes(content)
        os.utime(self.file, ns=(modified, modified))

    def outcome(self) -> Outcome:
        (result,) = run(self.folder)
        return result.outcome

    def keep(self, stopped: Callable[[], bool] = never) -> Result:
        return keep_variant(Task(str(self.file), "gzip", len(TEXT)), stopped)

    @property
    def names(self) -> set[str]:
        return names(self.folder)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site")


# What is made


def test_each_coding_has_its_variant(site: Site) -> None:
    results = run(site.folder, *INSTALLED)
    assert {result.outcome for result in results} == {Outcome.MADE}
    assert site.names == {"app.css", *(f"app.css{suffix(coding)}" for coding in INSTALLED)}
    for result in results:
        content = Path(str(site.file) + suffix(result.task.coding)).read_bytes()
        assert decompressed(result.task.coding, content) == TEXT
        assert (result.before, result.after) == (len(TEXT), len(content))


def test_a_variant_has_the_mode_the_owner_and_the_time_of_its_original(site: Site) -> None:
    site.file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(site.file, 65534, 65533)
    assert site.outcome() == Outcome.MADE
    original, variant = site.file.stat(), site.variant.stat()
    assert variant.st_mtime_ns == original.st_mtime_ns == NANOSECONDS
    assert (variant.st_mode, variant.st_uid, variant.st_gid) == (
        original.st_mode,
        original.st_uid,
        original.st_gid,
    )


def test_the_same_content_has_the_same_variant(site: Site) -> None:
    run(site.folder)
    once = site.variant.read_bytes()
    site.write(TEXT, NANOSECONDS + 10**12)
    assert site.outcome() == Outcome.MADE
    assert site.variant.read_bytes() == once


def test_content_of_many_pieces(site: Site) -> None:
    content = TEXT * 1000  # 2 MiB
    site.write(content)
    assert {result.outcome for result in run(site.folder, *INSTALLED)} == {Outcome.MADE}
    for coding in INSTALLED:
        variant = Path(str(site.file) + suffix(coding))
        assert decompressed(coding, variant.read_bytes()) == content


def test_what_would_not_shrink_has_none(site: Site) -> None:
    site.write(NOISE)
    assert site.outcome() == Outcome.NOT_WORTH
    site.write(NOISE + b"x" * 20)  # less than 5 % to save
    assert site.outcome() == Outcome.NOT_WORTH
    site.write(b"x" * (SMALLEST - 1))
    assert site.outcome() == Outcome.NOT_WORTH
    site.write(b"")
    assert site.outcome() == Outcome.NOT_WORTH
    assert site.names == {"app.css"}
    site.write(b"x" * SMALLEST)
    assert site.outcome() == Outcome.MADE


@pytest.mark.parametrize(
    "name",
    [
        b"<script>.html",
        b"new\nline.css",
        b"-rf.js",
        b"%2e.txt",
        b"\xff\xfe.svg",
        "日本語.html".encode(),
        b" .css",
        b"x" * 248 + b".css",
    ],
)
def test_any_name_will_do(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb") as file:
        file.write(TEXT)
    (result,) = run(tmp_path)
    assert result.outcome == Outcome.MADE
    with open(path + b".gz", "rb") as variant:
        assert gzip.decompress(variant.read()) == TEXT


# What is looked at


def test_only_text_like_files_that_are_not_hidden_are_looked_at(tmp_path: Path) -> None:
    for name in (
        "index.html",
        "deep/er/style.css",
        "icon.svg",
        "data.json",
        "photo.jpg",
        "font.woff2",
        "archive.tar.gz",
        "unknown",
        "index.html.br",
        "index.html.gz",
        "index.html.zst",
        ".hidden.css",
        ".git/config.txt",
        "deep/.cache/a.css",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TEXT)
    looked_at = {os.path.relpath(task.path, tmp_path) for task in found(tmp_path)}
    assert looked_at == {"index.html", "deep/er/style.css", "icon.svg", "data.json"}


def test_links_and_pipes_are_not_looked_at(site: Site, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.css").write_bytes(TEXT)
    (site.folder / "link.css").symlink_to(outside / "secret.css")
    (site.folder / "folder").symlink_to(outside)
    (site.folder / "loop").symlink_to(".")
    os.mkfifo(site.folder / "pipe.css")
    assert [task.path for task in found(site.folder)] == [str(site.file)]
    run(site.folder)
    assert names(outside) == {"secret.css"}


def test_a_file_that_has_become_a_link_is_not_followed(site: Site, tmp_path: Path) -> None:
    work = found(site.folder)
    site.file.rename(tmp_path / "secret.css")
    site.file.symlink_to(tmp_path / "secret.css")
    (result,) = compressed(work, 1)
    assert result.error == f"'{site.file}': {os.strerror(errno.ELOOP)}"
    assert site.names == {"app.css"}


def test_the_largest_come_first(site: Site) -> None:
    (site.folder / "b.css").write_bytes(TEXT * 2)
    (site.folder / "a.css").write_bytes(TEXT)
    work = found(site.folder, "br", "gzip")
    assert [os.path.basename(task.path) for task in work] == ["b.css"] * 2 + ["a.css"] * 2 + ["app.css"] * 2


# What is there already


def test_what_is_up_to_date_is_left_alone(site: Site) -> None:
    run(site.folder)
    before = site.variant.stat()
    assert site.outcome() == Outcome.CURRENT
    after = site.variant.stat()
    assert (after.st_ino, after.st_ctime_ns) == (before.st_ino, before.st_ctime_ns)


@pytest.mark.parametrize(
    "modified", [NANOSECONDS - 10**12, NANOSECONDS - 1, NANOSECONDS + 1, NANOSECONDS + 10**12]
)
def test_a_variant_of_another_time_is_made_again(site: Site, modified: int) -> None:
    run(site.folder)
    site.write(TEXT + b"more", modified)
    assert site.outcome() == Outcome.MADE
    assert gzip.decompress(site.variant.read_bytes()) == TEXT + b"more"
    assert site.variant.stat().st_mtime_ns == modified


def test_a_variant_that_would_not_be_made_any_more_is_removed(site: Site) -> None:
    for content in (NOISE, b"short", b""):
        site.write(TEXT)
        assert site.outcome() == Outcome.MADE
        site.write(content, NANOSECONDS + 1)
        assert site.outcome() == Outcome.NOT_WORTH
        assert site.names == {"app.css"}


def test_an_empty_variant_is_made_again(site: Site) -> None:
    site.variant.touch()
    os.utime(site.variant, ns=(NANOSECONDS, NANOSECONDS))
    assert site.outcome() == Outcome.MADE


def test_a_file_that_was_made_private_has_a_private_variant(site: Site) -> None:
    site.file.chmod(0o644)
    run(site.folder)
    site.file.chmod(0o600)
    assert site.outcome() == Outcome.CURRENT
    assert site.variant.stat().st_mode & 0o777 == 0o600


def test_a_variant_without_an_original_is_left_alone(site: Site) -> None:
    (site.folder / "gone.css.gz").write_bytes(b"orphan")
    run(site.folder)
    assert (site.folder / "gone.css.gz").read_bytes() == b"orphan"


def test_a_link_in_the_place_of_a_variant_is_replaced_and_not_followed(site: Site, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"untouched")
    os.utime(tmp_path / "target", ns=(NANOSECONDS, NANOSECONDS))
    site.variant.symlink_to(tmp_path / "target")
    assert site.outcome() == Outcome.MADE
    assert not site.variant.is_symlink()
    assert (tmp_path / "target").read_bytes() == b"untouched"


def test_of_an_empty_file_another_tool_may_have_made_a_variant(site: Site) -> None:
    site.write(b"")
    site.variant.write_bytes(gzip.compress(b""))
    os.utime(site.variant, ns=(NANOSECONDS, NANOSECONDS))
    report = Report()
    for result in run(site.folder):
        report.add(result)
    assert report.summary().startswith("1 file; gzip 0 B to 20 B")


# What goes wrong


def changed_by(change: Callable[[], object]) -> Callable[[], bool]:
    def stopped() -> bool:
        change()
        return False

    return stopped


def test_a_file_that_changes_while_it_is_read_has_no_variant(site: Site) -> None:
    def grow() -> None:
        with open(site.file, "ab") as file:
            file.write(b"more")

    for change in (grow, lambda: os.truncate(site.file, 100), lambda: os.utime(site.file)):
        with pytest.raises(ChangedError):
            site.keep(changed_by(change))
        assert site.names == {"app.css"}
        site.write(TEXT)


def test_whoever_stops_leaves_everything_as_it_was(site: Site) -> None:
    run(site.folder)
    site.write(TEXT + b"more", NANOSECONDS + 1)
    with pytest.raises(StoppedError):
        site.keep(lambda: True)
    assert site.names == {"app.css", "app.css.gz"}
    assert gzip.decompress(site.variant.read_bytes()) == TEXT


def test_a_file_that_is_gone_and_one_with_too_long_a_name(site: Site) -> None:
    long = site.folder / ("x" * 251 + ".css")
    long.write_bytes(TEXT)
    work = found(site.folder)
    site.file.unlink()
    assert sorted(result.error for result in compressed(work, 2)) == [
        f"'{site.file}': No such file or directory",
        f"'{long}.gz': File name too long",
    ]
    assert site.names == {long.name}


def test_a_folder_in_the_place_of_a_variant(site: Site) -> None:
    site.variant.mkdir()
    (result,) = run(site.folder)
    assert result.outcome == Outcome.FAILED
    assert result.error == f"'{site.variant}': Is a directory"
    assert site.names == {"app.css"}


def test_a_full_disk_leaves_nothing_behind(site: Site) -> None:
    site.write(random.Random(1).randbytes(10_000).hex().encode())
    with full_disk():
        (result,) = run(site.folder)
    assert result.error == f"'{site.file}': {os.strerror(errno.EFBIG)}"
    assert site.names == {"app.css"}


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of another user: this process, whoever runs it, may only read it."""
    folder = Path(tempfile.mkdtemp())
    user = os.geteuid()
    (folder / "private").mkdir()
    for name in ("a.css", "b.css", "secret.css", "private/c.css"):
        (folder / name).write_bytes(TEXT)
    (folder / "secret.css").chmod(0)
    (folder / "private").chmod(0)
    folder.chmod(0o555)
    if user == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o700)
        (folder / "private").chmod(0o700)
        shutil.rmtree(folder)


def test_what_may_not_be_read_or_written_is_told_once(unprivileged: Path) -> None:
    report = Report()
    for result in compressed(tasks(str(unprivileged), INSTALLED, report.unreadable), 2):
        report.add(result)
    assert sorted(report.errors) == [
        f"'{unprivileged}': Permission denied",
        f"'{unprivileged}/private': Permission denied",
        f"'{unprivileged}/secret.css': Permission denied",
    ]
    assert f"{3 * len(INSTALLED)} failed" in report.summary()


def test_the_report_adds_up() -> None:
    report = Report()
    assert report.summary().startswith("0 files; 0.")
    for task, outcome, after in (
        (Task("a", "br", 1), Outcome.MADE, 1024),
        (Task("a", "gzip", 1), Outcome.MADE, 2048),
        (Task("b", "br", 1), Outcome.CURRENT, 1024),
        (Task("b", "gzip", 1), Outcome.NOT_WORTH, 0),
    ):
        report.add(Result(task, outcome, 4096, after))
    summary = report.summary().rpartition(",")[0]
    assert summary == (
        "2 files; br 8.0 KiB to 2.0 KiB (25%), gzip 4.0 KiB to 2.0 KiB (50%), 2 made, 1 up to date, 1 not worth it"
    )
    assert report.errors == {}
