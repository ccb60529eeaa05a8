"""What a node said that its rules made of a span, beside what they have to make of it.

Pure. Invariant: whoever rechecks with the same past finds the same differences, in the same order.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from lognode.engine.ruling.hindsight.drafts import EMITTED
from lognode.rules.records import Fired, FiredRule, parse_fired
from lognode.timeline.agreement.rules.annotations import rules_in

Answer = Literal["same", "altered", "withheld"]
_NOTED = ("verdict", "tags", "metadata", "notes", "processed", "fired", "sets")


class Deviation(msgspec.Struct, frozen=True):
    """Where a node said something else than it had to: what it said, and what was due; by base32 key and span."""

    where: str
    said: Any
    due: Any


class Told(NamedTuple):
    """Firings that a node wrote about a span: those that could be read, and what is wrong with the others."""

    firings: Sequence[Fired]
    faults: Sequence[str]


def differing_notes(said: bytes, due: bytes) -> list[Deviation]:
    """How what rules noted in a span's annotations differs from what they had to note."""
    one, other = ({name: value for name, value in rules_in(raw).items() if name not in EMITTED} for raw in (said, due))
    names = [*_NOTED, *sorted(one.keys() - set(_NOTED))]
    return [
        Deviation(f"annotations.rules.{name}", one.get(name), other.get(name))
        for name in names
        if one.get(name) != other.get(name)
    ]


def differing_firings(told: Told, due: bytes | None) -> list[Deviation]:
    """How the firings of one node, on drafts or on commits, differ from the one that was due, if any."""
    wanted = parse_fired(due) if due is not None else None
    found = [Deviation("firing", fault, "a firing") for fault in told.faults]
    if wanted is None:
        return found + [Deviation("firing", _named(fired.rules), None) for fired in told.firings]
    if not told.firings:
        return [*found, Deviation("firing", None, _named(wanted.rules))]
    found += [Deviation("firing", _named(fired.rules), "one firing alone") for fired in told.firings[1:]]
    return found + _differing(told.firings[0], wanted)


def _differing(said: Fired, due: Fired) -> list[Deviation]:
    found = [
        Deviation(f"firing.{name}", one, other)
        for name in ("verdict", "sets")
        if (one := getattr(said, name)) != (other := getattr(due, name))
    ]
    if _named(said.rules) != _named(due.rules):
        return [*found, Deviation("firing.rules", _named(said.rules), _named(due.rules))]
    if said.cut != due.cut:
        return [*found, Deviation("firing.cut", said.cut, due.cut)]
    return found + [
        Deviation(f"firing.rules.{one.set}/{one.rule}.{name}", left, right)
        for one, other in zip(said.rules, due.rules, strict=True)
        for name in ("effects", "inputs")
        if (left := _plain(getattr(one, name))) != (right := _plain(getattr(other, name)))
    ]


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(list(value) if isinstance(value, tuple) else value)


def _named(rules: Sequence[FiredRule]) -> list[str]:
    return [f"{one.set}/{one.rule} {one.outcome}" for one in rules]
