"""The rule sets that come with lognode do what they say, on a timeline that grows as they let it."""

from typing import Any, Final

import msgspec
import pytest

from lognode.core.clock import hlc_from_ms
from lognode.core.draft import parse_json_draft
from lognode.core.ids import LogLineKind, logline
from lognode.rules.document import Emit, Last, Notify, Window, matches_kind
from lognode.rules.evaluation.decision import Decision
from lognode.rules.evaluation.facts import Facts, Writer
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.evaluation.samples import Sample, extract
from lognode.rules.evaluation.verdict import evaluate
from lognode.rules.grammar.reading import read_rule_set
from tests.house import ROOT

PACKS: Final = sorted((ROOT / "config/rules").glob("*.yaml"))
START_MS: Final = 1_767_268_800_000
WRITER: Final = Writer(logline(LogLineKind.NODE, bytes(32)), "trusted")


class Timeline:
    """What was written so far, under one rule set; spans come a second apart unless told otherwise."""

    def __init__(self, pack: str) -> None:
        text = (ROOT / f"config/rules/{pack}.yaml").read_bytes()
        self._program = compile_rules([read_rule_set(text, is_json=False)])
        self._spans: list[Facts] = []
        self._subjects: dict[str, list[Facts]] = {}
        self._now_ms = START_MS

    def write(self, kind: str, *, approvals: tuple[str, ...] = (), after_s: float = 1, **said: Any) -> Decision:
        """What gate rules say of a draft, which is written unless it is rejected or held; `said` is its data."""
        self._now_ms += int(after_s * 1000)
        subject, visibility = said.pop("subject", None), said.pop("visibility", "organization")
        text = {"kind": kind, "data": said, "subject": subject, "visibility": visibility}
        draft, _ = parse_json_draft(msgspec.json.encode(text))
        facts = Facts.of_draft(draft, WRITER, hlc=hlc_from_ms(self._now_ms), approvals=approvals)
        decision = evaluate(self._program, facts, self, gate=True)
        assert all(step.outcome in {"fired", "not"} for step in decision.steps)
        if decision.verdict in {"allow", "simulate"}:
            self._spans.append(facts)
            self._subjects.setdefault(subject, []).append(facts)
        return decision

    def react(self) -> Decision:
        """What reactions make of the newest span."""
        facts = self._spans.pop()
        decision = evaluate(self._program, facts, self, gate=False)
        self._spans.append(facts)
        return decision

    def window(self, window: Window, sample: Sample) -> int | float:
        found = [extract(window, facts) for facts in self._spans]
        start_ms = sample.at_ms - window.over_ms
        same = [one for one in found if one and one.key == sample.key and start_ms < one.at_ms <= sample.at_ms]
        if window.measure == "sum":
            return sum(one.value for one in same if isinstance(one.value, int | float))
        return len({one.value for one in same} - {sample.value}) if window.measure == "distinct" else len(same)

    def last(self, last: Last, subject: str) -> Facts | None:
        found = [facts for facts in self._subjects.get(subject, ()) if matches_kind(last.kinds, facts.kind)]
        return found[-1] if found else None


def reason(decision: Decision) -> tuple[str, str, str]:
    """The verdict, the rule that made it, and its text."""
    effect = decision.reason
    return (decision.verdict, effect.rule if effect else "", getattr(effect.deed, "text", "") if effect else "")


@pytest.mark.parametrize("path", PACKS, ids=lambda path: path.stem)
def test_a_pack_is_named_for_its_file_and_has_no_mistake(path: Any) -> None:
    assert read_rule_set(path.read_bytes(), is_json=False).name == path.stem


def test_a_client_that_fails_too_often_is_kept_out_until_it_has_been_quiet() -> None:
    timeline = Timeline("brute-force")
    for number in range(20):
        timeline.write("login.failed", client="10.0.0.7", account=f"a{number % 3}")
    assert timeline.write("login.attempted", client="10.0.0.7", account="z").verdict == "allow"
    timeline.write("login.failed", client="10.0.0.7", account="z")

    refused = timeline.write("login.attempted", client="10.0.0.7", account="z")

    assert reason(refused) == ("reject", "client-failed-too-often", "10.0.0.7 failed 21 times within 5 minutes")
    assert timeline.write("login.attempted", client="10.0.0.8", account="z").verdict == "allow"
    assert timeline.write("login.attempted", client="10.0.0.7", account="z", after_s=280).verdict == "allow"


def test_an_account_that_is_tried_from_everywhere_is_closed_for_a_while() -> None:
    timeline = Timeline("brute-force")
    for number in range(11):
        timeline.write("login.failed", client=f"10.0.0.{number}", account="ann")

    refused = timeline.write("login.attempted", client="10.9.9.9", account="ann")

    assert reason(refused) == ("reject", "account-failed-too-often", "ann was tried 11 times within 15 minutes")
    assert timeline.write("login.attempted", client="10.9.9.9", account="bob").verdict == "allow"
    assert timeline.write("login.attempted", client="10.9.9.9", account="ann", after_s=900).verdict == "allow"


