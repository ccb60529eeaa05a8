"""What each action does where its rule fires, and that it does nothing where it does not."""

from typing import Any, Final

import pytest

from lognode.rules.document import (
    AddTag,
    Allow,
    Emit,
    MarkProcessed,
    Note,
    Notify,
    Reject,
    RequireApproval,
    SetMetadata,
    Simulate,
)
from lognode.rules.evaluation.decision import Deed, Notes, Scheduled
from tests.rules.judged import NOON_MS, decide, draft_facts, rules_of

DUE: Final = "2026-01-02T00:00:00Z"
SAID: Final[dict[str, Any]] = {
    "title": "Order 7",
    "data": {
        "go": True,
        "n": 7,
        "f": 1.5,
        "letter": "a",
        "ok": False,
        "map": {"a": [1]},
        "due": "2026-01-02T00:00:00Z",
    },
    "subject": "order/7",
}

# The phase, the action, the deed, and the verdict and notes that follow.
TABLE: Final[list[tuple[str, str, Deed, str, Notes]]] = [
    ("draft", "allow: fine", Allow("fine"), "allow", Notes()),
    ("draft", 'reject: "no {data.n}"', Reject("no 7"), "reject", Notes()),
    ("draft", 'simulate: "{title}, {subject}"', Simulate("Order 7, order/7"), "simulate", Notes()),
    (
        "draft",
        "require_approval: {role: root, of: 2, within: 24h, text: 'over {data.n}'}",
        RequireApproval("root", 2, 86_400_000, "over 7"),
        "hold",
        Notes(),
    ),
    ("draft", 'add_tag: [b, "n:{data.n}"]', AddTag(("b", "n:7")), "allow", Notes(tags=("b", "n:7"))),
    ("draft", 'add_tag: "{data.none}"', AddTag(()), "allow", Notes()),
    (
        "draft",
        'set_metadata: {risk: high, n: "{data.n}", text: "is {data.f} {data.ok}{data.none}", map: "{data.map}"}',
        SetMetadata((("risk", "high"), ("n", 7), ("text", "is 1.5 false"), ("map", {"a": [1]}))),
        "allow",
        Notes(metadata={"risk": "high", "n": 7, "text": "is 1.5 false", "map": {"a": [1]}}),
    ),
    ("draft", "mark_processed: true", MarkProcessed(), "allow", Notes(processed=True)),
    ("draft", 'note: "{data.map}"', Note('{"a":[1]}'), "allow", Notes(notes=('{"a":[1]}',))),
    (
        "commit",
        """emit: {kind: order.late, title: "{title} is late", data: {of: "{data.n}", map: "{data.map}"},
                 tags: [z, a, "{data.letter}"], subject: "{subject}", metadata: {by: rules}, visibility: public}""",
        Emit(
            "order.late", "Order 7 is late", {"of": 7, "map": {"a": [1]}}, ("a", "z"), "order/7",
            metadata={"by": "rules"}, visibility="public",
        ),
        "allow",
        Notes(),
    ),
    (
        "commit",
        'schedule: {name: "late {data.n}", after: 10m, emit: {kind: order.late}}',
        Scheduled("late 7", Emit("order.late"), NOON_MS + 600_000, None, "once"),
        "allow",
        Notes(),
    ),
    (
        "commit",
        "schedule: {name: due, at: data.due, missed: skip, notify: {to: journal, text: 'due {title}'}}",
        Scheduled("due", Notify(None, "due Order 7"), NOON_MS + 43_200_000, None, "skip"),
        "allow",
        Notes(),
    ),
    (
        "commit",
        "schedule: {name: nightly, cron: '0 3 * * *', missed: all, emit: {kind: night.begun}}",
        Scheduled("nightly", Emit("night.begun"), None, "0 3 * * *", "all"),
        "allow",
        Notes(),
    ),
    (
        "commit",
        'notify: {to: webhook ops, text: "see {title}", data: {n: "{data.n}"}}',
        Notify("ops", "see Order 7", {"n": 7}),
        "allow",
        Notes(),
    ),
    ("commit", "note: reacted", Note("reacted"), "allow", Notes(notes=("reacted",))),
]  # fmt: skip


@pytest.mark.parametrize(("phase", "action", "deed", "verdict", "notes"), TABLE, ids=[row[1][:40] for row in TABLE])
def test_an_action_is_done_where_its_rule_fires(
    phase: str, action: str, deed: Deed, verdict: str, notes: Notes
) -> None:
    rules = rules_of(
        f"rules: s\ndo:\n  - id: r\n    on: {phase}\n    kinds: [test.done]\n"
        f"    if: {{equals: {{data.go: true}}}}\n    then:\n      - {action}\n"
    )
    gate = phase == "draft"

    done = decide(rules, facts=draft_facts(SAID), gate=gate)
    left = decide(rules, facts=draft_facts({**SAID, "data": {"go": False}}), gate=gate)
    elsewhere = decide(rules, facts=draft_facts(SAID), gate=not gate)

    assert [(effect.set, effect.rule, effect.place, effect.deed) for effect in done.effects] == [("s", "r", 0, deed)]
    assert (done.verdict, done.notes) == (verdict, notes)
    assert (left.verdict, left.effects, left.notes) == ("allow", (), Notes())
    assert (elsewhere.verdict, elsewhere.effects, elsewhere.steps) == ("allow", (), ())


def test_what_was_approved_is_held_no_more() -> None:
    rules = rules_of(
        """
        rules: s
        do:
          - id: r
            on: draft
            then: [{require_approval: {role: root, of: 2, within: 1h, text: two of us}}]
        """
    )

    def verdict(*approvals: str) -> str:
        return decide(rules, facts=draft_facts({}, approvals=approvals)).verdict

    assert verdict() == verdict("root") == verdict("root", "member", "member") == "hold"
    assert verdict("root", "root") == verdict("root", "owner", "root") == "allow"


def test_the_strictest_verdict_wins_and_its_reason_is_told() -> None:
    actions = {
        "allow": "allow: a",
        "simulate": "simulate: s",
        "hold": "require_approval: {role: root, of: 1, within: 1h, text: h}",
        "reject": "reject: r",
    }
    names = list(actions)
    for one in names:
        for other in names:
            rules = rules_of(
                "rules: s\ndo:\n"
                f"  - {{id: a, on: draft, priority: 1, if: {{missing: title}}, then: [{actions[one]}]}}\n"
                f"  - {{id: b, on: draft, priority: 2, if: {{missing: title}}, then: [{actions[other]}]}}\n"
            )
            decision = decide(rules, facts=draft_facts({}))
            strictest = max(one, other, key=names.index)

            assert decision.verdict == strictest
            assert decision.reason is not None
            assert decision.reason.rule == ("a" if one == strictest else "b")
            assert len(decision.steps) == (1 if one == "reject" else 2)
