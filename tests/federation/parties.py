"""Nodes with real stores and writers in one process, whose messages are handed over by hand."""

import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio
from prometheus_client import CollectorRegistry

from lognode.core.access import Level
from lognode.core.clock import Clock
from lognode.core.errors import PeerError
from lognode.core.ids import b32encode
from lognode.core.span import Foretold, Range
from lognode.core.world import World
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.whereabouts import Whereabouts
from lognode.federation.invites.invitation import format_invitation
from lognode.federation.invites.messages import Peer
from lognode.federation.invites.service.desk import Desk
from lognode.federation.invites.service.ground import Ground
from lognode.federation.invites.service.issuing import Terms
from lognode.federation.invites.service.joining import Joined
from lognode.identity.certificate import certificate_key, tls_certificate
from lognode.identity.keys import NodeKeys
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store, open_store
from lognode.timeline.store.read.ranges import read_clock, read_foretold, read_range
from tests.timeline.members.nodes import keys_of

DAY_MS = 24 * 60 * 60 * 1000


@dataclass(eq=False)
class Party:
    """A running node."""

    name: str
    keys: NodeKeys
    store: Store
    writer: Writer
    standings: Standings
    desk: Desk
    whereabouts: Whereabouts

    @property
    def tenant(self) -> TenantRef:
        return self.store.tenants["default"]

    @property
    def membership(self) -> Membership:
        return self.standings.of(self.tenant.number)

    def level(self, name: str) -> Level:
        return self.membership.level(keys_of(name).public)

    async def invite(
        self, level: Level = Level.TRUSTED, uses: int = 1, expires_ms: int = DAY_MS, *, approve: bool = False
    ) -> str:
        """The text of a new invite."""
        terms = Terms(level, uses, self.desk.ground.world.now_ms() + expires_ms, approve)
        return format_invitation((await self.desk.invites.create(self.tenant, terms)).invitation)

    async def join(self, text: str) -> Joined:
        return await self.desk.joins.join(text)


@dataclass
class Street:
    """Where nodes live, each at an address of its own that stays its own."""

    folder: Path
    nursery: trio.Nursery
    parties: dict[str, Party] = field(default_factory=dict)  # those that run, by address
    doors: dict[str, int] = field(default_factory=dict)
    parted: set[frozenset[str]] = field(default_factory=set)
    cut_off: set[frozenset[str]] = field(default_factory=set)  # of spans alone
    now_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    @asynccontextmanager
    async def open(self, name: str) -> AsyncIterator[Party]:
        """A node of this name, made where there is none."""
        keys, port = keys_of(name), self.doors.setdefault(name, 7000 + len(self.doors))
        folder, address = self.folder / name, f"127.0.0.1:{port}"
        folder.mkdir(exist_ok=True)
        world = World(lambda: self.now_ms, time.monotonic, os.urandom)
        async with open_store(folder / "lognode.db") as store, trio.open_nursery() as nursery:
            standings = Standings()
            writer = Writer(store, keys, world, Heads(), Meters(CollectorRegistry()), standings)
            if "default" not in store.tenants:
                await writer.create_tenant("default")
            await nursery.start(writer.run)
            directory = Directory(store, world)
            whereabouts = Whereabouts(directory, world, keys.public)
            whereabouts.listen("join", "127.0.0.1", port)
            whereabouts.listen("peer", "127.0.0.1", port - 1)

            async def ask(at: str, tls_key: bytes, body: bytes) -> bytes:
                return await self.deliver(name, at, tls_key, body)

            def adopted(tenant: TenantRef, peers: tuple[Peer, ...]) -> None:
                nursery.start_soon(self.sync_by_key, party, peers[0].node_key, tenant)

            ground = Ground(store, writer, standings, world, keys)
            desk = Desk.of(ground, directory, whereabouts, ask=ask, adopted=adopted)
            party = self.parties[address] = Party(name, keys, store, writer, standings, desk, whereabouts)
            await desk.joins.resume()
            try:
                yield party
            finally:
                del self.parties[address]
                nursery.cancel_scope.cancel()

    async def deliver(self, source: str, address: str, tls_key: bytes, body: bytes) -> bytes:
        """What answers at an address, if it is there, can be reached and has this key."""
        await trio.lowlevel.checkpoint()
        party = self.parties.get(address)
        if party is None or frozenset({source, party.name}) in self.parted:
            raise PeerError("peer.unreachable", address)
        if certificate_key(tls_certificate(party.keys.tls_seed())) != tls_key:
            raise PeerError("peer.untrusted", address)
        return await party.desk.admissions.answer(body)

    async def sync_by_key(self, party: Party, node_key: bytes, tenant: TenantRef) -> None:
        other = next((each for each in self.parties.values() if each.keys.public == node_key), None)
        if other is not None and frozenset({party.name, other.name}) not in self.cut_off:
            await _pull(party, other, tenant)


async def sync(one: Party, other: Party, tenant: TenantRef | None = None) -> None:
    """Have two nodes hold the same of a tenant."""
    await _pull(one, other, tenant or one.tenant)
    await _pull(other, one, tenant or one.tenant)


async def _pull(target: Party, source: Party, tenant: TenantRef) -> None:
    name = b32encode(tenant.tenant_id)
    ours, theirs = target.store.tenants[name], source.store.tenants[name]
    held = await target.store.read(read_clock, ours)
    ranges, foretold = await source.store.read(_lacking, theirs, source.store, held)
    outcomes = await target.writer.ingest(ours, ranges, foretold)
    refused = {outcome.code for outcome in outcomes if not isinstance(outcome, int)}
    assert refused <= {"feed.unadmitted"}  # what a node wrote that nobody let in stays with it


def _lacking(
    conn: sqlite3.Connection, tenant: TenantRef, store: Store, held: Clock
) -> tuple[list[Range], list[Foretold]]:
    ranges: list[Range] = []
    foretold: list[Foretold] = []
    for feed in [each for each in store.feeds.values() if each.tenant == tenant.number]:
        foretold += read_foretold(conn, tenant, feed.feed_id, 0)
        start = held.size(feed.feed_id)
        while (found := read_range(conn, feed, start)) is not None:
            ranges.append(found)
            start = found.stop
    return ranges, foretold
