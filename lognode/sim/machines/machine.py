"""One simulated machine: keys and a disk that stay, and a process of the real writer that may crash and start again.

Owns what a node does by itself and how it answers; knows no network. Invariant: what it says was acknowledged is on its
disk.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import TypeVar

import trio
from prometheus_client import CollectorRegistry

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import LognodeError, PeerError
from lognode.core.ids import FeedId, SpanId, TenantId, b32encode
from lognode.core.span import Foretold, Range
from lognode.core.world import World
from lognode.engine.receipt import Receipt
from lognode.engine.service.agreement.doubts import ORDINARY, Beginning
from lognode.engine.service.agreement.forking import weigh_range
from lognode.engine.service.agreement.restoring import Restorer
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.ruling.publishing import Publishing
from lognode.engine.service.ruling.reactions import Reactions
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.federation.sync.instances import Instances
from lognode.federation.sync.service.holdings import Snapshot
from lognode.identity.keys import SEED_BYTES, NodeKeys
from lognode.protocol.messages import VERSIONS, Follow, Hello, Push, Pushed, Refused, Request, Welcome
from lognode.protocol.serve import REFUSAL, Presence, answer
from lognode.protocol.steps import Give, Keep, Look, Reply, Report, Take, Weigh, Weighed, give
from lognode.protocol.wire import decode_request, encode_answer
from lognode.sim.machines.disk import Crash, Disk, DiskStore, Watch
from lognode.sim.machines.tampered import Tampering
from lognode.timeline.agreement.continuity import Mark, judge, seal_mark
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.agreement.continuity import read_mark

T = TypeVar("T")
ALIAS = "shared"
CLONED = "identity.cloned"


class Down(Exception):
    """The process ended while it was asked for something, or was not there."""


class Machine:
    """A node with a number for a name."""

    def __init__(self, name: int, random: Random, now_ms: Callable[[], int]) -> None:
        self.name = name
        self.keys = NodeKeys.from_seed(random.randbytes(SEED_BYTES))
        self.disk = Disk()
        self.mark = Mark("boot 0", f"machine {name}", 1, 1, 1)
        self.skew_ms = 0
        self.watch: Watch | None = None
        self.tampering: Tampering | None = None
        self.introduced: frozenset[bytes] = frozenset()  # whom it trusts until it knows the members
        self.tenant_id: TenantId | None = None
        self._now_ms = now_ms
        self._world = World(lambda: now_ms() + self.skew_ms, lambda: now_ms() / 1000, random.randbytes)
        self._random = random
        self._process: _Process | None = None
        self._scope: trio.CancelScope | None = None

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None

    @property
    def process(self) -> "_Process":
        """What runs on it. Raises Down."""
        if self._process is None:
            raise Down
        return self._process

    async def start(self, nursery: trio.Nursery) -> None:
        """Run a process on the disk as it is."""
        self.disk.forget()
        beginning = Beginning(judge(read_mark(self.disk.conn), self.mark), seal_mark(self.mark), 0)
        process = _Process(self.disk, self.keys, self._world, self._random, beginning)
        if self.tampering is not None:
            process.writer.gate = self.tampering.gate(process.writer.gate)
        await process.store.refresh()
        await nursery.start(self._run, process)
        for tenant in set(process.store.tenants.values()):
            process.writer.news.expect(tenant.number)
        self._process = process

    async def _run(self, process: "_Process", *, task_status: trio.TaskStatus[None]) -> None:
        with process.scope:
            try:
                await process.writer.run(task_status=task_status)
            except Crash:
                self.end()

    @property
    def now_ms(self) -> int:
        """What its clock says."""
        return self._world.now_ms()

    def put_back(self, disk: Disk, mark: Mark) -> None:
        """Have an older disk under the process that starts next, and other signs of where it runs."""
        self.end()
        self.disk, self.mark = disk, mark
        disk.watch = self.watch

    def cloned(self, name: int, random: Random) -> "Machine":
        """A machine with the same keys and a copy of the disk, of which nothing shows that it is another one."""
        twin = Machine(name, random, self._now_ms)
        twin.keys, twin.disk, twin.mark = self.keys, self.disk.copy(), self.mark
        twin.skew_ms, twin.introduced, twin.tenant_id = self.skew_ms, self.introduced, self.tenant_id
        return twin

    def end(self) -> None:
        """End the process at once."""
        process, self._process = self._process, None
        if process is not None:
            process.scope.cancel()
        if self._scope is not None:
            self._scope.cancel()

    async def _do(self, work: Callable[[], Awaitable[T]]) -> T:
        """What the process comes to. Raises Down where it ends meanwhile."""
        scope = self._scope = trio.CancelScope()
        with scope:
            try:
                return await work()
            except LognodeError as error:
                if error.code != "node.stopping":
                    raise
            finally:
                self._scope = None
        raise Down

    async def found(self) -> TenantId:
        """The tenant that this machine founded, before its first start."""
        process = _Process(self.disk, self.keys, self._world, self._random, ORDINARY)
        self.tenant_id = (await process.writer.create_tenant(ALIAS)).tenant_id
        return self.tenant_id

    @property
    def tenant(self) -> TenantRef | None:
        """The shared tenant, once it is known here."""
        return self.process.store.tenants.get(b32encode(self.tenant_id)) if self.tenant_id else None

    @property
    def membership(self) -> Membership:
        """Who is what, as far as it knows."""
        tenant = self.tenant
        return self.process.standings.of(-1 if tenant is None else tenant.number)

    def accepts(self, node_key: bytes) -> bool:
        """Whether it talks to a node."""
        members = self.membership
        if not members.members:
            return node_key in self.introduced
        return members.level(node_key) >= Level.OBSERVER

    async def adopt(self, tenant_id: TenantId, introduced: Iterable[bytes]) -> None:
        """Begin to be a member that was told of others."""
        self.tenant_id, self.introduced = tenant_id, frozenset(introduced)
        await self._do(lambda: self.process.writer.adopt_tenant(tenant_id, ALIAS))

    async def append(self, drafts: list[Draft]) -> list[Receipt]:
        """Receipts of drafts. Raises Down, LognodeError."""
        tenant = self.tenant
        if tenant is None:
            raise Down
        return await self._do(lambda: self.process.writer.append(tenant, drafts))

    async def act(self, kind: str, build: Callable[[Membership, list[SpanId]], bytes]) -> Receipt:
        """The receipt of a control span. Raises Down, LognodeError."""
        tenant = self.tenant
        if tenant is None:
            raise Down
        return await self._do(lambda: self.process.writer.append_control(tenant, kind, build))

    async def serve(self, node_key: bytes, body: bytes) -> bytes:
        """The answer to a request of a node. Raises Down."""
        try:
            request = decode_request(body)
            tenant = self.tenant
            if tenant is None or tenant.tenant_id != request.tenant or not self.accepts(node_key):
                return encode_answer(REFUSAL, 0)
            return await self._do(lambda: self._answer(node_key, tenant, request))
        except PeerError as error:
            return encode_answer(Refused(error.code), 0)

    async def _answer(self, node_key: bytes, tenant: TenantRef, request: Request) -> bytes:
        process = self.process
        version = VERSIONS[0] if isinstance(request, Hello) else request.version
        if isinstance(request, Push):
            outcomes = await self._ingest(tenant, request.ranges, request.foretold)
            told = [outcome if isinstance(outcome, int) else outcome.code for outcome in outcomes]
            return encode_answer(Pushed(tuple(told)), version)
        assert not isinstance(request, Follow)
        if isinstance(request, Hello):
            process.hear(node_key, request.instance)
            if process.instances.is_to_be_told(node_key, request.instance, self._world.monotonic_s()):
                return encode_answer(Refused(CLONED), 0)
        said = answer(request, self.holdings, process.presence)
        if isinstance(said, Welcome) and said.root is None:
            await process.writer.vouch(tenant, node_key)
        return encode_answer(said, version)

    async def heed(self, node_key: bytes, report: Report) -> None:
        """Take note of what a run with a node showed of this one. Raises Down."""
        tenant, process = self.tenant, self.process
        assert tenant is not None
        if report.code == CLONED:
            await self._do(lambda: process.writer.note_clone(tenant, "another member hears two processes"))
        if report.state == "refused" or report.instance is None:
            return
        process.hear(node_key, report.instance)
        own = {feed.feed_id for feed in process.store.feeds.values() if feed.own}
        if report.state != "unfinished" and not own & {*report.refusals, *(want.feed for want in report.wants)}:
            await self._do(lambda: process.writer.vouch(tenant, node_key))

    async def merge(self) -> bool:
        """Whether it writes a merge by itself now, because one is due. Raises Down, LognodeError."""
        tenant = self.tenant if self.is_up else None
        due = self.process.writer.news.due() if tenant is not None else None
        if tenant is None or due is None or due[0] > trio.current_time():
            return False
        return await self._do(lambda: self.process.writer.merge(tenant))

    async def tell(self) -> None:
        """Tell all of forks that not all can know yet, as its task does after a start. Raises Down, LognodeError."""
        tenant = self.tenant if self.is_up else None
        if tenant is not None and self.disk.conn.execute("SELECT 1 FROM evidence LIMIT 1").fetchone():
            await self._do(lambda: self.process.writer.forks.tell(tenant))

    async def restore(self) -> int:
        """How many own spans without effect it records again now. Raises Down, LognodeError."""
        tenant = self.tenant
        return await self._do(lambda: self.process.restorer.restore(tenant)) if tenant is not None else 0

    async def publish(self, text: bytes) -> None:
        """Have a rule set, as JSON, in force. Raises Down, LognodeError."""
        tenant = self.tenant
        if tenant is None:
            raise Down
        await self._do(lambda: self.process.publishing.publish(tenant, text, "json"))

    async def disable(self, name: str) -> None:
        """Have a rule set in force no more. Raises Down, LognodeError."""
        tenant = self.tenant
        if tenant is None:
            raise Down
        await self._do(lambda: self.process.publishing.disable(tenant, name))

    async def react(self) -> bool:
        """Whether it wrote something now because of what it holds, and rules want it. Raises Down, LognodeError."""
        tenant = self.tenant if self.is_up else None
        if tenant is None:
            return False
        process, before = self.process, self.process.heads.position(tenant.number)
        process.reactions.is_waiting = False
        while await self._do(lambda: process.reactions.react(tenant)):
            pass
        return process.heads.position(tenant.number) != before

    @property
    def is_waiting(self) -> bool:
        """Whether it would have reacted, but for what it does not hold yet."""
        return self.is_up and self.process.reactions.is_waiting

    async def _ingest(
        self, tenant: TenantRef, ranges: Sequence[Range], foretold: Sequence[Foretold]
    ) -> Sequence[int | PeerError]:
        """What came of these ranges; forks that are told in spans alone that do not count are told again."""
        outcomes = await self.process.writer.ingest(tenant, ranges, foretold)
        if self.membership.untold:
            await self.process.writer.forks.tell(tenant)
        return outcomes[: len(ranges)]

    @property
    def holdings(self) -> Snapshot:
        """What it holds of the tenant."""
        assert self.tenant is not None
        return Snapshot(self.disk.conn, self.tenant)

    async def carry_out(self, step: Look | Give | Take | Weigh | Keep) -> Reply:
        """What a step of a run comes to here. Raises Down."""
        tenant, process = self.tenant, self.process
        assert tenant is not None
        match step:
            case Look():
                return self.holdings.view()
            case Give():
                return give(step, self.holdings)
            case Weigh(found):
                weighed = weigh_range(self.disk.conn, tenant, found)
                return Weighed(weighed.verdict, weighed.seq)
            case Keep(parts):
                proof = await self._do(lambda: process.writer.forks.keep(tenant, parts[0].feed, parts))
                return Weighed("forked", proof.seq) if proof else Weighed("unproven", 0)
            case Take(ranges, foretold, _):
                return await self._do(lambda: self._ingest(tenant, ranges, foretold))


class _Process:
    """What is gone when the machine crashes."""

    def __init__(self, disk: Disk, keys: NodeKeys, world: World, random: Random, beginning: Beginning) -> None:
        self.scope = trio.CancelScope()
        self.store = DiskStore(disk)
        self.standings = Standings()
        meters = Meters(CollectorRegistry())
        self.heads = Heads()
        self.writer = Writer(self.store, keys, world, self.heads, meters, self.standings, beginning)
        self.publishing = Publishing(self.store, self.writer, world, keys.public)
        self.reactions = Reactions(self.store, self.writer, self.heads, self.standings, world, keys.public)
        self.restorer = Restorer(self.store, self.writer, self.standings, keys.public)
        self.presence = Presence(random.randbytes(16), ())
        self.instances = Instances()
        self.heard = defaultdict[int, set[FeedId]](set)  # by peer: own forked feeds of which it gave what it holds
        self._world = world

    def hear(self, node_key: bytes, instance: bytes) -> None:
        """A process of a node said its name."""
        self.instances.hear(node_key, instance, self._world.monotonic_s())
