"""Rows of joiners that a person has to approve, of members that a joiner was told of, of a node's names for tenants.

Synchronous functions for the store's threads; they decide nothing.
"""

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from lognode.core.limits import PETITIONS_EACH_MAX, PETITIONS_MAX
from lognode.core.span import is_control
from lognode.federation.invites.messages import Peer


class Petition(NamedTuple):
    """What a joiner asked last, as it came; times are Unix ms."""

    node_key: bytes
    invite_id: bytes
    request: bytes
    first_ms: int
    newest_ms: int


def save_petition(conn: sqlite3.Connection, tenant: int, petition: Petition, live: list[bytes]) -> bool:
    """Keep a petition of a tenant in place of its joiner's former one; False where too many wait.

    Those by invites that are not among the `live` ones go.
    """
    conn.execute("BEGIN IMMEDIATE")
    try:
        marks = ", ".join("?" * len(live))
        conn.execute(f"DELETE FROM petitions WHERE tenant = ? AND invite_id NOT IN ({marks})", (tenant, *live))
        others = "SELECT count(*), count(invite_id = ? OR NULL) FROM petitions WHERE tenant = ? AND node_key != ?"
        count, same = conn.execute(others, (petition.invite_id, tenant, petition.node_key)).fetchone()
        has_room: bool = count < PETITIONS_MAX and same < PETITIONS_EACH_MAX
        if has_room:
            conn.execute(
                "INSERT INTO petitions VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, node_key) DO UPDATE SET "
                "invite_id = excluded.invite_id, request = excluded.request, newest_ms = excluded.newest_ms",
                (tenant, *petition),
            )
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    return has_room


def load_petitions(conn: sqlite3.Connection, tenant: int) -> list[Petition]:
    """The petitions of a tenant, the oldest first."""
    sql = "SELECT node_key, invite_id, request, first_ms, newest_ms FROM petitions WHERE tenant = ? ORDER BY first_ms"
    return [Petition(*row) for row in conn.execute(sql, (tenant,))]


def drop_petition(conn: sqlite3.Connection, tenant: int, node_key: bytes) -> None:
    """Forget a joiner's petition."""
    conn.execute("DELETE FROM petitions WHERE tenant = ? AND node_key = ?", (tenant, node_key))


def save_introductions(conn: sqlite3.Connection, tenant: int, peers: Sequence[Peer]) -> None:
    """Remember members of a tenant in place of those remembered before."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.execute("DELETE FROM introductions WHERE tenant = ?", (tenant,))
        rows = [(tenant, peer.node_key, peer.certificate, " ".join(peer.addresses)) for peer in peers]
        conn.executemany("INSERT INTO introductions VALUES (?, ?, ?, ?)", rows)
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def load_introductions(conn: sqlite3.Connection) -> dict[int, list[Peer]]:
    """The members that are remembered, by tenant."""
    found: dict[int, list[Peer]] = {}
    for tenant, node_key, certificate, addresses in conn.execute("SELECT * FROM introductions"):
        found.setdefault(tenant, []).append(Peer(node_key, certificate, tuple(addresses.split())))
    return found


def holds_only_control(conn: sqlite3.Connection, tenant: int) -> bool:
    """Whether nothing was ever recorded in a tenant but its own making."""
    return all(is_control(name) for (name,) in conn.execute("SELECT name FROM kinds WHERE tenant = ?", (tenant,)))


def move_alias(conn: sqlite3.Connection, alias: str, tenant: int, seal: bytes) -> None:
    """Call another tenant so, in place of the one that was; it loses the name that it had."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        conn.execute("DELETE FROM aliases WHERE tenant = ?", (tenant,))
        conn.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (alias, tenant, seal))
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
