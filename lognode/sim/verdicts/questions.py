"""Questions of causal order to a machine: which of two spans knew the other, and what a node knew.

Owns how answers are held against what really happened. Invariant: what is counted as answered was decided by the truth
alone: its bounds left one answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from lognode.core.ids import FeedId
from lognode.sim.machines.machine import Machine
from lognode.sim.verdicts.truth import Sizes, raise_sizes
from lognode.timeline.agreement.merges import MERGE
from lognode.timeline.members.cuts import Cut
from lognode.timeline.query import Query
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record, id_of
from lognode.timeline.store.agreement.pasts import compare_spans, resolved

if TYPE_CHECKING:
    from lognode.sim.simulation import Simulation

KNOWN: Final = "known"  # an answer to what a node knew, beside those of how two spans stand
COUNTED: Final = (
    f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row JOIN kinds k ON k.kind = s.kind"
    " LEFT JOIN cuts c ON c.feed = s.feed"
    f" WHERE k.name NOT IN ('{MERGE}', 'feed.open') AND (c.size IS NULL OR s.seq < c.size)"
)
_CUT: Final = "SELECT feed FROM cuts"


class Spot(NamedTuple):
    """Where a span stands."""

    feed: FeedRef
    seq: int

    @property
    def place(self) -> tuple[FeedId, int]:
        """Its feed by name."""
        return self.feed.feed_id, self.seq


class Questions:
    """What is asked of a machine that holds what these cuts leave."""

    def __init__(self, world: Simulation, machine: Machine, cuts: Mapping[FeedId, Cut]) -> None:
        assert machine.tenant is not None
        self._world, self._truth = world, world.truth
        self._machine, self._tenant = machine, machine.tenant
        self._conn, self._feeds = machine.disk.conn, machine.process.store.feeds
        self._cuts = cuts
        # Whoever has a feed that was cut may have had no reason to name what counted no longer.
        self._unsure = {self._feeds[number].node_key for (number,) in self._conn.execute(_CUT)}
        self._faults: list[str] = []

    def ask(self) -> list[str]:
        """What is wrong with the answers about spans that count; those that the truth decides are counted."""
        records = [Record(*row) for row in self._conn.execute(COUNTED)]
        for _ in range(self._world.questions if len(records) > 1 else 0):
            one, other = self._world.random.sample(records, 2)
            if self._ask_relation(one, other):
                self._ask_known(other)
        return self._faults

    def _say(self, fault: str) -> None:
        self._faults.append(f"{self._machine.name}: {fault}")

    def _ask_relation(self, one: Record, other: Record) -> bool:
        """Which of two spans knew the other; whether all is held that their authors knew, else nobody here can tell."""
        said, lacking = compare_spans(self._conn, self._tenant, self._feeds, one, other)
        if lacking:
            return False
        first, second = self._spot(one), self._spot(other)
        is_before, is_after = self._knew(second, first), self._knew(first, second)
        for name, is_so in (("before", is_before), ("after", is_after)):
            if is_so is not None and is_so != (said == name):
                why = "its author had it" if is_so else "its author cannot have known it"
                self._say(f"{self._name(one)} is {said} {self._name(other)}: {why}")
        if is_before or is_after or (is_before, is_after) == (False, False):
            self._world.answers[said] += 1
        return True

    def _knew(self, one: Spot, other: Spot) -> bool | None:
        """Whether the author of a span knew another one; None where the truth leaves that open."""
        truth, feed = self._truth, other.feed.feed_id
        if truth.most(*one.place).get(feed, 0) <= other.seq:
            return False
        is_sure = one.feed.node_key not in self._unsure and not {feed, one.feed.feed_id} & truth.forks.keys()
        return True if is_sure and truth.least(*one.place).get(feed, 0) > other.seq else None

    def _ask_known(self, record: Record) -> None:
        """What some node knew as of a span."""
        truth = self._truth
        key, spot = self._feeds[self._world.random.choice(sorted(self._feeds))].node_key, self._spot(record)
        query = Query(known_by=key, known_at=id_of(record, spot.feed.feed_id))
        found = resolved(self._conn, self._tenant, self._feeds, query).known
        known = {self._feeds[number].feed_id: size for number, size in (found or ())}
        most, least = self._most(key, spot, known), self._least(key, spot, known)
        if any(size > most.get(feed, 0) for feed, size in known.items()):
            self._say(f"more is known as of {self._name(record)} than anybody held")
        if any(known.get(feed, 0) < size for feed, size in least.items()):
            self._say(f"less is known as of {self._name(record)} than its node held")
        # Else the bounds hang on how much of the node's own feeds the answer says was known.
        is_sure = self._own(key, truth.most(*spot.place)) == self._own(key, truth.least(*spot.place))
        self._world.answers[KNOWN] += is_sure and least == most

    def _most(self, key: bytes, spot: Spot, known: Sizes) -> Sizes:
        """What a node can have known at most, of which the author of a span can have known so much."""
        written = self._own(key, self._truth.most(*spot.place))
        most: Sizes = {}
        for feed, size in self._own(key, known).items():
            raise_sizes(most, self._truth.most(feed, min(size, written.get(feed, 0)) - 1))
        return self._counted(most)

    def _least(self, key: bytes, spot: Spot, known: Sizes) -> Sizes:
        """What a node knew at least then, where that is sure."""
        truth = self._truth
        least: Sizes = {}
        if spot.feed.node_key not in self._unsure and spot.feed.feed_id not in truth.forks:
            raise_sizes(least, self._own(key, truth.least(*spot.place)))
        for feed, size in self._own(key, known).items():
            if key not in self._unsure and feed not in truth.forks:
                raise_sizes(least, truth.least(feed, size - 1))
        return self._counted({feed: size for feed, size in least.items() if feed not in truth.forks})

    def _own(self, key: bytes, sizes: Mapping[FeedId, int]) -> Sizes:
        """Those of a node's feeds."""
        return {feed: size for feed, size in sizes.items() if size and self._truth.authors[feed] == key}

    def _counted(self, sizes: Sizes) -> Sizes:
        """As much of these as counts."""
        cuts = self._cuts
        counted = {feed: min(size, cuts[feed].size) if feed in cuts else size for feed, size in sizes.items()}
        return {feed: size for feed, size in counted.items() if size}

    def _spot(self, record: Record) -> Spot:
        return Spot(self._feeds[record.feed], record.seq)

    def _name(self, record: Record) -> str:
        return id_of(record, self._feeds[record.feed].feed_id).hex()
