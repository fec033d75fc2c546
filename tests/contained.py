"""A server as the first process of a container of its own, on a file system that may be read-only."""

import subprocess
from pathlib import Path
from shutil import which

import pytest

from tests.server import RunningServer

UNSHARE = ("unshare", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child")

contained = pytest.mark.skipif(
    which("unshare") is None or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0,
    reason="only root may make a container, and only Linux can",
)

# Every mounted file system but those of the system itself, the memory of /dev/shm among them.
READ_ONLY = """\
cut -d' ' -f2 /proc/self/mounts | grep -vE '^/(proc|sys|dev)(/|$)' | while read -r point; do
    mount -o remount,bind,ro "$point" || exit 1
done
exec "$@"
"""


def first_process(unshare: int) -> int:
    """Return the number, out here, of the first process of the container that the process ``unshare`` has made."""
    return int(Path(f"/proc/{unshare}/task/{unshare}/children").read_text())


class ContainedServer(RunningServer):
    """Its supervisor is process 1 of a container."""

    def __init__(self, *arguments: str, cwd: Path, read_only: bool = False) -> None:
        super().__init__(*arguments, cwd=cwd)
        if read_only:
            self._command = ["sh", "-c", READ_ONLY, "sh", *self._command]
            # What measures coverage could not keep its figures.
            for name in [name for name in self._environment if name.startswith("COVERAGE")]:
                del self._environment[name]
        self._command = [*UNSHARE, *self._command]

    @property
    def pid(self) -> int:
        return first_process(self._process.pid)

    def children(self) -> set[int]:
        """Return the numbers, out here, of the children of process 1, zombies included."""
        pid = self.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
