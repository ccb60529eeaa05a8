"""The reference of rules tells all there is, and its examples do what it says; the schema of rules agrees with both."""

import json
import re
import sys
from subprocess import run
from typing import Any, Final

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings

from lognode.core.draft import parse_json_draft
from lognode.core.ids import LogLineKind, logline
from lognode.rules.document import FACTS, NOTE_SHAPES
from lognode.rules.evaluation.decision import Decision
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.verdict import evaluate
from lognode.rules.grammar.reading import read_rule_set
from lognode.rules.grammar.schema import rules_schema
from lognode.rules.grammar.shapes.actions import (
    ACTIONS,
    APPROVAL_FIELDS,
    APPROVAL_ROLES,
    EMIT_FIELDS,
    NOTIFY_FIELDS,
    SCHEDULE_FIELDS,
)
from lognode.rules.grammar.shapes.conditions import CONDITIONS
from lognode.rules.grammar.shapes.rules import RULE_FIELDS, SET_FIELDS
from lognode.rules.grammar.shapes.windows import LAST_FIELDS, WINDOW_FIELDS
from tests.house import ROOT
from tests.rules.documents import FULL, documents

PAGE: Final = (ROOT / "docs/rules.md").read_text("utf-8")
SCHEMA: Final = rules_schema()
DRAFT: Final[dict[str, Any]] = json.loads(re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0])
SETS: Final = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows_of(text: str) -> list[list[str]]:
    """Cells of all rows of tables; the first one as a name without its quotes."""
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return [[cells[0].strip("` "), *cells[1:]] for cells in rows]


CONDITION_ROWS: Final = {name: cells for name, *cells in rows_of(section("Conditions"))}
ACTION_ROWS: Final = {name: cells for name, *cells in rows_of(section("Actions"))}


def judged(rule: str) -> Decision:
    """What a rule on the reference's draft comes to; `rule` are its lines behind id and kinds."""
    found = read_rule_set(f"rules: s\ndo:\n- id: a\n{rule}".encode(), is_json=False)
    draft, _ = parse_json_draft(json.dumps(DRAFT).encode())
    facts = Facts.of_draft(draft, Writer(logline(LogLineKind.NODE, bytes(32)), "trusted"), hlc=1 << 56)
    nothing: Any = None  # in place of the past, of which no example asks
    return evaluate(compile_rules([found]), facts, nothing, gate=found.rules[0].gate)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_holds_where_the_reference_says_so(name: str) -> None:
    _, holds, does_not = CONDITION_ROWS[name]

    for example, outcome in ((holds, "fired"), (does_not, "not")):
        if example.startswith("`"):
            text = example.strip("` ")
            assert text.startswith(f"{name}:")
            steps = judged(f"  on: draft\n  if:\n    {text}\n  then: [{{note: x}}]\n").steps
            assert steps[0].outcome == outcome, text
        else:
            assert (name, outcome) == ("always", "not")


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_does_what_the_reference_says(name: str) -> None:
    _, example, comes_to = ACTION_ROWS[name]
    phase = "draft" if ACTIONS[name].gate else "commit"

    decision = judged(f"  on: {phase}\n  kinds: order.placed\n  then:\n  - {example.strip('` ')}\n")

    deed = json.loads(msgspec.json.encode(decision.effects[0].deed))
    expected = json.loads(comes_to.strip("` "))
    assert {key: deed[key] for key in expected} == expected


@pytest.mark.parametrize("number", range(len(SETS)))
def test_a_rule_set_of_the_reference_has_no_mistake(number: int) -> None:
    assert read_rule_set(SETS[number].encode(), is_json=False).rules


def test_the_reference_names_everything() -> None:
    names = {
        "The set": SET_FIELDS,
        "A rule": RULE_FIELDS,
        "Windows": WINDOW_FIELDS,
        "Last spans": LAST_FIELDS,
        "Facts and paths": (*FACTS, *(f"annotations.{name}" for name in NOTE_SHAPES)),
        "Conditions": tuple(CONDITIONS),
        "Actions": (*ACTIONS, *APPROVAL_FIELDS, *APPROVAL_ROLES, *EMIT_FIELDS, *NOTIFY_FIELDS, *SCHEDULE_FIELDS),
    }
    missing = [
        f"{title}: {name}"
        for title, known in names.items()
        for name in known
        if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", section(title))
    ]

    assert missing == []
    assert list(CONDITION_ROWS) == list(CONDITIONS)
    assert set(ACTION_ROWS) == set(ACTIONS)


def test_the_schema_knows_all_keys() -> None:
    defs = SCHEMA["$defs"]

    assert tuple(SCHEMA["properties"]) == SET_FIELDS
    assert tuple(defs["rule"]["properties"]) == RULE_FIELDS
    assert tuple(defs["window"]["properties"]) == WINDOW_FIELDS
    assert tuple(defs["last"]["properties"]) == LAST_FIELDS
    assert list(defs["condition"]["properties"]) == list(CONDITIONS)
    assert list(defs["action"]["properties"]) == list(ACTIONS)
    assert set(defs["emit"]["properties"]) == set(EMIT_FIELDS)
    assert set(defs["notify"]["properties"]) == set(NOTIFY_FIELDS)
    assert set(defs["action"]["properties"]["schedule"]["properties"]) == set(SCHEDULE_FIELDS)


def test_the_schema_on_disk_is_the_one_of_the_grammar() -> None:
    command = [sys.executable, "scripts/rules_schema.py", "--check"]

    checked = run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, check=False)

    assert checked.returncode == 0, "run scripts/rules-schema"


@settings(max_examples=40, deadline=None)
@given(documents())
def test_the_schema_takes_what_has_no_mistake(value: Any) -> None:
    jsonschema_rs.validator_for(SCHEMA).validate(value)


def test_the_schema_takes_one_of_each_and_finds_plain_mistakes() -> None:
    validator = jsonschema_rs.validator_for(SCHEMA)
    validator.validate(FULL)
    for bad in (
        {**FULL, "name": "x"},
        {**FULL, "rules": "Not A Name"},
        {**FULL, "do": [{**FULL["do"][0], "priorty": 5}]},
        {**FULL, "do": [{**FULL["do"][0], "on": "drafts"}]},
        {**FULL, "do": [{**FULL["do"][0], "if": {"equal": {"kind": "x"}}}]},
        {**FULL, "do": [{**FULL["do"][0], "then": [{"rejct": "x"}]}]},
        {**FULL, "do": [{**FULL["do"][0], "windows": {"w": {"over": "5 min", "by": "kind"}}}]},
    ):
        assert not validator.is_valid(bad)
