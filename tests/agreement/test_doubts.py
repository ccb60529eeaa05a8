"""Feeds in doubt after a start: nothing is written there until the other members have shown that it ends here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
import trio
import trio.testing

from lognode.core.access import Level
from lognode.core.ids import FeedId, SpanId
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.core.span import decode_body
from lognode.engine.service.agreement.doubts import Beginning
from lognode.identity.keys import NodeKeys
from lognode.timeline.agreement.continuity import Mark, seal_mark
from lognode.timeline.control.founding import parse_feed_open
from lognode.timeline.control.members import JoinSignatures, JoinStatement, join_statement, member_admit_data, sign_join
from lognode.timeline.members import Membership
from lognode.timeline.state import RESTORED
from lognode.timeline.store.agreement.continuity import read_mark
from lognode.timeline.store.write import end_open_feeds, find_ending
from tests.engine.nodes import Engine, Wall, all_records, assert_sound, drafts, run_engine

MARK = seal_mark(Mark("boot", "machine", 1, 2, 3))
MEMBERS = [NodeKeys.from_seed(bytes([number]) * 32) for number in (7, 8)]
IMPATIENT = Beginning("restarted", MARK, doubt_s=0)


async def admit(engine: Engine, *joiners: NodeKeys) -> None:
    tenant = engine.tenant.tenant_id
    for joiner in joiners:
        statement = join_statement(joiner, tenant, None, engine.keys.public, Level.OBSERVER, bytes(16))
        signatures = sign_join(joiner, tenant, statement, None)

        def build(
            _members: Membership,
            after: Sequence[SpanId],
            said: JoinStatement = statement,
            signed: JoinSignatures = signatures,
        ) -> bytes:
            return member_admit_data(after, said, signed)

        await engine.writer.append_control(engine.tenant, "member.admit", build)


async def reasons(engine: Engine) -> list[str]:
    """Why each feed was opened."""
    await assert_sound(engine)
    records = await engine.store.read(all_records)
    return [parse_feed_open(decode_body(found.body or b"").data).reason for found in records if found.seq == 0]


async def feed_of_next(engine: Engine) -> FeedId:
    (receipt,) = await engine.writer.append(engine.tenant, drafts(1))
    return receipt.feed


@pytest.mark.parametrize("continuity", ["plain", "restarted", "moved"])
async def test_a_node_that_is_alone_goes_on_unless_its_files_are_others(
    tmp_path: Path, continuity: Literal["plain", "restarted", "moved"]
) -> None:
    async with run_engine(tmp_path) as engine:
        first = await feed_of_next(engine)
    async with run_engine(tmp_path, beginning=Beginning(continuity, MARK)) as engine:
        assert await engine.store.read(read_mark) == MARK
        assert (await feed_of_next(engine) == first) is (continuity != "moved")
        assert await reasons(engine) == ["founding", "continuity"][: 1 + (continuity == "moved")]


async def test_a_write_waits_until_every_other_member_has_vouched(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await admit(engine, *MEMBERS)
        first = await feed_of_next(engine)
    patient = Beginning("restarted", MARK, doubt_s=60)
    async with run_engine(tmp_path, beginning=patient) as engine, trio.open_nursery() as nursery:
        done = trio.Event()

        async def append() -> None:
            assert await feed_of_next(engine) == first
            done.set()

        nursery.start_soon(append)
        await engine.writer.vouch(engine.tenant, MEMBERS[0].public)
        await engine.writer.vouch(engine.tenant, MEMBERS[0].public)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not done.is_set()
        assert engine.writer.is_in_doubt(engine.tenant)
        await engine.writer.vouch(engine.tenant, MEMBERS[1].public)
        with trio.fail_after(30):
            await done.wait()
        assert not engine.writer.is_in_doubt(engine.tenant)
    async with run_engine(tmp_path) as engine:
        assert await feed_of_next(engine) == first  # a doubt that was lifted is so for good
        assert await reasons(engine) == ["founding"]


async def test_a_write_that_nobody_vouches_for_goes_into_a_new_feed(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await admit(engine, *MEMBERS)
        first = await feed_of_next(engine)
    async with run_engine(tmp_path, beginning=IMPATIENT) as engine:
        await engine.writer.vouch(engine.tenant, MEMBERS[0].public)
        assert await feed_of_next(engine) != first
        await engine.writer.vouch(engine.tenant, MEMBERS[1].public)  # too late, and of no harm
        assert await feed_of_next(engine) != first
        assert await reasons(engine) == ["founding", "continuity"]


async def test_a_doubt_outlives_starts_at_which_nothing_happened(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await admit(engine, *MEMBERS)
        first = await feed_of_next(engine)
    async with run_engine(tmp_path, beginning=IMPATIENT):
        pass
    async with run_engine(tmp_path, beginning=Beginning("plain", MARK, doubt_s=0)) as engine:
        assert await feed_of_next(engine) != first


async def test_files_that_are_others_leave_nothing_to_vouch_for(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await admit(engine, *MEMBERS)
        first = await feed_of_next(engine)
    async with run_engine(tmp_path, beginning=IMPATIENT):
        pass
    async with run_engine(tmp_path, beginning=Beginning("moved", MARK, doubt_s=60)) as engine:
        for member in MEMBERS:
            await engine.writer.vouch(engine.tenant, member.public)
        assert await feed_of_next(engine) != first


async def test_a_clock_set_back_far_is_a_doubt(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        await admit(engine, *MEMBERS)
        await feed_of_next(engine)
    wall.ms -= 2 * CLOCK_AHEAD_MS_MAX
    async with run_engine(tmp_path, wall, beginning=Beginning("plain", MARK, doubt_s=0)) as engine:
        wall.ms += 2 * CLOCK_AHEAD_MS_MAX  # somebody set it right since
        await feed_of_next(engine)
        assert await reasons(engine) == ["founding", "continuity"]


async def test_a_backup_of_a_node_in_doubt_is_a_backup(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await admit(engine, *MEMBERS)
    async with run_engine(tmp_path, beginning=IMPATIENT) as engine:
        await engine.store.write(end_open_feeds, RESTORED)
        assert await engine.store.read(find_ending, engine.store.feeds[1]) == RESTORED
