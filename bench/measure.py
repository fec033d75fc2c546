"""CPU time and memory of a process tree, as /proc tells them (proc(5))."""

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _CPU = 1, slice(11, 15)  # of the fields behind the process' name: ppid; utime, stime, cutime, cstime


def _fields(process: int) -> list[str]:
    # The name stands in parentheses and may hold spaces and parentheses itself.
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):  # gone since the listing
                children.setdefault(int(_fields(int(folder))[_PARENT]), []).append(int(folder))
    return children


def _tree(root: int) -> dict[int, list[int]]:
    """Return each process of the tree below and with ``root``, and its children."""
    children = _children()
    tree: dict[int, list[int]] = {}
    waiting = [root]
    while waiting:
        process = waiting.pop()
        tree[process] = children.get(process, [])
        waiting += tree[process]
    return tree


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a process tree since its start, user and system, in seconds.

    Children that have ended count too, once they were waited for. Its grain is a clock tick, usually 10 ms.
    Raises FileNotFoundError when ``root`` has ended and was waited for.
    """
    return sum(int(ticks) for process in _tree(root) for ticks in _fields(process)[_CPU]) / _TICKS


def private_bytes(root: int) -> int:
    """Return the memory that the workers of a process tree share with no other process (USS), in bytes.

    Workers are the processes without children: a supervisor that is not touched costs nothing per connection,
    and what a worker only copies from it on write would be counted twice.
    """
    return sum(_uss(process) for process, children in _tree(root).items() if not children)


def _uss(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    kibibytes = (
        int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))
    )
    return 1024 * sum(kibibytes)
