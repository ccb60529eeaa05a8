"""When a node merges, what it names, and that a federation in which nobody writes goes quiet."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from lognode.core.access import Level
from lognode.core.errors import NodeFault
from lognode.core.ids import FeedId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, MERGE_IDLE_S
from lognode.core.span import decode_body
from lognode.engine.service.agreement.merging import Merging
from lognode.identity.keys import SEED_BYTES
from lognode.timeline.agreement.merges import MERGE, Merged, parse_merge
from lognode.timeline.proof.checkpoint import head_text, origin
from lognode.timeline.proof.cosignature import Cosignature, is_cosigned, witness_name
from lognode.timeline.record import Record, TenantRef, header_of
from lognode.timeline.store.agreement.pasts import compare_spans
from lognode.timeline.store.audit import audit
from tests.agreement import copies
from tests.agreement.copies import copy_node, meet, run_node, write
from tests.engine.nodes import CutConnection, Engine, Wall, all_records, drafts
from tests.engine.pairs import admit, clock_of, hand_over, two_nodes


def read_merges(conn: sqlite3.Connection) -> list[tuple[bytes, int, list[Merged]]]:
    """Feed, seq and what is named, of all merges by arrival."""
    sql = (
        "SELECT f.feed_id, s.seq, b.body FROM spans s JOIN kinds k USING (kind) JOIN feeds f USING (feed) "
        "JOIN bodies b USING (row) WHERE k.name = ? ORDER BY s.row"
    )
    return [(feed, seq, parse_merge(decode_body(body).data)) for feed, seq, body in conn.execute(sql, (MERGE,))]


async def merges(engine: Engine) -> list[tuple[bytes, int, list[Merged]]]:
    return await engine.store.read(read_merges)


@asynccontextmanager
async def members(folder: Path, wall: Wall | None = None) -> AsyncIterator[tuple[Engine, Engine, TenantRef]]:
    """Two writers who hold the same."""
    async with two_nodes(folder, wall) as (one, other, tenant):
        await admit(one, other)
        await hand_over(one, other, one.tenant, tenant)
        yield one, other, tenant


async def test_the_next_own_span_brings_a_merge_of_all_that_came(tmp_path: Path) -> None:
    async with members(tmp_path) as (one, other, tenant):
        clock = await clock_of(other, tenant)
        receipts = await other.writer.append(tenant, drafts(3))
        assert [receipt.seq for receipt in receipts] == [2, 3, 4]
        ((feed, seq, (item,)),) = await merges(other)
        assert (feed, seq) == (receipts[0].feed, 1)
        (founded,) = clock
        assert (item.feed, item.size, item.root) == (founded, *clock[founded])
        text = head_text(origin(one.tenant.tenant_id, item.feed), item.size, item.root)
        name = witness_name(tenant.tenant_id, other.keys.public)
        public = other.keys.witness_key(tenant.tenant_id).public
        assert is_cosigned(text, Cosignature(name, public, item.time_s, item.signature))
        # Nothing came meanwhile: no more merges.
        await other.writer.append(tenant, drafts(1))
        assert len(await merges(other)) == 1
        assert await other.store.read(audit) == []


async def test_merges_alone_are_no_reason_to_merge(tmp_path: Path) -> None:
    async with members(tmp_path) as (one, other, tenant):
        assert await other.writer.merge(tenant)  # opens a feed: that is news
        assert not await other.writer.merge(tenant)
        await hand_over(other, one, tenant, one.tenant)
        assert await one.writer.merge(one.tenant)
        for _ in range(3):
            await hand_over(one, other, one.tenant, tenant)
            assert not await other.writer.merge(tenant)
            await hand_over(other, one, tenant, one.tenant)
            assert not await one.writer.merge(one.tenant)
        assert len(await merges(one)) == 2
        # Own spans bring none either, however many merges came.
        await one.writer.append(one.tenant, drafts(1))
        assert len(await merges(one)) == 2


async def test_a_merge_names_what_stands_before_the_merges_at_the_end(tmp_path: Path) -> None:
    async with members(tmp_path) as (one, other, tenant):
        await other.writer.append(tenant, drafts(1))
        await hand_over(other, one, tenant, one.tenant)
        before = await clock_of(one, one.tenant)
        await one.writer.append(one.tenant, drafts(1))
        await hand_over(one, other, one.tenant, tenant)
        await other.writer.merge(tenant)
        await one.writer.append(one.tenant, drafts(1))
        await hand_over(other, one, tenant, one.tenant)  # no more than a merge
        await hand_over(one, other, one.tenant, tenant)
        assert not await one.writer.merge(one.tenant)
        (last,) = [named for feed, _, named in await merges(one)][-2]
        assert (last.size, last.root) == before[last.feed]


async def test_what_is_news_is_known_after_a_restart(tmp_path: Path) -> None:
    async with members(tmp_path) as (one, other, tenant):
        await hand_over(one, other, one.tenant, tenant)
    async with two_nodes(tmp_path) as (one, other, tenant):
        assert await other.writer.merge(tenant)
        await hand_over(other, one, tenant, one.tenant)
    async with two_nodes(tmp_path) as (one, other, tenant):
        assert not await other.writer.merge(tenant)
        assert await one.writer.merge(one.tenant)
        await hand_over(one, other, one.tenant, tenant)
    async with two_nodes(tmp_path) as (one, other, tenant):
        assert not await other.writer.merge(tenant)
        assert not await one.writer.merge(one.tenant)


async def test_what_only_a_copy_of_the_node_has_named_is_news_to_it(tmp_path: Path) -> None:
    """What the copy wrote is in the past of nothing that the node writes, so neither would be what it names."""
    twin = bytes([7]) * SEED_BYTES
    async with run_node(tmp_path / "host", bytes([1]) * SEED_BYTES) as host:
        await copies.admit(host, twin)
        async with run_node(tmp_path / "one", twin, host.tenant.tenant_id) as one:
            await meet(one, host)
        copy_node(tmp_path / "one", "other")
        await write(host, 1, "said")
        async with run_node(tmp_path / "one", twin) as one:
            await meet(one, host)
            await write(one, 1, "heard")
            await meet(one, host)
        async with run_node(tmp_path / "other", twin) as other:
            await write(other, 1, "begun")
            await meet(other, host)  # brings what its copy wrote as well
        async with run_node(tmp_path / "other", twin) as other:
            await write(other, 1, "answered")
            (said, answered) = [await find(other, kind) for kind in ("said", "answered")]
            found = await other.store.read(compare_spans, other.tenant, other.store.feeds, said, answered)
            assert found == ("before", [])
            assert not await other.writer.merge(other.tenant)
            await copies.assert_agreed(other)


async def find(engine: Engine, kind: str) -> Record:
    """The one span of a kind."""
    (record,) = [record for record in await engine.store.read(all_records) if header_of(record).kind == kind]
    return record


async def test_a_commit_that_failed_leaves_the_news(tmp_path: Path) -> None:
    async with members(tmp_path) as (one, other, tenant):
        await other.writer.append(tenant, drafts(1))
        await one.writer.append(one.tenant, drafts(1))
        await hand_over(one, other, one.tenant, tenant)
        connection = other.store._writer
        connection._connection = CutConnection(connection._conn, commits=False)  # type: ignore[assignment]
        with pytest.raises(NodeFault):
            await other.writer.append(tenant, drafts(1))
        assert len(await merges(other)) == 1
        await other.writer.append(tenant, drafts(1))
        assert len(await merges(other)) == 2
        assert await other.store.read(audit) == []


async def test_spans_ahead_of_now_wait_until_time_has_caught_up(tmp_path: Path) -> None:
    wall = Wall()
    async with members(tmp_path, wall) as (one, other, tenant):
        await other.writer.append(tenant, drafts(1))
        await hand_over(other, one, tenant, one.tenant)
        await one.writer.append(one.tenant, drafts(2))
        sound = await clock_of(one, one.tenant)
        await hand_over(one, other, one.tenant, tenant)
        wall.ms += 2 * CLOCK_AHEAD_MS_MAX
        await one.writer.append(one.tenant, drafts(1))
        wall.ms -= 2 * CLOCK_AHEAD_MS_MAX
        await hand_over(one, other, one.tenant, tenant)
        await other.writer.merge(tenant)
        founded = next(feed for feed in sound if one.store.feeds[1].feed_id == feed)
        named = [item for _, _, items in await merges(other) for item in items if item.feed == founded]
        assert named[-1].size <= sound[FeedId(founded)][0]
        assert not await other.writer.merge(tenant)
        wall.ms += 3 * CLOCK_AHEAD_MS_MAX
        assert await other.writer.merge(tenant)
        named = [item for _, _, items in await merges(other) for item in items if item.feed == founded]
        assert named[-1].size == sound[FeedId(founded)][0] + 1


async def test_who_may_not_write_merges_nothing(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        await admit(one, other, Level.OBSERVER)
        await hand_over(one, other, one.tenant, tenant)
        assert not await other.writer.merge(tenant)
        assert await merges(other) == []


async def test_what_came_is_merged_after_a_second_without_own_spans(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with members(tmp_path) as (one, other, tenant), trio.open_nursery() as nursery:
        nursery.start_soon(Merging(other.store, other.writer).run)
        began = trio.current_time()
        await other.heads.wait_beyond(tenant.number, other.heads.position(tenant.number) + 1)  # feed.open, merge
        assert MERGE_IDLE_S <= trio.current_time() - began <= MERGE_IDLE_S + 0.5
        await trio.sleep(600)
        assert len(await merges(other)) == 1
        await one.writer.append(one.tenant, drafts(1))
        await hand_over(one, other, one.tenant, tenant)
        await trio.sleep(MERGE_IDLE_S / 2)
        await other.writer.append(tenant, drafts(1))
        await trio.sleep(600)
        assert len(await merges(other)) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("count", [1, 50])
async def test_of_two_who_both_write_each_commit_has_one_merge_at_most(count: int, tmp_path: Path) -> None:
    async with members(tmp_path) as (one, other, tenant):
        for _ in range(5):
            await one.writer.append(one.tenant, drafts(count))
            await other.writer.append(tenant, drafts(count))
            await hand_over(one, other, one.tenant, tenant)
            await hand_over(other, one, tenant, one.tenant)
        named = await merges(one)
        assert len({(feed, seq) for feed, seq, _ in named}) == len(named) <= 10
        assert await one.store.read(audit) == []
