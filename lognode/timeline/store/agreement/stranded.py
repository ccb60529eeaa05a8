"""Reads the spans of own feeds that have no effect and no copy yet, with what proves them.

Synchronous functions for a reader's thread.
"""

import sqlite3
from typing import NamedTuple

from lognode.core.errors import NodeFault
from lognode.core.limits import RESTORED_BYTES, RESTORED_SPANS
from lognode.timeline.agreement.restoring import Stranded
from lognode.timeline.proof.tree import inclusion_proof, verify_inclusion
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record, TenantRef, id_of, leaf_of
from lognode.timeline.store.read.lookup import find_restored
from lognode.timeline.store.read.proofs import checkpoint_of, latest_note, node_source


class Part(NamedTuple):
    """Stranded spans by seq, and the entry before which the feed was looked through."""

    spans: list[Stranded]
    stop: int


def read_stranded(conn: sqlite3.Connection, tenant: TenantRef, feed: FeedRef, start: int) -> Part:
    """Spans of a feed from entry `start` on that nothing restores yet, as many as one commit takes.

    `stop` is `start` at the end of the feed. Raises NodeFault("database.damaged").
    """
    sql = (
        f"SELECT {RECORD_COLUMNS} FROM spans s JOIN bodies b ON b.row = s.row WHERE s.feed = ? AND s.seq >= ? "
        f"ORDER BY s.seq LIMIT {RESTORED_SPANS}"
    )
    records: list[Record] = []
    weight = 0
    for record in map(Record._make, conn.execute(sql, (feed.number, start))):
        weight += len(record.header) + record.weight
        if records and weight > RESTORED_BYTES:
            break
        records.append(record)
    stop = records[-1].seq + 1 if records else start
    key = feed.node_key
    lacking = [record for record in records if find_restored(conn, tenant, key, id_of(record, feed.feed_id)) is None]
    return Part(_proven(conn, feed, lacking), stop)


def _proven(conn: sqlite3.Connection, feed: FeedRef, records: list[Record]) -> list[Stranded]:
    if not records:
        return []
    note, node = latest_note(conn, feed), node_source(conn, feed)
    head = checkpoint_of(note)
    found = []
    for _, _, seq, hlc, visibility, header, body in records:
        path = inclusion_proof(seq, head.size, node)
        assert body is not None
        found.append(Stranded(feed.feed_id, feed.node_key, seq, hlc, visibility, header, body, path, note))
    for record, stranded in zip(records, found, strict=True):
        if not verify_inclusion(leaf_of(record, feed.feed_id), record.seq, head.size, stranded.path, head.root):
            raise NodeFault("database.damaged", f"feed {feed.number} does not lead to its checkpoint")
    return found
