"""Who is what, as told by those acts that count: asked with a past, it answers from what that past holds.

Owns grants, levels and recovery keys. Must not know which acts count. Invariant: an answer depends on the acts in the
past it was asked with alone; of newest ones that know nothing of each other the lowest level holds.
Source: docs/protocol.md, Membership.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from lognode.core.access import Level
from lognode.core.ids import SpanId
from lognode.timeline.members.history import Act

_GONE: Final = -1


class Grant(NamedTuple):
    """An act that made a key a member.

    Bit sets of acts: `lines` names the grant itself, or the ones that it goes on from after a rotation; `parents`
    those of whoever admitted and invited, and `above` these and all above them.
    """

    act: Act
    key: bytes
    certificate: bytes
    witness_key: bytes
    admitted_by: bytes | None
    lines: int
    parents: int
    above: int
    depth: int


class Levels(NamedTuple):
    """What acts that count say of the levels of keys, as values that can be kept when the acts are forgotten.

    `changes` has for each key the acts and the level that it had by them (None: no member's), in the order of acts, the
    founding among the founder's; `links` are as in History.
    """

    founding: SpanId | None
    changes: Mapping[bytes, Sequence[tuple[SpanId, Level | None]]]
    links: Mapping[SpanId, Sequence[SpanId]]

    def level(self, key: bytes, spans: Iterable[SpanId]) -> Level:
        """The level of a key by all that these control spans follow from, with themselves; BLOCKED for no member's.

        Spans that are not known, or do not count, say nothing. The founding is in every past.
        """
        known = self._past(spans)
        if self.founding is not None:
            known.add(self.founding)
        over: set[SpanId] = set()
        levels = []
        for act, level in reversed(self.changes.get(key, ())):
            if act in known and act not in over:
                levels.append(Level.BLOCKED if level is None else level)
                over |= self._past(self.links[act])
                # It stands first, so whatever else there is follows it.
                over.update([] if self.founding in (act, None) else [self.founding])
        return min(levels, default=Level.BLOCKED)

    def _past(self, spans: Iterable[SpanId]) -> set[SpanId]:
        """These spans and all that they follow from."""
        found = {span for span in spans if span in self.links}
        waiting = list(found)
        while waiting:
            new = [link for link in self.links[waiting.pop()] if link not in found]
            found.update(new)
            waiting += new
        return found


NO_LEVELS: Final = Levels(None, MappingProxyType({}), MappingProxyType({}))


class Standing:
    """The members as acts are added, each behind the acts in its past."""

    def __init__(self, acts: Sequence[Act]) -> None:
        self._acts = acts
        self._grants: dict[bytes, dict[int, Grant]] = defaultdict(dict)
        self._granted: dict[bytes, int] = defaultdict(int)
        self._ended: dict[bytes, int] = defaultdict(int)
        self._changed: dict[bytes, int] = defaultdict(int)
        self._levels: dict[tuple[bytes, int], int] = {}
        self._origins: dict[bytes, bytes] = {}
        self._recovery: dict[bytes, int] = defaultdict(int)

    @property
    def keys(self) -> Sequence[bytes]:
        """All keys that ever were a member's, in the order of their first grants."""
        return list(self._grants)

    def grant(self, grant: Grant, level: int) -> None:
        """A key becomes a member's."""
        self._grants[grant.key][grant.act.number] = grant
        self._granted[grant.key] |= 1 << grant.act.number
        self.change(grant.act, grant.key, level)

    def change(self, act: Act, key: bytes, level: int) -> None:
        """A key has another level."""
        self._changed[key] |= 1 << act.number
        self._levels[key, act.number] = level

    def end(self, act: Act, key: bytes) -> None:
        """A key is no member's any more."""
        self._ended[key] |= 1 << act.number
        self.change(act, key, _GONE)

    def succeed(self, old_key: bytes, new_key: bytes) -> None:
        """A key goes on in another's place: its recovery keys do too."""
        self._origins[new_key] = self.origin(old_key)

    def declare(self, act: Act, key: bytes) -> None:
        """An act declares a recovery key for a node."""
        self._recovery[self.origin(key)] |= 1 << act.number

    def origin(self, key: bytes) -> bytes:
        """The first key of the node that now has this one."""
        return self._origins.get(key, key)

    def recovery_keys(self, key: bytes, past: int) -> list[bytes]:
        """The recovery keys in force; more than one where they were declared without knowing of each other."""
        declared = self.newest(self._recovery.get(self.origin(key), 0) & past)
        return [act.data.recovery_key for act in declared]

    def level(self, key: bytes, past: int) -> Level | None:
        """The level of a key; None where it is no member's."""
        levels = [self._levels[key, act.number] for act in self.newest(self._changed.get(key, 0) & past)]
        level = min(levels, default=_GONE)
        return None if level == _GONE else Level(level)

    def levels(self, links: Mapping[SpanId, Sequence[SpanId]]) -> Levels:
        """All that was said of levels, to be asked without the acts."""
        changes: defaultdict[bytes, list[tuple[int, int]]] = defaultdict(list)
        for (key, number), level in self._levels.items():
            changes[key].append((number, level))
        acts = self._acts
        said = {
            key: [(acts[number].control.id, None if level == _GONE else Level(level)) for number, level in sorted(held)]
            for key, held in changes.items()
        }
        return Levels(acts[0].control.id if acts else None, said, links)

    def grants(self, key: bytes, past: int) -> list[Grant]:
        """All grants of a key, also ended ones, oldest first."""
        held = self._granted.get(key, 0) & past
        return [grant for index, grant in self._grants.get(key, {}).items() if held >> index & 1]

    def grants_in_force(self, key: bytes, past: int) -> list[Grant]:
        """The grants of a key that no end in this past has in its own."""
        ended = 0
        for act in self.ends(key, past):
            ended |= act.past
        return self.grants(key, past & ~ended)

    def ends(self, key: bytes, past: int) -> list[Act]:
        """The newest acts by which a key ceased to be a member's."""
        return self.newest(self._ended.get(key, 0) & past)

    def is_senior(self, author: bytes, key: bytes, past: int) -> bool:
        """Whether a grant in force of `author` stands above a grant of `key`."""
        lines = union(grant.lines for grant in self.grants_in_force(author, past))
        return any(lines & grant.above for grant in self.grants(key, past))

    def newest(self, held: int) -> list[Act]:
        """Those of the acts in a bit set that no other one of them has in its past."""
        found = []
        while held:
            act = self._acts[held.bit_length() - 1]
            found.append(act)
            held &= ~(act.past | 1 << act.number)
        return found


def union(sets: Iterable[int]) -> int:
    """The union of bit sets."""
    found = 0
    for held in sets:
        found |= held
    return found


def depth(grants: Iterable[Grant]) -> int:
    """How far below the founder a holder of these grants stands."""
    return max((grant.depth for grant in grants), default=0)
