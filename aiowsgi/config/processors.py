"""How many processors this process may use: in a container fewer than the machine has."""

import os
from collections.abc import Iterator
from contextlib import suppress
from math import ceil
from pathlib import Path, PurePosixPath


def processors(root: Path = Path("/")) -> int:
    """Return how many processors can be kept busy, a part of one counted as one; at least 1.

    The least of what the scheduler and the CPU quotas of the control groups allow, as Go and Java count them.
    ``root`` is where the system's files are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas, in processors, of this process's groups and of those above them, which bind it, too."""
    for folder, top in _groups(root):
        while True:
            with suppress(OSError, ValueError, ZeroDivisionError):  # there is none, or it is "max"
                yield _quota(folder)
            if folder == top or top not in folder.parents:
                break
            folder = folder.parent


def _quota(folder: Path) -> float:
    """Return the quota of one group. Raises OSError, ValueError and ZeroDivisionError where it has none."""
    if (file := folder / "cpu.max").exists():  # version 2: "150000 100000", microseconds in a period
        quota, period = map(int, file.read_text().split())
    else:
        quota = int((folder / "cpu.cfs_quota_us").read_text())  # version 1: -1 for none
        period = int((folder / "cpu.cfs_period_us").read_text())
    if quota <= 0:
        raise ValueError(quota)
    return quota / period


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the folder of each group that may have a quota, and the uppermost one that can be seen above it.

    See cgroups(7) and proc_pid_mountinfo(5). A container may see the files of its own group alone, mounted in the
    place of all, while /proc/self/cgroup has the path that it has outside.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = (root / "proc/self/mountinfo").read_text().splitlines()
    except OSError:  # no Linux
        return
    paths = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "cpu") or "cpu" in controllers.split(","):
            paths["cgroup" if controllers else "cgroup2"] = PurePosixPath(path)
    for line in mounts:
        fields, _, others = line.partition(" - ")
        kind, _, options = others.split(" ", 2)
        if kind not in paths or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        mounted, point = fields.split(" ")[3:5]
        top = root / point.removeprefix("/")
        within = paths[kind].is_relative_to(mounted)
        yield (top / paths[kind].relative_to(mounted) if within else top), top
