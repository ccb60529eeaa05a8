"""Ranges and control spans of feeds for other nodes, the clock that says what there is, and where ranges end.

Synchronous functions for a reader's thread. Invariant: nothing leaves that does not lead to the signed root at its end.
"""

import sqlite3
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from itertools import pairwise
from struct import error as StructError  # noqa: N812
from typing import Final, NamedTuple

from lognode.core.clock import Clock
from lognode.core.codec import encode
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import FeedId
from lognode.core.limits import MILESTONE_BYTES, MILESTONE_SPANS, RANGE_BYTES_MAX, RANGE_SPANS_MAX, ROOTS_KEPT_MAX
from lognode.core.span import (
    PRIVATE,
    Entry,
    Foretold,
    Range,
    decode_body,
    leaf_hashes,
    stub_entry,
)
from lognode.timeline.proof.fork import Side
from lognode.timeline.proof.tree import (
    HASH_BYTES,
    Border,
    border_at,
    consistency_proof,
    grow,
    inclusion_proof,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.read.proofs import checkpoint_of, latest_note, node_source
from lognode.timeline.store.write import CONTROL_KINDS, leaves_of, newest_checkpoint

_BOUNDS: Final = "SELECT feed_id, size FROM bounds WHERE tenant = ?"
_DEPTHS: Final = "hlc, visibility, header, body"
_SPANS: Final = f"SELECT seq, {_DEPTHS} FROM spans LEFT JOIN bodies USING (row)"
_HERE: Final = "feed = ? AND seq >= ? AND seq < ?"
_INERT: Final = f"SELECT seq, {_DEPTHS} FROM inert WHERE {_HERE}"
_NEAR: Final = 4 * MILESTONE_SPANS  # so many entries are looked at sooner than all control spans of a tenant
_WRONG: Final = (CallerError, TypeError, ValueError, AttributeError, StructError)  # what damage runs into


def read_clock(conn: sqlite3.Connection, tenant: TenantRef) -> Clock:
    """What counts of every feed of a tenant that this node holds: of forked ones what all histories have in common.

    Raises NodeFault("database.damaged").
    """
    sql = """SELECT f.feed, f.tenant, f.feed_id, f.node_key, f.log_key, f.own, b.size, note, max(c.size)
        FROM feeds f JOIN checkpoints c USING (feed)
        LEFT JOIN bounds b ON b.tenant = f.tenant AND b.feed_id = f.feed_id WHERE f.tenant = ? GROUP BY f.feed"""
    heads = {}
    for *feed, bound, note, _ in conn.execute(sql, (tenant.number,)).fetchall():
        head, ref = checkpoint_of(note), FeedRef(*feed)
        if bound is None or head.size <= bound:
            heads[ref.feed_id] = (head.size, head.root)
        elif bound:
            heads[ref.feed_id] = (bound, _root_at(conn, ref, bound, head.root))
    return Clock(heads)


def read_bounds(conn: sqlite3.Connection, tenant: TenantRef) -> dict[FeedId, int]:
    """How much of a feed counts, where that is not all of it, whether or not it is held."""
    return {FeedId(feed): size for feed, size in conn.execute(_BOUNDS, (tenant.number,))}


def read_ended(conn: sqlite3.Connection, tenant: TenantRef) -> list[FeedId]:
    """The feeds of this node of which not all counts."""
    sql = "SELECT feed_id FROM bounds JOIN feeds USING (tenant, feed_id) WHERE tenant = ? AND own ORDER BY 1"
    return [FeedId(feed) for (feed,) in conn.execute(sql, (tenant.number,))]


# What a tree was when it was smaller never changes, and its later root stands for all of it.
_ROOTS: Final[dict[tuple[FeedId, int, bytes], bytes]] = {}


def _root_at(conn: sqlite3.Connection, feed: FeedRef, size: int, later: bytes) -> bytes:
    """The root that a held feed had at a smaller size than that at which its root is `later`."""
    key = feed.feed_id, size, later
    if key not in _ROOTS:
        if len(_ROOTS) >= ROOTS_KEPT_MAX:
            _ROOTS.clear()
        _ROOTS[key] = root_of(border_at(size, node_source(conn, feed)))
    return _ROOTS[key]


def read_range(
    conn: sqlite3.Connection,
    feed: FeedRef,
    start: int,
    *,
    spans_max: int = RANGE_SPANS_MAX,
    bytes_max: int = RANGE_BYTES_MAX,
) -> Range | None:
    """Entries of a feed from `start` on, for others: private spans of this node are stubs. None where nothing is.

    It ends at the furthest kept checkpoint within `spans_max` entries and `bytes_max` bytes of headers and bodies, or
    at the nearest one where that is further. Raises NodeFault("database.damaged").
    """
    sql = "SELECT size, note FROM checkpoints WHERE feed = ? AND size > ? ORDER BY size LIMIT ?"
    ends: list[tuple[int, bytes]] = conn.execute(sql, (feed.number, start, max(1, spans_max))).fetchall()
    entries: list[Entry] = []
    note, weight = b"", 0
    for (stop, _), (size, later) in pairwise([(start, b""), *ends]):
        if entries and size - start > spans_max:
            break
        part = read_entries(conn, feed, stop, size)
        weight += sum([entry.weight for entry in part])
        if entries and weight > bytes_max:
            break
        entries += part
        note = later
    if not entries:
        return None
    found = Range(feed.feed_id, start, entries, note)
    _prove(conn, feed, found)
    return found


def read_entries(conn: sqlite3.Connection, feed: FeedRef, start: int, stop: int) -> list[Entry]:
    """Entries [start, stop) of a feed, as deep as others may have them."""
    try:
        found = [
            (seq, _shared(hlc, visibility, header, body))
            for seq, hlc, visibility, header, body in conn.execute(
                f"{_SPANS} WHERE {_HERE} ORDER BY seq", (feed.number, start, stop)
            )
        ]
    except _WRONG as error:
        raise _damaged(feed, f"entries {start} to {stop - 1}: {error}") from error
    inert = conn.execute(_INERT, (feed.number, start, stop)).fetchall()
    if inert:
        found = sorted([*found, *((seq, Entry(*depths)) for seq, *depths in inert)])
    if [seq for seq, _ in found] != list(range(start, stop)):
        raise _damaged(feed, f"entries {start} to {stop - 1} are not all there")
    return [entry for _, entry in found]


def _shared(hlc: int, visibility: int, header: bytes, body: bytes | None) -> Entry:
    """A span as others may have it; its body must be the one that its header names."""
    if visibility == PRIVATE:
        return Entry(hlc, visibility, sha256(header).digest(), None)
    if body is None:
        raise ValueError("a body is missing")
    digest = sha256(body).digest()
    if not header.endswith(b"\x58\x20" + digest + _encode_size(len(body))):
        raise ValueError("a body is not the one that its header names")
    return Entry(hlc, visibility, header, body)


@lru_cache(maxsize=4096)
def _encode_size(size: int) -> bytes:
    return encode(size)


def _prove(conn: sqlite3.Connection, feed: FeedRef, found: Range) -> None:
    """Pass if a range leads from the tree before it to the root that was signed at its end."""
    head = checkpoint_of(found.note)
    before = border_at(found.start, node_source(conn, feed))
    try:
        leaves = leaf_hashes(feed.feed_id, found.start, found.entries)
    except _WRONG as error:
        raise _damaged(feed, f"entries from {found.start} on: {error}") from error
    if (head.size, head.root) != (found.stop, root_of(grow(before, leaves).border)):
        raise _damaged(feed, f"it does not lead to its checkpoint at {found.stop}")


def read_foretold(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feed_id: FeedId,
    from_seq: int,
    *,
    spans_max: int = RANGE_SPANS_MAX,
) -> list[Foretold]:
    """Control spans of a feed from `from_seq` on, by seq: those held, and those known ahead of their ranges.

    Each is proven against a checkpoint, those held against the newest. Raises NodeFault("database.damaged").
    """
    sql = "SELECT feed, tenant, feed_id, node_key, log_key, own FROM feeds WHERE tenant = ? AND feed_id = ?"
    row = conn.execute(sql, (tenant.number, feed_id)).fetchone()
    held = _held_controls(conn, FeedRef(*row), from_seq, spans_max) if row else []
    sql = (
        f"SELECT seq, {_DEPTHS}, note, path FROM foretold "
        "WHERE tenant = ? AND feed_id = ? AND seq >= ? ORDER BY seq LIMIT ?"
    )
    ahead = conn.execute(sql, (tenant.number, feed_id, from_seq, spans_max - len(held)))
    return [
        *held,
        *(
            Foretold(feed_id, seq, Entry(hlc, visibility, header, body), note, hashes_in(path))
            for seq, hlc, visibility, header, body, note, path in ahead
        ),
    ]


def hashes_in(path: bytes) -> tuple[bytes, ...]:
    """The hashes of a stored inclusion proof."""
    return tuple([path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)])


