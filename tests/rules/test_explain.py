"""Why and why not: a hundred questions that were answered by hand, and laws of the traces that answer them."""

from functools import lru_cache
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.rules import document
from lognode.rules.conditions.trace import Trace
from lognode.rules.document import Cel, Condition, Path, RuleSet
from lognode.rules.evaluation.explain import Account, account, why, why_not
from lognode.rules.evaluation.facts import Writer
from tests.rules.corpus import QUESTIONS, Question
from tests.rules.judged import NODE, Past, a_rule, decide, draft_facts, made, rules_of, span_facts


@lru_cache
def rule_set(text: str) -> RuleSet:
    return rules_of(text)


def answer(question: Question) -> Account:
    rules = rule_set(question.rules)
    said = dict(question.span)
    writer = Writer(NODE, said.pop("level", "trusted"))
    last = {
        name: span_facts({"kind": "account.changed", "data": data})
        for name, data in question.past.get("last", {}).items()
    }
    rule = next(rule for rule in rules.rules if rule.id == question.rule)
    approvals = ("root",) * question.past.get("approvals", 0)
    facts = draft_facts(said, writer=writer, approvals=approvals)
    decision = decide(rules, facts=facts, past=Past(question.past.get("windows"), last), gate=rule.gate)
    told = why_not(decision, rules.name, rule, facts.kind)
    if question.outcome in {"fired", "failed"}:
        assert told in why(decision)
    return told


def test_there_are_a_hundred_questions_and_each_is_asked_once() -> None:
    assert len(QUESTIONS) == 100
    assert len({msgspec.json.encode(question) for question in QUESTIONS}) == 100


@pytest.mark.parametrize("question", QUESTIONS, ids=[f"{place}-{one.rule}" for place, one in enumerate(QUESTIONS)])
def test_the_right_condition_is_named_with_its_values(question: Question) -> None:
    question.check(msgspec.to_builtins(answer(question)))


# Laws.
PATHS: Final = st.sampled_from([Path(("data", "a")), Path(("data", "b")), Path(("title",)), Path(("data",))])
SCALARS: Final = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "ab", 1.0])
LEAVES: Final = st.one_of(
    st.builds(document.Equals, PATHS, SCALARS),
    st.builds(document.NotEquals, PATHS, SCALARS),
    st.builds(document.Exists, PATHS),
    st.builds(document.Missing, PATHS),
    st.builds(document.ContainsText, PATHS, st.sampled_from(["", "a", "b"])),
    st.builds(document.ContainsTag, st.sampled_from(["a", "b"])),
    st.builds(document.GreaterThan, PATHS, st.integers(-2, 2)),
    st.builds(document.LessThan, PATHS, st.integers(-2, 2)),
    st.builds(Cel, st.sampled_from(["data.a > 0", "has(data.a)", "data.a == data.b", "title == 'a'", "data.a"])),
    st.just(document.Always()),
)
CONDITIONS: Final[st.SearchStrategy[Condition]] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(document.All, st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.builds(document.Any, st.lists(inner, min_size=1, max_size=4).map(tuple)),
        st.builds(document.Not, inner),
    ),
    max_leaves=10,
)
SPANS: Final = st.fixed_dictionaries(
    {}, optional={"title": st.sampled_from(["a", "ab"]), "tags": st.just(["a"]), "data": st.dictionaries(
        st.sampled_from(["a", "b"]), SCALARS | st.just([1]), max_size=2)},
)  # fmt: skip


def results(trace: Trace) -> bool | None:
    """What the results of a trace's leaves come to, by the words of docs/rules.md alone."""
    inner = [results(part) for part in trace.of]
    if not inner:
        return trace.result
    if trace.condition == "not":
        return None if inner[0] is None else not inner[0]
    wanted = trace.condition == "any"
    return wanted if wanted in inner else None if None in inner else not wanted


@given(CONDITIONS, SPANS)
def test_a_trace_comes_to_what_the_rule_came_to_and_names_leaves_that_decide(
    condition: Condition, said: dict[str, Any]
) -> None:
    rules = made(a_rule("r", condition))
    (step,) = decide(rules, facts=draft_facts(said)).steps
    (untold,) = decide(rules, facts=draft_facts(said), traces=False).steps
    for is_checked in (True, False):  # the span that the draft becomes is judged alike, wherever it is read
        assert decide(rules, facts=span_facts(said, is_checked=is_checked)).steps == (step,)

    assert step.trace is not None
    assert step.trace.result is {"fired": True, "not": False, "failed": None}[step.outcome]
    assert results(step.trace) is step.trace.result
    assert untold.outcome == step.outcome
    assert (untold.trace is None) is (step.outcome == "not")
    told = account(step)
    assert told.grounds
    leaves = list(step.trace.leaves())
    assert all(ground in leaves for ground in told.grounds)
    assert (step.outcome == "failed") is bool(step.error)
    assert msgspec.json.decode(msgspec.json.encode(told))["sentence"] == told.sentence
