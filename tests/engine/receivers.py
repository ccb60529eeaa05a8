"""A node that takes in what others wrote, without threads: the engine's plans on a database in memory."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from lognode.core.clock import Clock
from lognode.core.errors import PeerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.span import Foretold, Range
from lognode.engine.control.book import Book, empty_book
from lognode.engine.ingest.plan import Ground, IngestPlan, plan_ingest
from lognode.identity.keys import NodeKeys
from lognode.timeline.record import TenantRef
from lognode.timeline.state import FeedState, TenantState
from lognode.timeline.store.controls import foretold_controls, held_controls, read_evidence
from lognode.timeline.store.opening.migrate import apply_migrations
from lognode.timeline.store.read.ranges import read_clock
from lognode.timeline.store.write import apply_write, load_feed, load_feeds, load_numbers, load_tenant

NOW_MS = 1_760_000_000_000


class Receiver:
    """A tenant of others on a node of its own; everything that it knows is read from the database each time."""

    def __init__(self, tenant_id: TenantId, own_key: bytes = bytes(32)) -> None:
        self.conn = sqlite3.connect(":memory:", isolation_level=None)
        apply_migrations(self.conn)
        self.conn.execute("INSERT INTO tenants VALUES (0, ?)", (tenant_id,))
        self.tenant = TenantRef(0, tenant_id, "theirs")
        self.own_key = own_key

    @property
    def book(self) -> Book:
        feeds = {feed.number: feed for feed in load_feeds(self.conn)}
        held = held_controls(self.conn, self.tenant, feeds)
        book = empty_book(self.tenant.tenant_id).extended(held, foretold_controls(self.conn, self.tenant, feeds))
        return book.proven({feed: proof.seq for feed, proof in read_evidence(self.conn, self.tenant).items()})

    def plan(self, ranges: Sequence[Range], foretold: Sequence[Foretold] = ()) -> IngestPlan:
        return plan_ingest(self.ground(load_tenant(self.conn, self.tenant)), ranges, foretold)

    def ground(self, state: TenantState) -> Ground:
        """What a batch is judged by."""
        feeds = {feed.feed_id: feed for feed in load_feeds(self.conn)}

        def find_feed(feed_id: FeedId) -> int | None:
            return feeds[feed_id].number if feed_id in feeds else None

        heads: dict[FeedId, FeedState] = {id_: load_feed(self.conn, feed) for id_, feed in feeds.items()}
        return Ground(state, load_numbers(self.conn), self.book, heads, find_feed, self.own_key, NOW_MS)

    def take(self, *ranges: Range, foretold: Sequence[Foretold] = ()) -> list[int | PeerError]:
        """What each range comes to, once it is stored."""
        plan = self.plan(ranges, foretold)
        apply_write(self.conn, plan.write)
        # What the plan says of the state is what a restarted writer reads.
        assert plan.state._replace(hlc=0) == load_tenant(self.conn, self.tenant)._replace(hlc=0)
        assert [load_feed(self.conn, head.feed) for head in plan.feeds] == plan.feeds
        assert plan.book == self.book
        return plan.outcomes

    def codes(self, *ranges: Range, foretold: Sequence[Foretold] = ()) -> list[int | str]:
        """The same with codes in place of errors."""
        outcomes = self.take(*ranges, foretold=foretold)
        return [outcome.code if isinstance(outcome, PeerError) else outcome for outcome in outcomes]

    def clock(self) -> Clock:
        return read_clock(self.conn, self.tenant)

    def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is held, told apart from the numbers that this node gave."""
        return {name: self.conn.execute(sql).fetchall() for name, sql in _DUMP.items()}

    def bytes(self) -> bytes:
        """The whole database."""
        return self.conn.serialize()


_OF_FEED = "JOIN feeds f USING (feed)"
_DUMP = {
    "spans": "SELECT f.feed_id, s.seq, s.hlc, s.visibility, k.name, a.logline, s.status, s.caused_by, s.header, b.body "
    f"FROM spans s {_OF_FEED} JOIN kinds k USING (kind) LEFT JOIN actors a USING (actor) LEFT JOIN bodies b "
    "ON b.row = s.row ORDER BY 1, 2",
    "labels": "SELECT f.feed_id, s.seq, l.field, l.value, l.hlc "
    f"FROM labels l JOIN spans s USING (row) {_OF_FEED} ORDER BY 1, 2, 3, 4",
    "latest": "SELECT subject, private, f.feed_id, seq FROM latest JOIN feeds f USING (feed) ORDER BY 1, 2, 3",
    "reverts": f"SELECT target, f.feed_id, s.seq FROM reverts JOIN spans s USING (row) {_OF_FEED} ORDER BY 1, 2, 3",
    "disputes": "SELECT subject FROM disputes ORDER BY 1",
    "publications": f"SELECT name, f.feed_id, s.seq, hash FROM publications s {_OF_FEED} ORDER BY 1, 2, 3",
    "inert": "SELECT f.feed_id, s.seq, s.hlc, s.visibility, s.header, s.body, s.reason "
    f"FROM inert s {_OF_FEED} ORDER BY 1, 2",
    "tiles": f"SELECT f.feed_id, level, tile, hashes FROM tiles {_OF_FEED} ORDER BY 1, 2, 3",
    "heads": f"SELECT f.feed_id, max(size), note FROM checkpoints {_OF_FEED} GROUP BY feed ORDER BY 1",
    "foretold": "SELECT feed_id, seq, hlc, header, body FROM foretold ORDER BY 1, 2",
    "merged": f"SELECT f.feed_id, m.other, m.seq, m.size, m.root FROM merged m {_OF_FEED} ORDER BY 1, 2, 3",
    "cosignatures": "SELECT feed_id, witness, size, root, time_s, signature FROM cosignatures ORDER BY 1, 2",
    "cuts": f"SELECT f.feed_id, c.size, c.reason FROM cuts c {_OF_FEED} ORDER BY 1",
    "voids": f"SELECT f.feed_id, s.seq, v.reason FROM voids v JOIN spans s USING (row) {_OF_FEED} ORDER BY 1, 2",
}


def keys_of(number: int) -> NodeKeys:
    return NodeKeys.from_seed(bytes([number]) * 32)
