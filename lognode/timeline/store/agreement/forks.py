"""What is held of forks: proofs that were found here, other histories, and what a range is compared with.

Synchronous functions for a reader's thread.
"""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId
from lognode.core.span import Entry, decode_body, stub_entry
from lognode.timeline.proof.fork import ForkProof, Side, parse_fork
from lognode.timeline.proof.tree import Border, border_at, inclusion_proof
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.read.proofs import checkpoint_of, latest_note, node_source
from lognode.timeline.store.read.ranges import read_entries
from lognode.timeline.store.write import leaves_of


class HeldPart(NamedTuple):
    """A part of a feed that is held: the tree before it and the leaves in it."""

    feed: FeedRef
    border: Border
    leaves: list[bytes]


def find_feed(conn: sqlite3.Connection, tenant: TenantRef, feed_id: FeedId) -> FeedRef | None:
    """A feed of a tenant, if any of it is held."""
    sql = "SELECT feed, tenant, feed_id, node_key, log_key, own FROM feeds WHERE tenant = ? AND feed_id = ?"
    row = conn.execute(sql, (tenant.number, feed_id)).fetchone()
    return FeedRef(*row) if row else None


def read_part(conn: sqlite3.Connection, feed: FeedRef, start: int, stop: int) -> HeldPart | None:
    """What is held of a feed from `start` to `stop` at most; None where it ends before `start`."""
    size = checkpoint_of(latest_note(conn, feed)).size
    if start > size:
        return None
    return HeldPart(feed, border_at(start, node_source(conn, feed)), leaves_of(conn, feed, start, min(stop, size)))


def read_side(conn: sqlite3.Connection, feed: FeedRef, seq: int) -> Side:
    """An entry that is held, in the newest tree that its author signed."""
    note = latest_note(conn, feed)
    (entry,) = read_entries(conn, feed, seq, seq + 1)
    path = inclusion_proof(seq, checkpoint_of(note).size, node_source(conn, feed))
    return Side(stub_entry(feed.feed_id, seq, entry.hlc, entry.visibility, entry.header_sha256), tuple(path), note)


def read_opening_data(conn: sqlite3.Connection, feed: FeedRef) -> bytes:
    """The data of a held feed's `feed.open`. Raises NodeFault("database.damaged")."""
    (entry,) = read_entries(conn, feed, 0, 1)
    try:
        return decode_body(entry.body or b"").data
    except CallerError as error:
        raise NodeFault("database.damaged", f"feed {feed.number}: {error.detail}") from error


def read_evidence(conn: sqlite3.Connection, tenant: TenantRef) -> dict[FeedId, ForkProof]:
    """Proofs that were found here. Raises NodeFault("database.damaged")."""
    found = {}
    for feed_id, proof in conn.execute("SELECT feed_id, proof FROM evidence WHERE tenant = ?", (tenant.number,)):
        try:
            found[FeedId(feed_id)] = parse_fork(proof)
        except CallerError as error:
            raise NodeFault("database.damaged", f"evidence: {error.detail}") from error
    return found


def read_tips(conn: sqlite3.Connection, feed: FeedRef) -> dict[bytes, tuple[int, int]]:
    """The other histories of a feed that are kept: by the root at the end, from where to where."""
    sql = "SELECT tip, min(seq), max(seq) + 1 FROM branches WHERE feed = ? GROUP BY tip"
    return {tip: (first, stop) for tip, first, stop in conn.execute(sql, (feed.number,))}


def read_branch(conn: sqlite3.Connection, feed: FeedRef, tip: bytes) -> Iterator[tuple[int, Entry, bytes | None]]:
    """The entries of another history, with their places and the checkpoints behind them."""
    sql = "SELECT seq, hlc, visibility, header, body, note FROM branches WHERE feed = ? AND tip = ? ORDER BY seq"
    for seq, *depths, note in conn.execute(sql, (feed.number, tip)):
        yield seq, Entry(*depths), note
