"""What rules come to for one span: the verdict, the effects, and a step for each rule that was looked at.

Values only; all of them are JSON by `msgspec.to_builtins`. Invariant: equal rules, facts and context give equal
decisions, byte for byte.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from lognode.rules.conditions.trace import Trace
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

Verdict = Literal["allow", "simulate", "hold", "reject"]
Outcome = Literal["fired", "not", "failed", "skipped"]


class Scheduled(msgspec.Struct, frozen=True):
    """Something to do later: once at `due_ms`, or whenever `cron` says."""

    name: str
    what: Emit | Notify
    due_ms: int | None
    cron: str | None
    missed: Literal["skip", "once", "all"]


# What an effect does: an action of the document in which all templates are filled in.
Deed: TypeAlias = (
    Allow
    | Reject
    | Simulate
    | RequireApproval
    | AddTag
    | SetMetadata
    | MarkProcessed
    | Note
    | Emit
    | Notify
    | Scheduled
)


_DEEDS: Final[Mapping[Verdict, type]] = {
    "reject": Reject,
    "hold": RequireApproval,
    "simulate": Simulate,
    "allow": Allow,
}


class Effect(msgspec.Struct, frozen=True):
    """What a rule does to one span. `place` is its action's index in the rule: with set and rule it names it."""

    set: str
    rule: str
    place: int
    deed: Deed


class Step(msgspec.Struct, frozen=True):
    """What became of one rule.

    `fired`: its condition held. `not`: it did not. `failed`: it could not be told, or would have cost too much.
    `skipped`: a rule that it depends on did not fire. `trace` is there for what fired or failed, as far as there was
    room, and for all rules where it was asked for. `error` says why a rule failed or was skipped, why one fired though
    its condition could not be told, or which effects of a fired one were dropped.
    """

    set: str
    rule: str
    outcome: Outcome
    trace: Trace | None = None
    error: str = ""

    @property
    def inputs(self) -> dict[str, Any]:
        """The values that its condition read, by path, shortened."""
        found: dict[str, Any] = {}
        for leaf in () if self.trace is None else self.trace.leaves():
            found.update(leaf.values)
        return found


class Notes(msgspec.Struct, frozen=True):
    """What rules wrote about a span: the fact `annotations`, and what a gate writes into the span's annotations."""

    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()
    processed: bool = False


class Decision(msgspec.Struct, frozen=True):
    """What all rules came to. `notes` are those of this evaluation, not those that the span came with.

    `effects` are in the order of the rules; `hops` is the depth of spans that they make.
    """

    verdict: Verdict
    effects: tuple[Effect, ...]
    steps: tuple[Step, ...]
    notes: Notes
    hops: int

    def part_of(self, rules: Collection[tuple[str, str]]) -> "Decision":
        """The part of it that is of some rules, by set and id."""
        effects = tuple(effect for effect in self.effects if (effect.set, effect.rule) in rules)
        steps = tuple(step for step in self.steps if (step.set, step.rule) in rules)
        return msgspec.structs.replace(self, effects=effects, steps=steps)

    @property
    def reason(self) -> Effect | None:
        """The effect that made the verdict: the first of its kind. None where nothing but the default allowed."""
        return next((effect for effect in self.effects if isinstance(effect.deed, _DEEDS[self.verdict])), None)
