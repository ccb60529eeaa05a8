"""What stands in the timeline's table and is void: spans beyond a cut of their feed, and control spans without effect.

Owns the tables `cuts` and `voids` where they are read; the writer derives them from control spans. What is void is
left out of every order; its bytes, proofs and place by arrival stay. Counts it by reason, with what is void whatever
else is known and stands in the table of inert entries; and what is ahead of time.
"""

import sqlite3
from typing import Final, NamedTuple

from lognode.core.ids import FeedId
from lognode.timeline.record import POSITION_MASK, Record, TenantRef, row_of
from lognode.timeline.verify.inert import WITHHELD

# A condition on the span s.
IS_VALID: Final = (
    "NOT EXISTS (SELECT 1 FROM cuts c WHERE c.feed = s.feed AND c.size <= s.seq)"
    " AND NOT EXISTS (SELECT 1 FROM voids v WHERE v.row = s.row)"
)

# Void entries by author and reason, each counted once: a cut is named before what else is wrong.
_INERT: Final = """
    SELECT f.node_key, i.reason, count(*), f.feed_id, min(i.seq) FROM feeds f CROSS JOIN inert i ON i.feed = f.feed
    WHERE f.tenant = ? AND i.reason <> ? GROUP BY 1, 2"""
_BEYOND: Final = """
    SELECT f.node_key, c.reason, count(*), f.feed_id, min(s.seq) FROM cuts c JOIN feeds f ON f.feed = c.feed
    JOIN spans s ON s.feed = c.feed AND s.seq >= c.size WHERE f.tenant = ? GROUP BY 1, 2"""
_VOID: Final = """
    SELECT f.node_key, v.reason, count(*), f.feed_id, min(s.seq) FROM voids v JOIN spans s ON s.row = v.row
    JOIN feeds f ON f.feed = s.feed LEFT JOIN cuts c ON c.feed = s.feed
    WHERE v.row BETWEEN ? AND ? AND s.seq < coalesce(c.size, s.seq + 1) GROUP BY 1, 2"""
_AHEAD: Final = """
    SELECT f.node_key, count(*), max(s.hlc) FROM spans s JOIN feeds f ON f.feed = s.feed
    WHERE s.tenant = ? AND s.hlc > ? GROUP BY 1"""


class Voided(NamedTuple):
    """Void entries of one author for one reason: how many, and the place of one of them, the first of its feed."""

    author: bytes  # node key
    reason: str
    entries: int
    feed: FeedId
    seq: int


class Ahead(NamedTuple):
    """Spans of one author that are ahead of a time, and the newest HLC of them."""

    author: bytes
    entries: int
    newest: int


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


def read_voided(conn: sqlite3.Connection, tenant: TenantRef) -> list[Voided]:
    """What of a tenant is void, by author and reason; all counts together are those of `statistics`.

    Costs as much as there are void and withheld entries.
    """
    rows = conn.execute(_INERT, (tenant.number, WITHHELD)).fetchall()
    if has_voids(conn, tenant.number):
        bounds = (row_of(tenant.number, 1), row_of(tenant.number, POSITION_MASK))
        rows += conn.execute(_BEYOND, (tenant.number,)).fetchall()
        rows += conn.execute(_VOID, bounds).fetchall()
    found: dict[tuple[bytes, str], Voided] = {}
    for author, reason, count, feed, seq in rows:
        before = found.get((author, reason), Voided(author, reason, 0, FeedId(feed), seq))
        found[author, reason] = before._replace(entries=before.entries + count)
    return sorted(found.values())


def read_ahead(conn: sqlite3.Connection, tenant: TenantRef, hlc: int) -> list[Ahead]:
    """The spans of a tenant above an HLC, by author."""
    return [Ahead(*row) for row in conn.execute(_AHEAD, (tenant.number, hlc))]
