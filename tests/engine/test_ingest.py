"""Taking in what other nodes wrote: the same outcome in any parts and any order, and nothing that is not proven."""

import sqlite3
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest
import trio

from lognode.core.access import Level
from lognode.core.clock import Clock
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import SpanId, TenantId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.engine.receipt import AppendStopped
from lognode.engine.service.writing import intake
from lognode.timeline.control.members import (
    member_level_data,
    member_remove_data,
)
from lognode.timeline.members import Membership
from lognode.timeline.store.audit import audit
from tests.engine.nodes import CutConnection, Wall, assert_sound, drafts, run_engine
from tests.engine.pairs import OTHER_SEED, admit, clock_of, hand_over, ranges_of, two_nodes


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


async def test_a_node_writes_once_it_is_admitted_and_both_hold_the_same(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        with pytest.raises(AppendStopped) as stopped:
            await other.writer.append(tenant, drafts(1))
        assert stopped.value.error.code == "member.removed"
        version = one.standings.version(one.tenant.number)
        await admit(one, other)
        assert await one.standings.wait_change(one.tenant.number, version) == version + 1
        await hand_over(one, other, one.tenant, tenant)
        (receipt,) = await other.writer.append(tenant, drafts(1))
        assert receipt.seq == 2  # behind feed.open and a merge of what the founder wrote
        assert await hand_over(other, one, tenant, one.tenant) == [3]
        assert await clock_of(other, tenant) == await clock_of(one, one.tenant)
        assert await other.store.read(rows_of) == await one.store.read(rows_of)
        assert one.standings.of(one.tenant.number).level(other.keys.public) is Level.TRUSTED
        for engine in (one, other):
            assert not [finding for finding in await engine.store.read(audit) if finding.severity == "damage"]


async def test_who_is_removed_or_observes_is_refused_and_who_comes_back_opens_a_new_feed(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):

        async def change(level: Level) -> None:
            await one.writer.append_control(
                one.tenant, "member.level", lambda _, after: member_level_data(after, other.keys.public, level)
            )
            await hand_over(one, other, one.tenant, tenant)

        await admit(one, other)
        await hand_over(one, other, one.tenant, tenant)
        (first,) = await other.writer.append(tenant, drafts(1))
        await hand_over(other, one, tenant, one.tenant)
        for level, code in ((Level.OBSERVER, "member.observer"), (Level.BLOCKED, "member.removed")):
            await change(level)
            with pytest.raises(AppendStopped) as stopped:
                await other.writer.append(tenant, drafts(1))
            assert stopped.value.error.code == code
        await change(Level.TRUSTED)
        (later,) = await other.writer.append(tenant, drafts(1))
        assert later.feed != first.feed
        await hand_over(other, one, tenant, one.tenant)
        for engine in (one, other):
            cuts = "SELECT f.feed_id, c.size FROM cuts c JOIN feeds f USING (feed)"
            assert await engine.store.read(lambda conn: conn.execute(cuts).fetchall()) == [(first.feed, 0)]  # noqa: B023


async def test_what_would_be_void_is_not_written_and_of_many_at_once_one_wins(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        await admit(one, other)
        await hand_over(one, other, one.tenant, tenant)
        with pytest.raises(CallerError) as caught:
            await other.writer.append_control(
                tenant, "member.remove", lambda _, after: member_remove_data(after, one.keys.public, [], "mine")
            )
        assert caught.value.code == "control.void"
        assert caught.value.extra == {"reason": "member.not_root"}
        assert caught.value.detail == "this node is no root member"
        assert caught.value.hint.startswith("Do it on a root member")
        won: list[int] = []

        def build(members: Membership, after: list[SpanId]) -> bytes:
            if members.level(other.keys.public) is not Level.TRUSTED:
                raise CallerError("member.observer")
            return member_level_data(after, other.keys.public, Level.OBSERVER)

        async def lower(number: int) -> None:
            with suppress(CallerError):
                await one.writer.append_control(one.tenant, "member.level", build)
                won.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(lower, number)
        assert len(won) == 1
        await assert_sound(one)


async def test_appends_do_not_wait_for_what_others_send(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        await admit(one, other)
        for _ in range(8):
            await one.writer.append(one.tenant, drafts(1000))
        ranges = await ranges_of(one, one.tenant, Clock(), spans_max=1000)
        done: list[str] = []

        async def ingest() -> None:
            await other.writer.ingest(tenant, ranges)
            done.append("ingest")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingest)
            for number in range(3):
                await other.writer.append(other.tenant, drafts(1))
                done.append(str(number))
        assert done[-1] == "ingest"
        assert (await clock_of(other, tenant)).size(ranges[0].feed) == 8003


@pytest.mark.parametrize("commits", [True, False])
async def test_a_commit_whose_end_is_unknown_is_looked_up(tmp_path: Path, commits: bool) -> None:  # noqa: FBT001
    async with two_nodes(tmp_path) as (one, other, tenant):
        await one.writer.append(one.tenant, drafts(3))
        await hand_over(one, other, one.tenant, tenant)
        await admit(one, other)
        ranges = await ranges_of(one, one.tenant, await clock_of(other, tenant))
        connection = other.store._writer
        connection._connection = CutConnection(connection._conn, commits=commits)  # type: ignore[assignment]
        if commits:
            assert await other.writer.ingest(tenant, ranges) == [6]
        else:
            with pytest.raises(NodeFault) as caught:
                await other.writer.ingest(tenant, ranges)
            assert caught.value.code == "writer.failed"
            assert (await clock_of(other, tenant)).size(ranges[0].feed) == 5
        assert await other.writer.ingest(tenant, ranges) == [6]
        assert other.standings.of(tenant.number).level(other.keys.public) is Level.TRUSTED
        assert await clock_of(other, tenant) == await clock_of(one, one.tenant)


async def test_a_mistake_of_ours_about_what_a_peer_sent_does_not_end_the_writer(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        ranges = await ranges_of(one, one.tenant, Clock())
        with (
            mock.patch.object(intake, "plan_ingest", side_effect=ZeroDivisionError),
            pytest.raises(NodeFault) as caught,
        ):
            await other.writer.ingest(tenant, ranges)
        assert caught.value.code == "node.internal"
        assert await other.writer.ingest(tenant, ranges) == [2]
        await other.writer.append(other.tenant, drafts(1))


async def test_own_time_follows_what_came_unless_that_is_ahead(tmp_path: Path) -> None:
    wall, fast = Wall(), Wall()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    fast.ms += CLOCK_AHEAD_MS_MAX // 2
    async with run_engine(tmp_path / "a", fast) as one, run_engine(tmp_path / "b", wall, seed=OTHER_SEED) as other:
        tenant = await other.writer.adopt_tenant(one.tenant.tenant_id, "theirs")
        await admit(one, other)
        await hand_over(one, other, one.tenant, tenant)
        (newest,) = await one.writer.append(one.tenant, drafts(1))
        await hand_over(one, other, one.tenant, tenant)
        (after,) = await other.writer.append(tenant, drafts(1))
        assert after.id > newest.id
        fast.ms += 2 * CLOCK_AHEAD_MS_MAX
        (ahead,) = await one.writer.append(one.tenant, drafts(1))
        await hand_over(one, other, one.tenant, tenant)
        (still,) = await other.writer.append(tenant, drafts(1))
        assert after.id < still.id < ahead.id
        assert still.feed == after.feed
    async with run_engine(tmp_path / "b", wall, seed=OTHER_SEED) as other:
        (last,) = await other.writer.append(tenant, drafts(1))
        assert (last.feed, still.id < last.id < ahead.id) == (still.feed, True)


async def test_a_tenant_is_adopted_once_and_names_are_not_taken_from_others(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, tenant):
        assert await other.writer.adopt_tenant(one.tenant.tenant_id, "again") == tenant
        with pytest.raises(CallerError) as caught:
            await other.writer.adopt_tenant(TenantId(bytes(20)), "default")
        assert caught.value.code == "alias.taken"
        assert other.store.tenants["theirs"] == tenant
