"""Single spans by id, and the causal walk both ways.

Synchronous functions for a reader's thread. Ids are not stored: a span is looked up by the hlc in its id and
recognised by its leaf. An id that is not here may be the origin of a copy that is: walks go on there. Invariant:
a walk ends, whatever `caused_by` and origins say, never shows a span twice, and holds no more than
PAGE_BYTES_MAX of bodies, or one span. What is void is found by its id, and as somebody's cause; it has no place among
effects.
"""

import sqlite3
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import groupby, islice
from operator import itemgetter
from typing import Final, NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, b32encode, parse_span_id
from lognode.core.limits import PAGE_BYTES_MAX
from lognode.timeline.query import Cursor, Lineage, Query, decode_cursor
from lognode.timeline.record import (
    ORIGIN,
    POSITION_MASK,
    RECORD_COLUMNS,
    STUB_COLUMNS,
    FeedRef,
    Record,
    TenantRef,
    feed_of,
    header_of,
    id_of,
    leaf_of,
    origin_of,
    row_of,
)
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.read.proofs import span_proof

_SPANS: Final = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row"
_COPIES_LOOKED_AT: Final = 64  # of one span by its own node, for one that restores it; a node makes one
_AT: Final = f"{_SPANS} WHERE s.row = ?"
_COPIED: Final = (
    f"SELECT f.feed_id, k.feed IS NOT NULL, l.hlc, {STUB_COLUMNS} FROM labels l JOIN spans s ON s.row = l.row"
    " JOIN feeds f ON f.feed = s.feed LEFT JOIN cuts k ON k.feed = s.feed AND k.size <= s.seq"
    " WHERE l.tenant = ?1 AND l.field = ?2 AND l.value = ?3 AND (?4 IS NULL OR f.node_key = ?4)"
    " ORDER BY k.feed IS NOT NULL, l.hlc"
)
_COPIES: Final = "FROM labels WHERE tenant = ? AND field = ?"


class Walk(NamedTuple):
    """Spans with their distance from the start, nearest first; `missing` are ids that this node does not hold."""

    steps: list[tuple[int, Record]]
    missing: list[SpanId]
    truncated: bool


def find_place(conn: sqlite3.Connection, lineage: Lineage, text: str, *, is_before: bool = False) -> Cursor:
    """The cursor that `text` encodes, of a place that this node has; `is_before` for one that spans lie before.

    A node that was restored counts on from the end of the backup: what a cursor of arrivals names beyond that end is
    another span here. Raises CallerError("cursor.foreign" or "cursor.invalid").
    """
    cursor, next_feed = decode_cursor(text, lineage)
    if cursor.order == "arrival" and next_feed is not None:
        opened = conn.execute("SELECT row FROM spans WHERE feed = ? AND seq = 0", (next_feed.number,)).fetchone()
        if opened is not None and cursor.number - is_before >= opened[0] & POSITION_MASK:
            raise CallerError("cursor.invalid", "it lies beyond the backup that this node was restored from")
    return cursor


def find_span(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], span_id: SpanId
) -> Record | None:
    """The span with this id, None where the tenant does not hold it.

    Raises NodeFault("database.damaged") where what stands at the id's time is no longer what was signed: the span
    may have been there.
    """
    hlc = int.from_bytes(span_id[:8], "big")
    if hlc > HLC_MAX:
        return None
    others = []
    with closing(conn.execute(f"{_SPANS} WHERE s.tenant = ? AND s.hlc = ?", (tenant.number, hlc))) as rows:
        for record in map(Record._make, rows):
            if id_of(record, feed_of(record, feeds).feed_id) == span_id:
                return record
            others.append(record._replace(body=None))
    for record in others:
        span_proof(conn, feeds, record)
    return None


def find_copy(conn: sqlite3.Connection, tenant: TenantRef, span_id: SpanId) -> Record | None:
    """The first copy here of the span with this id, None where there is none."""
    return next(_copies(conn, tenant, span_id), None)


def find_restored(conn: sqlite3.Connection, tenant: TenantRef, node_key: bytes, span_id: SpanId) -> Record | None:
    """The first copy here by which its node restored the span with this id, None where there is none.

    What another node says is a copy of it restores nothing.
    """
    copies = islice(_copies(conn, tenant, span_id, node_key), _COPIES_LOOKED_AT)
    return next((copy for copy in copies if (said := origin_of(copy)) and said.way == "restore"), None)


