"""Copies of one node that write apart, with real stores and writers: what all come to when they meet."""

from pathlib import Path

import pytest
import trio

from lognode.core.access import Level
from lognode.core.ids import FeedId
from lognode.engine.service.agreement.forking import Forks
from lognode.timeline.record import FeedRef
from lognode.timeline.store.controls import read_evidence
from lognode.timeline.store.read.ranges import read_tips
from tests.agreement.copies import admit, all_meet, assert_agreed, copy_node, meet, run_node, write
from tests.engine.nodes import Engine

A, B, C, D = (bytes([number]) * 32 for number in range(1, 5))


def forks_of(node: Engine) -> dict[FeedId, int]:
    return dict(node.standings.of(node.tenant.number).forks)


@pytest.mark.parametrize("tails", [(3, 3), (2, 6), (1500, 3)])
async def test_two_copies_that_wrote_apart_are_proven_and_all_agree(tmp_path: Path, tails: tuple[int, int]) -> None:
    async with run_node(tmp_path / "b", B) as b:
        tenant = b.tenant.tenant_id
        async with run_node(tmp_path / "a", A, tenant) as a, run_node(tmp_path / "c", C, tenant) as c:
            for seed in (A, C):
                await admit(b, seed)
            await all_meet(a, b, c, rounds=1)
            await write(a, 4, "common")
            await all_meet(a, b, c, rounds=1)
            state = await a.writer._ledger.state(a.tenant)
            assert state.head is not None
            feed, common = state.head.feed.feed_id, state.head.border.size
        # `a` and `c` have stopped.
        twin = copy_node(tmp_path / "a", "a2")
        async with (
            run_node(tmp_path / "a", A, tenant) as a,
            run_node(twin, A, tenant) as a2,
            run_node(tmp_path / "c", C, tenant) as c,
        ):
            await write(a, tails[0], "one")
            await write(a2, tails[1], "other")
            await meet(a, b)
            await meet(a2, c)
            assert not forks_of(b)
            await meet(b, c)
            assert forks_of(b) == {feed: common}, "found and told by whoever dialled"
            await meet(b, c)
            assert forks_of(c) == {feed: common}
            await all_meet(a, a2, b, c)
            await assert_agreed(a, a2, b, c)
            held = find_feed_of(b, feed)
            assert len(await b.store.read(read_tips, held)) == 1
            await write(a, 1, "later")
            await write(a2, 1, "later.still")
            await all_meet(a, a2, b, c)
            await assert_agreed(a, a2, b, c)
            assert forks_of(a) == {feed: common}, "new feeds do not fork"
            await admit(b, D)
            async with run_node(tmp_path / "d", D, tenant) as newcomer:
                assert (await meet(newcomer, c)).state == "equal"
                await all_meet(newcomer, b, a, a2, c, rounds=2)
                await assert_agreed(newcomer, a, a2, b, c)


def find_feed_of(node: Engine, feed_id: bytes) -> FeedRef:
    return next(feed for feed in node.store.feeds.values() if feed.feed_id == feed_id)


async def test_what_was_found_and_not_told_before_a_crash_is_told_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_node(tmp_path / "b", B) as b:
        tenant = b.tenant.tenant_id
        await admit(b, A)
        async with run_node(tmp_path / "a", A, tenant) as a:
            await all_meet(a, b, rounds=1)
            await write(a, 2, "common")
            await meet(a, b)
        twin = copy_node(tmp_path / "a", "a2")
        async with run_node(tmp_path / "a", A, tenant) as a, run_node(twin, A, tenant) as a2:
            await write(a, 2, "one")
            await write(a2, 3, "other")
            await meet(a, b)

            with monkeypatch.context() as patch:
                patch.setattr(Forks, "_tell", lambda *_: no_time())
                await meet(b, a2)
            assert await b.store.read(read_evidence, b.tenant)
            assert b.standings.of(b.tenant.number).untold == set(forks_of(b)) != set()
    async with run_node(tmp_path / "b", B) as b:
        for _ in range(100):
            if not b.standings.of(b.tenant.number).untold:
                break
            await trio.sleep(0.05)
        assert not b.standings.of(b.tenant.number).untold
        assert len(forks_of(b)) == 1


async def no_time() -> None:
    """What a node does not come to."""


async def test_proof_in_the_tail_of_another_fork_is_told_again(tmp_path: Path) -> None:
    """C tells of A's fork in a feed of its own that forks before that; whoever held that history tells it again."""
    async with run_node(tmp_path / "b", B) as b:
        tenant = b.tenant.tenant_id
        for seed in (A, C):
            await admit(b, seed, Level.ROOT)
        async with run_node(tmp_path / "a", A, tenant) as a, run_node(tmp_path / "c", C, tenant) as c:
            await all_meet(a, b, c, rounds=1)
            await write(a, 2, "common")
            await write(c, 2, "common")
            await all_meet(a, b, c, rounds=1)
        twin_a, twin_c = copy_node(tmp_path / "a", "a2"), copy_node(tmp_path / "c", "c2")
        async with (
            run_node(tmp_path / "a", A, tenant) as a,
            run_node(twin_a, A, tenant) as a2,
            run_node(tmp_path / "c", C, tenant) as c,
            run_node(twin_c, C, tenant) as c2,
        ):
            await write(a, 2, "one")
            await write(a2, 2, "other")
            await meet(c, a)
            await meet(c, a2)
            assert len(forks_of(c)) == 1, "told in C's feed"
            await write(c2, 2, "other")
            await meet(b, c2)
            await meet(b, c)
            await all_meet(b, c, c2, a, a2)
            assert len(forks_of(b)) == 2
            assert not b.standings.of(b.tenant.number).untold
            await assert_agreed(a, a2, b, c, c2)


async def test_a_copy_that_finds_its_own_feed_forked_says_so_in_a_new_feed(tmp_path: Path) -> None:
    """In the forked feed the proof would lie behind the fork, and count for nobody."""
    async with run_node(tmp_path / "b", B) as b:
        tenant = b.tenant.tenant_id
        await admit(b, A)
        async with run_node(tmp_path / "a", A, tenant) as a:
            await all_meet(a, b, rounds=1)
            await write(a, 2, "common")
        twin = copy_node(tmp_path / "a", "a2")
        async with run_node(twin, A, tenant) as a2:
            await write(a2, 3, "other")
            await meet(a2, b)
        async with run_node(tmp_path / "a", A, tenant) as a:
            await write(a, 2, "one")
            await meet(a, b)
            assert len(forks_of(a)) == 1
            assert not a.standings.of(a.tenant.number).untold
            await meet(a, b)
            assert forks_of(b) == forks_of(a)
            await assert_agreed(a, b)
