"""How rules work together: order, what later rules see, what stops them, and that nothing but inputs decides."""

from itertools import permutations
from typing import Any, Final

import msgspec
import pytest
from cbor2 import dumps

from lognode.core.draft import Draft
from lognode.core.limits import EFFECT_BYTES_MAX, EFFECTS_MAX, HOPS_MAX, NOTES_BYTES_MAX
from lognode.core.span import Header
from lognode.rules.document import (
    Action,
    AddTag,
    All,
    Always,
    Cel,
    Condition,
    Emit,
    Equals,
    Exists,
    Not,
    Note,
    Path,
    Reject,
    Rule,
    SetMetadata,
    Template,
    Window,
    matches_kind,
)
from lognode.rules.document import Any as AnyOf
from lognode.rules.evaluation.context import OverBudget
from lognode.rules.evaluation.decision import Decision, Notes
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.samples import Sample
from lognode.rules.evaluation.verdict import evaluate
from tests.rules.judged import NO_PAST, WRITER, Past, a_rule, decide, draft_facts, made, rules_of, span_facts

UNCLEAR: Final = Cel("data.none > 1")
TRUE: Final = Always()
FALSE: Final = Not(Always())


def rule(name: str, condition: Condition = TRUE, *actions: Action, **more: Any) -> Rule:
    return a_rule(name, condition, *actions, **more)


def fired(decision: Decision) -> list[str]:
    return [step.rule for step in decision.steps if step.outcome == "fired"]


def outcomes(decision: Decision) -> dict[str, str]:
    return {step.rule: step.outcome for step in decision.steps}


def test_rules_run_by_priority_then_set_then_id_and_after_what_they_depend_on() -> None:
    first = made(rule("z", priority=1), rule("b"), rule("a", depends_on=("y",)), rule("y", priority=900), name="one")
    second = made(rule("c"), rule("d", priority=0), name="two")

    for order in permutations([first, second]):
        decision = decide(*order, facts=draft_facts({}))
        assert [(step.set, step.rule) for step in decision.steps] == [
            ("two", "d"), ("one", "z"), ("one", "b"), ("two", "c"), ("one", "y"), ("one", "a"),
        ]  # fmt: skip


def test_a_rule_fires_only_where_all_that_it_depends_on_fired() -> None:
    rules = made(
        rule("base"),
        rule("off", FALSE),
        rule("broken", UNCLEAR),
        rule("on", depends_on=("base",)),
        rule("half", depends_on=("base", "off")),
        rule("chained", depends_on=("half",)),
        rule("unlucky", depends_on=("broken",)),
        rule("lost", depends_on=("nowhere",)),
    )
    decision = decide(rules, facts=draft_facts({"data": {}}))

    assert outcomes(decision) == {
        "base": "fired", "broken": "failed", "lost": "skipped", "off": "not", "half": "skipped", "chained": "skipped",
        "on": "fired", "unlucky": "skipped",
    }  # fmt: skip
    assert "off, on which it depends, did not fire" in {step.error for step in decision.steps}


def test_the_first_rejection_ends_it() -> None:
    rules = made(
        rule("a", TRUE, AddTag(("seen",)), priority=1),
        rule("b", TRUE, Reject("no"), Note("said so"), priority=2),
        rule("c", TRUE, Note("never"), priority=3),
    )
    decision = decide(rules, facts=draft_facts({}))

    assert fired(decision) == ["a", "b"]
    assert len(decision.steps) == 2
    assert decision.notes == Notes(tags=("seen",), notes=("said so",))