def _held_controls(conn: sqlite3.Connection, feed: FeedRef, from_seq: int, spans_max: int) -> list[Foretold]:
    note = latest_note(conn, feed)
    head = checkpoint_of(note)
    if from_seq >= head.size:
        return []
    # By place where few entries can be meant, else by kind: control spans are few.
    column = "+kind" if head.size - from_seq <= _NEAR else "kind"
    sql = f"{_SPANS} WHERE {_HERE} AND {column} IN ({CONTROL_KINDS}) ORDER BY seq LIMIT ?"
    found = []
    node = node_source(conn, feed)
    for seq, *depths in conn.execute(sql, (feed.number, from_seq, head.size, feed.tenant, spans_max)).fetchall():
        try:
            entry = _shared(*depths)
            (leaf,) = leaf_hashes(feed.feed_id, seq, [entry])
        except _WRONG as error:
            raise _damaged(feed, f"entry {seq}: {error}") from error
        path = inclusion_proof(seq, head.size, node)
        if not verify_inclusion(leaf, seq, head.size, path, head.root):
            raise _damaged(feed, "it does not lead to its checkpoint")
        found.append(Foretold(feed.feed_id, seq, entry, note, tuple(path)))
    return found


def _damaged(feed: FeedRef, detail: str) -> NodeFault:
    return NodeFault("database.damaged", f"feed {feed.number}: {detail}")


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
            raise _damaged(feed, "it does not lead to its checkpoint")
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


