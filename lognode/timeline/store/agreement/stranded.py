"""Reads the spans of own feeds that have no effect and no copy yet, with what proves them, from all their histories.

Synchronous functions for a reader's thread.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from lognode.core.errors import NodeFault
from lognode.core.limits import RESTORED_BYTES, RESTORED_SPANS
from lognode.core.span import Entry, leaf_hash, span_id, stub_entry
from lognode.timeline.agreement.restoring import Stranded
from lognode.timeline.proof.tree import NodeSource, inclusion_proof, node_hash, verify_inclusion
from lognode.timeline.record import RECORD_COLUMNS, FeedRef, Record, TenantRef, id_of, leaf_of
from lognode.timeline.store.read.lookup import find_restored
from lognode.timeline.store.read.proofs import checkpoint_of, latest_note, node_source
from lognode.timeline.store.read.ranges import read_branch


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


def read_stranded_branch(conn: sqlite3.Connection, tenant: TenantRef, feed: FeedRef, tip: bytes, start: int) -> Part:
    """The same from another history of a feed, which others gave; of what is withheld in it there is nothing.

    Raises NodeFault("database.damaged").
    """
    leaves: list[bytes] = []
    chosen: list[tuple[int, Entry]] = []
    first, weight, note = 0, 0, b""
    for seq, entry, behind in read_branch(conn, feed, tip):
        first, note = first if leaves else seq, behind or b""
        leaves.append(leaf_hash(stub_entry(feed.feed_id, seq, entry.hlc, entry.visibility, entry.header_sha256)))
        weight += entry.weight if seq >= start else 0
        if seq >= start and len(chosen) < RESTORED_SPANS and (not chosen or weight <= RESTORED_BYTES):
            chosen.append((seq, entry))
    if not chosen or not first:  # a feed that was opened twice has nothing in common
        return Part([], start)
    head, node = checkpoint_of(note), _grafted(node_source(conn, feed), first, leaves)
    found = []
    for seq, entry in chosen:
        name = span_id(entry.hlc, leaves[seq - first])
        if entry.is_withheld or entry.body is None or find_restored(conn, tenant, feed.node_key, name) is not None:
            continue
        path = inclusion_proof(seq, head.size, node)
        if not verify_inclusion(leaves[seq - first], seq, head.size, path, head.root):
            raise NodeFault("database.damaged", f"a history of feed {feed.number} does not lead to its checkpoint")
        said = (seq, entry.hlc, entry.visibility, entry.header, entry.body)
        found.append(Stranded(feed.feed_id, feed.node_key, *said, path, note))
    return Part(found, chosen[-1][0] + 1)


def _grafted(held: NodeSource, first: int, leaves: Sequence[bytes]) -> NodeSource:
    """The nodes of a tree that has other leaves from `first` on than the one that is held."""

    @cache
    def node(level: int, index: int) -> bytes:
        if (index + 1) << level <= first:
            return held(level, index)
        if not level:
            return leaves[index - first]
        return node_hash(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    return node


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
