"""Drafts that wait for approval on this node, and what members said about them.

Synchronous, for a database thread.
"""

import sqlite3
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any, Final, Literal, NamedTuple

from lognode.core.errors import NodeFault
from lognode.core.ids import SpanId
from lognode.core.limits import APPROVAL_ENDINGS_MAX, APPROVALS_SHOWN_MAX
from lognode.core.span import EXECUTED
from lognode.timeline.record import RECORD_COLUMNS, Record, TenantRef, row_of
from lognode.timeline.state import seal_of, sealed
from lognode.timeline.store.read.voids import IS_VALID

HELD: Final = "held"
State = Literal["waiting", "written", "denied", "expired", "rejected"]
_COLUMNS: Final = "tenant, span, draft, rule_set, rule, role, needed, created_ms, expires_ms, state, ended_ms, seal"
_WAITING: Final = f"SELECT {_COLUMNS} FROM held WHERE tenant = ? AND state = 'waiting' ORDER BY expires_ms, span"
_COUNT: Final = "SELECT count(*) FROM held WHERE tenant = ? AND state = 'waiting'"
_ABOUT: Final = f"s.tenant = ? AND s.caused_by = ? AND s.status = {EXECUTED} AND s.actor IS NULL AND {IS_VALID}"
_ANSWERS: Final = (
    f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row WHERE s.row IN (SELECT min(s.row)"
    f" FROM spans s JOIN kinds k ON k.kind = s.kind WHERE {_ABOUT} AND k.name IN ({{}}) GROUP BY s.feed, s.kind"
    f" ORDER BY 1 LIMIT {APPROVALS_SHOWN_MAX}) ORDER BY s.row"
)
_ENDINGS: Final = (
    f"SELECT {RECORD_COLUMNS} FROM spans s JOIN kinds k ON k.kind = s.kind JOIN feeds f ON f.feed = s.feed"
    f" LEFT JOIN bodies b ON b.row = s.row WHERE {_ABOUT} AND k.name = ? AND f.node_key = ? ORDER BY s.row LIMIT ?"
)
_DEADLINE: Final = "SELECT min(expires_ms) FROM held WHERE tenant = ? AND state = 'waiting'"
_SINCE: Final = (
    "SELECT EXISTS (SELECT 1 FROM spans s NOT INDEXED WHERE s.row > ? AND s.row < ?"
    " AND s.kind IN (SELECT kind FROM kinds WHERE tenant = ? AND name IN ({})))"
)
_ONE: Final = f"SELECT {_COLUMNS} FROM held WHERE tenant = ? AND span = ?"


class HeldDraft(NamedTuple):
    """A row: a draft that waits, or waited, until `needed` with the role approve it."""

    tenant: int
    span: SpanId
    draft: bytes
    rule_set: str
    rule: str
    role: str
    needed: int
    created_ms: int
    expires_ms: int
    state: State
    ended_ms: int | None

    def ended(self, state: State, now_ms: int) -> "HeldDraft":
        """It, once it waits no more."""
        return self._replace(state=state, ended_ms=now_ms, draft=b"")


def held_rows(held: Sequence[HeldDraft]) -> dict[str, list[Any]]:
    """The rows, as a commit holds them beside its spans."""
    return {HELD: list(chain.from_iterable(sealed(HELD, one) for one in held))}


def count_waiting(conn: sqlite3.Connection, tenant: TenantRef) -> int:
    """How many drafts of a tenant wait."""
    return int(conn.execute(_COUNT, (tenant.number,)).fetchone()[0])


def read_waiting(conn: sqlite3.Connection, tenant: TenantRef, damaged: set[SpanId]) -> list[HeldDraft]:
    """The drafts that wait, the first to expire first; those whose rows are damaged are added to `damaged` instead."""
    found = []
    for row in conn.execute(_WAITING, (tenant.number,)):
        try:
            held = _read(row)
        except NodeFault:
            damaged.add(row[1])
        else:
            found += [] if held.span in damaged else [held]
    return found


def next_deadline(conn: sqlite3.Connection, tenant: TenantRef, damaged: Collection[SpanId]) -> int | None:
    """When the next draft of a tenant expires that is not damaged; None where none waits."""
    sql = f"{_DEADLINE} AND span NOT IN ({', '.join('?' * len(damaged))})"
    found = conn.execute(sql, (tenant.number, *damaged)).fetchone()[0]
    return None if found is None else int(found)


def answered_since(conn: sqlite3.Connection, tenant: TenantRef, position: int, kinds: Sequence[str]) -> bool:
    """Whether spans of these kinds arrived behind a position in a tenant in which drafts wait."""
    if not count_waiting(conn, tenant):
        return False
    bounds = (row_of(tenant.number, position), row_of(tenant.number + 1, 0))
    sql = _SINCE.format(", ".join("?" * len(kinds)))
    return bool(conn.execute(sql, (*bounds, tenant.number, *kinds)).fetchone()[0])


def find_held(conn: sqlite3.Connection, tenant: TenantRef, span: SpanId) -> HeldDraft | None:
    """A draft that waits or waited here. Raises NodeFault("database.damaged")."""
    row = conn.execute(_ONE, (tenant.number, span)).fetchone()
    return None if row is None else _read(row)


def answers_to(conn: sqlite3.Connection, tenant: TenantRef, firing: SpanId, kinds: Sequence[str]) -> list[Record]:
    """The first span of each kind and feed that a firing causes, by arrival, as nodes write them in their own names.

    So nobody's word is lost behind the many of somebody else.
    """
    rows = conn.execute(_ANSWERS.format(", ".join("?" * len(kinds))), (tenant.number, firing, *kinds))
    return list(map(Record._make, rows))


def endings_of(conn: sqlite3.Connection, tenant: TenantRef, firing: SpanId, node_key: bytes, kind: str) -> list[Record]:
    """The first spans of a kind by one node that a firing causes, by arrival."""
    rows = conn.execute(_ENDINGS, (tenant.number, firing, kind, node_key, APPROVAL_ENDINGS_MAX))
    return list(map(Record._make, rows))


def _read(row: Sequence[Any]) -> HeldDraft:
    *values, seal = row
    if seal_of(HELD, values) != seal:
        raise NodeFault("database.damaged", "a draft that waits is not as it was kept", place=f"held {row[1]!r:.80}")
    return HeldDraft(*values)
