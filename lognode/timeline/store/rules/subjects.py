"""The newest span about a subject that a node had named.

Synchronous, for a database thread.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from lognode.core.clock import HLC_MAX
from lognode.core.limits import LAST_TRIED_MAX
from lognode.timeline.record import RECORD_COLUMNS, SUBJECT, FeedRef, Record, TenantRef, feed_of, id_of

_ABOUT: Final = (
    f"SELECT {RECORD_COLUMNS} FROM labels l JOIN spans s ON s.row = l.row LEFT JOIN bodies b ON b.row = s.row"
    " WHERE l.tenant = ? AND l.field = ? AND l.value = ? AND l.hlc < ? AND s.visibility > 0 AND s.status = 0"
    " AND s.kind IN ({}) ORDER BY l.hlc DESC LIMIT ?"
)


def newest_about(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    subject: str,
    kinds: Sequence[int],
    named: Mapping[int, int],
    before: int = HLC_MAX,
) -> tuple[Record | None, bool]:
    """The shared span with the greatest id about a subject, of these kinds and of what is named; no trial.

    It is earlier than `before`, the time of the span that asks: else whatever came since would stand in the way.

    Besides, whether that is sure: where there is none it is not, if there are LAST_TRIED_MAX that are not named. Raises
    NodeFault("database.damaged").
    """
    sql = _ABOUT.format(", ".join("?" * len(kinds)))
    found: Record | None = None
    tried = 0
    for row in conn.execute(sql, (tenant.number, SUBJECT, subject, before, *kinds, LAST_TRIED_MAX)):
        record, tried = Record(*row), tried + 1
        if found is not None and record.hlc < found.hlc:
            break
        if record.seq < named.get(record.feed, 0) and (found is None or _id(record, feeds) > _id(found, feeds)):
            found = record
    return found, found is not None or tried < LAST_TRIED_MAX


def _id(record: Record, feeds: Mapping[int, FeedRef]) -> bytes:
    return id_of(record, feed_of(record, feeds).feed_id)
