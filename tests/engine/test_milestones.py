"""Checkpoints that are kept besides the newest: near enough to each other, and few."""

import sqlite3
import tempfile
from itertools import pairwise
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from lognode.core.draft import Draft
from lognode.core.ids import FeedId
from lognode.core.limits import MIB, MILESTONE_BYTES, MILESTONE_SPANS
from lognode.timeline.proof.tree import Border
from lognode.timeline.record import FeedRef
from lognode.timeline.state import FeedState
from lognode.timeline.store.audit import audit
from lognode.timeline.store.write import load_tenant
from tests.engine.nodes import Engine, assert_sound, drafts, run_engine

FEED = FeedRef(1, 0, FeedId(bytes(16)), bytes(32), bytes(32), own=True)
COMMITS = st.lists(st.tuples(st.integers(1, 1024), st.integers(0, 8 * MIB)), max_size=60)


def sizes(conn: sqlite3.Connection) -> list[int]:
    return [size for (size,) in conn.execute("SELECT size FROM checkpoints WHERE feed = 1 ORDER BY size")]


@given(COMMITS)
def test_from_every_size_a_kept_checkpoint_is_within_a_milestone_and_a_commit(commits: list[tuple[int, int]]) -> None:
    state, kept, bytes_at = FeedState(FEED, Border(0, ()), {}), {0}, {0: 0}
    for count, weight in commits:
        size = state.border.size + count
        later = state.extended(Border(size, ()), {}, 0, weight)
        kept -= {size for _, size in state.dropped(later)}
        kept.add(size)
        bytes_at[size] = bytes_at[state.border.size] + weight
        state = later
        for one, other in pairwise(sorted(kept)):
            assert other - one <= MILESTONE_SPANS or other == one + count
            assert bytes_at[other] - bytes_at[one] <= MILESTONE_BYTES + 8 * MIB
        # Two parts that follow one another could not have been one, so there are few.
        ends = sorted(kept)[:-1]
        for one, other in zip(ends, ends[2:], strict=False):
            assert other - one > MILESTONE_SPANS - 1024 or bytes_at[other] - bytes_at[one] > MILESTONE_BYTES - 8 * MIB
        assert state.milestone == max(kept - {size}, default=0)
        assert state.weight == bytes_at[size] - bytes_at[state.milestone]


async def test_a_restarted_writer_goes_on_with_the_milestones_that_it_had(tmp_path: Path) -> None:
    for start in range(0, 3_000, 500):
        async with run_engine(tmp_path) as engine:
            await engine.writer.append(engine.tenant, drafts(500, start))
    async with run_engine(tmp_path) as engine:
        assert await engine.store.read(sizes) == [1002, 2002, 3002]
        await engine.writer.append(engine.tenant, drafts(1))
        assert await engine.store.read(sizes) == [1002, 2002, 3003]
        await assert_sound(engine)


async def test_a_milestone_that_is_gone_is_found_whichever_it_is(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for start in range(0, 5_000, 1_000):
            await engine.writer.append(engine.tenant, drafts(1_000, start))
        kept = await engine.store.read(sizes)
        assert len(kept) > 3
        assert not await engine.store.read(audit)
        for size in kept[:-1]:
            await engine.store.write(delete_checkpoint, size)
            (found,) = await engine.store.read(audit)
            assert (found.code, found.place) == ("checkpoint.wrong", f"checkpoints feed 1 size {size}")
            assert (found.detail, found.severity) == ("missing", "damage")
            await engine.store.write(undelete_checkpoint, size)


async def test_large_bodies_bring_milestones_sooner(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for _ in range(6):
            await engine.writer.append(engine.tenant, [Draft(kind="note", data=large()) for _ in range(3)])
        assert await engine.store.read(sizes) == [5, 8, 11, 14, 17, 20]
        state = (await engine.store.read(load_tenant, engine.tenant)).head
        assert state is not None
        assert (state.milestone, 2_800_000 < state.weight < 2_900_000) == (17, True)


async def test_feeds_of_an_earlier_version_get_their_milestones_when_the_writer_starts(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for start in range(0, 5_000, 1_000):
            await engine.writer.append(engine.tenant, drafts(1_000, start))
        await forget_milestones(engine)
    async with run_engine(tmp_path) as engine:
        assert await engine.store.read(sizes) == [1024, 2048, 3072, 4096, 5002]
        await assert_sound(engine)
        assert not await engine.store.read(audit)


async def test_no_milestone_is_signed_over_damaged_tiles(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        for start in range(0, 3_000, 1_000):
            await engine.writer.append(engine.tenant, drafts(1_000, start))
        await forget_milestones(engine)
        await engine.store.write(flip_tile)
    async with run_engine(tmp_path) as engine:
        assert await engine.store.read(sizes) == [3002]


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_what_a_feed_knows_of_its_milestones_is_what_its_rows_say(counts: list[int]) -> None:
    async def check(folder: Path) -> None:
        async with run_engine(folder) as engine:
            for count in counts:
                await engine.writer.append(engine.tenant, drafts(count))
            held = await engine.writer._ledger.state(engine.tenant)
            assert held == await engine.store.read(load_tenant, engine.tenant)

    with tempfile.TemporaryDirectory() as folder:
        trio.run(check, Path(folder))


def large() -> bytes:
    return b"\x5a" + (950_000).to_bytes(4, "big") + bytes(950_000)


async def forget_milestones(engine: Engine) -> None:
    newest = "SELECT max(size) FROM checkpoints"
    await engine.store.write(lambda conn: conn.execute(f"DELETE FROM checkpoints WHERE size < ({newest})").rowcount)


def delete_checkpoint(conn: sqlite3.Connection, size: int) -> None:
    conn.execute("CREATE TEMP TABLE kept AS SELECT * FROM checkpoints")
    conn.execute("DELETE FROM checkpoints WHERE size = ?", (size,))


def undelete_checkpoint(conn: sqlite3.Connection, size: int) -> None:
    conn.execute("INSERT INTO checkpoints SELECT * FROM temp.kept WHERE size = ?", (size,))
    conn.execute("DROP TABLE temp.kept")


def flip_tile(conn: sqlite3.Connection) -> None:
    hashes = conn.execute("SELECT hashes FROM tiles WHERE feed = 1 AND level = 1 AND tile = 0").fetchone()[0]
    conn.execute("UPDATE tiles SET hashes = ? WHERE feed = 1 AND level = 1", (b"\x00" + hashes[1:],))
