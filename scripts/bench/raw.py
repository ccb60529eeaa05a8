"""The reference: the rows of a lognode database, put into plain SQLite by the shortest program that does it.

Same tables, indexes and pragmas, WAL and FULL; no hashing, no signatures, no triggers, rows ready made.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any

TABLES = ("spans", "bodies", "labels", "idems")
PRAGMAS = """
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536; PRAGMA wal_autocheckpoint = 4096;
"""

Rows = dict[str, list[Any]]


def rows_of(database: Path) -> Rows:
    """All rows of the tables that grow with spans, in order of arrival."""
    conn = sqlite3.connect(database)
    rows = {table: conn.execute(f"SELECT * FROM {table} ORDER BY row").fetchall() for table in TABLES}
    rows["ddl"] = [
        row[0]
        for row in conn.execute("SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql NOT NULL")
        if any(f" {table} " in row[0] for table in TABLES)
    ]
    conn.close()
    return rows


def open_raw(path: Path, rows: Rows) -> sqlite3.Connection:
    """An empty database with the same tables and indexes."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    conn = sqlite3.connect(path, isolation_level=None)
    conn.executescript(PRAGMAS + ";".join(rows["ddl"]))
    return conn


def raw_append(path: Path, rows: Rows, batch: int, count: int, start: int = 0) -> float:
    """Spans a second when the rows of `count` spans from `start` on are inserted, `batch` a transaction."""
    conn = open_raw(path, rows)
    by_row = {row[0]: row for row in rows["bodies"]}
    labels: dict[int, list[Any]] = {}
    idems: dict[int, list[Any]] = {}
    for found, table in ((labels, "labels"), (idems, "idems")):
        for row in rows[table]:
            found.setdefault(row[-1], []).append(row)
    groups = []
    for first in range(start, start + count, batch):
        spans = rows["spans"][first : min(first + batch, start + count)]
        groups.append(
            {
                "spans": spans,
                "bodies": [by_row[span[0]] for span in spans],
                "labels": [row for span in spans for row in labels.get(span[0], ())],
                "idems": [row for span in spans for row in idems.get(span[0], ())],
            }
        )
    widths = {table: len(rows[table][0]) for table in TABLES if rows[table]}
    inserts = {table: f"INSERT INTO {table} VALUES ({', '.join('?' * width)})" for table, width in widths.items()}
    start_s = time.perf_counter()
    for group in groups:
        conn.execute("BEGIN IMMEDIATE")
        for table, sql in inserts.items():
            if group[table]:
                conn.executemany(sql, group[table])
        conn.execute("COMMIT")
    rate = count / (time.perf_counter() - start_s)
    conn.close()
    return rate
