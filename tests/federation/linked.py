"""Whole nodes in one process, linked by real stores, writers and TLS over loopback; no API, no discovery."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from prometheus_client import CollectorRegistry

from lognode.core.access import Level
from lognode.core.clock import Clock, state_hash
from lognode.core.draft import Draft
from lognode.core.ids import SpanId
from lognode.core.limits import GROUP_SPANS_MAX, RESYNC_S_MIN
from lognode.core.span import Range
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.federation.discovery.directory import Directory
from lognode.federation.sync.service.answers import Answers
from lognode.federation.sync.service.holdings import HeldSpans
from lognode.federation.sync.service.linking.links import Links
from lognode.federation.sync.service.notices import Notices
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Direction, TieStatus
from lognode.federation.sync.service.state.ties import Ties
from lognode.federation.transport.census import take_census
from lognode.federation.transport.doors.peer_app import PeerApp
from lognode.timeline.control.members import join_statement, member_admit_data, member_remove_data, sign_join
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store, open_store
from lognode.timeline.store.read.ranges import read_clock, read_foretold, read_range
from lognode.timeline.store.read.statistics import statistics
from tests.engine.nodes import Wall
from tests.federation.peers import Peer

SETTLED_S = 60.0  # how long a hanging sync holds up the tests; no test measures time by it


@dataclass
class LinkedNode:
    """A node that runs."""

    peer: Peer
    outside: Outside
    ties: Ties
    links: Links
    tenant: TenantRef
    app: PeerApp | None = None

    @property
    def key(self) -> bytes:
        return self.peer.keys.public

    @property
    def writer(self) -> Writer:
        return self.outside.writer

    @property
    def store(self) -> Store:
        return self.outside.store

    async def append(self, *kinds: str) -> None:
        for at in range(0, len(kinds), GROUP_SPANS_MAX):
            drafts = [Draft(kind=kind) for kind in kinds[at : at + GROUP_SPANS_MAX]]
            await self.writer.append(self.tenant, drafts, wait=True)

    async def append_alone(self, kind: str) -> Sequence[Range]:
        """Append a span, and give the range that holds it, as if it went elsewhere by itself."""
        (feed,) = [feed for feed in self.store.feeds.values() if feed.own and feed.tenant == self.tenant.number]
        start = (await self.clock()).size(feed.feed_id)
        await self.append(kind)
        found = await self.store.read(read_range, feed, start)
        assert found is not None
        return [found]

    async def kinds(self) -> Counter[str]:
        """How many spans of each kind stand here."""
        stats = await self.store.read(statistics, self.tenant, self.store.feeds)
        return Counter(stats["kinds"])

    async def clock(self) -> Clock:
        return await self.store.read(read_clock, self.tenant)

    async def state(self) -> str:
        return state_hash(await self.clock()).hex()

    def status(self, other: "LinkedNode") -> TieStatus:
        (found,) = [tie for tie in self.links.status(self.tenant) if tie.node_key == other.key]
        return found

    def meet(self, other: "LinkedNode") -> None:
        """From now on this node knows where the other is."""
        self.outside.directory.note(other.key, [other.peer.address], "invite")

    async def learn_from(self, other: "LinkedNode") -> None:
        """Take in the control spans of a node, as a joiner does."""
        for feed in await other.clock():
            told = await other.store.read(read_foretold, other.tenant, feed, 0)
            await self.writer.ingest(self.tenant, (), told)

    async def admit(self, joiner: "LinkedNode", level: Level = Level.ROOT) -> None:
        """Take another node in, which comes to know the tenant and this node."""
        tenant = self.tenant.tenant_id
        statement = join_statement(joiner.peer.keys, tenant, None, self.key, level, bytes(16))
        signatures = sign_join(joiner.peer.keys, tenant, statement, None)

        def build(_membership: Membership, after: Sequence[SpanId]) -> bytes:
            return member_admit_data(after, statement, signatures)

        await self.writer.append_control(self.tenant, "member.admit", build)
        joiner.tenant = await joiner.writer.adopt_tenant(tenant, "shared")
        joiner.links.attend(joiner.tenant, [self.peer.contact])

    async def remove(self, other: "LinkedNode") -> None:
        """Remove a member, its feeds cut where this node holds them."""
        own = {feed.feed_id for feed in self.store.feeds.values() if feed.node_key == other.key}
        cuts = [(feed, size, root) for feed, (size, root) in (await self.clock()).items() if feed in own]

        def build(_membership: Membership, after: Sequence[SpanId]) -> bytes:
            return member_remove_data(after, other.key, cuts, "")

        await self.writer.append_control(self.tenant, "member.remove", build)

    def know_members(self) -> None:
        """Let in who may connect now, and nobody else."""
        tenants = {tenant.number for tenant in self.store.tenants.values()}
        census = take_census(map(self.outside.standings.of, tenants), self.key)
        self.peer.roster.update(census.peers, is_joinable=False)
        self.peer.door.recheck()
        if self.app is not None:
            self.app.recheck()


@asynccontextmanager
async def open_node(
    folder: Path, number: int, *, serves: bool = True, wall: Wall | None = None
) -> AsyncIterator[LinkedNode]:
    """A node with the keys of `number`, stopped as a node stops; without `serves` nobody can dial it."""
    peer, world = Peer(number), (wall or Wall()).world()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(folder / f"{number}.db"))
        heads, meters, standings, notices = Heads(), Meters(CollectorRegistry()), Standings(), Notices()
        writer = Writer(store, peer.keys, world, heads, meters, standings)
        if not store.tenants:
            await writer.create_tenant("default")
        directory = Directory(store, world)
        dialer = await stack.enter_async_context(peer.dialer())
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        await nursery.start(writer.run)
        outside = Outside(
            world, store, writer, heads, standings, meters, notices, directory, dialer, HeldSpans(store),
            peer.keys.public, world.random_bytes(16), lambda: (),
        )  # fmt: skip
        ties = Ties(outside)
        links = Links(ties, outside)
        shared = store.tenants.get("shared") or store.tenants["default"]
        node = LinkedNode(peer, outside, ties, links, shared)
        if serves:
            node.app = await stack.enter_async_context(peer.serving(Answers(ties, outside)))
        node.know_members()
        stack.enter_context(standings.telling(node.know_members))
        nursery.start_soon(links.run)
        yield node


async def wait_until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once this is so; fail when it never comes to be."""
    with trio.fail_after(SETTLED_S):
        while not await holds():  # noqa: ASYNC110 - what is waited for is in several nodes at once
            await trio.sleep(0.01)


async def wait_equal(*nodes: LinkedNode) -> None:
    """Return once all nodes hold the same."""

    async def is_equal() -> bool:
        return len({await node.state() for node in nodes}) == 1

    await wait_until(is_equal)


async def wait_live(node: LinkedNode, other: LinkedNode, direction: Direction | None = None) -> None:
    """Return once a session between two nodes is open, in this direction as `node` sees it."""

    async def is_live() -> bool:
        states = [tie for tie in node.links.status(node.tenant) if tie.node_key == other.key]
        return any(tie.state == "live" and direction in (None, tie.direction) for tie in states)

    await wait_until(is_live)


async def wait_calm(node: LinkedNode, other: LinkedNode) -> None:
    """Return once a session of two nodes has nothing left to compare."""
    rounds = -1

    async def is_calm() -> bool:
        nonlocal rounds
        before, rounds = rounds, node.status(other).rounds
        await trio.sleep(2 * RESYNC_S_MIN)
        return node.status(other).state == "live" and before == rounds == node.status(other).rounds

    await wait_until(is_calm)
