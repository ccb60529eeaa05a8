"""How far reactions have looked, and what comes next.

Synchronous, for a database thread.
"""

import sqlite3
from typing import Final

from lognode.core.limits import REACTION_BYTES, REACTION_SPANS
from lognode.timeline.record import POSITION_MASK, RECORD_COLUMNS, Record, TenantRef, row_of
from lognode.timeline.state import sealed

_CURSOR: Final = "SELECT position FROM rule_cursors WHERE tenant = ?"
_FIRST: Final = "SELECT min(hlc), min(p.row) FROM publications p JOIN spans s ON s.row = p.row WHERE p.tenant = ?"
_LATER: Final = "SELECT min(row) FROM spans WHERE tenant = ? AND hlc > ?"
_NEXT: Final = (
    f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row WHERE s.row > ? AND s.row < ?"
    " ORDER BY s.row LIMIT ?"
)


def read_cursor(conn: sqlite3.Connection, tenant: TenantRef) -> int | None:
    """The position up to which all was looked at; where nothing was yet, before all that may know a publication.

    Spans that know one may have arrived before it. None where nothing was ever published.
    """
    found = conn.execute(_CURSOR, (tenant.number,)).fetchone()
    if found:
        return int(found[0])
    hlc, first = conn.execute(_FIRST, (tenant.number,)).fetchone()
    if first is None:
        return None
    later = conn.execute(_LATER, (tenant.number, hlc)).fetchone()[0]
    row: int = min(first, later or first)
    return (row & POSITION_MASK) - 1


def next_arrivals(conn: sqlite3.Connection, tenant: TenantRef, position: int) -> tuple[list[Record], bool]:
    """Some spans that arrived behind a position, in their order, and whether there may be more of them."""
    bounds = (row_of(tenant.number, position), row_of(tenant.number + 1, 0))
    found: list[Record] = []
    size = 0
    for row in conn.execute(_NEXT, (*bounds, REACTION_SPANS)):
        found.append(Record(*row))
        size += len(found[-1].body or b"")
        if size >= REACTION_BYTES:
            return found, True
    return found, len(found) == REACTION_SPANS


def cursor_row(tenant: TenantRef, position: int) -> list[object]:
    """The row that says how far it is."""
    return sealed("rule_cursors", (tenant.number, position))
