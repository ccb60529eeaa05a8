"""The opened database of a node: one writing connection, several reading ones, and one daemon per directory.

Owns connections and what must be known of tenants and feeds to read anything. Decides nothing about content.
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio

from lognode.core.errors import NodeFault
from lognode.core.ids import b32encode
from lognode.core.limits import LOCK_RETRY_S, READERS
from lognode.identity.store import sync_directory
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.opening.connection import Connection, open_connection
from lognode.timeline.store.opening.migrate import READER_CACHE_KIB, connect_reader, connect_writer
from lognode.timeline.store.write import load_feeds, load_tenants

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Store:
    """Runs synchronous functions on connections: `write` on the one writer, `read` on a free reader."""

    def __init__(self, path: Path, writer: Connection, readers: list[Connection]) -> None:
        self.path = path
        self.tenants: Mapping[str, TenantRef] = {}
        # One dictionary for good: a reader holds it while the writer adds to it, always before the commit that
        # makes a feed visible.
        self.feeds: dict[int, FeedRef] = {}
        self._writer = writer
        self._readers = readers
        self._free = trio.Semaphore(len(readers))  # it hands a reader on to whoever waits longest

    @property
    def waiting_reads(self) -> int:
        """Calls of `read` that wait for a connection."""
        return self._free.statistics().tasks_waiting

    async def read(self, fn: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """What `fn(connection, *args)` finds in one snapshot. Readers never wait for the writer."""
        async with self._free:
            reader = self._readers.pop()
            try:
                return await reader.run(_in_snapshot, fn, *args)
            finally:
                self._readers.append(reader)

    @asynccontextmanager
    async def own_reader(self) -> AsyncIterator[Connection]:
        """A reading connection besides those of `read`, for who must not wait for others. Raises sqlite3.Error."""
        reader = await open_connection(partial(connect_reader, self.path, cache_kib=READER_CACHE_KIB))
        try:
            yield reader
        finally:
            await reader.close()

    async def write(self, fn: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """What `fn(connection, *args)` returns on the writing connection; one call after the other."""
        return await self._writer.run(fn, *args)

    async def reopen_writer(self) -> None:
        """A fresh writing connection, to which nothing is visible but what is durable.

        SQLite shows a commit, by the index of the WAL, once its fsync has succeeded. Who opens a WAL without that
        index believes all its frames, though after a failed fsync the page cache may show some that the disk has
        not: so the old connection holds the index until the fresh one does. Then the WAL is copied into the database
        as far as readers let it be. Others may write meanwhile. Raises sqlite3.Error when the disk still refuses.
        """
        fresh = await open_connection(partial(connect_writer, self.path))
        stale, self._writer = self._writer, fresh
        await stale.close()
        await self._writer.run(_checkpoint)

    async def refresh(self) -> None:
        """Read again which tenants and feeds there are; the writer calls it after a commit that adds one."""
        tenants = await self.write(load_tenants)
        self.tenants = {
            name: tenant for tenant in tenants for name in (tenant.alias, b32encode(tenant.tenant_id)) if name
        }
        feeds = {feed.number: feed for feed in await self.write(load_feeds)}
        self.feeds.update(feeds)
        for stale in self.feeds.keys() - feeds.keys():
            del self.feeds[stale]

    async def close(self) -> None:
        """Close all connections, the writer last: it then removes the WAL."""
        with trio.CancelScope(shield=True):
            for reader in self._readers:
                await reader.close()
            await self._writer.close()


def _in_snapshot(conn: sqlite3.Connection, fn: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
    conn.execute("BEGIN")
    try:
        return fn(conn, *args)
    finally:
        conn.execute("COMMIT")


def _checkpoint(conn: sqlite3.Connection) -> None:
    # PASSIVE waits for no reader: a backup holds its snapshot for as long as it takes.
    busy = conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0]
    if busy:
        raise sqlite3.OperationalError("another process copies the WAL into the database")


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[Store]:
    """The database at `path`, made or migrated when needed; closed at the end.

    Raises NodeFault data_dir.unwritable, disk.full, database.newer or database.damaged.
    """
    try:
        writer = await open_connection(partial(connect_writer, path))
        connect = partial(connect_reader, path, cache_kib=READER_CACHE_KIB)
        readers = [await open_connection(connect) for _ in range(READERS)]
    except sqlite3.DatabaseError as error:
        raise open_fault(path, error) from error
    store = Store(path, writer, readers)
    try:
        await store.refresh()
        yield store
    except sqlite3.DatabaseError as error:  # while a node is made; once it runs, the writer answers for them
        raise open_fault(path, error) from error
    finally:
        await store.close()


def open_fault(path: Path, error: sqlite3.DatabaseError) -> NodeFault:
    """What a failure to open the database means."""
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    # SHMSIZE: the journal's index, a few pages, did not find room.
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return NodeFault("disk.full", f"{path}: {error}")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
        return NodeFault("data_dir.unwritable", f"{path}: {error}")
    return NodeFault("database.damaged", f"{path}: {error}")


def is_full(error: sqlite3.Error) -> bool:
    """Whether a statement failed since its disk is full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def file_fault(path: Path, error: OSError) -> NodeFault:
    """What a failure to write a file of the data directory means."""
    code = "disk.full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "data_dir.unwritable"
    return NodeFault(code, f"{path}: {error.strerror}")


def make_directory(folder: Path) -> list[Path]:
    """Make a directory that only its owner may use, and those above it, unless it is there; durable on return.

    Returns those that this call made, the outermost first. Raises NodeFault data_dir.unwritable or disk.full.
    """
    try:
        if folder.is_dir():
            return []
        made = make_directory(folder.parent) if folder.parent != folder else []
        try:
            folder.mkdir(mode=0o700)
            made.append(folder)
        except FileExistsError:  # another made it meanwhile, or it is no directory
            if not folder.is_dir():
                raise
        # All that will ever be acknowledged is lost with the directory's name, however well it was synced itself.
        sync_directory(folder.parent)
    except OSError as error:
        raise file_fault(folder, error) from error
    return made


@asynccontextmanager
async def lock_directory(folder: Path) -> AsyncIterator[Path]:
    """Hold the data directory for this process; yields the file of the lock, which only its holder may remove.

    The kernel drops the lock with the process, however that ends. Raises NodeFault data_dir.locked,
    data_dir.unwritable or disk.full.
    """
    path = folder / "lognode.lock"
    handle = await _take_lock(path)
    try:
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        except OSError as error:
            raise file_fault(path, error) from error
        yield path
    finally:
        os.close(handle)


async def _take_lock(path: Path) -> int:
    """A descriptor of the file at `path`, locked. Raises as `lock_directory` does."""
    holder = ""
    # A command that asks whether a daemon runs holds the lock for a moment.
    for is_last in (False, False, True):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise file_fault(path, error) from error
        if _is_locked(path, handle):
            return handle
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        if not is_last:
            await trio.sleep(LOCK_RETRY_S)
    raise NodeFault("data_dir.locked", f"{path.parent} is held by process {holder or 'unknown'}")


def _is_locked(path: Path, handle: int) -> bool:
    """Whether the lock can be had, and is one: on a file that its last holder removed it would lock out nobody."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
