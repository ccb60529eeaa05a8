"""What stands in the timeline's table and is void: spans beyond a cut of their feed, and control spans without effect.

Owns the tables `cuts` and `voids` where they are read; the writer derives them from control spans. What is void is
left out of every order; its bytes, proofs and place by arrival stay.
"""

import sqlite3
from typing import Final

from lognode.timeline.record import POSITION_MASK, Record, TenantRef, row_of

# A condition on the span s.
IS_VALID: Final = (
    "NOT EXISTS (SELECT 1 FROM cuts c WHERE c.feed = s.feed AND c.size <= s.seq)"
    " AND NOT EXISTS (SELECT 1 FROM voids v WHERE v.row = s.row)"
)


def has_voids(conn: sqlite3.Connection, tenant_number: int) -> bool:
    """Whether anything of a tenant may be void; where nothing is, its reads cost no more than this."""
    sql = (
        "SELECT EXISTS (SELECT 1 FROM cuts c JOIN feeds f ON f.feed = c.feed WHERE f.tenant = ?)"
        " OR EXISTS (SELECT 1 FROM voids WHERE row BETWEEN ? AND ?)"
    )
    bounds = (row_of(tenant_number, 1), row_of(tenant_number, POSITION_MASK))
    found: tuple[int] = conn.execute(sql, (tenant_number, *bounds)).fetchone()
    return bool(found[0])


def void_reason(conn: sqlite3.Connection, tenant: TenantRef, record: Record) -> str | None:
    """Why a stored span is void; None where it is not. A cut is named before what else is wrong."""
    sql = (
        "SELECT reason FROM cuts WHERE feed = ? AND size <= ? UNION ALL SELECT reason FROM voids WHERE row = ? LIMIT 1"
    )
    values = (record.feed, record.seq, row_of(tenant.number, record.position))
    found = conn.execute(sql, values).fetchone()
    return found[0] if found else None
