"""The control spans of one tenant that this node knows, and what follows from them.

Pure values. Knows no SQL. Invariant: members, cuts and voids are a function of the control spans alone, those held and
those foretold, whatever the order in which they came.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from lognode.core.codec import decode_any_array
from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, FeedId, SpanId, TenantId
from lognode.core.limits import AFTER_MAX
from lognode.timeline.members import Control, Membership, membership
from lognode.timeline.state import Verdicts


class Book(NamedTuple):
    """What is known: control spans, the rows of those that are held, the places of the others, which are foretold."""

    tenant_id: TenantId
    controls: Mapping[SpanId, Control]
    rows: Mapping[SpanId, int]
    foretold: Mapping[tuple[FeedId, int], SpanId]
    named: frozenset[SpanId]  # those that another one names in its `after`
    members: Membership
    authors: frozenset[bytes]  # keys that somebody among them let in, whether or not that counts

    @property
    def after(self) -> list[SpanId]:
        """The newest control spans: those that no other one names, or follows in its feed.

        More than AFTER_MAX are left for the control spans to come: void ones first, then what only opens a feed, then
        the older ones. Anybody may write any number, and nobody else may lose the room for a span of its own by that.
        """
        last: dict[FeedId, Control] = {}
        for control in self.controls.values():
            known = last.get(control.feed)
            if known is None or known.seq < control.seq:
                last[control.feed] = control
        newest = [control for control in last.values() if control.id not in self.named]
        if len(newest) > AFTER_MAX:
            voids = self.members.voids
            newest.sort(key=lambda one: (one.id in voids, one.kind == "feed.open", -one.hlc, one.id))
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
        controls = {**self.controls, **new}
        named = self.named.union(*map(_after, new.values()))
        return _book(self.tenant_id, controls, rows, places, named)

    def without(self, spans: Collection[SpanId]) -> "Book":
        """The book without foretold control spans, in whose places their ranges have none."""
        if not spans:
            return self
        controls = {span: control for span, control in self.controls.items() if span not in spans}
        places = {place: span for place, span in self.foretold.items() if span not in spans}
        named = frozenset[SpanId]().union(*map(_after, controls.values()))
        return _book(self.tenant_id, controls, self.rows, places, named)

    def verdicts(self, tenant: int, find_feed: Callable[[FeedId], int | None]) -> Verdicts:
        """The rows of what is void; `find_feed` gives the number of a feed of the tenant, None where it is not held."""
        numbers = [(find_feed(feed), cut) for feed, cut in self.members.cuts.items()]
        cuts = [(number, cut.size, cut.reason) for number, cut in numbers if number is not None]
        voids = [(self.rows[span], reason) for span, reason in self.members.voids.items() if span in self.rows]
        return Verdicts(tenant, sorted(cuts), sorted(voids))


def empty_book(tenant_id: TenantId) -> Book:
    """The book of a tenant of which nothing is known."""
    return _book(tenant_id, {}, {}, {}, frozenset())


def _book(
    tenant_id: TenantId,
    controls: Mapping[SpanId, Control],
    rows: Mapping[SpanId, int],
    places: Mapping[tuple[FeedId, int], SpanId],
    named: frozenset[SpanId],
) -> Book:
    members = membership(tenant_id, controls.values())
    return Book(tenant_id, controls, rows, places, named, members, _authors(members, controls.values()))


def _authors(members: Membership, controls: Iterable[Control]) -> frozenset[bytes]:
    """Keys whose feeds are taken in: the founder's, and those that a feed of these names as let in.

    It only grows with what is known. Who counts as a member does not: an admission may turn out void, and nodes that
    had taken the feed before would hold for ever what others refuse.
    """
    named: dict[bytes, list[bytes]] = {}
    for control in controls:
        place = _LETS_IN.get(control.kind)
        if place is not None and (key := _element(control, place)) is not None:
            named.setdefault(control.author, []).append(key)
    found = set(members.members)
    waiting = list(found)
    while waiting:
        new = set(named.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return frozenset(found)


# Where the data of a control span names the key that it lets in.
_LETS_IN: Final[Mapping[str, int]] = {"member.admit": 1, "identity.rotate": 2}


@lru_cache(maxsize=65_536)
def _element(control: Control, place: int) -> bytes | None:
    try:
        parts = decode_any_array(control.data)
    except CallerError:
        return None
    key = parts[place] if len(parts) > place else None
    return key if isinstance(key, bytes) and len(key) == KEY_BYTES else None


def _after(control: Control) -> Sequence[SpanId]:
    """The control spans that one names; none where its data is malformed."""
    try:
        parts = decode_any_array(control.data)
    except CallerError:
        return ()
    after = parts[0] if parts else ()
    return [SpanId(item) for item in after if isinstance(item, bytes)] if isinstance(after, list) else ()
