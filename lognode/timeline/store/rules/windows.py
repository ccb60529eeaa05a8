"""Spans by what windows of rules count them under.

Synchronous, for the writing connection's thread. The rows lie in temporary tables of that connection, one for each
window; they follow from spans, so they are lost with it and made again when they are asked for. Must not know rules:
whoever asks says what a span is counted under.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Final, NamedTuple

from lognode.timeline.record import RECORD_COLUMNS, Record, TenantRef, row_of
from lognode.timeline.store.write import CHUNK_ROWS

Measured = int | float | bytes | None


class Entry(NamedTuple):
    """A span as a window counts it: under which key, when in Unix milliseconds, and with what value."""

    key: bytes
    at_ms: int
    value: Measured


# Key, time, feed, seq and value of a span, and whether another feed than the open one of this node has it.
Row = tuple[bytes, int, int, int, Measured, bool]


class Place(NamedTuple):
    """Where a look through the spans of some kinds by time is: behind this span of the kind in this place."""

    kind: int = 0
    hlc: int = 0
    row: int = 0


Measure = Callable[[Record], Entry | None]

_MARKS: Final = "(?, ?, ?, ?, ?, ?)"
_TABLE: Final = """
CREATE TEMP TABLE {0} (
  key BLOB, at INTEGER, feed INTEGER, seq INTEGER, value ANY, other INTEGER, PRIMARY KEY (key, at, feed, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX temp.{0}_others ON {0} (feed, seq) WHERE other;
"""


class WindowTable:
    """The rows of one window."""

    def __init__(self, conn: sqlite3.Connection, number: int) -> None:
        """An empty one; no two of a connection have the same number."""
        self._conn = conn
        self._name = f"window_{number}"
        conn.executescript(_TABLE.format(self._name))

    def drop(self) -> None:
        """Forget all of it."""
        self._conn.execute(f"DROP TABLE temp.{self._name}")

    def add(self, rows: Sequence[Row]) -> None:
        """Have these counted; in a transaction of whoever asks."""
        sql, full = f"INSERT OR REPLACE INTO temp.{self._name} VALUES ", len(rows) - len(rows) % CHUNK_ROWS
        for start in range(0, full, CHUNK_ROWS):
            values = list(chain.from_iterable(rows[start : start + CHUNK_ROWS]))
            self._conn.execute(sql + ", ".join([_MARKS] * CHUNK_ROWS), values)
        self._conn.executemany(sql + _MARKS, rows[full:])

    def later(
        self, key: bytes, after_ms: int, named: Mapping[int, int], most: int
    ) -> list[tuple[int, Measured]] | None:
        """Times and values under a key later than that, in order of time, of what is named.

        None where there are more than `most`, named or not.
        """
        sql = f"SELECT feed, seq, at, value FROM temp.{self._name} WHERE key = ? AND at > ? ORDER BY at LIMIT ?"
        rows = self._conn.execute(sql, (key, after_ms, most + 1)).fetchall()
        if len(rows) > most:
            return None
        return [(at_ms, value) for feed, seq, at_ms, value in rows if seq < named.get(feed, 0)]

    def within(self, key: bytes, after_ms: int, until_ms: int, named: Mapping[int, int], most: int) -> list[Measured]:
        """The values under a key at (after, until], of what is named: at most so many, whichever.

        What is not named does not count for that: others may know of less.
        """
        sql = f"SELECT feed, seq, value FROM temp.{self._name} WHERE key = ? AND at > ? AND at <= ?"
        with closing(self._conn.execute(sql, (key, after_ms, until_ms))) as rows:
            return list(islice((value for feed, seq, value in rows if seq < named.get(feed, 0)), most))

    def of_feed(self, feed: int, start: int, stop: int) -> list[tuple[bytes, int, Measured]]:
        """Keys, times and values of entries [start, stop) of another feed."""
        sql = f"SELECT key, at, value FROM temp.{self._name} WHERE other AND feed = ? AND seq >= ? AND seq < ?"
        return self._conn.execute(sql, (feed, start, stop)).fetchall()

    def drop_old(self, after: bytes, keys: int, until_ms: int) -> bytes:
        """Forget what is no later, of about so many rows behind a key; the key that this went up to, b"" at the end."""
        sql = f"SELECT key FROM temp.{self._name} WHERE key > ? ORDER BY key LIMIT 1 OFFSET ?"
        found = self._conn.execute(sql, (after, keys)).fetchone()
        bound, values = ("AND key <= ?", (found[0],)) if found else ("", ())
        sql = f"DELETE FROM temp.{self._name} WHERE key > ? {bound} AND at <= ?"
        self._conn.execute(sql, (after, *values, until_ms))
        return found[0] if found else b""


def load_kinds(conn: sqlite3.Connection, tenant: TenantRef) -> dict[str, int]:
    """The numbers of a tenant's kinds, by name."""
    return dict(conn.execute("SELECT name, kind FROM kinds WHERE tenant = ?", (tenant.number,)).fetchall())


def past_spans(
    conn: sqlite3.Connection, tenant: TenantRef, kinds: Sequence[int], place: Place, hlc: int, position: int, most: int
) -> tuple[list[Record], Place | None]:
    """Shared spans among the next so many from a place on, and the place behind these, None behind the last one.

    Kind by kind in order of time, from `hlc` on, of what is stored up to `position`.
    """
    found: list[Record] = []
    looked, last = 0, row_of(tenant.number, position)
    sql = (
        f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row"
        " WHERE s.kind = ? AND (s.hlc, s.row) > (?, ?) AND s.row <= ? ORDER BY s.hlc, s.row LIMIT ?"
    )
    while place.kind < len(kinds):
        values = (kinds[place.kind], place.hlc, place.row, last, most - looked)
        records = [Record._make(row) for row in conn.execute(sql, values)]
        looked += len(records)
        found += [record for record in records if record.visibility and record.body is not None]
        if looked == most:
            newest = records[-1]
            return found, Place(place.kind, newest.hlc, row_of(tenant.number, newest.position))
        place = Place(place.kind + 1, hlc)
    return found, None


def arrivals(
    conn: sqlite3.Connection, tenant: TenantRef, kinds: Sequence[int], start: int, stop: int
) -> Iterable[Record]:
    """Shared spans of these kinds at positions (start, stop]."""
    if not kinds:
        return ()
    # By row, since those that are new lie together.
    sql = (
        f"SELECT {RECORD_COLUMNS} FROM spans s NOT INDEXED JOIN bodies b ON b.row = s.row"
        f" WHERE s.row > ? AND s.row <= ? AND s.kind IN ({', '.join('?' * len(kinds))}) AND s.visibility > 0"
    )
    first, last = row_of(tenant.number, start), row_of(tenant.number, stop)
    return map(Record._make, conn.execute(sql, (first, last, *kinds)))


def find_time(conn: sqlite3.Connection, feed: int, seq: int) -> int | None:
    """The HLC of an entry of a feed, None where it is not stored."""
    found = conn.execute("SELECT hlc FROM spans WHERE feed = ? AND seq = ?", (feed, seq)).fetchone()
    return found[0] if found else None