def test_later_rules_see_what_earlier_ones_noted() -> None:
    rules = rules_of(
        """
        rules: s
        do:
          - {id: early, on: draft, priority: 0, if: {contains_tag: risky}, then: [{note: too early}]}
          - id: mark
            on: draft
            priority: 1
            then: [{add_tag: risky}, {set_metadata: {score: 5}}, {mark_processed: true}, {note: one}]
          - {id: by-tag, on: draft, priority: 2, if: {contains_tag: risky}, then: [{note: two}]}
          - id: by-score
            on: draft
            priority: 3
            if: {greater_than: {annotations.metadata.score: 4}}
            then: [{note: "3"}]
          - id: by-cel
            on: draft
            priority: 4
            when: "'risky' in annotations.tags && annotations.processed && size(annotations.notes) == 3"
            then: [{set_metadata: {score: "{annotations.metadata.score}0"}}]
          - {id: not-own, on: draft, priority: 5, if: {equals: {'tags[0]': risky}}, then: [{note: never}]}
        """
    )
    decision = decide(rules, facts=draft_facts({}))

    assert fired(decision) == ["mark", "by-tag", "by-score", "by-cel"]
    assert decision.notes == Notes(("risky",), {"score": "50"}, ("one", "two", "3"), processed=True)


def test_reactions_see_what_gate_rules_noted_on_the_span() -> None:
    notes = {"tags": ["risky", 5], "metadata": {"score": 7}, "notes": ["one"], "processed": True, "hops": 3}
    rules = made(
        rule(
            "tag",
            All((Equals(Path(("annotations", "tags")), ["risky"]), Cel("'risky' in annotations.tags"))),
            gate=False,
        ),
        rule("score", Equals(Path(("annotations", "metadata", "score")), 7), gate=False),
        rule("hops", Equals(Path(("hops",)), 3), gate=False),
    )
    facts = span_facts({}, dumps({"rules": notes}))
    decision = decide(rules, facts=facts, gate=False)

    assert fired(decision) == ["hops", "score", "tag"]
    assert decision.notes == Notes(notes=("hops", "score", "tag"))  # what it came with is not said again
    assert decision.hops == 4


STRANGE: Final = [
    b"\x01",
    b"\xff",
    dumps({"rules": {"tags": "x", "metadata": 1, "hops": -1}}),
    dumps({"rules": {"tags": [f"tag {place}" for place in range(50_000)]}}),
    dumps({"rules": {"metadata": {"x": "x" * 100_000}}}),
]


@pytest.mark.parametrize("annotations", STRANGE)
def test_annotations_of_a_strange_form_are_none(annotations: bytes) -> None:
    facts = span_facts({}, annotations)

    assert (facts.written, facts.hops) == (Notes(), 0)


def test_a_body_that_is_malformed_reads_as_empty() -> None:
    facts = Facts.of_span(Header(1, "a.b", None, 0, None, bytes(32), 3), b"\x01\x02\x03", WRITER, hlc=0, visibility=1)
    rules = made(
        rule("r", All((Equals(Path(("data",)), None), Equals(Path(("tags",)), []), Not(Exists(Path(("title",)))))))
    )

    assert fired(decide(rules, facts=facts)) == ["r"]


def test_what_is_unclear_fails_its_rule_alone_and_says_why() -> None:
    rules = made(rule("a", UNCLEAR), rule("b"), rule("c", Cel("data.n + 1 == 'x'")), rule("d", Cel("data.n")))
    decision = decide(rules, facts=draft_facts({"data": {"n": 1}}), traces=False)

    assert outcomes(decision) == {"a": "failed", "b": "fired", "c": "failed", "d": "failed"}
    errors = {step.rule: step.error for step in decision.steps}
    assert "none" in errors["a"]
    assert "overload" in errors["c"]
    assert errors["d"] == "comes to int, not to true or false"
    assert decision.verdict == "allow"
    assert [step.trace is not None for step in decision.steps] == [True, True, True, True]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (AnyOf((UNCLEAR, TRUE)), "fired"),
        (AnyOf((TRUE, UNCLEAR)), "fired"),
        (AnyOf((UNCLEAR, FALSE)), "failed"),
        (All((UNCLEAR, FALSE)), "not"),
        (All((FALSE, UNCLEAR)), "not"),
        (All((TRUE, UNCLEAR)), "failed"),
        (Not(UNCLEAR), "failed"),
        (Not(All((UNCLEAR, FALSE))), "fired"),
    ],
)
def test_what_is_unclear_decides_nothing_that_is_clear_beside_it(condition: Condition, wanted: str) -> None:
    assert outcomes(decide(made(rule("r", condition)), facts=draft_facts({"data": {}}))) == {"r": wanted}


