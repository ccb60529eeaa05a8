"""What rules decided in a world, looked at again by every honest machine once all hold the same.

Invariant: it asks by what a daemon asks, and holds the answers against each other, and against what happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from lognode.core.access import Level
from lognode.core.ids import SpanId, parse_span_id
from lognode.core.span import decode_body
from lognode.engine.ruling.hindsight.reasons import FORKED, HELD_LESS, LOST, NOT_WHOLE, TWICE, UNSHOWN, UNTOLD
from lognode.engine.ruling.telling import is_told
from lognode.engine.service.ruling.hindsight.rechecking import Rechecked, Rechecking
from lognode.rules.records import FIRED, parse_fired
from lognode.sim.deeds.rules import EACH, JUDGED
from lognode.timeline.agreement.restoring import STRANDING
from lognode.timeline.members import Membership
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record, body_of, feed_of, header_of, id_of, origin_of
from lognode.timeline.store.read.lookup import find_span

if TYPE_CHECKING:
    from lognode.sim.machines.machine import Machine
    from lognode.sim.simulation import Simulation

_SHARED: Final = (
    f"SELECT {RECORD_COLUMNS} FROM spans s JOIN bodies b ON b.row = s.row JOIN kinds k ON k.kind = s.kind"
    " WHERE s.visibility > 0 AND k.name IN ({}) ORDER BY s.hlc, s.row"
)
# How many spans one machine looks at, and all others of these; of how many it is looked for what followed.
_LOOKED: Final = 100
_COMPARED: Final = 15
_FOLLOWED: Final = 60


class _Spot(NamedTuple):
    """A span that was judged: where it stands, and the ids of those that it is a copy of."""

    feed: FeedRef
    seq: int
    is_void: bool
    originals: tuple[SpanId, ...]


class Decisions:
    """The decisions of a world whose honest members are these."""

    def __init__(self, world: Simulation, honest: Sequence[Machine], final: Membership) -> None:
        self._world = world
        self._honest = honest
        self._final = final
        assert world.rules is not None
        self._random = world.rules.random
        self._machine = self._random.choice(honest)
        keys = [machine.keys.public for machine in world.machines]
        self._twins = {key for key in keys if keys.count(key) > 1}
        self._spots = self._find_spots()
        self.faults: list[str] = []
        self._taken = set[tuple[bytes, SpanId]]()  # who told of what, where that was cut and is not to be restored
        self.answers: Counter[str] = Counter()

    def check(self) -> None:
        """All that must be so."""
        looked = dict.fromkeys([*self._altered(), *self._some(self._spots, _LOOKED)])
        found = self._recheck(self._machine, list(looked))
        for span, one in found.items():
            self.answers[one.answer] += 1
            if not self._may_be(one, self._spots[span]):
                self._say(self._machine, f"{span.hex()} is {one.answer}: {one.lacks} {one.altered}")
        sample = self._some(found, _COMPARED)
        for machine in self._honest:
            for span, one in self._recheck(machine, sample).items() if machine is not self._machine else ():
                if self._differ(one, found[span]):
                    self._say(machine, f"{span.hex()} is {one}, on {self._machine.name} {found[span]}")
        self._check_reactions()

    def _altered(self) -> list[SpanId]:
        tampering = self._world.tampering
        altered = tampering.altered if tampering is not None else ()
        return [span for span, spot in self._spots.items() if (spot.feed.feed_id, spot.seq) in altered]

    def _some(self, spans: Collection[SpanId], spans_max: int) -> list[SpanId]:
        return self._random.sample(list(spans), min(spans_max, len(spans)))

    def _differ(self, one: Rechecked, other: Rechecked) -> bool:
        """Whether two nodes find something else; of feeds with two histories they may hold different ones."""
        if (self._world.truth.forks or self._world.lost) and any(
            set(found.lacks) & {NOT_WHOLE, TWICE} for found in (one, other)
        ):
            return False
        return (one.answer, one.altered) != (other.answer, other.altered)

    def _say(self, machine: Machine, fault: str) -> None:
        self.faults.append(f"{machine.name}: {fault}")

    def _find_spots(self) -> dict[SpanId, _Spot]:
        found = {}
        for record, feed in self._records(JUDGED):
            cut, origin = self._final.cuts.get(feed.feed_id), origin_of(record)
            originals = tuple(map(parse_span_id, origin.spans)) if origin else ()
            is_void = cut is not None and record.seq >= cut.size
            found[id_of(record, feed.feed_id)] = _Spot(feed, record.seq, is_void, originals)
        return found

    def _records(self, kinds: Collection[str]) -> list[tuple[Record, FeedRef]]:
        conn, feeds = self._machine.disk.conn, self._machine.process.store.feeds
        records = map(Record._make, conn.execute(_SHARED.format(", ".join(map(repr, kinds)))))
        return [(record, feed_of(record, feeds)) for record in records]

    def _recheck(self, machine: Machine, spans: Sequence[SpanId]) -> dict[SpanId, Rechecked]:
        tenant, process, conn = machine.tenant, machine.process, machine.disk.conn
        assert tenant is not None
        again, feeds = Rechecking(process.store, process.writer.programs), process.store.feeds
        # Of what does not count not all hold the same.
        held = [span for span in spans if not self._spots[span].is_void or find_span(conn, tenant, feeds, span)]
        return {span: again.recheck(conn, tenant, span) for span in held}

    def _may_be(self, found: Rechecked, spot: _Spot) -> bool:
        """Whether a decision comes to what it is: "same", or altered by the node that alters some."""
        tampering = self._world.tampering
        if found.answer != "withheld":
            place = spot.feed.feed_id, spot.seq
            is_altered = tampering is not None and place in tampering.altered
            if tampering is not None and found.altered and tampering.may_follow(*place):
                return set(found.altered) == {spot.feed.node_key}
            return set(found.altered) == ({spot.feed.node_key} if is_altered else set())
        key, truth = spot.feed.node_key, self._world.truth
        reasons = {
            FORKED: bool(truth.forks),
            NOT_WHOLE: bool(truth.forks)
            or bool(self._world.lost),  # of the other history of a feed not all have what its node had named
            LOST: bool(self._final.cuts),
            HELD_LESS: LOST in found.lacks,  # others reacted by rules that do not count any more
            UNSHOWN: bool(self._final.cuts),
            UNTOLD: LOST in found.lacks or not self._writes(key),
            TWICE: bool(self._twins | self._world.returned),
        }
        return all(reasons.get(lack, False) for lack in found.lacks)

    def _writes(self, node_key: bytes) -> bool:
        """Whether a node may write in the end, and is there to do so."""
        return any(
            machine.keys.public == node_key and machine.membership.level(node_key) >= Level.TRUSTED
            for machine in self._honest
        )

    def _check_reactions(self) -> None:
        """What was to follow a span that stands followed it, once."""
        told = self._told()
        tenant, process = self._machine.tenant, self._machine.process
        assert tenant is not None
        again = Rechecking(process.store, process.writer.programs)
        writers = {machine.keys.public: machine for machine in self._honest if self._writes(machine.keys.public)}
        standing = [span for span, spot in self._spots.items() if not spot.is_void]
        for span in self._some(standing, _FOLLOWED):
            spot = self._spots[span]
            decided = again.decided(self._machine.disk.conn, tenant, span)
            decision = decided.reactions
            for key, machine in writers.items() if not decided.lacks else ():
                if decision is None:
                    continue
                part = decision if key == spot.feed.node_key else decision.part_of(EACH)
                times = sum(told[key, one] or (key, one) in self._taken for one in (span, *spot.originals))
                # Who runs twice, or goes on from a backup, may do again what it does not know of; and what a span was
                # when it was written first decided what followed it, not what its copy is.
                may_again = is_told(part) and key in self._twins | self._world.returned
                is_due = is_told(part) or (bool(spot.originals) and times > 0)
                is_wrong = times < is_due or (times > is_due and not may_again)
                if is_wrong and LOST not in again.recheck(self._machine.disk.conn, tenant, span).lacks:
                    self._say(machine, f"reacted {times} times to {span.hex()}")

    def _told(self) -> Counter[tuple[bytes, SpanId]]:
        """How many firings that count tell of what a node did about a span."""
        told = Counter[tuple[bytes, SpanId]]()
        for record, feed in self._records((FIRED,)):
            header, cut = header_of(record), self._final.cuts.get(feed.feed_id)
            raw = body_of(record, header)
            if not raw or not header.caused_by or parse_fired(decode_body(raw).data).on != "commit":
                continue
            if cut is None or record.seq < cut.size:
                told[feed.node_key, header.caused_by] += 1
            elif cut.reason not in STRANDING:
                self._taken.add((feed.node_key, header.caused_by))
        return told
