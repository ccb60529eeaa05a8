"""Why a rule fired or did not, in sentences: the conditions that decided it, and the values that they read.

Conditions decide innermost: of `all` that does not hold the first one that does not, of `any` that holds the first one
that does, else all of them; what is inside `not` decides for it. Invariant: a sentence says nothing that its grounds
do not hold.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from lognode.rules.conditions.trace import CUT, Trace
from lognode.rules.document import Rule, matches_kind
from lognode.rules.evaluation.decision import Decision, Step

_GROUNDS_TOLD = 5  # of many; the others are counted
_VALUE_CHARS = 120


class Account(msgspec.Struct, frozen=True):
    """Why something became of a rule. `outcome` is a step's, or `unseen` where the rule was not judged."""

    set: str
    rule: str
    outcome: str
    sentence: str
    grounds: tuple[Trace, ...] = ()


def account(step: Step) -> Account:
    """Why the step came out as it did; it has a trace, as those of `evaluate(..., traces=True)` have."""
    grounds = tuple(decisive(step.trace)) if step.trace is not None else ()
    return Account(
        step.set, step.rule, step.outcome, f"Rule {step.rule} of {step.set} {_said(step, grounds)}.", grounds
    )


def why(decision: Decision) -> list[Account]:
    """Accounts of the rules that did something to the span, or failed, in their order."""
    return [account(step) for step in decision.steps if step.outcome in {"fired", "failed"}]


def why_not(decision: Decision, name: str, rule: Rule, kind: str) -> Account:
    """Why a rule of the set `name` did not fire for a span of this kind; if it did, why it did."""
    for step in decision.steps:
        if (step.set, step.rule) == (name, rule.id):
            return account(step)
    if not matches_kind(rule.kinds, kind):
        looks = f"looks at spans of {', '.join(rule.kinds)}" if rule.kinds else "looks at no spans that nodes write"
        said = f"{looks}, and this one is of {kind}"
    else:
        last = decision.steps[-1] if decision.steps else None
        said = "was not judged" if last is None else f"was not judged, since {last.rule} of {last.set} came before it"
        if decision.verdict == "reject":
            said += " and rejected the span"
    return Account(name, rule.id, "unseen", f"Rule {rule.id} of {name} {said}.")


def decisive(trace: Trace) -> Iterator[Trace]:
    """The innermost conditions that made the result, in the order in which they were judged."""
    if not trace.of:
        yield trace
        return
    parts = [part for part in trace.of if part.result is None] if trace.result is None else list(trace.of)
    if trace.condition == ("all" if trace.result is False else "any" if trace.result is True else ""):
        parts = [part for part in trace.of if part.result is trace.result]
    for part in parts:
        yield from decisive(part)


def _said(step: Step, grounds: tuple[Trace, ...]) -> str:
    if step.outcome == "skipped":
        return f"was skipped: {step.error}"
    told = "; ".join(_ground(ground, step.outcome) for ground in grounds[:_GROUNDS_TOLD])
    if len(grounds) > _GROUNDS_TOLD:
        told += f"; and {len(grounds) - _GROUNDS_TOLD} more"
    verb = {"fired": "fired", "not": "did not fire", "failed": "failed"}[step.outcome]
    said = f"{verb}: {told}" if told else verb
    return f"{said} ({step.error})" if step.outcome == "fired" and step.error else said


def _ground(ground: Trace, outcome: str) -> str:
    """One condition with its result and values, such as: `greater_than data.n: 3` does not hold, for data.n is 2."""
    if ground.condition == "always":
        return "it always does" if ground.result else "it never does"
    held = {True: "holds", False: "does not hold", None: f"cannot be told ({ground.error})"}[ground.result]
    if ground.result is (outcome == "not"):  # so it stands inside `not`
        held += ", as it should" if outcome == "fired" else ", which it should not"
    values = " and ".join(f"{path} is {_value(value)}" for path, value in ground.values.items())
    return f"`{ground.condition}` {held}" + (f", for {values}" if values else "")


def _value(value: Any) -> str:
    text = "missing" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= _VALUE_CHARS else text[:_VALUE_CHARS] + CUT
