"""A node's engine without its API, for tests: a store, a writer and a clock that tests own."""

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio
from prometheus_client import CollectorRegistry

from lognode.core.draft import Draft
from lognode.core.world import World
from lognode.engine.service.agreement.doubts import ORDINARY, Beginning
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.identity.keys import NodeKeys
from lognode.timeline.proof.checkpoint import parse_checkpoint, verify_checkpoint, vkey
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.record import RECORD_COLUMNS, Record, TenantRef, leaf_of
from lognode.timeline.store.database import Store, open_store

SEED = bytes(range(32))


@dataclass
class Wall:
    """A wall clock that tests can set."""

    ms: int = time.time_ns() // 1_000_000

    def world(self) -> World:
        return World(lambda: self.ms, time.monotonic, os.urandom)


@dataclass
class Engine:
    """The running parts."""

    store: Store
    writer: Writer
    heads: Heads
    meters: Meters
    tenant: TenantRef
    keys: NodeKeys
    standings: Standings


@asynccontextmanager
async def run_engine(
    folder: Path,
    wall: Wall | None = None,
    tenants: tuple[str, ...] = ("default",),
    seed: bytes = SEED,
    beginning: Beginning = ORDINARY,
) -> AsyncIterator[Engine]:
    """An engine on `folder` with these tenants; stopped, as by a node, at the end."""
    keys = NodeKeys.from_seed(seed)
    async with open_store(folder / "lognode.db") as store:
        heads, meters, standings = Heads(), Meters(CollectorRegistry()), Standings()
        writer = Writer(store, keys, (wall or Wall()).world(), heads, meters, standings, beginning)
        for alias in tenants:
            if alias not in store.tenants:
                await writer.create_tenant(alias)
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            yield Engine(store, writer, heads, meters, store.tenants["default"], keys, standings)
            nursery.cancel_scope.cancel()


def all_records(conn: sqlite3.Connection) -> list[Record]:
    sql = f"SELECT {RECORD_COLUMNS} FROM spans s LEFT JOIN bodies b ON b.row = s.row ORDER BY s.row"
    return [Record(*row) for row in conn.execute(sql)]


def all_notes(conn: sqlite3.Connection) -> list[tuple[int, bytes]]:
    return conn.execute("SELECT feed, note FROM checkpoints ORDER BY feed, size").fetchall()


async def assert_sound(engine: Engine) -> list[Record]:
    """Every feed is contiguous, rises in time, and its signed root is that of its rows."""
    records = await engine.store.read(all_records)
    assert [record.position for record in records] == list(range(1, len(records) + 1))
    notes = await engine.store.read(all_notes)
    ends = {number: parse_checkpoint(note).size for number, note in notes}
    for number, note in notes:
        feed = engine.store.feeds[number]
        held = sorted((record for record in records if record.feed == number), key=lambda record: record.seq)
        assert [record.seq for record in held] == list(range(len(held)))
        assert all(one.hlc < other.hlc for one, other in pairwise(held))
        head = verify_checkpoint(note, vkey(parse_checkpoint(note).origin, feed.log_key))
        leaves = [leaf_of(record, feed.feed_id) for record in held[: head.size]]
        assert (head.size, head.root) == (len(leaves), root_of(grow(EMPTY, leaves).border))
        assert ends[number] == len(held)
    return records


def drafts(count: int, start: int = 0) -> list[Draft]:
    return [Draft(kind="note", title=str(number)) for number in range(start, start + count)]


class CutConnection:
    """A database connection whose COMMIT works or not, and reports an error either way."""

    def __init__(self, conn: sqlite3.Connection, *, commits: bool) -> None:
        self._conn = conn
        self._commits = commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)

    def execute(self, sql: str, *args: Any) -> Any:
        if sql == "COMMIT" and self._conn.in_transaction:
            self._conn.execute("COMMIT" if self._commits else "ROLLBACK")
            raise sqlite3.OperationalError("disk I/O error")
        return self._conn.execute(sql, *args)