def test_failures_at_many_accounts_are_tagged() -> None:
    timeline = Timeline("brute-force")

    decisions = [timeline.write("login.failed", client="10.0.0.7", account=f"a{number}") for number in range(7)]

    assert [decision.notes.tags for decision in decisions] == 5 * [()] + 2 * [("credential-stuffing",)]


def test_who_is_kept_out_is_told_once() -> None:
    timeline = Timeline("brute-force")
    deeds = []
    for _ in range(30):
        timeline.write("login.failed", client="10.0.0.7", account="ann")
        deeds += [effect.deed for effect in timeline.react().effects]

    emitted, told = deeds
    assert isinstance(emitted, Emit)
    assert emitted.data == {"client": "10.0.0.7", "account": "ann", "failures": 21}
    assert (emitted.kind, emitted.subject, emitted.tags) == ("alert.brute_force", "client/10.0.0.7", ("alert",))
    assert isinstance(told, Notify)
    assert told.text == "10.0.0.7 failed 21 times within 5 minutes and is kept out"


def pay(timeline: Timeline, amount: Any, **said: Any) -> Decision:
    kwargs = {"account": "acc/1", "currency": "EUR", "to": "shop", **said}
    return timeline.write("payment.requested", amount=amount, **kwargs)


@pytest.mark.parametrize(
    ("amount", "said", "verdict", "rule"),
    [
        (1000, {}, "allow", ""),
        (1000.01, {}, "hold", "large-payment"),
        (50_000, {}, "hold", "large-payment"),
        (50_001, {}, "reject", "beyond-all-limits"),
        (0, {}, "reject", "not-understood"),
        (-5, {}, "reject", "not-understood"),
        ("1000", {}, "reject", "not-understood"),
        (10, {"currency": "USD"}, "reject", "not-understood"),
        (10, {"to": None}, "reject", "not-understood"),
        (10, {"account": None}, "reject", "not-understood"),
        (10, {"account": ["acc/1"]}, "reject", "not-understood"),  # which no window would count, and is no subject
        (10, {"account": 1}, "reject", "not-understood"),
        (10, {"to": {"name": "shop"}}, "reject", "not-understood"),
    ],
)
def test_a_single_payment_is_allowed_held_or_refused(
    amount: Any, said: dict[str, Any], verdict: str, rule: str
) -> None:
    assert reason(pay(Timeline("spending-limit"), amount, **said))[:2] == (verdict, rule)


def test_a_private_payment_which_no_window_counts_is_refused() -> None:
    assert reason(pay(Timeline("spending-limit"), 10, visibility="private"))[:2] == ("reject", "not-understood")


def test_a_large_payment_is_let_through_when_a_root_approved_it() -> None:
    timeline = Timeline("spending-limit")

    held = pay(timeline, 2000)

    assert reason(held) == ("hold", "large-payment", "2000 EUR from acc/1 to shop")
    assert held.notes.tags == ("large",)
    assert pay(timeline, 2000, approvals=("member",)).verdict == "hold"
    assert pay(timeline, 2000, approvals=("root",)).verdict == "allow"


def test_small_payments_of_one_day_add_up() -> None:
    timeline = Timeline("spending-limit")
    assert [pay(timeline, 900).verdict for _ in range(3)] == ["allow"] * 3

    held = pay(timeline, 900)

    assert reason(held) == ("hold", "much-in-a-day", "acc/1 would have spent 3600 EUR within 24 hours")
    assert pay(timeline, 900, account="acc/2").verdict == "allow"
    assert pay(timeline, 900, after_s=24 * 3600).verdict == "allow"


def test_many_payees_within_an_hour_are_asked_about() -> None:
    timeline = Timeline("spending-limit")
    assert [pay(timeline, 10, to=f"shop{number}").verdict for number in range(5)] == ["allow"] * 5

    assert reason(pay(timeline, 10, to="shop9"))[:2] == ("hold", "many-payees")
    assert pay(timeline, 10, to="shop1").verdict == "allow"
    assert pay(timeline, 10, to="shop9", after_s=3600).verdict == "allow"


def test_a_frozen_account_pays_nothing_until_it_is_released() -> None:
    timeline = Timeline("spending-limit")
    timeline.write("account.frozen", subject="acc/1")

    refused = pay(timeline, 10)

    assert reason(refused) == ("reject", "account-frozen", "acc/1 is frozen since 2026-01-01T12:00:01.000Z")
    assert pay(timeline, 10, account="acc/2").verdict == "allow"
    timeline.write("account.released", subject="acc/1")
    assert pay(timeline, 10).verdict == "allow"
