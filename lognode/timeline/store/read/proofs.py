"""Proofs from stored rows and tiles.

Level 0 of the tree is not stored: at most 256 entries of one block are hashed again, and compared with the
tile above them. Nothing is handed out that does not verify against the signed checkpoint. Synchronous
functions for a reader's thread.
"""

import sqlite3
from collections.abc import Mapping
from functools import cache

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import b32encode
from lognode.timeline.proof.checkpoint import Checkpoint, parse_checkpoint
from lognode.timeline.proof.tlogproof import format_proof
from lognode.timeline.proof.tree import (
    TILE_LEVELS,
    TILE_WIDTH,
    NodeSource,
    border_at,
    consistency_proof,
    inclusion_proof,
    perfect_rows,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from lognode.timeline.record import FeedRef, Record, entry_of, feed_of, leaf_of
from lognode.timeline.store.write import leaves_of, tile_hashes


def latest_note(conn: sqlite3.Connection, feed: FeedRef) -> bytes:
    """The newest signed checkpoint of a feed, as signed. Raises CallerError("feed.unknown") before its first."""
    sql = "SELECT note FROM checkpoints WHERE feed = ? ORDER BY size DESC LIMIT 1"
    found = conn.execute(sql, (feed.number,)).fetchone()
    if found is None:
        raise CallerError("feed.unknown", f"{b32encode(feed.feed_id)} has no checkpoint")
    return found[0]  # type: ignore[no-any-return]


def span_proof(conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], record: Record) -> bytes:
    """The .tlog-proof of a stored span, its entry in `extra`. Raises NodeFault("database.damaged")."""
    feed = feed_of(record, feeds)
    note = latest_note(conn, feed)
    head = checkpoint_of(note)
    hashes = inclusion_proof(record.seq, head.size, node_source(conn, feed))
    if not verify_inclusion(leaf_of(record, feed.feed_id), record.seq, head.size, hashes, head.root):
        raise NodeFault("database.damaged", f"feed {b32encode(feed.feed_id)} does not lead to its checkpoint")
    return format_proof(entry_of(record, feed.feed_id), record.seq, hashes, note)


def growth_proof(conn: sqlite3.Connection, feed: FeedRef, since: int) -> tuple[bytes, list[bytes]]:
    """The newest checkpoint of a feed, and the RFC 6962 consistency proof to it from the tree of size `since`.

    Raises CallerError("filter.invalid") when the feed never had that size, NodeFault("database.damaged").
    """
    note = latest_note(conn, feed)
    head = checkpoint_of(note)
    if not 0 <= since <= head.size:
        raise CallerError("filter.invalid", f"the feed has {head.size} entries, not {since}", place="since")
    node = node_source(conn, feed)
    hashes = consistency_proof(since, head.size, node)
    if not verify_consistency(since, head.size, root_of(border_at(since, node)), head.root, hashes):
        raise NodeFault("database.damaged", f"feed {b32encode(feed.feed_id)} does not lead to its checkpoint")
    return note, hashes


def node_source(conn: sqlite3.Connection, feed: FeedRef) -> NodeSource:
    """Hashes of perfect subtrees, from tiles and, below them, from entries."""

    @cache
    def tile_rows(level: int, tile: int) -> list[list[bytes]]:
        if level == 0:
            rows = perfect_rows(leaves_of(conn, feed, tile * TILE_WIDTH, (tile + 1) * TILE_WIDTH))
            if len(rows[0]) == TILE_WIDTH and rows[TILE_LEVELS][0] != node(TILE_LEVELS, tile):
                raise NodeFault("database.damaged", f"entries of feed {feed.number} block {tile} do not fit their tile")
            return rows
        return perfect_rows(tile_hashes(conn, feed, level, tile))

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_LEVELS)
        tile, place = divmod(index << height, TILE_WIDTH)
        try:
            return tile_rows(tile_level, tile)[height][place >> height]
        except IndexError:
            raise NodeFault("database.damaged", f"feed {feed.number} lacks node {index} of level {level}") from None

    return node


def checkpoint_of(note: bytes) -> Checkpoint:
    """The tree head in a stored note. Raises NodeFault("database.damaged")."""
    try:
        return parse_checkpoint(note)
    except CallerError as error:
        raise NodeFault("database.damaged", f"stored checkpoint: {error.detail}") from error
