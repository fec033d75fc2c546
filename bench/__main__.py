"""The command line of the benchmark: ``python -m bench``."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from bench import certificate
from bench.certificate import write_certificate
from bench.files import write_files
from bench.load import raise_descriptor_limit
from bench.loads import Plan
from bench.report import Outcome, facts, machine, table
from bench.run import run
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import HOST, ROOT, SHOWN_FOLDER, SHOWN_PORT, Server, as_typed

OURS = "aiowsgi"
SERVERS = {server.name: server for scenario in SCENARIOS for server in scenario.servers}
SPARE_DESCRIPTORS = 100  # a process' own files beside its connections

HELP = f"""\
Measure aiowsgi beside other servers on this machine.

Each server is started in turn on one core, checked to answer rightly, and loaded from another core; a round
is one turn of every server, so that a drift of the machine hits all alike. The figures are medians of the
rounds; the ratio to a server is taken within each round, then its median. CPU time is that of the server's
whole process tree. A server that gives a wrong answer, drops a connection or does not start has no figures,
and the reason is told. Other work on the machine spoils the figures: look at the load average on the page.

It needs Linux, wrk and taskset. Servers that are not installed are skipped: pip install '.[bench]' gets them;
bjoern is compiled and needs a C compiler and libev, nginx is no Python package (Debian has nginx, wrk and
libev-dev).
The exit status is 1 when {OURS} has no figures somewhere.

Scenarios:

\b
"""


def _help() -> str:
    return HELP + "\n".join(f"  {scenario.name:16}{scenario.title}" for scenario in SCENARIOS)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _installed(chosen: Sequence[str]) -> list[Server]:
    servers = [server for name, server in SERVERS.items() if name in chosen or not chosen]
    for server in servers:
        if not server.installed():
            _tell(f"{server.name} is not installed: skipped")
    return [server for server in servers if server.installed()]


def _possible(chosen: Sequence[str]) -> list[Scenario]:
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in chosen or not chosen]
    for scenario in scenarios:
        if not scenario.possible():
            _tell(f"{scenario.name} needs {scenario.needs}, which is not installed: skipped")
    return [scenario for scenario in scenarios if scenario.possible()]


def _check(plan: Plan, servers: Sequence[Server], scenarios: Sequence[Scenario]) -> None:
    needed = ["wrk", "taskset", *(["openssl"] if any(one.site.tls for one in scenarios) else [])]
    missing = [program for program in needed if shutil.which(program) is None]
    if missing:
        raise click.ClickException(f"not found: {', '.join(missing)}")
    if not servers or not scenarios:
        raise click.ClickException("nothing to measure")
    most = raise_descriptor_limit() - SPARE_DESCRIPTORS
    for scenario in scenarios:
        if (asked := scenario.load.descriptors(plan)) > most:
            raise click.ClickException(
                f"{scenario.name}: {asked:,} connections in a process, but the limit of open files allows {most:,}"
            )


def _head(servers: Sequence[Server], plan: Plan, cores: Sequence[int]) -> list[str]:
    # It exits with status 1 after telling its version.
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, timeout=10, check=False).stdout
    rows = machine() | {
        "cores": f"{len(cores)}: servers on number {plan.server_core}, load on number {plan.load_core}",
        **{server.name: server.version() for server in servers},
        "wrk": wrk.split()[1],
        "rounds": f"{plan.rounds} of {plan.seconds} s each",
        "command": f"`{shlex.join(['python', '-m', 'bench', *sys.argv[1:]])}`",
    }
    return ["# Speed and memory of aiowsgi beside its peers", "", *facts(rows)]


def _section(
    scenario: Scenario, servers: Sequence[Server], outcomes: dict[str, Outcome], plan: Plan
) -> list[str]:
    load = scenario.load
    commands = [] if scenario.site.application else [f"python -m bench.files {SHOWN_FOLDER}"]
    commands += [shlex.join(certificate.command(SHOWN_FOLDER, HOST))] if scenario.site.tls else []
    commands += [as_typed(server.command(scenario.site, SHOWN_PORT, plan.server_core)) for server in servers]
    return [
        f"## {scenario.name}",
        "",
        f"{scenario.title}. {scenario.details}".rstrip(),
        "",
        *table(load.columns, load.compared, outcomes, OURS),
        *["```sh", *commands, load.command(scenario.site, plan), "```", ""],
    ]


def _measure(scenarios: Sequence[Scenario], servers: Sequence[Server], plan: Plan) -> tuple[list[str], bool]:
    """Return the sections of the page, and whether aiowsgi has figures wherever it was asked."""
    if any(not one.site.application for one in scenarios):
        write_files(plan.folder)
    if any(one.site.tls for one in scenarios):
        write_certificate(plan.folder, HOST)
    page: list[str] = []
    complete = True
    for one in scenarios:
        asked = [each for each in one.servers if each in servers]
        if not asked:
            continue
        outcomes = run(one, asked, plan, _tell)
        complete = complete and not (OURS in outcomes and outcomes[OURS].failure)
        page += _section(one, asked, outcomes, plan)
    return page, complete


@click.command(help=_help(), context_settings={"max_content_width": 110})
@click.option(
    "--scenario", multiple=True, type=click.Choice([one.name for one in SCENARIOS]), help="[default: all]"
)
@click.option("--server", multiple=True, type=click.Choice(list(SERVERS)), help="[default: all]")
@click.option("--rounds", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option(
    "--seconds", type=click.IntRange(1, 600), default=4, show_default=True, help="Of load, in each round."
)
@click.option(
    "--connections",
    type=click.IntRange(1, 1_000_000),
    help="[default: 64]  Some scenarios have their own number always.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "bench" / "results" / "latest.md",
    help="The page of results, in Markdown.  [default: bench/results/latest.md]",
)
def main(
    scenario: tuple[str, ...],
    server: tuple[str, ...],
    rounds: int,
    seconds: int,
    connections: int | None,
    output: Path,
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    servers, scenarios = _installed(server), _possible(scenario)
    # A kill ends the servers as Ctrl-C does; this program's own work stays off the servers' core.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="aiowsgi-bench-") as folder:
        plan = Plan(rounds, seconds, connections, cores[-1], cores[0], Path(folder))
        _check(plan, servers, scenarios)
        page = _head(servers, plan, cores)
        os.sched_setaffinity(0, {plan.load_core})
        sections, complete = _measure(scenarios, servers, plan)
        page += sections
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("\n".join(page))
    click.echo("\n".join(page))
    if not complete:
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m bench")
