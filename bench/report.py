"""Rounds of figures as a table: medians, ratios to each peer, and why a cell has none."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Column:
    """One figure of a table: its key, its title with the unit, how its number is written."""

    key: str
    title: str
    number: str = ",.0f"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a server's rounds gave, in the order of the rounds, or why it has no figures."""

    rounds: Sequence[Figures]
    failure: str = ""


def ratio(ours: Outcome, peer: Outcome, key: str) -> float | None:
    """Return the median over the rounds of our figure divided by the peer's.

    It is None where one has failed, or where the peer's is nothing, as that of memory may be.
    Within a round the two ran one after the other, so a drift of the machine from round to round cancels out.
    """
    if ours.failure or peer.failure or not all(its[key] for its in peer.rounds):
        return None
    return median(mine[key] / its[key] for mine, its in zip(ours.rounds, peer.rounds, strict=True))


def table(
    columns: Sequence[Column], compared: Column, outcomes: Mapping[str, Outcome], ours: str
) -> list[str]:
    """Return the lines of a Markdown table, a row for each server.

    ``compared`` is the column of the ratio, which is told where ``ours``, the name of a server, took part.
    """
    titles = ["server", *(column.title for column in columns), f"{compared.title}: lowest to highest"]
    if ours in outcomes:
        titles.append(f"{compared.title}: {ours} / this")
    lines = [_row(titles), _row(["---"] + ["---:"] * (len(titles) - 1))]
    for server, outcome in outcomes.items():
        cells = [server, *_figures(columns, compared, outcome)]
        if ours in outcomes:
            cells.append(_ratio_text(ratio(outcomes[ours], outcome, compared.key)))
        lines.append(_row(cells))
    failures = [
        f"- {server} has no figures: {outcome.failure}"
        for server, outcome in outcomes.items()
        if outcome.failure
    ]
    return [*lines, "", *failures, ""] if failures else [*lines, ""]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _figures(columns: Sequence[Column], compared: Column, outcome: Outcome) -> list[str]:
    if outcome.failure:
        return ["invalid"] * (len(columns) + 1)
    medians = [
        format(median(figures[column.key] for figures in outcome.rounds), column.number) for column in columns
    ]
    values = [figures[compared.key] for figures in outcome.rounds]
    return [*medians, f"{min(values):{compared.number}} to {max(values):{compared.number}}"]


def _ratio_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def machine() -> dict[str, str]:
    """Return the facts a figure depends on, by name."""
    model = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "CPU": model[1] if model else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": f"{platform.system()} {platform.release()}",
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def facts(rows: Mapping[str, str]) -> list[str]:
    """Return the lines of a Markdown table of two columns."""
    return [_row(["", ""]), _row(["---", "---"]), *(_row(row) for row in rows.items()), ""]
