"""aiosqlite driven natively by trio.

aiosqlite's worker thread knows nothing of event loops; only how a result wakes its caller is asyncio's. Three
methods are replaced here, and nothing else. Written for aiosqlite 0.22; tests/timeline/test_connection.py holds
what it must keep doing. Invariant: a queued call always runs; cancellation can lose its reply, never its
effect.
"""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

import aiosqlite
import trio
from aiosqlite.core import _STOP_RUNNING_SENTINEL

T = TypeVar("T")
Args = TypeVarTuple("Args")


class _Reply:
    """What the worker thread needs of an asyncio future and its loop, waking a trio task."""

    __slots__ = ("_error", "_is_set", "_task", "_token", "_value")

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._task: trio.lowlevel.Task | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._is_set = False

    def get_loop(self) -> "_Reply":
        return self

    def call_soon_threadsafe(self, setter: Callable[..., None], future: "_Reply", value: object) -> None:
        """Called in the worker thread; `setter` is aiosqlite's set_result or set_exception."""
        try:
            self._token.run_sync_soon(setter, future, value)
        except trio.RunFinishedError:
            return  # nobody is left to hear it; the work itself is done

    def done(self) -> bool:
        return self._is_set

    def set_result(self, value: object) -> None:
        self._value = value
        self._wake()

    def set_exception(self, error: BaseException) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        self._is_set = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> Any:
        if not self._is_set:
            self._task = trio.lowlevel.current_task()
            # Not cancellable: the statement runs anyway, and its caller must know how it ended.
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        if self._error is not None:
            raise self._error
        return self._value


class Connection(aiosqlite.Connection):
    """An aiosqlite connection for trio. Hand it whole batches: one call, one hop to its thread."""

    def __init__(self, connector: Callable[[], sqlite3.Connection], iter_chunk_size: int) -> None:
        super().__init__(connector, iter_chunk_size)
        # A node that fails must end: the thread of an unclosed connection may not keep the process alive.
        self._thread.daemon = True

    async def run(self, fn: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """What `fn(connection, *args)` returns, run in the connection's thread.

        `fn` must fetch all that it reads: a cursor left open would block the next commit. Raises what `fn` does, and
        sqlite3.ProgrammingError on a closed connection.
        """
        if not self._running or self._connection is None:
            raise sqlite3.ProgrammingError("the connection to the database is closed")
        return await self._execute(fn, self._conn, *args)  # type: ignore[no-any-return]

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        await trio.lowlevel.checkpoint_if_cancelled()
        reply = _Reply()
        self._tx.put_nowait((reply, partial(fn, *args, **kwargs)))  # type: ignore[arg-type]
        return await reply.wait()

    async def _connect(self) -> "Connection":
        if self._connection is None:
            reply = _Reply()
            self._tx.put_nowait((reply, self._connector))  # type: ignore[arg-type]
            try:
                self._connection = await reply.wait()
            except BaseException:
                await self._finish()
                raise
        return self

    async def close(self) -> None:
        """Close after what is queued has run. Closing twice is fine."""
        if self._running:
            with trio.CancelScope(shield=True):
                await self._finish()

    def stop(self) -> None:
        """Stop the thread without waiting for it."""
        self._running = False
        self._tx.put_nowait((None, self._close_now))

    async def _finish(self) -> None:
        self._running = False
        reply = _Reply()
        self._tx.put_nowait((reply, self._close_now))  # type: ignore[arg-type]
        await reply.wait()

    def _close_now(self) -> object:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return _STOP_RUNNING_SENTINEL


async def open_connection(connector: Callable[[], sqlite3.Connection]) -> Connection:
    """A connection whose thread has run `connector`; what that raises is raised here."""
    connection = Connection(connector, iter_chunk_size=256)
    await connection
    return connection
