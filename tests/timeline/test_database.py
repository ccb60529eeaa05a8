"""The store of a node: what its connections take together, the one that writes, and the lock of its directory."""

import fcntl
import sqlite3
import threading
from pathlib import Path
from typing import Final

import pytest
import trio
import trio.testing

from lognode.core.errors import NodeFault
from lognode.core.limits import KIB, MIB
from lognode.timeline.store import database
from lognode.timeline.store.database import Store, lock_directory, open_store
from lognode.timeline.store.opening.migrate import connect_writer

HANG_S_MAX: Final = 30


def cache_bytes(conn: sqlite3.Connection) -> int:
    """Bytes of pages that a connection may hold."""
    (size,) = conn.execute("PRAGMA cache_size").fetchone()
    return -int(size) * KIB  # SQLite writes KiB below zero


async def test_the_caches_of_all_connections_leave_a_node_below_200_mb(tmp_path: Path) -> None:
    async with open_store(tmp_path / "lognode.db") as store:
        caches = [await connection.run(cache_bytes) for connection in (store._writer, *store._readers)]

    assert all(cache > 0 for cache in caches)
    assert sum(caches) <= 96 * MIB  # beside 70 MB of programs and 30 MB of work


async def test_who_waits_longest_for_a_reader_gets_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "READERS", 1)
    gate, order = threading.Event(), list[str]()

    def note(_: sqlite3.Connection, name: str) -> None:
        gate.wait(HANG_S_MAX)
        order.append(name)

    async def read(store: Store, *names: str) -> None:
        for name in names:
            await store.read(note, name)

    async with open_store(tmp_path / "lognode.db") as store, trio.open_nursery() as nursery:
        nursery.start_soon(read, store, "greedy", "greedy again")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read, store, "patient")
        await trio.testing.wait_all_tasks_blocked()
        assert store.waiting_reads == 1
        gate.set()
    assert order == ["greedy", "patient", "greedy again"]


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


def one(conn: sqlite3.Connection) -> int:
    (value,) = conn.execute("SELECT 1").fetchone()
    return int(value)


async def test_a_write_is_answered_while_the_writing_connection_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), threading.Event()

    def hang(path: Path) -> sqlite3.Connection:
        begun.set()
        gate.wait(HANG_S_MAX)
        return connect_writer(path)

    async with open_store(tmp_path / "lognode.db") as store, trio.open_nursery() as nursery:
        monkeypatch.setattr(database, "connect_writer", hang)
        nursery.start_soon(store.reopen_writer)
        await trio.to_thread.run_sync(begun.wait)
        with trio.fail_after(HANG_S_MAX / 2):
            assert await store.write(one) == 1
        gate.set()


async def test_a_writing_connection_stays_until_another_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk I/O error")

    async with open_store(tmp_path / "lognode.db") as store:
        with monkeypatch.context() as patch:
            patch.setattr(database, "connect_writer", refuse)
            with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
                await store.reopen_writer()
        assert await store.write(one) == 1
        await store.reopen_writer()
        assert await store.write(one) == 1
