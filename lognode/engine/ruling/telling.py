"""What is told of a decision: in the annotations of the span that was judged, and in a firing of its own.

Pure. Source: docs/protocol.md, Rule spans.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

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
from lognode.rules.evaluation.decision import Decision, Deed, Scheduled, Step
from lognode.rules.evaluation.explain import decisive
from lognode.rules.records import Fired, FiredRule, short_hash

# What deeds are called in documents.
_NAMES: Final[Mapping[type, str]] = {
    Allow: "allow",
    Reject: "reject",
    Simulate: "simulate",
    RequireApproval: "require_approval",
    AddTag: "add_tag",
    SetMetadata: "set_metadata",
    MarkProcessed: "mark_processed",
    Note: "note",
    Emit: "emit",
    Notify: "notify",
    Scheduled: "schedule",
}


def deed_json(deed: Deed) -> dict[str, Any]:
    """A deed under its name in documents, with what differs from the defaults."""
    said = msgspec.to_builtins(deed)
    return {_NAMES[type(deed)]: {name: value for name, value in said.items() if value not in (None, (), [])}}


def annotations_said(decision: Decision, hashes: Mapping[str, bytes]) -> dict[str, Any]:
    """The member `rules` of the annotations of a span that gate rules did something to."""
    fired = [step for step in decision.steps if step.outcome == "fired"]
    notes = decision.notes
    said: dict[str, Any] = {
        "sets": {step.set: short_hash(hashes[step.set]) for step in fired},
        "fired": [[step.set, step.rule] for step in fired],
        "tags": list(notes.tags),
        "metadata": dict(notes.metadata),
        "notes": list(notes.notes),
        "processed": notes.processed,
        "verdict": decision.verdict if decision.verdict != "allow" else None,
    }
    return {name: value for name, value in said.items() if value}


def firing_of(decision: Decision, hashes: Mapping[str, bytes], *, is_gate: bool, has_grounds: bool = False) -> Fired:
    """What is told of a decision in which rules did something, or failed; if asked with the conditions that decided."""
    told = [step for step in decision.steps if step.outcome in {"fired", "failed"}]
    return Fired(
        sets={step.set: short_hash(hashes[step.set]) for step in told},
        on="draft" if is_gate else "commit",
        verdict=decision.verdict,
        rules=tuple(_rule(step, decision, has_grounds=has_grounds) for step in told),
    )


def _rule(step: Step, decision: Decision, *, has_grounds: bool) -> FiredRule:
    deeds = [effect.deed for effect in decision.effects if (effect.set, effect.rule) == (step.set, step.rule)]
    assert step.outcome in {"fired", "failed"}
    return FiredRule(
        step.set,
        step.rule,
        "fired" if step.outcome == "fired" else "failed",
        tuple(map(deed_json, deeds)),
        step.inputs,
        step.error,
        tuple(decisive(step.trace)) if has_grounds and step.trace is not None else (),
    )


def is_told(decision: Decision) -> bool:
    """Whether a decision is worth a span: rules did something, failed, or did not allow. Plain allows only count."""
    if decision.verdict != "allow":
        return True
    if decision.effects and any(effect.deed.__class__ is not Allow for effect in decision.effects):
        return True
    for step in decision.steps:
        if step.outcome != "not" and (step.outcome == "failed" or (step.outcome == "fired" and step.error)):
            return True
    return False
