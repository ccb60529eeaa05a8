"""The rows of subjects, and of what else follows from spans, as all spans make them.

Synchronous functions on the writing connection.
"""

import sqlite3
from typing import Final, NamedTuple

from lognode.core.span import EXECUTED, PRIVATE, RESERVED_PREFIXES
from lognode.timeline.agreement.subjects import RESOLVE, REVERT
from lognode.timeline.record import SUBJECT
from lognode.timeline.store.agreement.disputes import hint_all_disputes
from lognode.timeline.store.agreement.merges import rebuild_merges
from lognode.timeline.store.rules.publications import rebuild_publications

_RESERVED: Final = ", ".join(f"'{word}'" for word in sorted(RESERVED_PREFIXES))
_MAY_BE_VALUE: Final = (
    f"s.status = {EXECUTED} AND"
    f" (k.name = '{RESOLVE}' OR substr(k.name, 1, instr(k.name || '.', '.') - 1) NOT IN ({_RESERVED}))"
)
# What both tables must hold, by their columns. Beside max() SQLite gives the row that has it.
SOURCES: Final = {
    "latest": f"SELECT l.tenant, l.value, s.visibility = {PRIVATE}, s.feed, max(s.seq), l.row"
    " FROM labels l JOIN spans s ON s.row = l.row JOIN kinds k ON k.kind = s.kind"
    f" WHERE l.field = {SUBJECT} AND {_MAY_BE_VALUE} GROUP BY 1, 2, 3, 4",
    "reverts": "SELECT s.tenant, s.caused_by, s.row FROM spans s JOIN kinds k ON k.kind = s.kind"
    f" WHERE k.name = '{REVERT}' AND s.status = {EXECUTED} AND s.caused_by IS NOT NULL",
}
_COMPARED: Final = (*SOURCES, "merged", "publications")


def rebuild_subjects(conn: sqlite3.Connection) -> None:
    """Make both tables again from spans and labels, within the caller's transaction."""
    for table, sql in SOURCES.items():
        conn.execute(f"DELETE FROM {table}")
        conn.execute(f"INSERT INTO {table} {sql}")


class RebuiltTable(NamedTuple):
    """A table that was made again: how many rows it has, and how many of these were missing, or were others."""

    rows: int
    changed: int


def rebuild_state(conn: sqlite3.Connection) -> dict[str, RebuiltTable]:
    """Make again, for all tenants, what state, order and rules are read from, and say what that changed.

    In one transaction: who reads meanwhile sees it as before.
    """
    conn.execute("BEGIN IMMEDIATE")
    try:
        for table in _COMPARED:
            conn.execute(f"CREATE TEMP TABLE before_{table} AS SELECT * FROM {table}")
        rebuild_subjects(conn)
        rebuild_merges(conn)
        rebuild_publications(conn)
        for (tenant,) in conn.execute("SELECT tenant FROM tenants").fetchall():
            hint_all_disputes(conn, tenant)
        found = {table: _compare(conn, table) for table in _COMPARED}
        for table in _COMPARED:
            conn.execute(f"DROP TABLE before_{table}")
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return found


def _compare(conn: sqlite3.Connection, table: str) -> RebuiltTable:
    (rows,) = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
    changed = 0
    for one, other in ((table, f"before_{table}"), (f"before_{table}", table)):
        sql = f"SELECT count(*) FROM (SELECT * FROM {one} EXCEPT SELECT * FROM {other})"
        changed += conn.execute(sql).fetchone()[0]
    return RebuiltTable(rows, changed)