class TooMuch(Past):
    def window(self, window: Window, sample: Sample) -> int | float:  # noqa: ARG002 - as its like takes them
        raise OverBudget("10,001 spans in one window")


def test_a_past_that_has_too_much_to_look_at_fails_the_rule_that_asked() -> None:
    text = """
        rules: s
        do:
          - id: asks
            on: draft
            priority: 1
            windows: {many: {over: 5m, by: data.a}}
            if: {greater_than: {windows.many: 1}}
            then: [{allow: "yes"}]
          - id: asks-in-cel
            on: draft
            priority: 2
            windows: {many: {over: 5m, by: data.a}}
            when: windows.many > 1
            then: [{allow: "yes"}]
          - id: tells
            on: draft
            windows: {many: {over: 5m, by: data.a}}
            then: [{note: "{windows.many}"}, {note: well}]
        """
    decision = decide(rules_of(text), facts=draft_facts({"data": {"a": 1}}), past=TooMuch())

    assert outcomes(decision) == {"asks": "failed", "asks-in-cel": "failed", "tells": "fired"}
    assert decision.steps[0].error == decision.steps[1].error == "10,001 spans in one window"
    assert decision.steps[2].error == "action 1 was dropped: 10,001 spans in one window"
    assert decision.notes.notes == ("well",)


def test_the_past_is_asked_once_for_each_window_and_subject_and_only_for_what_is_read() -> None:
    text = """
        rules: s
        do:
          - id: a
            on: draft
            windows: {many: {over: 5m, by: data.a}, unread: {over: 6m, by: data.a}}
            last: {one: {subject: subject}, other: {subject: data.b}}
            if: {all: [{greater_than: {windows.many: 0}}, {missing: last.one}]}
            then: [{note: "{windows.many}"}]
          - id: b
            on: draft
            windows: {other_name: {over: 5m, by: data.a}}
            last: {one: {subject: subject}}
            when: windows.other_name > 0 && !has(last.one)
            then: [{note: b}]
        """
    past = Past()
    decision = decide(rules_of(text), facts=draft_facts({"data": {"a": 1}, "subject": "x"}), past=past)

    assert fired(decision) == ["a", "b"]
    assert [name for name, _ in past.asked] == ["many", "one"]


def test_equal_inputs_give_equal_decisions_to_the_byte() -> None:
    said = {"data": {"z": 1, "a": {"y": 1, "b": [1, 2.5]}}, "tags": ["t", "s"], "title": "x"}
    sets = [
        made(
            rule("r", All((Exists(Path(("data", "a"))), Cel("data.z == 1 && size(data.a) == 2"))), Note("n"),
                 SetMetadata((("k", Template((Path(("data", "a")),))),))),
            rule("f", UNCLEAR),
            name=name,
        )
        for name in ("b", "a", "c")
    ]  # fmt: skip
    told = {
        msgspec.json.encode(decide(*order, facts=facts))
        for order in permutations(sets)
        for facts in (draft_facts(said), span_facts(said))
    }

    assert len(told) == 1


def test_an_index_finds_for_each_kind_what_a_search_finds() -> None:
    patterns = [(), ("a",), ("a.b",), ("a.*",), ("a.b.*", "c"), ("rule.*",), ("rule.fired",), ("span.revert", "a.b.c")]
    rules = made(*(rule(f"r{place}", kinds=kinds) for place, kinds in enumerate(patterns)))
    program = compile_rules([rules])
    for kind in (
        "a",
        "a.b",
        "a.b.c",
        "c",
        "c.d",
        "rule.fired",
        "rule.publish",
        "span.revert",
        "timeline.merge",
        "ab.c",
    ):
        found = {ready.rule.id for ready in program.rules_for(kind, gate=True)}
        assert found == {one.id for one in rules.rules if matches_kind(one.kinds, kind)}, kind
        assert program.is_for(kind, gate=True) is bool(found)
        assert not program.is_for(kind, gate=False)


