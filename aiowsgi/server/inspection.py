"""What a worker tells of itself when its supervisor asks: figures, memory, and where its threads are."""

from collections.abc import Mapping
from functools import partial

from aiowsgi.server.answering import Answer, Reply
from aiowsgi.server.shared import Errand, Shared
from aiowsgi.wsgi.callpool import CallPool
from aiowsgi.wsgi.pool import Pool, attempt
from aiowsgi.wsgi.serial import OneThread
from aiowsgi.wsgi.stacks import stacks

# Frames of a stack that are told, from its innermost one: a recursion may have a thousand.
MOST_FRAMES = 100

_BELOW = [attempt.__code__, CallPool._work.__code__, Pool._work.__code__, OneThread._work.__code__]


def answers(shared: Shared) -> Mapping[str, Answer]:
    """Return the answers to ``status`` and ``stacks``."""
    return {"status": partial(_status, shared), "stacks": partial(_stacks, shared)}


def _status(shared: Shared, details: object, reply: Reply) -> None:
    figures: dict[str, int | None] = {
        "requests": shared.requests,
        "connections": len(shared.connections),
        "threads": shared.pool.threads,
        "busy": len(shared.pool.served()),
        "queue": shared.pool.waiting,
    }

    def measure() -> None:
        figures["private_memory"], figures["shared_memory"] = memory()

    # By a thread, for the kernel looks at each page: 10 ms for a GiB.
    shared.disk.submit(Errand(shared.disk, measure, lambda error: reply(figures)))


def _stacks(shared: Shared, details: object, reply: Reply) -> None:
    served = shared.pool.served()
    threads: list[dict[str, object]] = []
    for ident, name, stack in stacks(_BELOW):
        call, seconds = served.get(ident, (None, None))
        threads.append(
            {
                "name": name,
                "request": None if call is None else str(call),
                "seconds": seconds,
                "stack": [[each.filename, each.lineno, each.name] for each in stack[-MOST_FRAMES:]],
            }
        )
    reply({"threads": threads})


def memory() -> tuple[int | None, int | None]:
    """Return the bytes of memory in use by this process that it has alone, and those that it shares with others.

    None where the system does not tell: it is Linux from 4.14 on that does (proc_pid_smaps(5)).
    """
    try:
        with open("/proc/self/smaps_rollup", "rb", 0) as file:
            lines = file.read().splitlines()
    except OSError:
        return None, None
    sizes = {line.partition(b":")[0]: int(line.split()[1]) << 10 for line in lines[1:]}
    private = sizes[b"Private_Clean"] + sizes[b"Private_Dirty"]
    return private, sizes[b"Rss"] - private
