"""Worlds of many seeds, and what breaks in them."""

from collections.abc import Iterable

from lognode.sim.machines.liar import FORKS, STYLES
from lognode.sim.simulation import Scenario, chance, scenario_of, simulate


def worst_of(seed: int) -> Scenario:
    """A world in which somebody lies, nodes leave and are revoked, and disks are put back and cloned."""
    random = chance(f"wide {seed}")
    nodes, liar = random.choice((4, 4, 5, 6, 7)), random.choice([*sorted(STYLES), FORKS])
    return Scenario(seed, nodes, liar, recoveries=True, copies=True)


def faults_in(scenarios: Iterable[Scenario]) -> list[str]:
    """What is wrong in these worlds, each with what makes it again."""
    found = []
    for scenario in scenarios:
        outcome = simulate(scenario)
        found += [
            f"{scenario}, lognode sim --seed {scenario.seed} --nodes {scenario.nodes}: {fault}"
            for fault in outcome.verdict.faults
        ]
    return found


def is_found(scenarios: Iterable[Scenario]) -> bool:
    """Whether any of these worlds shows that something is broken, be it by an exception."""
    for scenario in scenarios:
        try:
            outcome = simulate(scenario)
        except BaseExceptionGroup:
            return True
        if not outcome.verdict.converged:
            return True
    return False


__all__ = ["faults_in", "is_found", "scenario_of", "worst_of"]
