"""After any trouble all members hold the same, in every world of many seeds."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from lognode.cli.commands.evidence.simulation import sim
from lognode.sim.simulation import Scenario, scenario_of, simulate
from tests.cli.lognode_command import Lognode
from tests.sim.test_variants import skip_one_feed
from tests.sim.worlds import faults_in, worst_of

SEEDS: Final = 300
PARTS: Final = 6
# Worlds in which something once went wrong.
REGRESSIONS: Final = [
    Scenario(0, 4),
    Scenario(72, 3),
    Scenario(187, 4, "censors"),
    Scenario(287, 3),
    Scenario(2544, 6, "censors"),  # a refused range left numbers of kinds behind, which others then got
    # Feeds of nodes whose admission turned out void were held by some and refused by others, for ever.
    Scenario(28300, 9, "forks"),
    Scenario(29641, 7),
    # A clone proved that its feed forks in that same feed, where the proof did not count; nobody came to know it.
    Scenario(181, 7, recoveries=True, copies=True),
    # A feed that was opened after a clock had run ahead began before what was settled.
    Scenario(548, 9, "forks", copies=True),
    # Two clones restored one span, and which copy was before the other was the order of rows.
    Scenario(302, 4, copies=True),
    # A fork was known to observers alone, which could not tell the others.
    Scenario(344, 3, copies=True),
    # What a node that was put back got back of its former feed came before what it had called settled.
    Scenario(2451, 4, copies=True),
    Scenario(25400, 5, copies=True),  # by way of a newer backup
    # What a node had forgotten behind a fork, others had, and it never asked for it.
    Scenario(20787, 3, copies=True),
    # Who changes what it gives holds the other history of a fork: what it gives of that proves nothing.
    Scenario(3303, 7, "corrupts", recoveries=True, copies=True),
    # An observer held the third history of a feed, which parts earlier than the two that the others know.
    Scenario(32052, 4, "forks", recoveries=True, copies=True),
    # One with a clock that ran ahead let somebody in, who began long before that.
    Scenario(35376, 3, copies=True),
    # A removed node was dialled, and held what its caller had forgotten.
    Scenario(985, 2, recoveries=True, copies=True),
    # Who is a member in the end was told without a fork of the founder's that an observer alone had found.
    Scenario(50924, 2, recoveries=True, copies=True),
    # What a node had forgotten was with one member alone, which it never asked.
    Scenario(52523, 6, recoveries=True, copies=True),
    # What a clone had named was no news to the other, which then wrote as if it knew nothing of it.
    Scenario(52840, 4, "forks", copies=True),
    # Two clones restored one span at one time, and a resolution chose the copy that had come first, on each its own.
    Scenario(60434, 5, "skips", copies=True),
    # A liar was let in behind a fork of who did, so that nobody compared the two histories of its feed.
    Scenario(100467, 5, "forks", recoveries=True, copies=True),
    # Who hid firings went on counting by the places that these had had.
    Scenario(106349, 5, recoveries=True, rules=True, tampers="hides"),
    # Rules that count no more were what others had reacted by.
    Scenario(106360, 4, recoveries=True, rules=True, tampers="miscounts"),
]


@pytest.mark.parametrize("part", range(PARTS))
def test_all_members_agree_in_every_world(part: int) -> None:
    assert not faults_in(scenario_of(seed) for seed in range(part, SEEDS, PARTS))


def test_all_members_agree_where_all_trouble_comes_together() -> None:
    assert not faults_in(worst_of(seed) for seed in range(20))


@pytest.mark.parametrize("scenario", REGRESSIONS, ids=str)
def test_what_once_went_wrong_does_not_again(scenario: Scenario) -> None:
    assert not faults_in([scenario])


@pytest.mark.parametrize("nodes", [2, 20])
def test_few_and_many_nodes_agree(nodes: int) -> None:
    assert not faults_in(scenario_of(seed, nodes) for seed in range(2))


def test_one_seed_has_one_trace_in_any_process() -> None:
    script = "from lognode.sim.simulation import *\nprint([simulate(scenario_of(seed)).trace for seed in range(5)])"
    traces = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in (1, 2)
    }
    assert len(traces) == 1
    assert traces == {f"{[simulate(scenario_of(seed)).trace for seed in range(5)]}\n"}


def test_the_command_tells_what_came_of_a_world(tmp_path: Path) -> None:
    told = Lognode(tmp_path).json("sim", "--seed", "7", "--nodes", "3")
    outcome = simulate(scenario_of(7, 3))
    assert told["trace"] == outcome.trace
    assert told["verdict"]["converged"] is True
    assert told["verdict"]["state"] == outcome.verdict.state

    refused = Lognode(tmp_path).run("sim", "--nodes", "21")
    assert refused.returncode == 2
    assert b"2 to 20" in refused.stderr


def test_the_command_fails_where_they_disagree(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    skip_one_feed(monkeypatch)
    ended = [sim(seed=seed, nodes=4) for seed in range(3)]
    assert 1 in ended
    assert "They disagree" in capfd.readouterr().out
