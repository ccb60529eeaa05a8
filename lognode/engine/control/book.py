"""The control spans of one tenant that this node knows, and what follows from them.

Pure values. Knows no SQL. Invariant: members, cuts and voids are a function of the control spans alone, those held and
those foretold, whatever the order in which they came.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from lognode.core.codec import decode_any_array
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, TenantId
from lognode.core.limits import AFTER_MAX
from lognode.timeline.members import Control, Membership, membership
from lognode.timeline.state import Verdicts


class Book(NamedTuple):
    """What is known: control spans, the rows of those that are held, the places of the others, which are foretold."""

    tenant_id: TenantId
    controls: Mapping[SpanId, Control]
    rows: Mapping[SpanId, int]
    foretold: Mapping[tuple[FeedId, int], SpanId]
    named: frozenset[SpanId]  # those that another one which counts names in its `after`
    members: Membership
    evidence: Mapping[FeedId, int]  # where feeds fork by proofs that were found here

    @property
    def authors(self) -> frozenset[bytes]:
        """Keys whose feeds are taken in: somebody let them in, whether or not that counts."""
        return self.members.let_in

    def after(self, feed: FeedId | None) -> list[SpanId]:
        """What the next control span of an own feed names; None: the first one of a new feed.

        The newest control spans of feeds: those that no other one names, and besides those of feeds of which the own
        feed has not named as much so far. So what is known of a feed stays known, whatever comes out about others: a
        fork takes away what only its tail led to.

        More than AFTER_MAX are left for the control spans to come: void ones first, then what others name, then what
        only opens a feed, then the older ones. Anybody may write any number, and nobody else may lose the room for a
        span of its own by that.
        """
        seen: dict[FeedId, int] = {}
        last: dict[FeedId, Control] = {}
        for control in (held for span, held in self.controls.items() if span not in self.members.unknown):
            last[control.feed] = max(control, last.get(control.feed, control), key=lambda one: one.seq)
            for link in _after(control) if control.feed == feed else ():
                if (target := self.controls.get(link)) is not None:
                    seen[target.feed] = max(target.seq, seen.get(target.feed, 0))
        newest = [
            control
            for control in last.values()
            if control.id not in self.named or (control.feed != feed and control.seq > seen.get(control.feed, -1))
        ]
        if len(newest) > AFTER_MAX:
            voids, named = self.members.voids, self.named
            newest.sort(key=lambda one: (one.id in voids, one.id in named, one.kind == "feed.open", -one.hlc, one.id))
        return sorted(control.id for control in newest[:AFTER_MAX])

    def extended(self, held: Mapping[SpanId, tuple[Control, int]], foretold: Iterable[Control] = ()) -> "Book":
        """The book with more control spans, those that are held with their rows."""
        if not held and not foretold:
            return self
        rows = {**self.rows, **{span: row for span, (_, row) in held.items()}}
        new = {control.id: control for control in foretold if control.id not in self.controls}
        places = {**self.foretold, **{(control.feed, control.seq): control.id for control in new.values()}}
        for control, _ in held.values():
            places.pop((control.feed, control.seq), None)
        new.update((span, control) for span, (control, _) in held.items() if span not in self.controls)
        if not new:
            return self._replace(rows=rows, foretold=places)
        return _book(self.tenant_id, {**self.controls, **new}, rows, places, self.evidence)

    def without(self, spans: Collection[SpanId]) -> "Book":
        """The book without foretold control spans, in whose places their ranges have none."""
        if not spans:
            return self
        controls = {span: control for span, control in self.controls.items() if span not in spans}
        places = {place: span for place, span in self.foretold.items() if span not in spans}
        return _book(self.tenant_id, controls, self.rows, places, self.evidence)

    def proven(self, evidence: Mapping[FeedId, int]) -> "Book":
        """The book with more proofs of forks; of one feed the smallest place counts."""
        news = {feed: seq for feed, seq in evidence.items() if seq < self.evidence.get(feed, seq + 1)}
        if not news:
            return self
        return _book(self.tenant_id, self.controls, self.rows, self.foretold, {**self.evidence, **news})

    def verdicts(self, tenant: int, find_feed: Callable[[FeedId], int | None]) -> Verdicts:
        """The rows of what is void; `find_feed` gives the number of a feed of the tenant, None where it is not held."""
        numbers = [(find_feed(feed), cut) for feed, cut in self.members.cuts.items()]
        cuts = [(number, cut.size, cut.reason) for number, cut in numbers if number is not None]
        voids = [(self.rows[span], reason) for span, reason in self.members.voids.items() if span in self.rows]
        return Verdicts(tenant, sorted(cuts), sorted(voids), sorted(self.members.bounds.items()))


def empty_book(tenant_id: TenantId) -> Book:
    """The book of a tenant of which nothing is known."""
    return _book(tenant_id, {}, {}, {}, {})


def _book(
    tenant_id: TenantId,
    controls: Mapping[SpanId, Control],
    rows: Mapping[SpanId, int],
    places: Mapping[tuple[FeedId, int], SpanId],
    evidence: Mapping[FeedId, int],
) -> Book:
    members = membership(tenant_id, controls.values(), evidence)
    counted = (control for span, control in controls.items() if span not in members.unknown)
    named = frozenset[SpanId]().union(*map(_after, counted))
    return Book(tenant_id, controls, rows, places, named, members, evidence)


@lru_cache(maxsize=65_536)
def _after(control: Control) -> Sequence[SpanId]:
    """The control spans that one names; none where its data is malformed."""
    try:
        parts = decode_any_array(control.data)
    except CallerError:
        return ()
    after = parts[0] if parts else ()
    return [SpanId(item) for item in after if isinstance(item, bytes)] if isinstance(after, list) else ()
