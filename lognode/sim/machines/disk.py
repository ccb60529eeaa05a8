"""The disk of a simulated machine: a database in memory, on which the process may end at any commit.

The store above it is the real one; its connections run in place. Invariant: what a commit wrote before a crash is there
after it, and nothing else.
"""

import sqlite3
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, TypeVarTuple, cast

from lognode.timeline.state import WritePlan
from lognode.timeline.store.database import Store
from lognode.timeline.store.opening.connection import Connection
from lognode.timeline.store.opening.migrate import apply_migrations
from lognode.timeline.store.write import apply_write

R = TypeVar("R")
T = TypeVar("T")
Args = TypeVarTuple("Args")


class Watch(Protocol):
    """Somebody who sees each commit."""

    def __call__(self, conn: sqlite3.Connection, plan: WritePlan, apply: Callable[[], R]) -> R:
        """Carry the commit out by `apply`, and give what that gives."""


class Crash(BaseException):
    """The process ends here, as by SIGKILL: nobody may catch it and go on."""


class Disk:
    """A database, and whether the process on it ends before or after its next commit."""

    def __init__(self, content: bytes | None = None) -> None:
        self.conn = sqlite3.connect(":memory:", isolation_level=None, cached_statements=512)
        self.conn.deserialize(content or _empty())
        self.crashes: Literal["before", "after"] | None = None
        self.watch: Watch | None = None

    def copy(self) -> "Disk":
        """A second disk with the same content."""
        return Disk(self.conn.serialize())

    def forget(self) -> None:
        """Lose what only the connection of the process that ended held."""
        held = self.conn.execute("SELECT name FROM sqlite_temp_master WHERE type = 'table'").fetchall()
        for (name,) in held:
            self.conn.execute(f"DROP TABLE temp.{name}")

    async def run(self, fn: Callable[[sqlite3.Connection, *Args], T], *args: *Args) -> T:
        """What `fn(connection, *args)` returns."""
        if fn is not cast("object", apply_write):
            return fn(self.conn, *args)
        moment, self.crashes = self.crashes, None
        if moment == "before":
            raise Crash
        plan: WritePlan = cast("Any", args)[0]
        done = self.watch(self.conn, plan, lambda: fn(self.conn, *args)) if self.watch else fn(self.conn, *args)
        if moment == "after":
            raise Crash
        return done


class DiskStore(Store):
    """The store on such a disk."""

    def __init__(self, disk: Disk) -> None:
        connection = cast("Connection", disk)
        super().__init__(Path(":memory:"), connection, [connection])

    async def reopen_writer(self) -> None:
        """Nothing is lost that a process wrote, while the machine runs."""


@cache
def _empty() -> bytes:
    """A database with the schema alone, made once."""
    conn = sqlite3.connect(":memory:", isolation_level=None)
    apply_migrations(conn)
    return conn.serialize()
