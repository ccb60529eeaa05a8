"""Rules and spans that were made to hurt: each is stopped within its budget, and the others go on.

No test here asserts a time. What an evaluation may cost is counted before it is spent, so the tests look at what was
counted; `scripts/bench/run rules` measures how long the costliest ones take.
"""

from contextlib import suppress
from typing import Any, Final

import msgspec
import pytest

from lognode.core.limits import DEPTH_MAX, EFFECTS_MAX, RULE_COST_MAX, RULE_COST_SURE, SPAN_COST_MAX, WINDOW_COST
from lognode.rules.conditions.judging import prepare
from lognode.rules.conditions.unclear import Unclear
from lognode.rules.document import (
    Action,
    AddTag,
    All,
    Always,
    Cel,
    Condition,
    ContainsText,
    Emit,
    Equals,
    GreaterThan,
    Not,
    Note,
    Path,
    Reject,
    RequireApproval,
    Rule,
    SetMetadata,
    Simulate,
    Template,
    Window,
)
from lognode.rules.document import Any as AnyOf
from lognode.rules.evaluation import reading
from lognode.rules.evaluation.decision import Decision
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.reading import Reading, Span
from tests.rules.judged import NO_PAST, Past, a_rule, decide, draft_facts, made

X: Final = Path(("data", "x"))
Y: Final = Path(("data", "y"))
_VERDICTS: Final = {Reject: "reject", Simulate: "simulate", RequireApproval: "hold"}
LATE: Final = a_rule("late", Equals(Path(("kind",)), "test.done"), priority=1000)


def hostile(*conditions: Condition) -> list[Rule]:
    return [a_rule(f"h{place:04}", one, Reject("never")) for place, one in enumerate(conditions)]


def outcomes(decision: Decision) -> list[str]:
    return [step.outcome for step in decision.steps]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


LARGE_LIST: Final = list(range(15_000))
LARGE_MAP: Final = {f"key{place}": place for place in range(5_000)}
LARGE_TEXT: Final = "a" * 60_000
COSTLY: Final[list[tuple[str, Any]]] = [
    ("data.x.all(i, data == data)", {"x": LARGE_LIST}),
    ("data.x.map(i, i) == [1]", {"x": LARGE_LIST[:9_000]}),
    ("data.x.filter(i, i > 1) == [1]", {"x": LARGE_LIST[:9_000]}),
    ("data.x.exists(i, data.x.exists(j, i == j + 100000))", {"x": LARGE_LIST}),
    ("data.x.all(k, data.x[k] in data.x)", {"x": LARGE_MAP}),
    ("data.x.matches('(a|aa){1,80}b')", {"x": LARGE_TEXT}),
    ("data.x.matches('(.*)(.*)(.*)(.*)(.*)[0-9]b')", {"x": LARGE_TEXT}),
    ("data.x.contains(data.y)", {"x": "a" * 30_000, "y": "a" * 15_000 + "b"}),
    ("data.x.all(i, data.y.contains('aaaaaaaaaaaaaaaaaaaab'))", {"x": LARGE_LIST[:5_000], "y": "a" * 30_000}),
    ("data.x.all(i, size(data.y) > 1)", {"x": LARGE_LIST[:5_000], "y": "a" * 30_000}),
    ("[data.x].map(t, t + t).map(t, t + t).map(t, t + t).exists(t, t.contains(t + 'b'))", {"x": LARGE_TEXT}),
    ("data.x.map(i, data.y + data.y).exists(t, t == 'a')", {"x": LARGE_LIST[:5_000], "y": "a" * 30_000}),
    ("data.x.map(i, data.x).map(i, data.x).exists(t, size(t) == 0)", {"x": LARGE_LIST[:3_000]}),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "data"), COSTLY, ids=[row[0][:50] for row in COSTLY])
def test_an_expression_that_would_cost_too_much_is_not_begun(expression: str, data: Any) -> None:
    facts = draft_facts({"data": data})
    rules = [*hostile(Cel(expression)), LATE]
    decision = decide(made(*rules), facts=facts, traces=False)

    assert outcomes(decision) == ["failed", "fired"]
    assert "would take about" in decision.steps[0].error
    assert decision.notes.notes == ("late",)


