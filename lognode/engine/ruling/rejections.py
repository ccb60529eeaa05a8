"""Rejections that repeat: of one rule and actor in one minute the first is told, and later how many more there were.

Pure. Invariant: the counts that are told of a minute add up to what was rejected in it, unless the node was killed.
"""

from typing import Final, NamedTuple

import msgspec

from lognode.core.ids import LogLine
from lognode.core.limits import FIRED_BYTES_MAX, REJECTIONS_BYTES_MAX, REJECTIONS_GATHERED_MAX
from lognode.core.span import ORGANIZATION
from lognode.rules.conditions.weight import weight_of
from lognode.rules.records import Fired, FiredRule

MINUTE_MS: Final = 60_000
_BARE_BYTES: Final = 512  # of a firing that names one rule


class Rejecting(NamedTuple):
    """What rejections are gathered by. `actor` is None for whoever did not say; what is told has the `visibility`."""

    tenant: int
    set: str
    rule: str
    actor: LogLine | None
    visibility: int = ORGANIZATION


class _Gathered(NamedTuple):
    minute: int
    untold: int
    newest: Fired
    weight: int


class Rejections:
    """What was rejected lately: REJECTIONS_GATHERED_MAX rules and actors, in REJECTIONS_BYTES_MAX of firings.

    Beyond, actors are counted together, and of firings it is kept which rule rejected.
    """

    def __init__(self) -> None:
        self._gathered: dict[Rejecting, _Gathered] = {}
        self._bytes = 0

    def tell(self, by: Rejecting, now_ms: int, fired: Fired) -> Fired | None:
        """The firing of a rejection where it is to be told now; None where it is counted and told later."""
        minute = now_ms // MINUTE_MS
        held = self._gathered.get(by)
        if held is None and (len(self._gathered) >= REJECTIONS_GATHERED_MAX or self._bytes >= REJECTIONS_BYTES_MAX):
            # Whoever sends under ever new names is told of once, and counted together.
            by = by._replace(actor=None)
            held = self._gathered.get(by)
        newest, weight = self._kept(by, fired, held)
        self._bytes += weight - (held.weight if held else 0)
        if held is not None and (held.minute == minute or held.untold):
            self._gathered[by] = _Gathered(held.minute, held.untold + 1, newest, weight)
            return None
        self._gathered[by] = _Gathered(minute, 0, newest, weight)
        return fired

    def _kept(self, by: Rejecting, fired: Fired, held: _Gathered | None) -> tuple[Fired, int]:
        """What is kept of a firing, and how many bytes it may take."""
        left = REJECTIONS_BYTES_MAX - self._bytes + (held.weight if held else 0)
        weight = weight_of(msgspec.to_builtins(fired), FIRED_BYTES_MAX)
        if weight <= min(left, FIRED_BYTES_MAX):
            return fired, weight
        rules = tuple(FiredRule(rule.set, rule.rule, rule.outcome) for rule in fired.rules if _is_of(rule, by))
        sets = {name: said for name, said in fired.sets.items() if name == by.set}
        return Fired(sets, fired.on, fired.verdict, rules[:1], cut=True), _BARE_BYTES

    def take(self, now_ms: int) -> list[tuple[Rejecting, Fired]]:
        """Whose they are, and firings for what was counted in minutes that are over; they are forgotten here."""
        minute = now_ms // MINUTE_MS
        over = [(by, held) for by, held in self._gathered.items() if held.minute < minute]
        for by, held in over:
            del self._gathered[by]
            self._bytes -= held.weight
        return [(by, msgspec.structs.replace(held.newest, count=held.untold)) for by, held in over if held.untold]

    @property
    def are_waiting(self) -> bool:
        """Whether there is anything to be told once its minute is over."""
        return any(held.untold for held in self._gathered.values())


def _is_of(rule: FiredRule, by: Rejecting) -> bool:
    return (rule.set, rule.rule) == (by.set, by.rule)
