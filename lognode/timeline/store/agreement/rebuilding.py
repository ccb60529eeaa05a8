"""The rows of subjects, as all spans make them.

Synchronous functions on the writing connection.
"""

import sqlite3
from typing import Final

from lognode.core.span import EXECUTED, PRIVATE, RESERVED_PREFIXES
from lognode.timeline.agreement.subjects import RESOLVE, REVERT
from lognode.timeline.record import SUBJECT

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


def rebuild_subjects(conn: sqlite3.Connection) -> None:
    """Make both tables again from spans and labels, within the caller's transaction."""
    for table, sql in SOURCES.items():
        conn.execute(f"DELETE FROM {table}")
        conn.execute(f"INSERT INTO {table} {sql}")
