"""A node whose gate writes something else than its rules decided: what the others must find, and whom they must name.

Each style is one lie about decisions; in all else the node is honest. Invariant: what it altered is remembered here by
where it stands, so that what others find can be held against it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any, Final, NamedTuple

import cbor2
import msgspec

from lognode.core.access import Level
from lognode.core.codec import decode_value
from lognode.core.draft import Draft
from lognode.core.ids import FeedId
from lognode.core.span import EXECUTED
from lognode.engine.commit import Chosen, Firing
from lognode.engine.service.ruling.gate import Gate
from lognode.rules.records import Fired, fired_data, parse_fired
from lognode.timeline.agreement.merges import Merged
from lognode.timeline.agreement.rules.annotations import RULES, rules_in
from lognode.timeline.state import TenantState

_OFTEN: Final = 0.7
ADMITS: Final = "admits"
HIDES: Final = "hides"


class Pair(NamedTuple):
    """A draft as its node is about to write it, and what its firing is about to tell."""

    draft: Draft
    fired: Fired


class Tampering:
    """What a node alters of its decisions, and where it did."""

    def __init__(self, name: int, style: str, random: Random) -> None:
        self.name = name
        self.style = style
        self.altered = set[tuple[FeedId, int]]()
        self._random = random

    def may_follow(self, feed: FeedId, seq: int) -> bool:
        """Whether a decision may differ because the node goes on by what its gate decided, not by what it wrote.

        What it let pass its windows do not count; and they count on by the places that a firing which it hid had had.
        """
        return self.style in {ADMITS, HIDES} and any(name == feed and before < seq for name, before in self.altered)

    def gate(self, gate: Gate) -> "TamperedGate":
        """A gate that does so behind another one."""
        return TamperedGate(self, gate)

    def alter(self, state: TenantState, asked: Chosen, passed: Chosen) -> Chosen:
        """What it writes instead of what passed its gate."""
        assert state.head is not None
        feed, size = state.head.feed.feed_id, state.head.border.size
        # What a crash kept from being written was never said.
        self.altered = {(name, seq) for name, seq in self.altered if name != feed or seq < size}
        found = self._let_pass(asked, passed) if self.style == ADMITS else self._reword(passed)
        self.altered |= {
            (feed, size + place)
            for place, (draft, due) in enumerate(zip(found.drafts, [*passed.drafts, None], strict=False))
            if draft != due or _told(found, place) != _told(passed, place)
        }
        return found

    def _let_pass(self, asked: Chosen, passed: Chosen) -> Chosen:
        """Of the last call a draft that was rejected, as if no rule had looked at it; its author is told otherwise."""
        passing = passed.places[-1]
        if asked.errors[-1] or not passed.errors[-1] or self._random.random() > _OFTEN:
            return passed
        place = asked.places[-1][len(passing)]
        assert isinstance(place, int)
        places = [*passed.places[:-1], [*passing, len(passed.drafts)]]
        return passed._replace(drafts=[*passed.drafts, asked.drafts[place]], places=places)

    def _reword(self, passed: Chosen) -> Chosen:
        """Some of those of which a firing tells otherwise."""
        drafts, firings = list(passed.drafts), list[Firing]()
        for firing in passed.firings:
            if firing.about is None or self._random.random() > _OFTEN:
                firings.append(firing)
                continue
            draft = drafts[firing.about]
            changed = STYLES[self.style](Pair(draft, parse_fired(firing.draft.data)))
            if changed is None:
                continue
            drafts[firing.about] = changed.draft
            firings.append(firing._replace(draft=msgspec.structs.replace(firing.draft, data=fired_data(changed.fired))))
        return passed._replace(drafts=drafts, firings=firings)


class TamperedGate(Gate):
    """A gate that tells of other decisions than it made."""

    def __init__(self, tampering: Tampering, gate: Gate) -> None:
        self.__dict__.update(vars(gate))
        self._tampering = tampering

    async def judge(
        self,
        state: TenantState,
        chosen: Chosen,
        merged: Sequence[Merged],
        level: Level,
        now_ms: int,
        whole: Collection[int] | None = None,
    ) -> Chosen:
        """What is left of a commit, altered."""
        passed = await super().judge(state, chosen, merged, level, now_ms, whole)
        return self._tampering.alter(state, chosen, passed)


def _told(chosen: Chosen, about: int) -> list[bytes]:
    return [firing.draft.data for firing in chosen.firings if firing.about == about]


def _renote(pair: Pair, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Draft:
    held = decode_value(pair.draft.annotations) if pair.draft.annotations else {}
    assert isinstance(held, dict)
    said = change(dict(rules_in(pair.draft.annotations)))
    return msgspec.structs.replace(pair.draft, annotations=cbor2.dumps({**held, RULES: said}))


def _miscount(pair: Pair) -> Pair:
    """A window measured otherwise."""
    rules = tuple(
        msgspec.structs.replace(
            rule, inputs={name: 1 if name.startswith("windows.") else value for name, value in rule.inputs.items()}
        )
        for rule in pair.fired.rules
    )
    return Pair(pair.draft, msgspec.structs.replace(pair.fired, rules=rules))


def _misname(pair: Pair) -> Pair:
    """Another version of the rules than was in force."""
    sets = dict.fromkeys(pair.fired.sets, "00" * 16)
    return Pair(_renote(pair, lambda said: {**said, "sets": sets}), msgspec.structs.replace(pair.fired, sets=sets))


def _unmark(pair: Pair) -> Pair:
    """Without what rules noted."""
    draft = _renote(pair, lambda said: {name: said[name] for name in said if name not in {"tags", "notes"}})
    return Pair(draft, pair.fired)


def _execute(pair: Pair) -> Pair:
    """What was to be a trial as if it were none."""
    return Pair(msgspec.structs.replace(pair.draft, status=EXECUTED), pair.fired)


def _hide(_: Pair) -> None:
    """No word of what rules did."""


STYLES: Final[Mapping[str, Callable[[Pair], Pair | None]]] = {
    "miscounts": _miscount,
    "misnames": _misname,
    "unmarks": _unmark,
    "executes": _execute,
    HIDES: _hide,
}
LIES: Final = (ADMITS, *STYLES)
