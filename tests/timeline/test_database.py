"""The store of a node: what its connections take together, and the lock of its directory."""

import fcntl
import sqlite3
from pathlib import Path

import pytest

from lognode.core.errors import NodeFault
from lognode.core.limits import KIB, MIB
from lognode.timeline.store.database import lock_directory, open_store


def cache_bytes(conn: sqlite3.Connection) -> int:
    """Bytes of pages that a connection may hold."""
    (size,) = conn.execute("PRAGMA cache_size").fetchone()
    return -int(size) * KIB  # SQLite writes KiB below zero


async def test_the_caches_of_all_connections_leave_a_node_below_200_mb(tmp_path: Path) -> None:
    async with open_store(tmp_path / "lognode.db") as store:
        caches = [await connection.run(cache_bytes) for connection in (store._writer, *store._readers)]

    assert all(cache > 0 for cache in caches)
    assert sum(caches) <= 96 * MIB  # beside 70 MB of programs and 30 MB of work


async def test_who_waits_for_a_lock_that_its_holder_removes_gets_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lognode.lock"
    take = fcntl.flock

    def remove_and_take(handle: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", take)
        lock.unlink()  # its holder does, and lets go
        take(handle, how)

    monkeypatch.setattr(fcntl, "flock", remove_and_take)
    async with lock_directory(tmp_path):
        with pytest.raises(NodeFault) as caught:
            async with lock_directory(tmp_path):
                raise AssertionError
    assert caught.value.code == "data_dir.locked"
