"""What an operator can ask of a supervisor: the commands of the control socket, and their answers.

An answer is an object of JSON. One with the key ``error`` says in a text why the command was not carried out.
"""

import time
from collections.abc import Callable, Collection
from typing import Protocol, cast

from aiowsgi.process.child import Child
from aiowsgi.process.control import Reply
from aiowsgi.process.places import Done
from aiowsgi.process.questions import PATIENCE, Answers, Questions
from aiowsgi.version import __version__

_MOST_WORKERS = 100  # more, or fewer, by one command


class Operated(Protocol):
    """A supervisor, as far as commands go."""

    @property
    def phase(self) -> str:
        """What it is doing, in a word."""

    @property
    def children(self) -> Collection[Child]: ...

    @property
    def workers(self) -> int:
        """How many there should be."""

    def change(self, count: int) -> str:
        """Have so many workers more, or fewer; return why that cannot be, or nothing."""

    def reload(self, done: Done) -> None: ...

    def drain(self) -> None: ...

    def stop(self) -> None: ...


class Commands:
    """Carries out commands."""

    def __init__(self, operated: Operated, questions: Questions, pid: int, addresses: list[str]) -> None:
        """``addresses`` are where the server listens, ``pid`` is its process."""
        self._operated = operated
        self._questions = questions
        self._pid = pid
        self._addresses = addresses
        self._begun = time.monotonic()
        self._stops: list[Reply] = []  # who waits for the end
        self._commands: dict[object, Callable[[dict[str, object], Reply], None]] = {
            "status": self._status,
            "stacks": self._stacks,
            "workers": self._workers,
            "reload": self._reload,
            "drain": self._drain,
            "stop": self._stop,
        }

    def do(self, command: dict[str, object], reply: Reply) -> None:
        """Carry out ``command``, and give ``reply`` its answer."""
        name = command.get("command")
        act = self._commands.get(name) if isinstance(name, str) else None
        if act is None:
            reply({"error": f"expected one of the commands {', '.join(map(str, self._commands))}"})
        else:
            act(command, reply)

    def end(self) -> None:
        """Tell those who wait for it that no worker is left."""
        for reply in self._stops:
            reply({"stopped": self._pid})

    def _workers(self, command: dict[str, object], reply: Reply) -> None:
        change = command.get("change")
        operated = self._operated
        if type(change) is not int or not 0 < abs(change) <= _MOST_WORKERS:
            reply({"error": f"expected a change from 1 to {_MOST_WORKERS}, or the same below 0"})
        elif operated.workers + change < 1:
            reply({"error": f"of {operated.workers} workers one has to stay"})
        elif refusal := operated.change(change):
            reply({"error": refusal})
        else:
            reply({"workers": operated.workers})

    def _reload(self, command: dict[str, object], reply: Reply) -> None:
        self._operated.reload(
            lambda outcome: reply({"error": outcome} if outcome else {"workers": self._operated.workers})
        )

    def _drain(self, command: dict[str, object], reply: Reply) -> None:
        self._operated.drain()
        reply({"phase": self._operated.phase})

    def _stop(self, command: dict[str, object], reply: Reply) -> None:
        self._stops.append(reply)
        self._operated.stop()

    def _status(self, command: dict[str, object], reply: Reply) -> None:
        children = list(self._operated.children)

        def tell(answers: Answers) -> None:
            reply(
                {
                    "version": __version__,
                    "pid": self._pid,
                    "phase": self._operated.phase,
                    "uptime": time.monotonic() - self._begun,
                    "addresses": self._addresses,
                    "workers": [
                        row for child in children for row in _rows(child, answers.get(child), _FIGURES)
                    ],
                }
            )

        self._ask("status", children, tell)

    def _stacks(self, command: dict[str, object], reply: Reply) -> None:
        """Ask those that are ready; have those that are not, or do not answer, shown by a signal."""
        children = list(self._operated.children)

        def tell(answers: Answers, shown: Answers) -> None:
            rows = [row for child in children for row in _rows(child, answers.get(child), ("threads",))]
            texts = {child.pid: text for child, text in shown.items()}
            reply({"workers": [{"shown": texts.get(cast(int, row["pid"])), **row} for row in rows]})

        def show(answers: Answers) -> None:
            silent = [child for child in children if child not in answers]
            if silent:
                self._questions.show_stacks(silent, lambda shown: tell(answers, shown))
            else:
                tell(answers, {})

        self._ask("stacks", children, show)

    def _ask(self, question: str, children: list[Child], done: Callable[[Answers], object]) -> None:
        """Ask those that are ready, for who still loads cannot answer. A preloader has to ask its workers in turn."""
        asked = [child for child in children if child.ready]
        times = 2 if any(child.leads for child in asked) else 1
        self._questions.ask(asked, question, done, seconds=times * PATIENCE)


_FIGURES = (
    *("requests", "connections", "threads", "busy", "queue"),
    *("private_memory", "shared_memory"),
)


def _rows(child: Child, answer: object, names: Collection[str]) -> list[dict[str, object]]:
    """Return what is known of a worker, with ``names`` from its answer; of a preloader, also that of its workers."""
    given = answer if isinstance(answer, dict) else {}
    row: dict[str, object] = {
        "pid": child.pid,
        "kind": "preloader" if child.leads else "worker",
        "state": child.state,
        "age": time.monotonic() - child.started_at,
        "generation": child.generation,
        "answers": bool(given),
        **{name: given.get(name) for name in names},
    }
    below = given.get("workers", ()) if child.leads else ()
    return [row, *({**each, "generation": child.generation} for each in below)]