@pytest.mark.parametrize(("expression", "data"), COSTLY[7:9], ids=[row[0][:50] for row in COSTLY[7:9]])
def test_without_the_bound_it_would_be_begun(expression: str, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variant that is broken: what these tests see is the bound, and not that the library gives up."""
    monkeypatch.setattr(reading, "RULE_COST_MAX", float("inf"))
    monkeypatch.setattr(reading, "SPAN_COST_MAX", float("inf"))
    decision = decide(made(*hostile(Cel(expression))), facts=draft_facts({"data": data}), traces=False)

    assert outcomes(decision) == ["not"]


def test_the_same_expressions_are_evaluated_where_values_are_small() -> None:
    data = {"x": [1, 2, 3], "y": "ab"}
    rules = hostile(
        *(Cel(expression) for expression, _ in COSTLY if "[k]" not in expression and ".matches" not in expression)
    )
    decision = decide(made(*rules), facts=draft_facts({"data": data}), traces=False)

    assert not [step.error for step in decision.steps if "would take" in step.error]


def test_a_payload_that_is_too_large_for_expressions_is_judged_by_all_other_conditions() -> None:
    data = {"x": "a" * 900_000, "y": 5}
    conditions: tuple[Condition, ...] = Cel("data.y == 5"), AnyOf((Cel("data.y == 5"), Equals(Y, 6)))
    rules = [a_rule(f"h{place}", condition) for place, condition in enumerate(conditions)]
    other = a_rule("other", All((Equals(Y, 5), Cel("kind == 'test.done'"))))
    decision = decide(made(*rules, LATE, other), facts=draft_facts({"data": data}), traces=False)

    assert {step.rule: step.outcome for step in decision.steps} == {
        "h0": "failed", "h1": "failed", "other": "fired", "late": "fired",
    }  # fmt: skip
    assert "bytes, at most 65536" in decision.steps[0].error


@pytest.mark.parametrize("action", [Reject("no"), Simulate("no"), RequireApproval("root", 1, 60_000, "no")])
def test_nobody_gets_past_a_rule_by_sending_more_than_its_expression_reads(action: Action) -> None:
    rules = made(a_rule("large", Cel("data.y > 5"), action))
    for size, verdict in ((10, "allow"), (70_000, _VERDICTS[type(action)])):
        facts = draft_facts({"data": {"x": "a" * size, "y": 5}})
        assert decide(rules, facts=facts, traces=False).verdict == verdict
    # What can be told without the expression is told.
    sure = made(a_rule("sure", All((Equals(Y, 6), Cel("data.y > 5"))), action))
    assert decide(sure, facts=draft_facts({"data": {"x": "a" * 70_000, "y": 5}}), traces=False).verdict == "allow"


def test_texts_of_ten_megabytes_are_never_searched_by_a_thousand_rules() -> None:
    """No draft holds one, but a document of a later version may: only the budget stands between."""
    facts = draft_facts({})
    facts._known["data"] = {"x": "a" * 10_000_000, "y": "a" * 9_999_999 + "b"}
    whole = Template((Y,))
    conditions: list[Condition] = [ContainsText(X, whole), ContainsText(X, "ab"), Equals(X, whole)]
    decision = decide(made(*hostile(*conditions * 300), LATE), facts=facts, traces=False)

    assert len(decision.steps) == 901
    assert outcomes(decision).count("failed") > 400
    assert decision.steps[-1].outcome == "fired"


def test_all_rules_of_a_span_together_stay_within_its_budget_and_cheap_ones_always_run() -> None:
    facts = draft_facts({"data": {"x": LARGE_LIST[:3_000]}})
    costly = hostile(*(Cel(f"data.x.exists(i, i == -1 - {place})") for place in range(200)))
    is_kind = Equals(Path(("kind",)), "test.done")
    cheap = [a_rule(f"z{place:04}", is_kind, AddTag((f"t{place % 40}",)), priority=999) for place in range(50)]
    program = compile_rules([made(*costly, *cheap)])
    span = Span(facts, NO_PAST)
    for ready in program.rules_for("test.done", gate=True):
        turn = Reading(span, ready)
        with suppress(Unclear):
            ready.check(turn)
        assert turn.spent <= RULE_COST_MAX
    decision = decide(made(*costly, *cheap), facts=facts, traces=False)

    assert span.spent <= SPAN_COST_MAX + len(costly) * RULE_COST_SURE
    assert outcomes(decision)[:3] == ["not", "not", "not"]
    assert "left of the" in decision.steps[199].error
    assert outcomes(decision)[200:] == ["fired"] * 50


def test_deep_values_and_deep_conditions_are_walked_without_end_of_stack() -> None:
    deep: Condition = Always()
    for _ in range(100):
        deep = Not(Not(AnyOf((All((deep,)),))))
    value = nested(DEPTH_MAX - 2)
    path = Path(("data", *["a"] * (DEPTH_MAX - 2)))
    expression = Cel("data" + ".a" * (DEPTH_MAX - 2) + " == 1")
    conditions = [deep, Equals(path, 1), Equals(Path(("data",)), value), expression]
    rules = [a_rule(f"r{place}", one) for place, one in enumerate(conditions)]
    decision = decide(made(*rules), facts=draft_facts({"data": value}))

    assert outcomes(decision) == ["fired"] * 4


def test_huge_maps_cost_the_same_to_look_into_as_small_ones() -> None:
    facts = draft_facts({"data": LARGE_MAP})
    spent = []
    for data in (LARGE_MAP, {"key7": 7}):
        facts = draft_facts({"data": data})
        ready = compile_rules([made(*hostile(Cel("data.key7 == 7")))]).rules_for("test.done", gate=True)[0]
        turn = Reading(Span(facts, NO_PAST), ready)
        assert ready.check(turn)
        spent.append(turn.spent)

    assert spent[0] == spent[1]


def test_effects_of_many_rules_that_take_over_a_whole_span_are_bounded_together() -> None:
    whole = Template((Path(("data",)),))
    emit = Emit("other.kind", data={str(place): whole for place in range(200)})
    rules = [a_rule(f"r{place:03}", Always(), emit, Note("n"), gate=False) for place in range(100)]
    small = draft_facts({"data": {"x": "a" * 20_000}})
    decision = decide(made(*rules), facts=small, gate=False, traces=False)

    assert not [effect for effect in decision.effects if isinstance(effect.deed, Emit)]
    assert len(decision.effects) == EFFECTS_MAX
    assert all("dropped" in step.error for step in decision.steps)


def test_a_span_asks_for_no_more_windows_than_its_budget_holds() -> None:
    conditions = [GreaterThan(Path(("windows", "w")), 5) for _ in range(500)]
    rules = [
        msgspec.structs.replace(rule, windows=(Window("w", 1000 + place, X, (), "count"),))
        for place, rule in enumerate(hostile(*conditions))
    ]
    past = Past()
    decision = decide(made(*rules, LATE), facts=draft_facts({"data": {"x": 1}}), past=past, traces=False)

    assert len(past.asked) == SPAN_COST_MAX // WINDOW_COST
    assert outcomes(decision) == ["not"] * len(past.asked) + ["failed"] * (500 - len(past.asked)) + ["fired"]


def test_rules_that_set_each_other_off_by_notes_run_once_each() -> None:
    """There is no second round: a rule sees what ran before it, whatever the others note."""
    is_first = Equals(Path(("annotations", "tags")), [])
    tags = [a_rule(f"r{place:02}", is_first, AddTag((f"t{place + 1}",))) for place in range(20)]
    decision = decide(made(*tags), facts=draft_facts({}), traces=False)

    assert outcomes(decision) == ["fired", *["not"] * 19]


def test_metadata_of_metadata_does_not_grow_without_bound() -> None:
    whole = Template((Path(("annotations", "metadata")),))
    double = SetMetadata((("a", whole), ("b", whole)))
    rules = [a_rule(f"r{place:03}", Always(), double) for place in range(EFFECTS_MAX)]
    decision = decide(made(*rules), facts=draft_facts({}), traces=False)

    assert [step for step in decision.steps if "dropped" in step.error]


def test_a_prepared_condition_keeps_nothing_of_a_span() -> None:
    check = prepare(All((Equals(X, 1), Cel("data.x == 1"))))
    program = compile_rules([made(*hostile(Always()))])
    ready = program.rules_for("test.done", gate=True)[0]

    def judged(value: int) -> bool:
        facts: Facts = draft_facts({"data": {"x": value}})
        return check(Reading(Span(facts, NO_PAST), ready))

    assert [judged(1), judged(2), judged(1)] == [True, False, True]
