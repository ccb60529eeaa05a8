"""A node's engine without its API, for tests: a store, a writer and a clock that tests own."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.writer import Writer
from lognode.identity.keys import NodeKeys
from lognode.timeline.record import TenantRef
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
    tenant: TenantRef
    keys: NodeKeys


@asynccontextmanager
async def run_engine(
    folder: Path, wall: Wall | None = None, tenants: tuple[str, ...] = ("default",)
) -> AsyncIterator[Engine]:
    """An engine on `folder` with these tenants; stopped, as by a node, at the end."""
    keys = NodeKeys.from_seed(SEED)
    async with open_store(folder / "lognode.db") as store:
        heads = Heads()
        writer = Writer(store, keys, (wall or Wall()).world(), heads)
        for alias in tenants:
            if alias not in store.tenants:
                await writer.create_tenant(alias)
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            yield Engine(store, writer, heads, store.tenants["default"], keys)
            nursery.cancel_scope.cancel()
