"""Causal pasts from rows: what feeds say of one another, and how much of each counts.

Synchronous, for a reader's thread. Invariant: a past reads rows by the number of feeds, never by that of spans.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Final

import msgspec

from lognode.core.clock import hlc_ms, is_ahead
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, b32encode
from lognode.core.limits import CLAIMS_TRIED_MAX
from lognode.timeline.agreement.pasts import Claim, Place, Relation, past_of, relation
from lognode.timeline.proof.tree import border_at, root_of
from lognode.timeline.query import Query
from lognode.timeline.record import FeedRef, Record, TenantRef, feed_of
from lognode.timeline.store.agreement.news import hlc_before
from lognode.timeline.store.read.lookup import find_span_or_copy
from lognode.timeline.store.read.proofs import checkpoint_of, node_source

# From one other feed to the next, without a look at what is said of each.
_OTHERS: Final = """
WITH RECURSIVE found (other) AS (
  SELECT min(other) FROM merged WHERE feed = ?1
  UNION ALL
  SELECT (SELECT min(m.other) FROM merged m WHERE m.feed = ?1 AND m.other > found.other) FROM found
  WHERE found.other IS NOT NULL
)
SELECT other FROM found WHERE other IS NOT NULL
"""
_CLAIMS: Final = "SELECT other, size, root, seq FROM merged WHERE feed = ? AND other = ? AND seq < ? ORDER BY seq DESC"
_HELD: Final = "SELECT coalesce(max(size), 0) FROM checkpoints WHERE feed = ?"
_CUT: Final = "SELECT size FROM cuts WHERE feed = ?"
_AT: Final = "SELECT hlc FROM spans WHERE feed = ? AND seq = ?"
_NOTE: Final = "SELECT note FROM checkpoints WHERE feed = ? AND size = ?"


class HeldKnowledge:
    """What is held of a tenant, in one snapshot. `lacking` gathers feeds of which more was known than is held."""

    def __init__(self, conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef]) -> None:
        self._conn = conn
        self._feeds = {feed.feed_id: feed for feed in list(feeds.values()) if feed.tenant == tenant.number}
        self.lacking: set[FeedId] = set()
        self.held = cache(self._count_held)
        self.counted = cache(self._count)
        self.root = cache(self._find_root)
        self.others = cache(self._find_others)

    def claims(self, feed: FeedId, size: int, other: FeedId) -> Iterator[Claim]:
        """What the first `size` entries of a feed say of another, the newest first, without what cannot be true."""
        rows = self._conn.execute(_CLAIMS, (self._feeds[feed].number, other, size))
        for *said, seq in islice(rows, CLAIMS_TRIED_MAX):
            claim = Claim(*said)
            if claim.size > self.counted(other) and self._is_too_late(feed, seq, other):
                continue
            if claim.size > self.held(other) and not self._is_cut(other):
                self.lacking.add(other)
            yield claim

    def _is_too_late(self, feed: FeedId, seq: int, other: FeedId) -> bool:
        """Whether what counts of the other feed goes on to later than anybody names in a merge as early as this one.

        A node's own feeds name each other at any time.
        """
        one, held = self._feeds[feed], self._feeds.get(other)
        if held is None or held.node_key == one.node_key:
            return False
        said = self._conn.execute(_AT, (one.number, seq)).fetchone()
        newest = hlc_before(self._conn, held.number, self.counted(other))
        return said is not None and is_ahead(newest, hlc_ms(said[0]))

    def _is_cut(self, feed: FeedId) -> bool:
        """Whether all of a feed that will ever count is held."""
        held = self._feeds.get(feed)
        cut = self._conn.execute(_CUT, (held.number,)).fetchone() if held else None
        return cut is not None and cut[0] <= self.held(feed)

    def _find_others(self, feed: FeedId) -> list[FeedId]:
        held = self._feeds.get(feed)
        return [FeedId(other) for (other,) in self._conn.execute(_OTHERS, (held.number,))] if held else []

    def _count_held(self, feed: FeedId) -> int:
        held = self._feeds.get(feed)
        if held is None:
            return 0
        found: tuple[int] = self._conn.execute(_HELD, (held.number,)).fetchone()
        return found[0]

    def _count(self, feed: FeedId) -> int:
        held = self._feeds.get(feed)
        cut = self._conn.execute(_CUT, (held.number,)).fetchone() if held else None
        return min(self.held(feed), cut[0]) if cut else self.held(feed)

    def _find_root(self, feed: FeedId, size: int) -> bytes:
        held = self._feeds[feed]
        signed = self._conn.execute(_NOTE, (held.number, size)).fetchone()
        return checkpoint_of(signed[0]).root if signed else root_of(border_at(size, node_source(self._conn, held)))


def compare_spans(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], one: Record, other: Record
) -> tuple[Relation, list[FeedId]]:
    """How one stored span stands to another, and the feeds of which their authors knew more than is held.

    Raises NodeFault("database.damaged").
    """
    knowledge = HeldKnowledge(conn, tenant, feeds)
    first, second = _place(one, feeds), _place(other, feeds)
    found = relation(first, second, past_of([first], knowledge), past_of([second], knowledge))
    return found, sorted(knowledge.lacking)


def _place(record: Record, feeds: Mapping[int, FeedRef]) -> Place:
    return Place(feed_of(record, feeds).feed_id, record.seq)


def resolved(conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], query: Query) -> Query:
    """A query for what a node knew as one for so many entries of these feeds; any other one as it is.

    The node is taken as it was at the span that the query names, or at the newest of its spans that whoever wrote that
    one knew. Raises CallerError("span.unknown"), NodeFault("database.damaged").
    """
    if query.known_by is None or query.known_at is None:
        return query
    record = find_span_or_copy(conn, tenant, feeds, query.known_at)
    if record is None:
        raise CallerError("span.unknown", b32encode(query.known_at), place="at")
    knowledge = HeldKnowledge(conn, tenant, feeds)
    past = past_of([_place(record, feeds)], knowledge)
    held = {feed.feed_id: feed for feed in list(feeds.values()) if feed.tenant == tenant.number}
    newest = [Place(feed, size - 1) for feed, size in past.items() if held[feed].node_key == query.known_by]
    # What counts no longer is in no page; it may be much, at the end of a feed.
    sizes = {feed: min(size, knowledge.counted(feed)) for feed, size in past_of(newest, knowledge).items()}
    known = [(held[feed].number, size) for feed, size in sizes.items() if size]
    return msgspec.structs.replace(query, known=tuple(sorted(known)))
