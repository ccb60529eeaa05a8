"""Taking in what other nodes wrote: the same outcome in any parts and any order, and nothing that is not proven."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lognode.core.clock import Clock
from lognode.core.draft import Draft
from lognode.core.errors import PeerError
from lognode.core.span import Range
from lognode.timeline.record import TenantRef
from lognode.timeline.store.audit import audit
from lognode.timeline.store.read.ranges import read_clock, read_range
from tests.engine.nodes import Engine, drafts, run_engine

OTHER_SEED = bytes(range(1, 33))


@asynccontextmanager
async def two_nodes(folder: Path) -> AsyncIterator[tuple[Engine, Engine, TenantRef]]:
    """A founder, another node, and the founder's tenant as the other one has it: empty."""
    for name in ("a", "b"):
        (folder / name).mkdir(exist_ok=True)
    async with run_engine(folder / "a") as one, run_engine(folder / "b", seed=OTHER_SEED) as other:
        yield one, other, await other.writer.adopt_tenant(one.tenant.tenant_id, "theirs")


async def clock_of(engine: Engine, tenant: TenantRef) -> Clock:
    return await engine.store.read(read_clock, tenant)


async def ranges_of(engine: Engine, tenant: TenantRef, theirs: Clock, spans_max: int = 3072) -> list[Range]:
    """All that an engine holds beyond a clock."""
    found = []
    for feed in [feed for feed in engine.store.feeds.values() if feed.tenant == tenant.number]:
        start = theirs.size(feed.feed_id)
        while part := await engine.store.read(lambda conn: read_range(conn, feed, start, spans_max=spans_max)):  # noqa: B023
            found.append(part)
            start = part.stop
    return found


async def hand_over(one: Engine, other: Engine, ours: TenantRef, theirs: TenantRef) -> list[int | PeerError]:
    ranges = await ranges_of(one, ours, await clock_of(other, theirs))
    return await other.writer.ingest(theirs, ranges)


def rows_of(conn: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """What a tenant's feeds are, whatever their numbers on a node."""
    spans = (
        "SELECT f.feed_id, s.seq, s.hlc, s.visibility, k.name, a.logline, s.status, s.caused_by, s.header, b.body "
        "FROM spans s JOIN feeds f USING (feed) JOIN kinds k USING (kind) LEFT JOIN actors a USING (actor) "
        "LEFT JOIN bodies b USING (row) WHERE s.tenant = ? ORDER BY 1, 2"
    )
    labels = (
        "SELECT f.feed_id, s.seq, l.field, l.value, l.hlc FROM labels l JOIN spans s USING (row) "
        "JOIN feeds f USING (feed) WHERE s.tenant = ? ORDER BY 1, 2, 3, 4"
    )
    tiles = (
        "SELECT f.feed_id, level, tile, hashes FROM tiles JOIN feeds f USING (feed) WHERE tenant = ? ORDER BY 1, 2, 3"
    )
    tenant = conn.execute("SELECT max(tenant) FROM tenants").fetchone()
    return {
        name: conn.execute(sql, tenant).fetchall()
        for name, sql in (("spans", spans), ("labels", labels), ("tiles", tiles))
    }


async def test_what_a_founder_wrote_is_the_same_on_another_node(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        await one.writer.append(one.tenant, drafts(700))
        await one.writer.append(one.tenant, [Draft(kind="order.paid", subject="7", tags=("a", "b")), *drafts(3)])
        assert await hand_over(one, other, one.tenant, tenant) == [706]
        assert await clock_of(other, tenant) == await clock_of(one, one.tenant)
        assert await other.store.read(rows_of) == await one.store.read(rows_of)
        assert not [finding for finding in await other.store.read(audit) if finding.severity == "damage"]
        assert other.heads.position(tenant.number) == 706
