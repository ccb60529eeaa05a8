"""Spans by what windows of rules count them under.

Synchronous, for the writing connection's thread. The rows lie in a table of that connection alone and follow from
spans, so they are lost with it and made again when they are asked for. Must not know rules: whoever asks says what a
span is counted under.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Final, NamedTuple

from lognode.core.limits import WINDOW_FILL_SPANS, WINDOW_SPANS_MAX
from lognode.timeline.record import POSITION_MASK, RECORD_COLUMNS, Record, TenantRef, row_of
from lognode.timeline.store.write import newest_position

Measured = int | float | bytes | None


class Entry(NamedTuple):
    """A span as a window counts it: under which key, when in Unix milliseconds, and with what value."""

    key: bytes
    at_ms: int
    value: Measured


class Counted(NamedTuple):
    """A span that a window holds."""

    feed: int
    seq: int
    value: Measured


Measure = Callable[[Record], Entry | None]

_TABLES: Final = """
CREATE TEMP TABLE IF NOT EXISTS window_spans (
  tenant INTEGER, window BLOB, key BLOB, at INTEGER, feed INTEGER, seq INTEGER, value ANY,
  PRIMARY KEY (tenant, window, key, at, feed, seq)
) STRICT, WITHOUT ROWID;
CREATE TEMP TABLE IF NOT EXISTS window_ends (
  tenant INTEGER, window BLOB, position INTEGER, PRIMARY KEY (tenant, window)
) STRICT, WITHOUT ROWID;
"""
_END: Final = "SELECT position FROM window_ends WHERE tenant = ? AND window = ?"
_WITHIN: Final = (
    "SELECT feed, seq, value FROM window_spans WHERE tenant = ? AND window = ? AND key = ? AND at > ? AND at <= ?"
)


def load_kinds(conn: sqlite3.Connection, tenant: TenantRef) -> dict[str, int]:
    """The numbers of a tenant's kinds, by name."""
    return dict(conn.execute("SELECT name, kind FROM kinds WHERE tenant = ?", (tenant.number,)).fetchall())


def fill_window(
    conn: sqlite3.Connection, tenant: TenantRef, window: bytes, kinds: Sequence[int], measure: Measure
) -> None:
    """Take in all shared spans of these kinds that were stored since this was last called.

    What `measure` has nothing to say of is not counted. Raises NodeFault("database.damaged").
    """
    number, newest = tenant.number, newest_position(conn, tenant.number)
    try:
        found = conn.execute(_END, (number, window)).fetchone()
    except sqlite3.OperationalError:
        conn.executescript(_TABLES)
        found = None
    position = found[0] if found else 0
    while position < newest:
        stop = _stop(conn, tenant, position, newest, kinds)
        _fill_part(conn, tenant, window, (position, stop), kinds, measure)
        position = stop


def _stop(conn: sqlite3.Connection, tenant: TenantRef, position: int, newest: int, kinds: Sequence[int]) -> int:
    """Where the next part ends: behind so many spans of these kinds, or at the newest span."""
    if newest - position <= WINDOW_FILL_SPANS or not kinds:
        return newest
    marks = ", ".join("?" * len(kinds))
    sql = f"SELECT row FROM spans WHERE row > ? AND row < ? AND kind IN ({marks}) ORDER BY row LIMIT 1 OFFSET ?"
    first, last = row_of(tenant.number, position), row_of(tenant.number + 1, 0)
    found = conn.execute(sql, (first, last, *kinds, WINDOW_FILL_SPANS - 1)).fetchone()
    return found[0] & POSITION_MASK if found else newest


def _fill_part(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    window: bytes,
    positions: tuple[int, int],
    kinds: Sequence[int],
    measure: Measure,
) -> None:
    marks = ", ".join("?" * len(kinds))
    # By row, since those that are new lie together.
    sql = (
        f"SELECT {RECORD_COLUMNS} FROM spans s NOT INDEXED JOIN bodies b ON b.row = s.row"
        f" WHERE s.row > ? AND s.row <= ? AND s.kind IN ({marks}) AND s.visibility > 0"
    )
    start, stop = (row_of(tenant.number, position) for position in positions)
    rows = [
        (tenant.number, window, entry.key, entry.at_ms, record.feed, record.seq, entry.value)
        for record in map(Record._make, conn.execute(sql, (start, stop, *kinds)) if kinds else ())
        if (entry := measure(record))
    ]
    conn.execute("BEGIN")
    try:
        conn.executemany("INSERT OR REPLACE INTO window_spans VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        conn.execute("INSERT OR REPLACE INTO window_ends VALUES (?, ?, ?)", (tenant.number, window, positions[1]))
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def spans_within(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    window: bytes,
    key: bytes,
    after_ms: int,
    until_ms: int,
    named: Mapping[int, int],
) -> list[Counted]:
    """What a filled window holds under a key, later than `after_ms` up to `until_ms`, of what is named.

    At most one more than WINDOW_SPANS_MAX. What is not named does not count for that: others may know of less.
    """
    values = (tenant.number, window, key, after_ms, until_ms)
    with closing(conn.execute(_WITHIN, values)) as rows:
        found = (one for one in map(Counted._make, rows) if one.seq < named.get(one.feed, 0))
        return list(islice(found, WINDOW_SPANS_MAX + 1))
