"""What each condition means: a table of spans for which it holds and of spans for which it does not."""

from typing import Any, Final

import pytest

from tests.rules.judged import NOON_MS, Past, draft_facts, one_rule, outcome, span_facts

# Condition, spans for which it holds, spans for which it does not.
TABLE: Final[list[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]] = [
    ("if: {always: true}", [{}, {"data": [1]}], []),
    (
        "if: {all: [{exists: data.a}, {exists: data.b}]}",
        [{"data": {"a": 1, "b": 2}}],
        [{"data": {"a": 1}}, {"data": {"b": 1}}, {}],
    ),
    (
        "if: {any: [{exists: data.a}, {exists: data.b}]}",
        [{"data": {"a": 1}}, {"data": {"b": 1}}, {"data": {"a": 1, "b": 2}}],
        [{}, {"data": {"c": 1}}],
    ),
    ("if: {not: {exists: data.a}}", [{}, {"data": {"a": None}}], [{"data": {"a": 0}}]),
    # Equality: numbers by worth, truth apart, lists and maps part by part, null as what is missing.
    ("if: {equals: {data.a: 1}}", [{"data": {"a": 1}}, {"data": {"a": 1.0}}], [{"data": {"a": True}}, {"data": {}}]),
    ("if: {equals: {data.a: 1}}", [], [{"data": {"a": "1"}}, {"data": {"a": None}}, {"data": {"a": [1]}}, {}]),
    ("if: {equals: {data.a: 0}}", [{"data": {"a": 0}}, {"data": {"a": -0.0}}], [{"data": {"a": False}}, {}]),
    ("if: {equals: {data.a: true}}", [{"data": {"a": True}}], [{"data": {"a": 1}}, {"data": {"a": "true"}}]),
    ("if: {equals: {data.a: x}}", [{"data": {"a": "x"}}], [{"data": {"a": "X"}}, {"data": {"a": "x "}}]),
    ("if: {equals: {data.a: null}}", [{}, {"data": {}}, {"data": {"a": None}}], [{"data": {"a": 0}}]),
    (
        "if: {equals: {data.a: [1, x]}}",
        [{"data": {"a": [1.0, "x"]}}],
        [{"data": {"a": ["x", 1]}}, {"data": {"a": [1]}}],
    ),
    ("if: {equals: {data.a: [1]}}", [], [{"data": {"a": [True]}}, {"data": {"a": {"0": 1}}}]),
    (
        "if: {equals: {data.a: {x: 1, y: [2]}}}",
        [{"data": {"a": {"y": [2], "x": 1}}}],
        [{"data": {"a": {"x": 1}}}, {"data": {"a": {"x": 1, "y": [3]}}}, {"data": {"a": {"x": 1, "z": [2]}}}],
    ),
    (
        "if: {equals: {data.a: 9007199254740993}}",
        [{"data": {"a": 9007199254740993}}],
        [{"data": {"a": 9007199254740992.0}}],
    ),
    ("if: {equals: {kind: test.done, data.a: 1}}", [{"data": {"a": 1}}], [{"data": {"a": 2}}, {"kind": "x"}]),
    ('if: {equals: {data.a: "{data.b}"}}', [{"data": {"a": [1], "b": [1]}}, {}], [{"data": {"a": 1, "b": 2}}]),
    ('if: {equals: {data.a: "n{data.b}"}}', [{"data": {"a": "n5", "b": 5}}], [{"data": {"a": "n", "b": 5}}]),
    (
        "if: {not_equals: {data.a: 1}}",
        [{}, {"data": {"a": 2}}, {"data": {"a": "1"}}, {"data": {"a": True}}],
        [{"data": {"a": 1}}, {"data": {"a": 1.0}}],
    ),
    ("if: {not_equals: {data.a: 1, data.b: 2}}", [{}], [{"data": {"a": 1}}, {"data": {"b": 2}}]),
    (
        "if: {exists: data.a}",
        [{"data": {"a": 0}}, {"data": {"a": ""}}, {"data": {"a": False}}, {"data": {"a": []}}],
        [{}, {"data": {"a": None}}, {"data": "a"}, {"data": [1]}, {"data": {"b": {"a": 1}}}],
    ),
    ("if: {exists: [data.a, title]}", [{"data": {"a": 1}, "title": "t"}], [{"data": {"a": 1}}, {"title": "t"}]),
    ("if: {exists: data.a.b}", [{"data": {"a": {"b": 1}}}], [{"data": {"a": 1}}, {"data": {"a": [{"b": 1}]}}]),
    ("if: {exists: 'data.list[1]'}", [{"data": {"list": [1, 2]}}], [{"data": {"list": [1]}}, {"data": {"list": "ab"}}]),
    ("if: {exists: 'data[\"a b\"]'}", [{"data": {"a b": 1}}], [{"data": {"a": {"b": 1}}}]),
    ("if: {missing: data.a}", [{}, {"data": {"a": None}}, {"data": 3}], [{"data": {"a": 0}}, {"data": {"a": ""}}]),
    ("if: {missing: [data.a, title]}", [{}], [{"data": {"a": 1}}, {"title": "t"}]),
    (
        "if: {contains_text: {data.a: b}}",
        [{"data": {"a": "b"}}, {"data": {"a": "abc"}}],
        [{"data": {"a": "B"}}, {"data": {"a": ["b"]}}, {"data": {"a": 5}}, {}],
    ),
    ('if: {contains_text: {title: "{data.a}"}}', [{"title": "a b", "data": {"a": "b"}}], [{"title": "a", "data": {}}]),
    ('if: {contains_text: {title: "{data.a}"}}', [], [{"title": "1", "data": {"a": 1}}]),
    ("if: {contains_tag: x}", [{"tags": ["x"]}, {"tags": ["a", "x"]}], [{}, {"tags": ["xx"]}, {"tags": ["X"]}]),
    ("if: {contains_tag: [x, y]}", [{"tags": ["x", "y"]}], [{"tags": ["x"]}, {"tags": ["y"]}]),
    ('if: {contains_tag: "ip:{data.ip}"}', [{"tags": ["ip:1"], "data": {"ip": 1}}], [{"tags": ["ip:1"], "data": {}}]),
    (
        "if: {greater_than: {data.a: 5}}",
        [{"data": {"a": 6}}, {"data": {"a": 5.5}}],
        [{"data": {"a": 5}}, {"data": {"a": "6"}}, {"data": {"a": True}}, {"data": {"a": [6]}}, {}],
    ),
    ("if: {greater_than: {data.a: -1}}", [{"data": {"a": 0}}], [{"data": {"a": False}}, {"data": {"a": None}}]),
    ('if: {greater_than: {data.a: "{data.b}"}}', [{"data": {"a": 2, "b": 1}}], [{"data": {"a": 2, "b": "1"}}]),
    (
        "if: {less_than: {data.a: 5}}",
        [{"data": {"a": 4}}, {"data": {"a": -1e300}}],
        [{"data": {"a": 5}}, {"data": {"a": "4"}}, {"data": {"a": False}}, {}],
    ),
    ('if: {less_than: {data.a: "{data.b}"}}', [{"data": {"a": 1, "b": 2}}], [{"data": {"a": 1}}, {"data": {"b": 1}}]),
    ('when: "data.a > 5"', [{"data": {"a": 6}}, {"data": {"a": 5.5}}], [{"data": {"a": 5}}]),
    ('if: {when: "has(data.a) && data.a == 1.0"}', [{"data": {"a": 1}}], [{"data": {"a": True}}, {"data": {}}, {}]),
    ("when: \"title == null || title.startsWith('a')\"", [{}, {"title": "ab"}], [{"title": "b"}]),
    ("when: \"tags.exists(t, t.startsWith('ip:'))\"", [{"tags": ["a", "ip:1"]}], [{}, {"tags": ["a"]}]),
    ("when: \"kind == 'test.done' && status == 'executed'\"", [{}], [{"kind": "a.b"}, {"status": "simulated"}]),
    ('when: "time.getHours() == 12 && time.getFullYear() == 2026"', [{}], []),
    (
        'when: "data.list.all(x, x > 1)"',
        [{"data": {"list": [2, 3]}}, {"data": {"list": []}}],
        [{"data": {"list": [1]}}],
    ),
]


