"""How many processors there are, with the files of control groups as systems have them."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from aiowsgi.config.processors import processors

HERE = processors()
SEVERAL = pytest.mark.skipif(HERE < 2, reason="a machine of one processor is always right")

# One that sees its own group as the only one, as containers with version 2 do.
OWN = ("0::/\n", "1 2 0:28 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n")
# A service of systemd.
SERVICE = (
    "0::/system.slice/web.service\n",
    "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
)
# One with version 1: its own group is mounted in the place of all, and it is told the path outside.
OLD = (
    "12:memory:/docker/5a43\n4:cpu,cpuacct:/docker/5a43\n0::/docker/5a43\n",
    "700 690 0:29 /docker/5a43 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "701 690 0:30 /docker/5a43 /sys/fs/cgroup/cpu,cpuacct ro master:11 - cgroup cgroup rw,cpu,cpuacct\n",
)


def system(root: Path, kind: tuple[str, str], files: Mapping[str, str]) -> Path:
    """Write a system's files: those of /proc, and ``files`` below the folder of its control groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(kind[0])
    (root / "proc/self/mountinfo").write_text("22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n" + kind[1])
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize("quota", ["50000 100000", "100000 100000", "1000 100000", "10000 10000"])
def test_a_part_of_a_processor_is_one(tmp_path: Path, quota: str) -> None:
    assert processors(system(tmp_path, OWN, {"cpu.max": quota})) == 1


@SEVERAL
def test_a_part_more_of_a_processor_is_one_more(tmp_path: Path) -> None:
    assert processors(system(tmp_path, OWN, {"cpu.max": "100001 100000"})) == 2


@pytest.mark.parametrize("quota", ["max 100000\n", f"{HERE}00000 100000\n", "9900000 100000\n", "", "0 0\n"])
def test_a_quota_that_takes_nothing_away_or_says_nothing_does_not_count(tmp_path: Path, quota: str) -> None:
    assert processors(system(tmp_path, OWN, {"cpu.max": quota})) == HERE


@pytest.mark.parametrize("group", ["", "system.slice/", "system.slice/web.service/"])
def test_the_quotas_of_the_groups_above_count_too(tmp_path: Path, group: str) -> None:
    files = {
        "cpu.max": "max 100000",
        "system.slice/cpu.max": "max 100000",
        "system.slice/web.service/cpu.max": "max 100000",
        f"{group}cpu.max": "100000 100000",
    }
    assert processors(system(tmp_path, SERVICE, files)) == 1


def test_those_of_other_groups_do_not(tmp_path: Path) -> None:
    files = {"user.slice/cpu.max": "100000 100000", "system.slice/db.service/cpu.max": "100000 100000"}
    assert processors(system(tmp_path, SERVICE, files)) == HERE


@pytest.mark.parametrize(("quota", "count"), [("50000", 1), ("-1", HERE)])
def test_version_1_counts(tmp_path: Path, quota: str, count: int) -> None:
    files = {"cpu,cpuacct/cpu.cfs_quota_us": quota, "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    assert processors(system(tmp_path, OLD, files)) == count


def test_a_system_without_control_groups_has_no_quotas(tmp_path: Path) -> None:
    assert processors(tmp_path) == HERE


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="nobody can be bound to a processor here")
def test_who_is_bound_to_one_processor_has_one() -> None:
    program = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from aiowsgi.config.processors import processors; print(processors())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"1\n"
