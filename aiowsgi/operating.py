"""The commands for a server that runs: how they are given, and how their answers are shown."""

import json
import linecache
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click

from aiowsgi.config import current_folder, load_some
from aiowsgi.http.messages import printable
from aiowsgi.process.remote import PATIENCE, RemoteError, ask, await_end
from aiowsgi.process.runtime import control_path

NOT_ASKED = 2  # exit status: there is no server, or it has not answered
REFUSED = 1  # exit status: it was asked, and could not

# What a server answers, an object of JSON: its keys are told in docs/processes.md.
Answer = Mapping[str, Any]


def _control(control: str | None, config: str | None) -> str:
    """Return the path of the control socket, found as ``serve`` finds it. Raises ConfigError and RemoteError."""
    if not hasattr(os, "fork"):
        raise RemoteError("on this system servers have no control socket")
    given = {"control": control, "config": config}
    settings = load_some(("control", "bind"), given, os.environ, current_folder())
    path = control_path(settings.control, settings.bind[0])
    if path is None:
        raise RemoteError("the settings say that there is no control socket")
    return path


def _run(
    command: dict[str, object], show: Callable[[Answer], str], patience: float | None, **options: Any
) -> int:
    try:
        answer = ask(_control(options["control"], options["config"]), command, patience)
    except RemoteError as error:
        print("aiowsgi:", error, file=sys.stderr)
        return NOT_ASKED
    if isinstance(pid := answer.get("stopped"), int):
        await_end(pid)
    if options["json"]:
        print(json.dumps(answer))
    elif "error" in answer:
        print("aiowsgi:", _plain(str(answer["error"])), file=sys.stderr)
    else:
        print(_plain(show(answer)))
    return REFUSED if "error" in answer else 0


# How answers are shown.


def _plain(text: str) -> str:
    """Return ``text`` with nothing in it that commands a terminal: requests and names of files are others' words."""
    return "".join(letter if letter.isprintable() or letter == "\n" else printable(letter) for letter in text)


_COLUMNS = (
    *("PID", "state", "age", "generation", "requests", "connections", "busy", "queue", "private", "shared"),
)


def _status(answer: Answer) -> str:
    lines = [
        f"aiowsgi {answer['version']}, PID {answer['pid']}, {answer['phase']}, up {_time(answer['uptime'])}",
        *(f"  {address}" for address in answer["addresses"]),
    ]
    rows = [_COLUMNS, *map(_row, answer["workers"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        # Text to the left, numbers to the right.
        cells = (
            text.ljust(width) if number == 1 else text.rjust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(worker: Answer) -> Sequence[str]:
    busy = "-" if worker["busy"] is None else f"{worker['busy']}/{worker['threads']}"
    state = worker["state"] if worker["kind"] == "worker" else f"{worker['kind']}, {worker['state']}"
    if worker["state"] != "starting" and not worker["answers"]:
        state += ", silent"
    return (
        str(worker["pid"]),
        state,
        _time(worker["age"]),
        str(worker["generation"]),
        *("-" if worker[name] is None else str(worker[name]) for name in ("requests", "connections")),
        busy,
        "-" if worker["queue"] is None else str(worker["queue"]),
        *(_size(worker[name]) for name in ("private_memory", "shared_memory")),
    )


def _time(seconds: float) -> str:
    """Write a time as people do, in its two largest units: 3 d 4 h, 12 s."""
    minutes, hours, days = (int(seconds) // unit for unit in (60, 3600, 86400))
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / (1 << 20):.1f} MiB"


def _stacks(answer: Answer) -> str:
    return "\n".join(line for worker in answer["workers"] for line in _worker(worker))


def _worker(worker: Answer) -> Iterator[str]:
    head = f"{worker['kind']} {worker['pid']}, {worker['state']}, {_time(worker['age'])} old"
    if worker["kind"] == "preloader" and worker["answers"]:
        yield f"{head}: waits"
        return
    if not worker["answers"]:
        yield f"{head}: does not answer"
        yield from (f"  {line}" for line in (worker["shown"] or "nothing is known").splitlines())
        return
    yield head
    idle = []
    for thread in worker["threads"]:
        if not thread["stack"] and not thread["request"]:
            idle.append(thread["name"])
            continue
        doing = f": {thread['request']}, {thread['seconds']:.1f} s ago" if thread["request"] else ""
        yield f"  {thread['name']}{doing}"
        for file, line, function in thread["stack"]:
            yield f'    File "{file}", line {line}, in {function}'
            if source := linecache.getline(file, line or 0).strip():
                yield f"      {source}"
    yield f"  idle: {', '.join(sorted(idle))}"


# How they are given.


def _command(
    name: str,
    help: str,
    show: Callable[[Answer], str],
    patience: float | None = PATIENCE,
    argument: click.Argument | None = None,
) -> click.Command:
    def callback(change: int | None = None, **options: Any) -> int:
        command: dict[str, object] = {"command": name}
        if change is not None:
            command["change"] = change
        return _run(command, show, patience, **options)

    return click.Command(
        name,
        callback=callback,
        params=[
            *([argument] if argument is not None else []),
            click.Option(["--json"], is_flag=True, help="Show the answer as JSON."),
            click.Option(
                ["--control"], metavar="PATH", help="The control socket.  [default: found as serve finds it]"
            ),
            click.Option(["--config"], metavar="FILE", help="Read settings from this file."),
        ],
        help=help,
        # A -1 is no option.
        context_settings={"ignore_unknown_options": argument is not None, "max_content_width": 110},
    )


def _change(context: click.Context, parameter: click.Parameter, text: str) -> int:
    if not re.fullmatch("[+-][0-9]{1,4}", text):
        raise click.BadParameter(f"expected +N or -N, got {text!r}", context, parameter)
    return int(text)


COMMANDS = (
    _command("status", "Tell of a running server and its workers.", _status),
    _command(
        "reload",
        "Replace all workers by such that have loaded the code and the settings anew, and wait until they serve.",
        lambda answer: f"reloaded, workers: {answer['workers']}",
        None,
    ),
    _command(
        "workers",
        "Have so many workers more or fewer: +1, -1.",
        lambda answer: f"workers: {answer['workers']}",
        argument=click.Argument(["change"], metavar="+N|-N", callback=_change),
    ),
    _command(
        "stacks", "Show what each thread of each worker is doing, and the request that it serves.", _stacks
    ),
    _command(
        "drain",
        "Have the health path say 503 from now on, and serve all the same until the server is stopped.",
        lambda answer: f"{answer['phase']}: aiowsgi stop is the next step",
    ),
    _command(
        "stop", "Stop a server as SIGTERM does, and wait until it is gone.", lambda answer: "stopped", None
    ),
)
