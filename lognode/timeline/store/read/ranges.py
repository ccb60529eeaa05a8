"""Ranges of feeds for other nodes, and the kept checkpoints that they end at.

Synchronous functions for a reader's thread. Invariant: nothing leaves that does not lead to the signed root at its end.
"""

import sqlite3
from collections.abc import Iterator

from lognode.core.errors import NodeFault
from lognode.core.limits import MILESTONE_BYTES, MILESTONE_SPANS
from lognode.timeline.proof.tree import border_at, consistency_proof, root_of, verify_consistency
from lognode.timeline.record import FeedRef
from lognode.timeline.store.read.proofs import node_source
from lognode.timeline.store.write import newest_checkpoint


def missing_milestones(conn: sqlite3.Connection, feed: FeedRef) -> list[tuple[int, bytes]]:
    """Size and root of the milestones that an own feed would have, had it been written with them.

    Earlier versions kept one checkpoint a feed; where there are more, none is missing. Each root is proven against the
    signed one, because they will be signed as well. Raises NodeFault("database.damaged").
    """
    count = conn.execute("SELECT count(*) FROM checkpoints WHERE feed = ?", (feed.number,)).fetchone()[0]
    head = newest_checkpoint(conn, feed) if count == 1 else None
    if head is None:
        return []
    node = node_source(conn, feed)
    found: list[tuple[int, bytes]] = []
    for size in _milestones(conn, feed):
        root = root_of(border_at(size, node))
        proof = consistency_proof(size, head.size, node)
        if not verify_consistency(size, head.size, root, head.root, proof):
            raise NodeFault("database.damaged", f"feed {feed.number} does not lead to its checkpoint")
        found.append((size, root))
    return found


def _milestones(conn: sqlite3.Connection, feed: FeedRef) -> Iterator[int]:
    """The sizes at which an own feed is to be cut, so that each part is within the limits. Full tiles come cheapest."""
    sql = "SELECT seq, length(header) + length(body) FROM spans JOIN bodies USING (row) WHERE feed = ? ORDER BY seq"
    last = weight = 0
    for size, entry_weight in conn.execute(sql, (feed.number,)):
        weight += entry_weight
        if size > last and (size % MILESTONE_SPANS == 0 or weight > MILESTONE_BYTES):
            yield size
            last, weight = size, entry_weight
