"""Where conflicts may be: subjects about which spans of several feeds were seen.

Owns the table `disputes`. A hint is written in the commit after which there may be a conflict; whoever has looked and
found none takes it away. Invariant: a subject that is in conflict is among them.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from lognode.timeline.record import TenantRef

_SHARED: Final = "SELECT tenant, subject FROM latest WHERE private = 0"


def hint_disputes(conn: sqlite3.Connection, subjects: Sequence[tuple[int, str]]) -> None:
    """Add those of the subjects, each with its tenant, about which several feeds have spans."""
    sql = (
        "INSERT OR IGNORE INTO disputes SELECT ?1, ?2 WHERE (SELECT count(*) FROM"
        " (SELECT 1 FROM latest WHERE tenant = ?1 AND subject = ?2 AND private = 0 LIMIT 2)) = 2"
    )
    has_several = "SELECT count(*) FROM (SELECT 1 FROM feeds WHERE tenant = ? LIMIT 2)"
    for tenant in {tenant for tenant, _ in subjects}:
        if conn.execute(has_several, (tenant,)).fetchone()[0] == 2:
            conn.executemany(sql, [found for found in subjects if found[0] == tenant])


def hint_all_disputes(conn: sqlite3.Connection, tenant: int) -> None:
    """Add all subjects of a tenant about which several feeds have spans: what counts of these has changed."""
    sql = f"INSERT OR IGNORE INTO disputes {_SHARED} AND tenant = ? GROUP BY subject HAVING count(*) > 1"
    conn.execute(sql, (tenant,))


def next_disputes(conn: sqlite3.Connection, tenant: TenantRef, after: str | None, limit: int) -> list[str]:
    """Subjects that may be in conflict, behind `after` by their UTF-8 bytes, at most `limit`."""
    sql = "SELECT subject FROM disputes WHERE tenant = ? AND subject > ? ORDER BY subject LIMIT ?"
    return [subject for (subject,) in conn.execute(sql, (tenant.number, after or "", limit))]
