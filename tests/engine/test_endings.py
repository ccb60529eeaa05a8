"""Feeds in which nothing may follow: the next write opens a new one, and nothing else changes."""

from pathlib import Path

import pytest

from lognode.core.draft import Draft, idem_key
from lognode.core.errors import NodeFault
from lognode.core.limits import CLOCK_AHEAD_MS_MAX
from lognode.core.span import decode_body
from lognode.timeline.control.founding import parse_feed_open
from lognode.timeline.proof.tree import EMPTY, grow, root_of
from lognode.timeline.record import leaf_of
from lognode.timeline.state import RESTORED
from lognode.timeline.store.write import end_open_feeds
from tests.engine.nodes import Wall, assert_sound, drafts, run_engine


async def test_the_first_write_after_an_ending_opens_a_new_feed_that_names_the_old_one(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        await engine.writer.append(engine.tenant, drafts(3))
        await engine.store.write(end_open_feeds, RESTORED)
    wall.ms -= CLOCK_AHEAD_MS_MAX // 2
    async with run_engine(tmp_path, wall) as engine:
        assert len(await assert_sound(engine)) == 5  # who only reads leaves it as it is
        first, second = await engine.writer.append(engine.tenant, drafts(2))
        records = await assert_sound(engine)
        old, new = engine.store.feeds[1], engine.store.feeds[2]
        opened = parse_feed_open(decode_body(records[5].body or b"").data)
        leaves = [leaf_of(record, old.feed_id) for record in records[:5]]
        parent = (old.feed_id, 5, root_of(grow(EMPTY, leaves).border))
        assert (opened.parent_feed, opened.parent_size, opened.parent_root) == parent
        assert opened.reason == "restore"
        assert (first.feed, first.seq, second.seq) == (new.feed_id, 1, 2)
        # It goes on from the newest time of the tenant, though the clock is behind that.
        assert records[5].hlc == records[4].hlc + 1
    async with run_engine(tmp_path, wall) as engine:
        (third,) = await engine.writer.append(engine.tenant, drafts(1))
        assert (third.feed, third.seq) == (new.feed_id, 3)


async def test_after_an_ending_ahead_of_now_the_new_feed_goes_on_from_the_newest_sound_time(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        await engine.writer.append(engine.tenant, drafts(1))
        wall.ms += 3 * CLOCK_AHEAD_MS_MAX
        await engine.writer.append(engine.tenant, drafts(1))
        await engine.store.write(end_open_feeds, RESTORED)
    wall.ms -= 3 * CLOCK_AHEAD_MS_MAX
    async with run_engine(tmp_path, wall) as engine:
        await engine.writer.append(engine.tenant, drafts(1))
        records = await assert_sound(engine)
        assert parse_feed_open(decode_body(records[4].body or b"").data).reason == "restore"
        assert records[2].hlc < records[4].hlc < records[3].hlc


async def test_keys_hold_across_an_ending(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        draft = Draft(kind="note", idem=idem_key(engine.tenant.tenant_id, b"tester", "one"))
        (before,) = await engine.writer.append(engine.tenant, [draft])
        await engine.store.write(end_open_feeds, RESTORED)
    async with run_engine(tmp_path) as engine:
        (after,) = await engine.writer.append(engine.tenant, [draft])
        assert (after.id, after.duplicate) == (before.id, True)


async def test_an_ending_for_no_reason_is_damage_and_nothing_is_written(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await engine.store.write(end_open_feeds, "whim")
    async with run_engine(tmp_path) as engine:
        with pytest.raises(NodeFault) as caught:
            await engine.writer.append(engine.tenant, drafts(1))
        assert caught.value.code == "database.damaged"