def read_tips(conn: sqlite3.Connection, feed: FeedRef) -> dict[bytes, tuple[int, int]]:
    """The other histories of a feed that are kept: by the root at the end, from where to where."""
    sql = "SELECT tip, min(seq), max(seq) + 1 FROM branches WHERE feed = ? GROUP BY tip"
    return {tip: (first, stop) for tip, first, stop in conn.execute(sql, (feed.number,))}


def read_branch(conn: sqlite3.Connection, feed: FeedRef, tip: bytes) -> Iterator[tuple[int, Entry, bytes | None]]:
    """The entries of another history, with their places and the checkpoints behind them."""
    sql = "SELECT seq, hlc, visibility, header, body, note FROM branches WHERE feed = ? AND tip = ? ORDER BY seq"
    for seq, *depths, note in conn.execute(sql, (feed.number, tip)):
        yield seq, Entry(*depths), note


def read_other_ranges(conn: sqlite3.Connection, feed: FeedRef, start: int) -> Iterator[Range]:
    """The other histories that part at `start` from the one that is held, each as ranges that follow one another."""
    for tip in [tip for tip, (first, _) in read_tips(conn, feed).items() if first == start]:
        entries: list[Entry] = []
        for seq, entry, note in read_branch(conn, feed, tip):
            entries.append(entry)
            if note is not None:
                yield Range(feed.feed_id, seq + 1 - len(entries), entries, note)
                entries = []
