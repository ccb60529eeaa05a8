"""Rows of named subscriptions, and of what is parked.

Synchronous functions for the store's threads. They decide nothing: what becomes of a span says its progress. Invariant:
how far a subscription is and what it parked change in one transaction.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final, NamedTuple

from lognode.core.clock import hlc_from_ms
from lognode.core.errors import CallerError, NodeFault
from lognode.core.limits.subscriptions import (
    SUBSCRIPTIONS_NAMED_MAX,
)
from lognode.engine.subscriptions.progress import Changes, Parked
from lognode.engine.subscriptions.subscription import Beyond, Subscription, encode_beyond
from lognode.timeline.record import POSITION_MASK, RECORD_COLUMNS, Record, TenantRef, row_of
from lognode.timeline.state import seal_of, sealed
from lognode.timeline.store.read.voids import IS_VALID

SUBSCRIPTIONS: Final = "subscriptions"
PARKED: Final = "parked"
_COLUMNS: Final = ", ".join([*Subscription._fields, "seal"])
_PUT: Final = f"INSERT INTO subscriptions VALUES ({', '.join('?' * (len(Subscription._fields) + 1))})"
_SET: Final = (
    "UPDATE subscriptions SET run = ?, checkpoint = ?, beyond = ?, seal = ?"
    " WHERE tenant = ? AND name = ? AND created_ms = ?"  # not another one of that name
)
_PARKED_COLUMNS: Final = "tenant, name, position, attempts, reason, parked_ms, again, seal"
_PARK: Final = "REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_WANTED: Final = (
    f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row"
    f" WHERE s.row IN ({{}}) AND {IS_VALID} ORDER BY s.row"
)


class ParkedRow(NamedTuple):
    """A span that is parked; `is_again` where somebody asked for it."""

    parked: Parked
    is_again: bool


def insert_subscription(conn: sqlite3.Connection, held: Subscription) -> None:
    """Store a subscription. Raises CallerError subscription.exists or subscription.too_many."""
    with _transaction(conn):
        if _find(conn, held.tenant, held.name) is not None:
            raise CallerError("subscription.exists", held.name)
        sql = "SELECT count(*) FROM subscriptions WHERE tenant = ?"
        if conn.execute(sql, (held.tenant,)).fetchone()[0] >= SUBSCRIPTIONS_NAMED_MAX:
            raise CallerError("subscription.too_many", f"there are {SUBSCRIPTIONS_NAMED_MAX}")
        conn.execute(_PUT, sealed(SUBSCRIPTIONS, held))


def load_subscription(conn: sqlite3.Connection, tenant: int, name: str) -> tuple[Subscription, int]:
    """A subscription, and how many spans it parked.

    Raises CallerError("subscription.unknown") or NodeFault("database.damaged").
    """
    found = _find(conn, tenant, name)
    if found is None:
        raise CallerError("subscription.unknown", f"{name!r:.80}")
    return found, count_parked(conn, tenant, name)


def list_subscriptions(conn: sqlite3.Connection, tenant: int) -> list[Subscription]:
    """The subscriptions of a tenant by name; there are SUBSCRIPTIONS_NAMED_MAX at most. Raises NodeFault."""
    sql = f"SELECT {_COLUMNS} FROM subscriptions WHERE tenant = ? ORDER BY name"
    return [_read(row) for row in conn.execute(sql, (tenant,))]


def called_subscriptions(conn: sqlite3.Connection) -> list[tuple[int, str]]:
    """Tenant and name of all subscriptions that call webhooks."""
    return list(conn.execute("SELECT tenant, name FROM subscriptions WHERE webhook IS NOT NULL ORDER BY tenant, name"))


def delete_subscription(conn: sqlite3.Connection, tenant: int, name: str) -> None:
    """Have a subscription be no more, nor what it parked. Raises CallerError("subscription.unknown")."""
    with _transaction(conn):
        found = conn.execute("DELETE FROM subscriptions WHERE tenant = ? AND name = ?", (tenant, name)).rowcount
        if not found:
            raise CallerError("subscription.unknown", f"{name!r:.80}")
        conn.execute("DELETE FROM parked WHERE tenant = ? AND name = ?", (tenant, name))


def save_changes(conn: sqlite3.Connection, held: Subscription, changes: Changes) -> Subscription:
    """The subscription with changes, once they are durable. Raises CallerError("subscription.unknown")."""
    later = changed(held, changes.run, changes.checkpoint, changes.beyond)
    with _transaction(conn):
        _replace(conn, later)
        _write_parked(conn, later, changes)
    return later


def save_reset(
    conn: sqlite3.Connection, held: Subscription, run: int, checkpoint: int, changes: Changes
) -> tuple[Subscription, int]:
    """The subscription at another place, without what is parked behind that; how many stay parked.

    `changes` are of before, and count as far as they are about what lies before that place.

    Raises CallerError("subscription.unknown").
    """
    later = changed(held, run, checkpoint, Beyond())
    with _transaction(conn):
        _replace(conn, later)
        _write_parked(conn, later, changes)
        sql = "DELETE FROM parked WHERE tenant = ? AND name = ? AND position > ?"
        conn.execute(sql, (later.tenant, later.name, checkpoint))
        return later, count_parked(conn, later.tenant, later.name)


def changed(held: Subscription, run: int, checkpoint: int, beyond: Beyond) -> Subscription:
    """A subscription at another place."""
    return held._replace(run=run, checkpoint=checkpoint, beyond=encode_beyond(checkpoint, beyond))


def count_parked(conn: sqlite3.Connection, tenant: int, name: str) -> int:
    """How many spans a subscription parked."""
    sql = "SELECT count(*) FROM parked WHERE tenant = ? AND name = ?"
    return int(conn.execute(sql, (tenant, name)).fetchone()[0])


def list_parked(conn: sqlite3.Connection, tenant: int, name: str, after: int, limit: int) -> list[ParkedRow]:
    """What a subscription parked, by position, behind one. Raises NodeFault("database.damaged")."""
    sql = (
        f"SELECT {_PARKED_COLUMNS} FROM parked WHERE tenant = ? AND name = ? AND position > ? ORDER BY position LIMIT ?"
    )
    return [_read_parked(row) for row in conn.execute(sql, (tenant, name, after, limit))]


def ask_again(conn: sqlite3.Connection, held: Subscription, positions: Sequence[int] | None) -> int:
    """How many parked spans are to be tried again, of those at these positions, or of all; in one transaction.

    Raises NodeFault("database.damaged").
    """
    sql = f"SELECT {_PARKED_COLUMNS} FROM parked WHERE tenant = ? AND name = ? AND again = 0"
    with _transaction(conn):
        rows = map(_read_parked, conn.execute(sql, (held.tenant, held.name)).fetchall())
        chosen = [row.parked for row in rows if positions is None or row.parked.position in positions]
        conn.executemany(_PARK, [_parked_row(held, parked, is_again=True) for parked in chosen])
    return len(chosen)


def next_again(conn: sqlite3.Connection, tenant: int, name: str, but: Sequence[int], limit: int) -> list[int]:
    """Positions of parked spans that are to be tried again, without those in `but`."""
    sql = (
        "SELECT position FROM parked INDEXED BY parked_again WHERE tenant = ? AND name = ? AND again = 1"
        " ORDER BY position LIMIT ?"
    )
    found = [position for (position,) in conn.execute(sql, (tenant, name, limit + len(but)))]
    return [position for position in found if position not in set(but)][:limit]


def read_spans(
    conn: sqlite3.Connection, tenant: TenantRef, positions: Sequence[int], bytes_max: int
) -> tuple[list[Record], set[int]]:
    """The spans at these positions that have effect, by position, and at which positions it did not look.

    It looks at no more once their bodies weigh more than `bytes_max`.
    """
    rows, weight = [row_of(tenant.number, position) for position in positions], 0
    found: list[Record] = []
    with closing(conn.execute(_WANTED.format(", ".join("?" * len(rows))), rows)) as cursor:
        for row in cursor:
            found.append(Record(*row))
            weight += len(found[-1].body or b"")
            if weight > bytes_max:
                return found, {position for position in positions if position > found[-1].position}
    return found, set()


def position_at(conn: sqlite3.Connection, tenant: TenantRef, time_ms: int) -> int:
    """The position before the first span to arrive that is of a time or later; the newest where none is.

    What arrived later and is older comes too.
    """
    sql = "SELECT min(row) FROM spans INDEXED BY spans_by_time WHERE tenant = ? AND hlc >= ?"
    row = conn.execute(sql, (tenant.number, hlc_from_ms(time_ms))).fetchone()[0]
    if row is None:
        bounds = (row_of(tenant.number, 0), row_of(tenant.number + 1, 0))
        row = conn.execute("SELECT max(row) FROM spans WHERE row > ? AND row < ?", bounds).fetchone()[0]
        return 0 if row is None else int(row & POSITION_MASK)
    return int(row & POSITION_MASK) - 1


def _find(conn: sqlite3.Connection, tenant: int, name: str) -> Subscription | None:
    sql = f"SELECT {_COLUMNS} FROM subscriptions WHERE tenant = ? AND name = ?"
    row = conn.execute(sql, (tenant, name)).fetchone()
    return _read(row) if row else None


def _read(row: tuple[Any, ...]) -> Subscription:
    if row[-1] != seal_of(SUBSCRIPTIONS, row[:-1]):
        raise NodeFault("database.damaged", f"subscriptions name {row[1]!r:.80}")
    return Subscription(*row[:-1])


def _read_parked(row: tuple[Any, ...]) -> ParkedRow:
    if row[-1] != seal_of(PARKED, row[:-1]):
        raise NodeFault("database.damaged", f"parked name {row[1]!r:.80} position {row[2]}")
    return ParkedRow(Parked(*row[2:6]), bool(row[6]))


def _replace(conn: sqlite3.Connection, held: Subscription) -> None:
    seal = seal_of(SUBSCRIPTIONS, held)
    values = (held.run, held.checkpoint, held.beyond, seal, held.tenant, held.name, held.created_ms)
    if not conn.execute(_SET, values).rowcount:
        raise CallerError("subscription.unknown", f"{held.name!r:.80}")


def _write_parked(conn: sqlite3.Connection, held: Subscription, changes: Changes) -> None:
    for parked in changes.parked:
        conn.execute(_PARK, _parked_row(held, parked, is_again=False))
    keys = [(held.tenant, held.name, position) for position in changes.done]
    conn.executemany("DELETE FROM parked WHERE tenant = ? AND name = ? AND position = ?", keys)


def _parked_row(held: Subscription, parked: Parked, *, is_again: bool) -> list[Any]:
    return sealed(PARKED, (held.tenant, held.name, *parked, int(is_again)))


@contextmanager
def _transaction(conn: sqlite3.Connection) -> Iterator[None]:
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
