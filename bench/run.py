"""One scenario: its servers in turn, round after round."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.loads import Plan
from bench.report import Figures, Outcome
from bench.running import running
from bench.scenarios import Scenario
from bench.servers import Failed, Server


def run(
    scenario: Scenario, servers: Sequence[Server], plan: Plan, tell: Callable[[str], None]
) -> dict[str, Outcome]:
    """Measure each server once a round, in the same order, and return the outcomes by their names.

    A server that fails is not asked again. ``tell`` gets a line for each measurement.
    """
    rounds: dict[str, list[Figures]] = {server.name: [] for server in servers}
    failures: dict[str, str] = {}
    compared = scenario.load.compared
    site = replace(scenario.site, folder=plan.folder)
    count = min(plan.rounds, scenario.most_rounds or plan.rounds)
    for number in range(1, count + 1):
        for server in servers:
            if server.name in failures:
                continue
            try:
                with running(server, site, plan.server_core) as started:
                    figures = scenario.load.measure(started, plan)
            except Failed as failure:
                failures[server.name] = told = str(failure)
            else:
                rounds[server.name].append(figures)
                told = f"{figures[compared.key]:{compared.number}} {compared.title}"
            tell(f"{scenario.name}, round {number} of {count}, {server.name}: {told}")
    return {name: Outcome(figures, failures.get(name, "")) for name, figures in rounds.items()}