def test_nothing_of_a_span_is_decoded_that_no_rule_reads() -> None:
    facts = Facts.of_draft(Draft("a.b", data=b"\xff this is no CBOR"), WRITER, hlc=0)
    rules = made(rule("r", All((Equals(Path(("kind",)), "a.b"), Cel("kind == 'a.b' && level == 'trusted'")))))

    assert fired(decide(rules, facts=facts, traces=False)) == ["r"]


# Bounds.
def test_effects_beyond_the_bound_are_dropped_and_told_and_verdicts_stand() -> None:
    many = tuple(Note(f"{place}") for place in range(EFFECTS_MAX + 3))
    decision = decide(made(rule("r", TRUE, *many, Reject("no"))), facts=draft_facts({}))

    assert decision.verdict == "reject"
    assert len(decision.effects) == EFFECTS_MAX + 1
    assert (
        f"action {EFFECTS_MAX + 1} was dropped: more than {EFFECTS_MAX} effects on one span" in decision.steps[0].error
    )


def test_nobody_evades_a_rejection_by_values_that_do_not_fit() -> None:
    whole = Template((Path(("data", "x")),))
    rules = made(
        rule(
            "r", TRUE, SetMetadata((("x", whole),)), AddTag((Template(("x:", Path(("data", "x")))),)), Note(whole),
            Reject(Template(("no ", Path(("data", "x")), "!"))),
        )
    )  # fmt: skip
    decision = decide(rules, facts=draft_facts({"data": {"x": "é" * 200_000}}))

    assert decision.verdict == "reject"
    assert decision.reason is not None
    assert decision.reason.deed == Reject("no " + "é" * 256 + "…!")
    assert f"action 1 was dropped: more than {EFFECT_BYTES_MAX} bytes" in decision.steps[0].error
    assert decision.notes.tags == ("x:" + "é" * 256 + "…",)
    assert decision.notes.metadata == {}


def test_notes_are_bounded_together() -> None:
    rules = made(*(rule(f"r{place}", TRUE, Note("x" * 1000)) for place in range(20)))
    decision = decide(rules, facts=draft_facts({}))

    assert 0 < len(decision.notes.notes) <= NOTES_BYTES_MAX // 1000
    assert "dropped" in decision.steps[-1].error
    assert len(msgspec.json.encode(decision.notes)) < 2 * NOTES_BYTES_MAX


def test_a_chain_of_spans_that_rules_make_ends() -> None:
    rules = made(rule("again", TRUE, Emit("test.done"), Note("n"), gate=False))
    hops = 0
    while True:
        decision = decide(rules, facts=draft_facts({}, hops=hops), gate=False)
        if not any(isinstance(effect.deed, Emit) for effect in decision.effects):
            break
        hops = decision.hops
        assert hops < 100, "it goes on for ever"

    assert hops == HOPS_MAX
    assert "rules in a row" in decision.steps[0].error
    assert decision.notes.notes == ("n",)


def test_a_trace_is_bounded_whatever_rule_and_span_hold() -> None:
    leaf = Equals(Path(("data", "x")), "y" * 3000)
    rules = made(
        rule("r", AnyOf(tuple(leaf for _ in range(3000)))), rule("q", Cel("size(data) == 1 && size(data.x) > 0"))
    )
    data = {"x": [{"k" * 1000 + str(place): "v" * 1000} for place in range(25)]}
    decision = decide(rules, facts=draft_facts({"data": data}))

    assert outcomes(decision) == {"r": "not", "q": "fired"}
    for step in decision.steps:
        assert len(msgspec.json.encode(step)) < 64_000


def test_no_rules_allow_everything() -> None:
    decision = evaluate(compile_rules([]), draft_facts({}), NO_PAST, gate=True)

    assert (decision.verdict, decision.steps, decision.reason) == ("allow", (), None)
