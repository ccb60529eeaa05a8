"""What this node holds of others and has named in no merge, read from the database.

Synchronous functions for a connection's thread.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from lognode.core.clock import hlc_from_ms
from lognode.core.ids import FeedId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, MERGE_LOOKS_MAX, SIZE_MAX
from lognode.timeline.agreement.merges import MERGE
from lognode.timeline.agreement.news import Fresh
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.read.proofs import checkpoint_of
from lognode.timeline.verify.inert import HLC_FALLS

_HEADS: Final = "SELECT f.feed, f.feed_id, f.node_key, c.note, max(c.size) FROM feeds f JOIN checkpoints c USING (feed)"
_NAMED: Final = "SELECT size FROM merged WHERE feed = ? AND other = ? AND seq < ? ORDER BY seq DESC LIMIT 1"
_OTHER: Final = "SELECT 1 FROM spans WHERE feed = ? AND seq >= ? AND kind IS NOT ? LIMIT 1"
_INERT: Final = "SELECT 1 FROM inert WHERE feed = ? AND seq >= ? LIMIT 1"
_KEPT: Final = "SELECT size, note FROM checkpoints WHERE feed = ? AND size > ? AND size <= ? ORDER BY size DESC LIMIT ?"

_PARENT: Final = (
    "SELECT f.feed, f.feed_id, m.size FROM merged m JOIN feeds f ON f.feed_id = m.other"
    " WHERE m.feed = ?1 AND m.seq = 0 AND f.tenant = ?2 AND f.node_key = ?3"
)

Line = Sequence[tuple[int, int]]  # feeds of this node, and how much of each is in the past of what it writes next


def find_news(
    conn: sqlite3.Connection, tenant: TenantRef, own_key: bytes, head: FeedRef | None, cuts: Mapping[FeedId, int]
) -> dict[FeedId, Fresh]:
    """The newest trees of feeds of others that hold more than merges beyond what this node has named.

    `head` is the feed that it writes; `cuts` say how much counts of feeds that were cut.
    """
    found = conn.execute("SELECT kind FROM kinds WHERE tenant = ? AND name = ?", (tenant.number, MERGE)).fetchone()
    kind = found[0] if found else None
    line = line_of(conn, head, cuts)
    news = {}
    for feed, feed_id, node_key, note, size in conn.execute(
        f"{_HEADS} WHERE tenant = ? GROUP BY feed", (tenant.number,)
    ):
        named = 0 if node_key == own_key else named_size(conn, line, feed_id)
        if node_key == own_key or size <= named:
            continue
        if conn.execute(_OTHER, (feed, named, kind)).fetchone() or conn.execute(_INERT, (feed, named)).fetchone():
            news[FeedId(feed_id)] = Fresh(size, checkpoint_of(note).root, hlc_before(conn, feed, size), note)
    return news


def line_of(conn: sqlite3.Connection, head: FeedRef | None, cuts: Mapping[FeedId, int]) -> Line:
    """The feed that this node writes, with those that it goes on from, and how much of each is in its past.

    Its other feeds are not among them: a second process with its keys wrote these, or it wrote them before a backup was
    put back. What they say is not in the past of anything in this one.
    """
    if head is None:
        return []
    line = {head.number: cuts.get(head.feed_id, SIZE_MAX)}
    feed = head.number
    while found := conn.execute(_PARENT, (feed, head.tenant, head.node_key)).fetchone():
        feed, feed_id, size = found
        if feed in line:
            break
        line[feed] = min(size, cuts.get(feed_id, SIZE_MAX))
    return list(line.items())


def named_size(conn: sqlite3.Connection, line: Line, other: FeedId) -> int:
    """How much of a feed merges in these feeds have named."""
    found = [conn.execute(_NAMED, (feed, other, counted)).fetchone() for feed, counted in line]
    return max((row[0] for row in found if row), default=0)


def newest_sound(conn: sqlite3.Connection, feed: int, above: int, size_max: int, now_ms: int) -> Fresh | None:
    """The newest kept tree of a feed, larger than `above` and no larger than `size_max`, with nothing ahead of now."""
    hlc_max = hlc_from_ms(now_ms + CLOCK_AHEAD_MS_MAX + 1) - 1
    for size, note in conn.execute(_KEPT, (feed, above, size_max, MERGE_LOOKS_MAX)):
        hlc = hlc_before(conn, feed, size)
        if hlc <= hlc_max:
            return Fresh(size, checkpoint_of(note).root, hlc, note)
    return None


def hlc_before(conn: sqlite3.Connection, feed: int, size: int) -> int:
    """The newest time among the first `size` entries of a feed, but for those that are void for their time."""
    sql = "SELECT seq, hlc FROM spans WHERE feed = ? AND seq < ? ORDER BY seq DESC LIMIT 1"
    inert = "SELECT seq, hlc FROM inert WHERE feed = ? AND seq < ? AND reason <> ? ORDER BY seq DESC LIMIT 1"
    found = [*conn.execute(sql, (feed, size)), *conn.execute(inert, (feed, size, HLC_FALLS))]
    hlc: int = max(found, default=(0, -1))[1]
    return hlc
