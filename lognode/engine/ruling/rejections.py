"""Rejections that repeat: of one rule and actor in one minute the first is told, and later how many more there were.

Pure. Invariant: the counts that are told of a minute add up to what was rejected in it, unless the node was killed.
"""

from typing import Final, NamedTuple

import msgspec

from lognode.core.ids import LogLine
from lognode.core.limits import REJECTIONS_GATHERED_MAX
from lognode.core.span import ORGANIZATION
from lognode.rules.records import Fired

MINUTE_MS: Final = 60_000


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


class Rejections:
    """What was rejected lately."""

    def __init__(self) -> None:
        self._gathered: dict[Rejecting, _Gathered] = {}

    def tell(self, by: Rejecting, now_ms: int, fired: Fired) -> Fired | None:
        """The firing of a rejection where it is to be told now; None where it is counted and told later."""
        minute = now_ms // MINUTE_MS
        held = self._gathered.get(by)
        if held is None and len(self._gathered) >= REJECTIONS_GATHERED_MAX:
            # Whoever sends under ever new names is told of once, and counted together.
            by = by._replace(actor=None)
            held = self._gathered.get(by)
        if held is not None and (held.minute == minute or held.untold):
            self._gathered[by] = held._replace(untold=held.untold + 1, newest=fired)
            return None
        self._gathered[by] = _Gathered(minute, 0, fired)
        return fired

    def take(self, now_ms: int) -> list[tuple[Rejecting, Fired]]:
        """Whose they are, and firings for what was counted in minutes that are over; they are forgotten here."""
        minute = now_ms // MINUTE_MS
        over = [(by, held) for by, held in self._gathered.items() if held.minute < minute]
        for by, _ in over:
            del self._gathered[by]
        return [(by, msgspec.structs.replace(held.newest, count=held.untold)) for by, held in over if held.untold]

    @property
    def are_waiting(self) -> bool:
        """Whether there is anything to be told once its minute is over."""
        return any(held.untold for held in self._gathered.values())
