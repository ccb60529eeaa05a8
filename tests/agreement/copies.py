"""Nodes with real stores and writers, among them copies of one node, and runs of the protocol between them."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing
from prometheus_client import CollectorRegistry

from lognode.core.access import Level
from lognode.core.draft import Draft
from lognode.core.errors import PeerError
from lognode.core.ids import TenantId
from lognode.engine.service.agreement.telling import Telling
from lognode.engine.service.heads import Heads
from lognode.engine.service.meters import Meters
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.federation.sync.service.holdings import HeldSpans
from lognode.identity.keys import NodeKeys
from lognode.protocol.messages import Answer, Push, Pushed, Request
from lognode.protocol.reconcile import reconcile
from lognode.protocol.serve import Presence
from lognode.protocol.steps import Ask, Call, Give, Keep, Look, Reply, Report, Step, Take, Weigh, Weighed
from lognode.timeline.store.audit.whole import audit
from lognode.timeline.store.database import open_store
from lognode.timeline.store.read.ranges import read_clock
from tests.engine.nodes import Engine, Wall
from tests.timeline.pens import admitted

PRESENCE = Presence(b"i" * 16, ())


@asynccontextmanager
async def run_node(folder: Path, seed: bytes, tenant_id: TenantId | None = None) -> AsyncIterator[Engine]:
    """A node with the task that tells of forks; of a tenant that others founded, or of its own."""
    keys = NodeKeys.from_seed(seed)
    await trio.Path(folder).mkdir(exist_ok=True)
    async with open_store(folder / "lognode.db") as store:
        heads, meters, standings = Heads(), Meters(CollectorRegistry()), Standings()
        writer = Writer(store, keys, Wall().world(), heads, meters, standings)
        if tenant_id is None and "default" not in store.tenants:
            await writer.create_tenant("default")
        async with trio.open_nursery() as nursery:
            await nursery.start(writer.run)
            if tenant_id is not None:
                await writer.adopt_tenant(tenant_id, "default")
            nursery.start_soon(Telling(store, writer, standings).run)
            yield Engine(store, writer, heads, meters, store.tenants["default"], keys, standings)
            nursery.cancel_scope.cancel()


def copy_node(folder: Path, name: str) -> Path:
    """A copy of a node that does not run."""
    return Path(shutil.copytree(folder, folder.parent / name))


async def admit(host: Engine, seed: bytes, level: Level = Level.TRUSTED) -> None:
    joiner, tenant = NodeKeys.from_seed(seed), host.tenant.tenant_id
    await host.writer.append_control(
        host.tenant, "member.admit", lambda _, after: admitted(joiner, host.keys, tenant, after, level)
    )


async def write(node: Engine, count: int, kind: str) -> None:
    for number in range(count):
        await node.writer.append(node.tenant, [Draft(kind=kind, title=f"{kind} {number}")])


async def meet(dialer: Engine, answerer: Engine) -> Report:
    """A run; then forks that were found have been told."""
    steps = reconcile(Call(dialer.tenant.tenant_id, PRESENCE))
    try:
        step = next(steps)
        while True:
            step = steps.send(await _carry_out(step, dialer, answerer))
    except StopIteration as end:
        report: Report = end.value
        return report


async def _carry_out(step: Step, dialer: Engine, answerer: Engine) -> Reply:
    held = HeldSpans(dialer.store)
    match step:
        case Look():
            return await held.view(dialer.tenant)
        case Give():
            return await held.give(dialer.tenant, step)
        case Take(ranges, foretold, _):
            return (await dialer.writer.ingest(dialer.tenant, ranges, foretold))[: len(ranges)]
        case Weigh():
            return await held.weigh(dialer.tenant, step)
        case Keep(parts):
            proof = await dialer.writer.forks.keep(dialer.tenant, parts[0].feed, parts)
            return Weighed("forked", proof.seq) if proof else Weighed("unproven", 0)
        case Ask(request):
            return await _answer(request, answerer)


async def _answer(request: Request, node: Engine) -> Answer:
    if isinstance(request, Push):
        outcomes = await node.writer.ingest(node.tenant, request.ranges, request.foretold)
        told = [found.code if isinstance(found, PeerError) else found for found in outcomes[: len(request.ranges)]]
        return Pushed(tuple(told))
    return await HeldSpans(node.store).answer(node.tenant, request, PRESENCE)  # type: ignore[arg-type]


async def all_meet(*nodes: Engine, rounds: int = 3) -> None:
    """Every pair, a few times over."""
    for _ in range(rounds):
        for dialer in nodes:
            for answerer in nodes:
                if dialer is not answerer:
                    await meet(dialer, answerer)
                    await trio.testing.wait_all_tasks_blocked(0.02)


async def assert_agreed(*nodes: Engine) -> None:
    """All hold the same, say the same of members and forks, and nothing is damaged."""
    clocks = [await node.store.read(read_clock, node.tenant) for node in nodes]
    assert all(clock == clocks[0] for clock in clocks)
    standings = [node.standings.of(node.tenant.number).common for node in nodes]
    assert all(found == standings[0] for found in standings)
    for node in nodes:
        findings = await node.store.read(audit)
        damage = [finding for finding in findings if finding.severity == "damage"]
        assert not damage, damage
