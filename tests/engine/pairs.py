"""Two nodes of one tenant, which hand over by hand what they hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from lognode.core.access import Level
from lognode.core.clock import Clock
from lognode.core.errors import PeerError
from lognode.core.span import Range
from lognode.timeline.control.members import join_statement, member_admit_data, sign_join
from lognode.timeline.record import TenantRef
from lognode.timeline.store.read.ranges import read_clock, read_range
from tests.engine.nodes import Engine, Wall, run_engine

OTHER_SEED = bytes(range(1, 33))


@asynccontextmanager
async def two_nodes(folder: Path, wall: Wall | None = None) -> AsyncIterator[tuple[Engine, Engine, TenantRef]]:
    """A founder, another node, and the founder's tenant as the other one has it: empty."""
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
    async with run_engine(folder / "a", wall) as one, run_engine(folder / "b", wall, seed=OTHER_SEED) as other:
        yield one, other, await other.writer.adopt_tenant(one.tenant.tenant_id, "theirs")


async def clock_of(engine: Engine, tenant: TenantRef) -> Clock:
    return await engine.store.read(read_clock, tenant)


async def ranges_of(engine: Engine, tenant: TenantRef, theirs: Clock, spans_max: int = 3072) -> list[Range]:
    """All that an engine holds beyond a clock."""
    found = []
    for feed in [feed for feed in engine.store.feeds.values() if feed.tenant == tenant.number]:
        start = theirs.size(feed.feed_id)
        while part := await engine.store.read(partial(read_range, spans_max=spans_max), feed, start):
            found.append(part)
            start = part.stop
    return found


async def hand_over(one: Engine, other: Engine, ours: TenantRef, theirs: TenantRef) -> list[int | PeerError]:
    ranges = await ranges_of(one, ours, await clock_of(other, theirs))
    return await other.writer.ingest(theirs, ranges)


async def admit(one: Engine, other: Engine, level: Level = Level.TRUSTED) -> None:
    """The founder admits the other node."""
    tenant = one.tenant.tenant_id
    statement = join_statement(other.keys, tenant, None, one.keys.public, level, bytes(16))
    signatures = sign_join(other.keys, tenant, statement, None)
    await one.writer.append_control(
        one.tenant, "member.admit", lambda _, after: member_admit_data(after, statement, signatures)
    )
