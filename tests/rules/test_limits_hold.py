"""Limits of rules hold also where a window holds more than can be told."""

import pytest

from lognode.rules.document import Last, Window
from lognode.rules.evaluation.context import OverBudget
from lognode.rules.evaluation.facts import Facts
from lognode.rules.evaluation.samples import Sample
from tests.rules.judged import Past, decide, draft_facts, rules_of


class TooMuch(Past):
    def window(self, window: Window, sample: Sample) -> int | float:  # noqa: ARG002 - as its like takes them
        raise OverBudget("10,001 spans in one window")

    def last(self, last: Last, subject: str) -> Facts | None:  # noqa: ARG002 - as its like takes them
        raise OverBudget("256 spans that nobody named")


@pytest.mark.parametrize(
    "condition",
    ["if: {greater_than: {windows.many: 1}}", "when: windows.many > 1", "if: {not: {greater_than: {windows.many: 1}}}"],
)
@pytest.mark.parametrize(
    ("action", "outcome", "verdict"),
    [
        ("reject: '{windows.many} are enough'", "fired", "reject"),
        ("simulate: no", "fired", "simulate"),
        ("require_approval: {role: root, within: 24h, text: ok}", "fired", "hold"),
        ("allow: yes", "failed", "allow"),
        ("add_tag: many", "failed", "allow"),
    ],
)
def test_nobody_gets_past_a_limit_by_having_a_window_hold_more_than_can_be_told(
    condition: str, action: str, outcome: str, verdict: str
) -> None:
    text = f"""
        rules: s
        do:
          - id: limit
            on: draft
            windows: {{many: {{over: 5m, by: data.a}}}}
            {condition}
            then: [{{{action}}}]
        """
    decision = decide(rules_of(text), facts=draft_facts({"data": {"a": 1}}), past=TooMuch())
    assert [step.outcome for step in decision.steps] == [outcome]
    assert decision.verdict == verdict
    assert decision.steps[0].error == "10,001 spans in one window"


def test_sums_beyond_all_numbers_are_above_all_limits() -> None:
    class Full(Past):
        def window(self, window: Window, sample: Sample) -> int | float:  # noqa: ARG002 - as its like takes them
            return 1.7e308

    text = """
        rules: s
        do:
          - id: limit
            on: draft
            windows: {spent: {over: 5m, by: data.a, sum: data.n}}
            if: {greater_than: {windows.spent: 1.7e+308}}
            then: [{reject: "no"}]
        """
    facts = draft_facts({"data": {"a": 1, "n": 1.7e308}})
    assert decide(rules_of(text), facts=facts, past=Full()).verdict == "reject"


@pytest.mark.parametrize(
    "condition",
    ["if: {equals: {last.account.kind: account.closed}}", "when: has(last.account) && last.account.kind == 'closed'"],
)
def test_nobody_hides_the_last_span_of_a_subject_behind_others_that_do_not_count(condition: str) -> None:
    text = f"""
        rules: s
        do:
          - id: closed
            on: draft
            last: {{account: {{subject: data.a}}}}
            {condition}
            then: [{{reject: "closed at {{last.account.time}}"}}]
        """
    decision = decide(rules_of(text), facts=draft_facts({"data": {"a": "ann"}}), past=TooMuch())
    assert decision.verdict == "reject"
    assert decision.steps[0].error == "256 spans that nobody named"


def test_a_limit_holds_by_whichever_rule_of_those_that_depend_on_each_other_it_is_read() -> None:
    text = """
        rules: s
        do:
          - id: many
            on: draft
            windows: {many: {over: 5m, by: data.a}}
            if: {greater_than: {windows.many: 1}}
            then: [{add_tag: many}]
          - id: noted
            on: draft
            depends_on: [many]
            then: [{note: many}]
          - id: enough
            on: draft
            depends_on: [noted]
            if: {equals: {data.a: 1}}
            then: [{reject: enough}]
        """
    decision = decide(rules_of(text), facts=draft_facts({"data": {"a": 1}}), past=TooMuch())
    assert [step.outcome for step in decision.steps] == ["failed", "skipped", "fired"]
    assert decision.verdict == "reject"
    assert decide(rules_of(text), facts=draft_facts({"data": {"a": 2}}), past=TooMuch()).verdict == "allow"
