"""The command `sim`: a world of nodes that goes through trouble and must agree in the end."""

from typing import TYPE_CHECKING, Final

from lognode.cli.options import Flag, Json
from lognode.cli.output import print_json, print_rows, print_text
from lognode.core.errors import CallerError

if TYPE_CHECKING:
    from lognode.sim.simulation import Outcome

EXIT_DISAGREED: Final = 1


def sim(
    *,
    seed: int = 0,
    nodes: int | None = None,
    trace: Flag = False,
    json: Json = False,
) -> int:
    """Play a federation of nodes in this process, from a seed.

    The nodes write, join, are thrown out, crash and lose messages; sometimes one of them lies. Then the network heals,
    and all of them must hold the same within few rounds. It is the real protocol, membership and store, on clocks,
    disks and a network made from the seed, so one seed gives one trace everywhere.

    The liar is a member that sends the others what breaks the protocol; they must agree in spite of it. Rounds are how
    often, once the network healed, each pair of neighbours compared itself until all held the same, and how often it
    may. Pieces, where there are any, are groups of members that do not know of each other, because the node that let
    them in was thrown out; each must agree within itself. State is one hash over all that a node holds, as in
    'lognode status', and Trace one over all that happened: two runs with the same trace went the same way.

    Parameters
    ----------
    seed
        Which world.
    nodes
        How many nodes, 2 to 20; by default the seed says.
    trace
        Print what happens, line by line.

    Examples
    --------
    $ lognode sim --seed 7
    $ lognode sim --seed 7 --nodes 5 --trace

    Notes
    -----
    Exit code 0 when all agreed, 1 otherwise.
    """
    from lognode.sim.simulation import NODES_MAX, NODES_MIN, scenario_of, simulate

    if nodes is not None and not NODES_MIN <= nodes <= NODES_MAX:
        raise CallerError("usage.invalid", f"--nodes takes {NODES_MIN} to {NODES_MAX}")
    scenario = scenario_of(seed, nodes)
    outcome = simulate(scenario, print_text if trace else None)
    verdict = outcome.verdict
    if json:
        shown = {**outcome._asdict(), "scenario": scenario._asdict(), "verdict": verdict._asdict()}
        print_json(shown)
        return 0 if verdict.converged else EXIT_DISAGREED
    _print(outcome)
    return 0 if verdict.converged else EXIT_DISAGREED


def _print(outcome: "Outcome") -> None:
    scenario, verdict = outcome.scenario, outcome.verdict
    print_rows(
        {
            "Nodes": f"{scenario.nodes}, of which {verdict.members} are members in the end",
            **({"Pieces": str(verdict.pieces)} if verdict.pieces > 1 else {}),
            "Liar": f"one that {scenario.liar}" if scenario.liar else "none",
            "Events": f"{outcome.events}, {outcome.crashes} crashes, {outcome.spans} spans acknowledged",
            "Rounds": f"{verdict.rounds} of at most {verdict.rounds_max}",
            "State": verdict.state,
            "Trace": outcome.trace,
        }
    )
    for fault in verdict.faults:
        print_text(f"Fault: {fault}")
    print_text("They agree." if verdict.converged else "They disagree.")
