"""The tables `merged` and `cosignatures`: written, made again from spans, and read.

Synchronous functions for a connection's thread. Invariant: whatever the order in which spans came, the rows are the
same, but for the checkpoints beside cosignatures, which are those that were at hand.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from lognode.core.errors import CallerError
from lognode.core.span import decode_body
from lognode.timeline.agreement.merges import (
    MERGE,
    CosignatureRow,
    MergedRow,
    is_merge,
    merge_rows,
    parent_rows,
)
from lognode.timeline.proof.checkpoint import encode_base64

_COLUMNS: Final = 8  # of a cosignature, its note the last
_SAVE: Final = """INSERT INTO cosignatures VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,
    coalesce(?8, (SELECT note FROM checkpoints JOIN feeds USING (feed)
              WHERE tenant = ?1 AND feed_id = ?2 AND size = ?4 AND instr(note, ?9)),
             (SELECT note FROM cosignatures WHERE tenant = ?1 AND feed_id = ?2 AND size = ?4 AND root = ?5)))
    ON CONFLICT (tenant, feed_id, witness) DO UPDATE
    SET size = excluded.size, root = excluded.root, time_s = excluded.time_s, signature = excluded.signature,
        note = excluded.note
    WHERE (excluded.size, excluded.time_s, excluded.root, excluded.signature) > (size, time_s, root, signature)"""
_TELLING: Final = f"""SELECT s.tenant, s.feed, f.node_key, s.seq, k.name, s.actor, s.status, s.visibility, b.body
    FROM kinds k JOIN spans s ON s.kind = k.kind JOIN feeds f ON f.feed = s.feed JOIN bodies b ON b.row = s.row
    WHERE k.name = '{MERGE}' OR (k.name = 'feed.open' AND s.seq = 0)"""


def save_cosignatures(conn: sqlite3.Connection, values: Sequence[Any]) -> None:
    """Keep the newest of each feed and witness; `values` stand flat, each with its checkpoint or None."""
    _save(conn, [tuple(values[at : at + _COLUMNS]) for at in range(0, len(values), _COLUMNS)])


def _save(conn: sqlite3.Connection, rows: Iterable[Sequence[Any]]) -> None:
    # A checkpoint is text: the one of a tree has this in it.
    conn.executemany(_SAVE, [(*row, f"\n{row[3]}\n{encode_base64(row[4])}\n".encode()) for row in rows])


def rebuild_merges(conn: sqlite3.Connection) -> None:
    """Make both tables again from the spans of all tenants; checkpoints beside cosignatures are kept where they fit."""
    columns = "feed_id, size, root, note"
    conn.execute(f"CREATE TEMP TABLE kept AS SELECT DISTINCT {columns} FROM cosignatures WHERE note NOT NULL")
    conn.execute("DELETE FROM merged")
    conn.execute("DELETE FROM cosignatures")
    for merged, cosigned in _told(conn):
        conn.executemany("INSERT INTO merged VALUES (?, ?, ?, ?, ?)", merged)
        _save(conn, [(*row, None) for row in cosigned])
    conn.execute(
        "UPDATE cosignatures SET note = (SELECT note FROM kept WHERE kept.feed_id = cosignatures.feed_id "
        "AND kept.size = cosignatures.size AND kept.root = cosignatures.root) WHERE note IS NULL"
    )
    conn.execute("DROP TABLE kept")


def _told(conn: sqlite3.Connection) -> Iterator[tuple[list[MergedRow], list[CosignatureRow]]]:
    """The rows that spans say, span by span."""
    for tenant, feed, witness, seq, kind, actor, status, visibility, body in conn.execute(_TELLING):
        try:
            data = decode_body(body).data
        except CallerError:
            continue
        if is_merge(kind, actor, status, visibility):
            yield merge_rows(tenant, feed, witness, seq, data)
        elif kind != MERGE:
            yield parent_rows(feed, seq, data), []