def _copies(
    conn: sqlite3.Connection, tenant: TenantRef, span_id: SpanId, node_key: bytes | None = None
) -> Iterator[Record]:
    """The copies here of a span, by one node or by all, in timeline order, those first that count."""
    with closing(conn.execute(_COPIED, (tenant.number, ORIGIN, b32encode(span_id), node_key))) as rows:
        for _, tied in groupby(rows, key=itemgetter(1, 2)):
            # In the order of rows would mean of arrival, which is another on each node.
            found = [(leaf_of(Record(*row[3:]), FeedId(row[0])), row[3]) for row in tied]
            for _, position in sorted(found):
                yield Record(*conn.execute(_AT, (row_of(tenant.number, position),)).fetchone())


def find_span_or_copy(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], span_id: SpanId
) -> Record | None:
    """What an id leads to: the span itself where it is here, else its first copy; of a void one what restores it.

    Raises as find_span does.
    """
    found = find_span(conn, tenant, feeds, span_id)
    if found is None:
        return find_copy(conn, tenant, span_id)
    sql = "SELECT 1 FROM cuts WHERE feed = ? AND size <= ?"
    is_cut_off = conn.execute(sql, (found.feed, found.seq)).fetchone() is not None
    node_key = feed_of(found, feeds).node_key
    return (find_restored(conn, tenant, node_key, span_id) if is_cut_off else None) or found


def records_at(conn: sqlite3.Connection, tenant: TenantRef, start: int, stop: int) -> list[Record]:
    """The spans at positions [start, stop), by arrival; their bodies are not read."""
    sql = f"SELECT {STUB_COLUMNS} FROM spans s WHERE s.row >= ? AND s.row < ? ORDER BY s.row"
    rows = conn.execute(sql, (row_of(tenant.number, start), row_of(tenant.number, stop)))
    return list(map(Record._make, rows.fetchall()))


def causes(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], span_id: SpanId, limit: int
) -> Walk:
    """What led to a span: its cause, the cause of that, and so on, at most `limit` of them.

    Raises CallerError("span.unknown"), NodeFault("database.damaged").
    """
    record = find_span_or_copy(conn, tenant, feeds, span_id)
    if record is None:
        raise CallerError("span.unknown", b32encode(span_id))
    steps: list[tuple[int, Record]] = []
    weight = 0
    seen = {record.position}
    while cause := header_of(record).caused_by:
        if len(steps) == limit:
            return Walk(steps, [], truncated=True)
        record = find_span_or_copy(conn, tenant, feeds, cause)
        if record is None:
            return Walk(steps, [cause], truncated=False)
        weight += record.weight
        if record.position in seen:
            break
        if steps and weight > PAGE_BYTES_MAX:
            return Walk(steps, [], truncated=True)
        seen.add(record.position)
        steps.append((len(steps) + 1, record))
    return Walk(steps, [], truncated=False)


def effects(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], span_id: SpanId, limit: int
) -> Walk:
    """What followed from a span, breadth first, siblings in timeline order, at most `limit` spans.

    A span that is not held may have effects that are: it is then missing. Raises CallerError("span.unknown") where
    neither is, NodeFault("database.damaged").
    """
    steps: list[tuple[int, Record]] = []
    weight = 0
    start = find_span_or_copy(conn, tenant, feeds, span_id)
    seen = {start.position} if start else set()
    has_copies = conn.execute(f"SELECT 1 {_COPIES} LIMIT 1", (tenant.number, ORIGIN)).fetchone() is not None

    def names(record: Record) -> list[SpanId]:
        """The ids under which a span may be somebody's cause."""
        name = id_of(record, feed_of(record, feeds).feed_id)
        return [name, *_stood_for(conn, tenant, feeds, record)] if has_copies else [name]

    frontier = deque((1, name) for name in (names(start) if start else [span_id]))
    truncated = False
    while frontier and not truncated:
        depth, cause = frontier.popleft()
        query = Query(caused_by=cause, descending=False, limit=limit - len(steps) + 1)
        page = select_page(conn, tenant, feeds, query)
        truncated = page.is_cut
        for record in page.records:
            if record.position in seen:
                continue
            weight += record.weight
            if len(steps) == limit or (steps and weight > PAGE_BYTES_MAX):
                truncated = True
                break
            seen.add(record.position)
            steps.append((depth, record))
            frontier.extend((depth + 1, name) for name in names(record))
    missing = [] if start else [span_id]
    if missing and not steps:
        raise CallerError("span.unknown", b32encode(span_id))
    return Walk(steps, missing, truncated)


def _stood_for(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], copy: Record
) -> Iterator[SpanId]:
    """The ids that lead to this copy: those of spans that are not here, and that have no earlier copy."""
    said = origin_of(copy)
    for name in map(parse_span_id, said.spans if said else ()):
        found = find_span_or_copy(conn, tenant, feeds, name)
        if found is not None and found.position == copy.position:
            yield name
