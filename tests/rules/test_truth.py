"""What is said of a condition from its text alone is so for every span; and so is what is said of rules."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.draft import parse_json_draft
from lognode.core.ids import LogLineKind, logline
from lognode.rules.document import (
    All,
    Always,
    Condition,
    ContainsTag,
    ContainsText,
    Equals,
    Exists,
    GreaterThan,
    LessThan,
    Missing,
    Not,
    Note,
    NotEquals,
    Rule,
    RuleSet,
    Template,
)
from lognode.rules.document import Any as AnyOf
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.verdict import evaluate
from lognode.rules.grammar.reading import read_published_set
from lognode.rules.grammar.sense.truth import can_hold, is_about_kind, truth
from lognode.rules.grammar.shapes.paths import read_path

WRITER = Writer(logline(LogLineKind.NODE, bytes(32)), "trusted")
KINDS = ["a", "a.b", "order.paid"]
PATHS = [
    "data.a", "data.a.b", "data.b", "data", "kind", "title", "tags", "status", "visibility", "level", "approvals",
    "hops", "subject", "time", "actor", "data.l[0]",
]  # fmt: skip
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, 1.0, 5, -1, "", "a", "a.b", "b", "executed", "organization", "trusted"]
)
NUMBERS = st.sampled_from([-1, 0, 1, 2.5, 5])

paths = st.sampled_from(PATHS).map(read_path)
references = st.just(Template((read_path("data.b"),)))
leaves = (
    st.just(Always())
    | st.builds(Equals, paths, SCALARS | references)
    | st.builds(NotEquals, paths, SCALARS | references)
    | st.builds(Exists, paths)
    | st.builds(Missing, paths)
    | st.builds(ContainsText, paths, st.sampled_from(["a", "b", "."]))
    | st.builds(ContainsTag, st.sampled_from(["a", "b"]))
    | st.builds(GreaterThan, paths, NUMBERS | references)
    | st.builds(LessThan, paths, NUMBERS | references)
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    leaves,
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=1, max_size=4).map(lambda parts: All(tuple(parts)))
        | st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts)))
    ),
    max_leaves=6,
)
values = SCALARS | st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2)
lists = st.fixed_dictionaries({"l": st.lists(SCALARS, max_size=1)})
data = st.dictionaries(st.sampled_from("ab"), values, max_size=2) | lists
drafts = st.fixed_dictionaries(
    {"kind": st.sampled_from(KINDS)},
    optional={
        "title": st.sampled_from(["a", "b", "executed"]),
        "data": data,
        "tags": st.lists(st.sampled_from("ab"), unique=True),
        "subject": st.sampled_from(["a", "x"]),
        "status": st.sampled_from(["executed", "simulated"]),
        "visibility": st.sampled_from(["organization", "private", "public"]),
    },
)


def outcome(condition: Condition, said: dict[str, Any]) -> str:
    """What becomes of a rule with this condition for a draft."""
    draft, _ = parse_json_draft(json.dumps(said).encode())
    facts = Facts.of_draft(draft, WRITER, hlc=1 << 56)
    rules = RuleSet("s", (Rule("r", True, (Note("x"),), condition, 1),), {}, b"", bytes(32))  # noqa: FBT003
    nothing: Any = None  # in place of the past, of which no path here asks
    return evaluate(compile_rules([rules]), facts, nothing, gate=True).steps[0].outcome


@settings(max_examples=200, deadline=None)
@given(conditions, drafts)
def test_what_never_holds_holds_for_no_span_and_what_always_does_for_each(condition: Condition, said: Any) -> None:
    found = outcome(condition, said)

    assert truth(condition) is None or found == ("fired" if truth(condition) else "not")
    of_kind = truth(condition, said["kind"])
    assert of_kind is None or found == ("fired" if of_kind else "not")


@given(conditions)
def test_a_condition_that_is_not_about_the_kind_is_told_alike_for_all(condition: Condition) -> None:
    if not is_about_kind(condition):
        assert {can_hold(condition, kind) for kind in KINDS} == {can_hold(condition)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"equals": {"data.a": 1}}, {"equals": {"data.a": 2}}),
        ({"equals": {"data.a": 1}}, {"not_equals": {"data.a": 1}}),
        ({"equals": {"data.a": 1}}, {"missing": "data.a"}),
        ({"equals": {"data.a": 1}}, {"greater_than": {"data.a": 1}}),
        ({"equals": {"data.a": "x"}}, {"less_than": {"data.a": 1}}),
        ({"equals": {"data.a": "x"}}, {"contains_text": {"data.a": "y"}}),
        ({"equals": {"data.a": None}}, {"exists": "data.a.b"}),
        ({"exists": "data.a.b"}, {"missing": "data.a"}),
        ({"greater_than": {"data.a": 5}}, {"less_than": {"data.a": 5}}),
        ({"greater_than": {"data.a": 5}}, {"missing": "data.a"}),
        ({"contains_tag": "x"}, {"not": {"contains_tag": "x"}}),
        ({"equals": {"kind": "a"}}, {"equals": {"kind": "b"}}),
    ],
)
def test_two_conditions_that_exclude_each_other_are_found_in_any_order(one: Any, other: Any) -> None:

    for parts in ([one, other], [other, one], [one, {"all": [{"exists": "data.z"}, other]}]):
        rule = {"id": "a", "on": "draft", "if": {"all": parts}, "then": [{"note": "x"}]}
        found = read_published_set(json.dumps({"rules": "s", "do": [rule]}).encode(), is_json=True)
        assert truth(found.rules[0].condition) is False
