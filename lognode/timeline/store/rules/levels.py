"""What a node might do as of what it had named: the level that its rules read.

Synchronous, for a database thread. Invariant: whoever holds that past finds the same, given the same acts
that count.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

from lognode.core.access import Level
from lognode.core.ids import SpanId
from lognode.core.span import is_control
from lognode.timeline.members import Membership
from lognode.timeline.record import STUB_COLUMNS, FeedRef, Record, TenantRef, feed_of, id_of
from lognode.timeline.store.rules.windows import load_kinds

_OF_KINDS: Final = f"SELECT {STUB_COLUMNS} FROM spans s WHERE s.kind IN ({{}})"


def level_named(
    conn: sqlite3.Connection,
    tenant: TenantRef,
    feeds: Mapping[int, FeedRef],
    members: Membership,
    node_key: bytes,
    named: Mapping[int, int],
) -> Level:
    """The level of a node by the control spans of what it had named. Raises NodeFault("database.damaged")."""
    if len(members.levels.changes.get(node_key, ())) < 2:  # most nodes are admitted, and stay what they are
        return members.level(node_key)
    return members.level_at(node_key, _controls(conn, tenant, feeds, named))


def _controls(
    conn: sqlite3.Connection, tenant: TenantRef, feeds: Mapping[int, FeedRef], named: Mapping[int, int]
) -> list[SpanId]:
    kinds = [number for name, number in load_kinds(conn, tenant).items() if is_control(name)]
    records = map(Record._make, conn.execute(_OF_KINDS.format(", ".join("?" * len(kinds))), kinds))
    return [
        id_of(record, feed_of(record, feeds).feed_id) for record in records if record.seq < named.get(record.feed, 0)
    ]
