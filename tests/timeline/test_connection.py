"""What trio needs of aiosqlite: its private interface, as version 0.22 has it."""

import sqlite3
import threading

import aiosqlite
import pytest
import trio
import trio.testing

from lognode.timeline.store.opening.connection import Connection, open_connection


async def memory() -> Connection:
    return await open_connection(lambda: sqlite3.connect(":memory:", isolation_level=None))


async def test_aiosqlite_has_what_we_replace() -> None:
    assert aiosqlite.__version__.startswith("0.22.")
    connection = await memory()
    assert {"_tx", "_running", "_connection", "_thread", "_connector"} <= set(vars(connection))
    await connection.close()


async def test_the_ordinary_interface_of_aiosqlite_works_under_trio() -> None:
    connection = await memory()
    await connection.execute("CREATE TABLE t (a)")
    await connection.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
    async with connection.execute("SELECT a FROM t ORDER BY a") as cursor:
        assert [row async for row in cursor] == [(1,), (2,)]
    assert list(await connection.execute_fetchall("SELECT sum(a) FROM t")) == [(3,)]
    await connection.close()


async def test_calls_run_in_one_thread_one_after_the_other() -> None:
    connection = await memory()
    seen: list[tuple[int, int]] = []

    async def call(number: int) -> None:
        await connection.run(lambda _: seen.append((number, threading.get_ident())))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(call, number)
    assert len({thread for _, thread in seen}) == 1
    assert sorted(number for number, _ in seen) == list(range(50))
    await connection.close()


async def test_an_error_is_raised_where_the_call_was_made() -> None:
    connection = await memory()
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await connection.execute("SELECT * FROM absent")
    assert await connection.run(lambda conn: conn.execute("SELECT 1").fetchone()) == (1,)
    await connection.close()


async def test_a_connector_that_fails_leaves_no_thread() -> None:
    before = threading.active_count()

    def refuse() -> sqlite3.Connection:
        raise sqlite3.OperationalError("no")

    with pytest.raises(sqlite3.OperationalError, match="no"):
        await open_connection(refuse)
    for thread in threading.enumerate():
        if thread.name.startswith("Thread-"):
            thread.join(5)
    assert threading.active_count() == before


async def test_cancelling_a_call_that_was_queued_loses_no_effect() -> None:
    connection = await memory()
    await connection.execute("CREATE TABLE t (a)")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.execute, "INSERT INTO t VALUES (1)")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert list(await connection.execute_fetchall("SELECT count(*) FROM t")) == [(1,)]
    await connection.close()


async def test_closing_runs_what_is_queued_and_may_be_done_twice() -> None:
    connection = await memory()
    ran: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, lambda _: ran.append(1))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(connection.close)
    await connection.close()
    assert ran == [1]
    with pytest.raises(ValueError, match="no active connection"):
        await connection.execute("SELECT 1")
    with pytest.raises(sqlite3.ProgrammingError, match="is closed"):
        await connection.run(lambda _: None)
