"""Spans of the past as they are looked at once, for one span, without tables made for it.

Synchronous, for a reader's thread. Bodies that are not held come as None, since whoever judges by them has to know.
"""

import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Final

from lognode.core.ids import SpanId
from lognode.timeline.record import RECORD_COLUMNS, SUBJECT, FeedRef, Record, TenantRef, row_of

_FROM: Final = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row"
_KINDS: Final = f"{_FROM} WHERE s.kind IN ({{}}) AND s.hlc >= ? AND s.hlc < ? AND s.visibility > 0"
_ABOUT: Final = (
    f"SELECT {RECORD_COLUMNS} FROM labels l JOIN spans s ON s.row = l.row LEFT JOIN bodies b ON b.row = s.row"
    " WHERE l.tenant = ? AND l.field = ? AND l.value = ? AND l.hlc < ? AND s.visibility > 0"
    " AND s.status = 0 AND s.kind IN ({}) ORDER BY l.hlc DESC LIMIT ?"
)
_CAUSED: Final = f"{_FROM} WHERE s.tenant = ? AND s.caused_by = ? ORDER BY s.hlc LIMIT ?"
_STRANGE: Final = (
    "SELECT 1 FROM merged m LEFT JOIN feeds f ON f.feed_id = m.other"
    " WHERE m.feed = ? AND m.seq < ? AND f.feed IS NULL LIMIT 1"
)
_ROWS: Final = f"{_FROM} WHERE s.row > ? AND s.row <= ? ORDER BY s.row LIMIT ?"
_AT: Final = f"{_FROM} WHERE s.row = ?"
_BETWEEN: Final = "SELECT 1 FROM spans WHERE feed = ? AND seq >= ? AND seq < ? LIMIT 1"


def spans_of_kinds(
    conn: sqlite3.Connection, kinds: Sequence[int], hlcs: tuple[int, int]
) -> Generator[Record, None, None]:
    """The shared spans of these kinds with times [start, stop); to be closed by who does not read them all."""
    with closing(conn.execute(_KINDS.format(", ".join("?" * len(kinds))), (*kinds, *hlcs))) as rows:
        yield from map(Record._make, rows)


def spans_about(
    conn: sqlite3.Connection, tenant: TenantRef, subject: str, kinds: Sequence[int], before: int, limit: int
) -> list[Record]:
    """The shared spans about a subject, no trials, with a time before `before`, the newest first; at most `limit`."""
    sql = _ABOUT.format(", ".join("?" * len(kinds)))
    return [Record(*row) for row in conn.execute(sql, (tenant.number, SUBJECT, subject, before, *kinds, limit))]


def spans_caused(conn: sqlite3.Connection, tenant: TenantRef, span: SpanId, limit: int) -> list[Record]:
    """The spans that say that this one caused them, the earliest first; at most `limit`."""
    return [Record(*row) for row in conn.execute(_CAUSED, (tenant.number, span, limit))]


def names_strangers(
    conn: sqlite3.Connection, feeds: Mapping[int, FeedRef], feed: int, named: Mapping[int, int]
) -> bool:
    """Whether the node of a feed had named feeds of which nothing is held here."""
    own = [number for number in named if feeds[number].node_key == feeds[feed].node_key]
    return any(conn.execute(_STRANGE, (number, named[number])).fetchone() for number in own)


def arrivals(conn: sqlite3.Connection, tenant: TenantRef, positions: tuple[int, int], limit: int) -> list[Record]:
    """The spans with positions in (after, until], in their order; at most `limit`."""
    bounds = [row_of(tenant.number, position) for position in positions]
    return [Record(*row) for row in conn.execute(_ROWS, (*bounds, limit))]


def arrival(conn: sqlite3.Connection, tenant: TenantRef, position: int) -> Record:
    """The span at a position, at which there is one."""
    return Record(*conn.execute(_AT, (row_of(tenant.number, position),)).fetchone())


def is_any_between(conn: sqlite3.Connection, feed: int, start: int, stop: int) -> bool:
    """Whether the feed has spans at places [start, stop)."""
    return conn.execute(_BETWEEN, (feed, start, stop)).fetchone() is not None
