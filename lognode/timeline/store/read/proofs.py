"""Proofs from stored rows and tiles.

Level 0 of the tree is not stored: at most 256 entries of one block are hashed again, and compared with the
tile above them. Nothing is handed out that does not verify against the signed checkpoint. Synchronous
functions for a reader's thread.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import TenantId, b32encode
from lognode.core.limits import COSIGNATURES_MAX, COSIGNATURES_READ_MAX
from lognode.timeline.proof.checkpoint import Checkpoint, head_text, origin, parse_checkpoint, verify_checkpoint, vkey
from lognode.timeline.proof.cosignature import Cosignature, cosignature_line, is_cosigned, witness_name
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

_COSIGNED: Final = (
    "SELECT witness, size, root, time_s, signature, note FROM cosignatures WHERE tenant = ? AND feed_id = ? "
    "AND size > ? ORDER BY size DESC, time_s DESC LIMIT ?"
)


def latest_note(conn: sqlite3.Connection, feed: FeedRef) -> bytes:
    """The newest signed checkpoint of a feed, as signed. Raises CallerError("feed.unknown") before its first."""
    sql = "SELECT note FROM checkpoints WHERE feed = ? ORDER BY size DESC LIMIT 1"
    found = conn.execute(sql, (feed.number,)).fetchone()
    if found is None:
        raise CallerError("feed.unknown", f"{b32encode(feed.feed_id)} has no checkpoint")
    return found[0]  # type: ignore[no-any-return]


class Voices(NamedTuple):
    """Whose cosignatures count in a tenant, by node key, and who signs trees of this node's own feeds again."""

    tenant_id: TenantId
    witnesses: Mapping[bytes, bytes]  # node key -> witness key
    sign: Callable[[TenantId, FeedRef, int, bytes], bytes]  # size and root of an own feed -> checkpoint


def cosigned_note(conn: sqlite3.Connection, feed: FeedRef, voices: Voices, above: int = 0) -> bytes | None:
    """The checkpoint with most cosignatures of those beyond size `above`, the newest of several; None without any.

    Every signature on it was verified. Raises NodeFault("database.damaged").
    """
    trees: dict[tuple[int, bytes], list[tuple[Any, ...]]] = {}
    for row in conn.execute(_COSIGNED, (feed.tenant, feed.feed_id, above, COSIGNATURES_READ_MAX)):
        trees.setdefault((row[1], row[2]), []).append(row)
    best, most = None, 0
    for (size, root), rows in sorted(trees.items(), key=lambda tree: (len(tree[1]), tree[0]), reverse=True):
        if len(rows) <= most:
            break
        note = next((row[5] for row in rows if row[5] is not None), None) or _own_note(conn, feed, voices, size, root)
        if note is None:
            continue
        lines = _cosignature_lines(feed, voices, note, (size, root), rows)
        if len(lines) > most:
            best, most = note + b"".join(lines[:COSIGNATURES_MAX]), len(lines)
    return best


def _own_note(conn: sqlite3.Connection, feed: FeedRef, voices: Voices, size: int, root: bytes) -> bytes | None:
    """The checkpoint of an own feed at a size, signed again; None where its tree had another root."""
    if not feed.own or size > checkpoint_of(latest_note(conn, feed)).size:
        return None
    is_ours = root_of(border_at(size, node_source(conn, feed))) == root
    return voices.sign(voices.tenant_id, feed, size, root) if is_ours else None


def _cosignature_lines(
    feed: FeedRef, voices: Voices, note: bytes, tree: tuple[int, bytes], rows: Sequence[tuple[Any, ...]]
) -> list[bytes]:
    """The lines of those who cosigned a checkpoint; none where that is not signed by its log."""
    name = origin(voices.tenant_id, feed.feed_id)
    try:
        head = verify_checkpoint(note, vkey(name, feed.log_key))
    except CallerError as error:
        raise NodeFault("database.damaged", f"stored checkpoint: {error.detail}") from error
    if (head.size, head.root) != tree:
        raise NodeFault("database.damaged", f"stored checkpoint of {head.size} entries is of another tree")
    text, lines = head_text(name, *tree), []
    for witness, _, _, time_s, signature, _ in rows:
        public = voices.witnesses.get(witness)
        if public is not None:
            said = Cosignature(witness_name(voices.tenant_id, witness), public, time_s, signature)
            if is_cosigned(text, said):
                lines.append(cosignature_line(said))
    return lines


def span_proof(
    conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], record: Record, voices: Voices | None = None
) -> bytes:
    """The .tlog-proof of a stored span, its entry in `extra`, with the cosignatures of `voices`.

    Raises NodeFault("database.damaged").
    """
    feed = feed_of(record, feeds)
    cosigned = cosigned_note(conn, feed, voices, record.seq) if voices else None
    note = cosigned or latest_note(conn, feed)
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
