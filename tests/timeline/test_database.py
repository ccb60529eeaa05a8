"""The store of a node: what its connections take together."""

import sqlite3
from pathlib import Path

from lognode.core.limits import KIB, MIB
from lognode.timeline.store.database import open_store


def cache_bytes(conn: sqlite3.Connection) -> int:
    """Bytes of pages that a connection may hold."""
    (size,) = conn.execute("PRAGMA cache_size").fetchone()
    return -int(size) * KIB  # SQLite writes KiB below zero


async def test_the_caches_of_all_connections_leave_a_node_below_200_mb(tmp_path: Path) -> None:
    async with open_store(tmp_path / "lognode.db") as store:
        caches = [await connection.run(cache_bytes) for connection in (store._writer, *store._readers)]

    assert all(cache > 0 for cache in caches)
    assert sum(caches) <= 96 * MIB  # beside 70 MB of programs and 30 MB of work
