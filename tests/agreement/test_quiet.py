"""A federation of three real daemons: it goes quiet, and what was cosigned until then is proof by a policy.

The minute of silence is one test of its own, during which the other half of the tests runs in CI.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lognode.timeline.proof.checkpoint import parse_note
from tests.agreement.idle import Idleness, federation, watch
from tests.federation.daemons import Node

QUIET_S = 60


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Node]]:
    with federation(tmp_path_factory.mktemp("federation")) as nodes:
        yield nodes


def test_a_proof_names_who_had_seen_the_tree_and_passes_by_the_policy_that_a_node_writes(
    nodes: Sequence[Node], tmp_path: Path
) -> None:
    first, second, _ = nodes
    (span,) = [span["id"] for span in second.client.spans() if span["node"] == first.key and span["title"]]
    proof, policy = str(tmp_path / "a.tlog-proof"), str(tmp_path / "members.policy")
    second.command.text("prove", span, "-o", proof)
    # Any node may be asked, by anybody's policy: keys are the same everywhere.
    first.command.text("member", "policy", "--quorum", "2", "-o", policy)
    assert second.command.text("member", "policy", "--quorum", "2") == Path(policy).read_text().removesuffix("\n")
    shown = second.command.json("check-proof", proof, "--policy", policy)
    assert (shown["ok"], shown["span"], len(shown["cosigned"])) == (True, span, 2)
    assert "Cosigned by 2 of its witnesses" in second.command.text("check-proof", proof, "--policy", policy)
    # The proof of the author itself has the same cosignatures: it signs its own tree once more.
    assert parse_note(first.client.checkpoint(cosigned=True)) == parse_note(
        second.client.checkpoint(shown["feed"], cosigned=True)
    )

    strict = tmp_path / "strict.policy"
    strict.write_text(first.command.text("member", "policy", "--quorum", "3") + "\n")
    refused = second.command.run("check-proof", proof, "--policy", str(strict), "--json")
    assert (refused.returncode, json.loads(refused.stderr)["code"]) == (1, "policy.unmet")
    beyond = first.command.run("member", "policy", "--quorum", "9")
    assert (beyond.returncode, b"'lognode member list' shows them" in beyond.stderr) == (2, True)
    changed = Path(proof).read_text().replace("/witness/", "/witnes/")
    refused = second.command.run("check-proof", "-", "--policy", policy, stdin=changed.encode())
    assert b"policy.unmet" in refused.stderr
    strict.write_text("quorum most\n")
    refused = second.command.run("check-proof", proof, "--policy", str(strict))
    assert (refused.returncode, b"policy.malformed" in refused.stderr, b"line 1" in refused.stderr) == (2, True, True)
    assert second.command.run("check-proof", proof, "--policy", f"@{policy}").returncode == 0


def test_nobody_writes_a_span_while_nobody_writes(nodes: Sequence[Node]) -> None:
    found: Idleness = watch(nodes, QUIET_S)
    print(f"CPU seconds in {QUIET_S} s: {found.cpu_s}")
    assert found.spans == 0
