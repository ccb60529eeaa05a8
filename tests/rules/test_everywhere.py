"""A decision depends on no process: not on its seed of hashes, nor on what it judged before."""

import sys
from hashlib import sha256
from os import environ
from subprocess import run
from typing import Final

import msgspec

from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.verdict import evaluate
from tests.house import ROOT
from tests.rules.judged import NO_PAST, draft_facts, rules_of

RULES: Final = """
    rules: s
    variables: {a: 1, b: x}
    do:
      - id: one
        on: draft
        windows: {w: {over: 5m, by: data.a, distinct: data.b}, v: {over: 1h, by: data.a}}
        last: {l: {subject: subject}}
        when: "windows.w + windows.v > 1 && !has(last.l) && data.list.exists(x, x == vars.a) && vars.b == 'x'"
        then: [{add_tag: [z, a, "{data.map}"]}, {set_metadata: {map: "{data.map}", set: "{annotations.tags}"}}]
      - id: two
        on: draft
        if: {all: [{contains_tag: z}, {equals: {annotations.metadata.map: {k: [1], j: 2}}}, {when: data.none > 1}]}
        then: [{reject: never}]
      - {id: three, on: draft, depends_on: [one], if: {exists: annotations.metadata.set}, then: [{simulate: "{kind}"}]}
"""


def told() -> str:
    """The hash of a decision in which much is read in no order of its own."""
    said = {"data": {"map": {"j": 2, "k": [1]}, "list": [3, 2, 1], "a": 1, "b": "y"}, "tags": ["t", "s"]}
    decision = evaluate(compile_rules([rules_of(RULES)]), draft_facts(said), NO_PAST, gate=True, traces=True)
    assert [step.outcome for step in decision.steps] == ["fired", "fired", "failed"]
    return sha256(msgspec.json.encode(decision)).hexdigest()


def test_a_decision_is_the_same_in_any_process() -> None:
    script = "from tests.rules.test_everywhere import told; print(told())"
    found = {told()}
    for seed in ("1", "2"):
        environment = {**environ, "PYTHONHASHSEED": seed}
        done = run(
            [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        found.add(done.stdout.strip())

    assert len(found) == 1