@pytest.mark.parametrize(("condition", "holding", "others"), TABLE, ids=[row[0] for row in TABLE])
def test_a_condition_holds_for_these_spans_and_not_for_those(
    condition: str, holding: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    rules = one_rule(condition)

    assert [outcome(rules, draft_facts(said)) for said in holding] == ["fired"] * len(holding)
    assert [outcome(rules, draft_facts(said)) for said in others] == ["not"] * len(others)
    # The span that a draft becomes is judged alike.
    assert [outcome(rules, span_facts(said)) for said in holding] == ["fired"] * len(holding)
    assert [outcome(rules, span_facts(said)) for said in others] == ["not"] * len(others)


# A rule's facts besides those of the span, each as a condition that holds.
FACTS: Final = [
    "equals: {kind: test.done}",
    "equals: {title: a title}",
    "equals: {subject: account/1}",
    "equals: {contract_id: c, workflow_id: w, flow_id: f}",
    "equals: {metadata.from: x}",
    "equals: {status: executed, visibility: organization}",
    "contains_text: {actor: 'logline-id://person/'}",
    "contains_text: {node: 'logline-id://node/'}",
    "equals: {level: trusted, role: member}",
    "equals: {time: '2026-01-01T12:00:00.000Z'}",
    "equals: {vars.limit: 20}",
    "equals: {windows.many: 3, windows.total: 7.5}",
    "equals: {last.account.data.state: open, last.account.kind: account.changed}",
    "missing: last.other",
    "equals: {approvals: 2, hops: 1}",
    "equals: {'tags[0]': a}",
    "when: windows.many == 3 && windows.total == 7.5",
    "when: vars.limit == 20 && approvals == 2 && hops == 1",
    "when: last.account.data.state == 'open' && !has(last.other)",
    "when: role == 'member' && level == 'trusted' && actor.startsWith('logline-id://person/')",
    "when: size(annotations.tags) == 0 && !annotations.processed",
]


@pytest.mark.parametrize("condition", FACTS)
def test_a_rule_reads_each_fact(condition: str) -> None:
    rules = one_rule(
        f"if: {{{condition}}}" if not condition.startswith("when") else condition,
        variables="{limit: 20}",
        more="""
            windows:
              many: {over: 5m, by: data.client}
              total: {over: 1h, by: data.client, sum: data.amount}
            last:
              account: {subject: subject, kinds: [account.changed]}
              other: {subject: data.client}
        """,
    )
    said = {
        "title": "a title",
        "data": {"client": "1.2.3.4", "amount": 2.5},
        "tags": ["a"],
        "subject": "account/1",
        "contract_id": "c",
        "workflow_id": "w",
        "flow_id": "f",
        "metadata": {"from": "x"},
        "actor": "logline-id://person/" + "e" * 51 + "0",
    }
    past = Past(
        {"many": 2, "total": 5},
        {"account/1": span_facts({"kind": "account.changed", "data": {"state": "open"}}, at_ms=NOON_MS - 1000)},
    )

    assert outcome(rules, draft_facts(said, approvals=("root", "root"), hops=1), past) == "fired"
    assert outcome(rules, span_facts(said, approvals=("root", "root"), hops=1), past) == "fired"
