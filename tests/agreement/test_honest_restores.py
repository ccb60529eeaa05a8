"""No honest restore ever forks: a node set back at random, with members here and away, signs no place of a feed twice.

Lives of the real writer on a database that is now and then an older one, and members that hold what they got. The
broken variants go on where they may not, and are caught.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

import pytest

from lognode.core.ids import FeedId
from lognode.engine.service.agreement.doubts import Beginning
from lognode.timeline.agreement.continuity import Continuity
from lognode.timeline.record import leaf_of
from lognode.timeline.store.read.ranges import read_range
from lognode.timeline.store.write import load_feeds
from tests.agreement.test_doubts import MARK, MEMBERS, admit
from tests.engine.nodes import Engine, all_records, drafts, run_engine
from tests.engine.receivers import Receiver

LIVES: Final = 12
SEEDS: Final = 12
Judge = Callable[[Continuity], Continuity]


class Forked(Exception):
    """A place of a feed was signed twice."""


class Restores:
    """One node, its disk and its members, all that it ever signed, and copies of its disk."""

    def __init__(self, folder: Path, seed: int, judge: Judge, *, trusts_any: bool) -> None:
        self.random = Random(seed)
        self.folder = folder
        self.judge = judge
        self.trusts_any = trusts_any
        self.signed: dict[tuple[FeedId, int], bytes] = {}
        self.members: list[Receiver] = []
        self.copies: list[Path] = []

    async def play(self) -> None:
        """Live, be set back, live again. Raises Forked."""
        disk = self.folder / "disk"
        disk.mkdir()
        async with run_engine(disk) as engine:
            await admit(engine, *MEMBERS)
            await engine.writer.append(engine.tenant, drafts(2))
            self.members = [Receiver(engine.tenant.tenant_id) for _ in MEMBERS]
            await self.note(engine)
        for life in range(LIVES):
            continuity: Continuity = "plain"
            if self.random.random() < 0.4 or not self.copies:
                self.copies.append(self.folder / f"copy {life}")
                shutil.copytree(disk, self.copies[-1])
            elif self.random.random() < 0.7:
                shutil.rmtree(disk)
                shutil.copytree(self.random.choice(self.copies), disk)
                continuity = self.random.choice(("restarted", "moved"))
            elif self.random.random() < 0.5:
                continuity = "restarted"
            await self.live(disk, continuity)

    async def live(self, disk: Path, continuity: Continuity) -> None:
        async with run_engine(disk, beginning=Beginning(self.judge(continuity), MARK, doubt_s=0)) as engine:
            for _ in range(self.random.randrange(4)):
                if self.random.random() < 0.5:
                    await self.meet(engine, self.random.randrange(len(self.members)))
                else:
                    await engine.writer.append(engine.tenant, drafts(self.random.randrange(1, 5)))
                    await self.note(engine)

    async def meet(self, engine: Engine, number: int) -> None:
        """Have a member and the node hold the same of the node's feeds, and the member vouch for that."""
        member = self.members[number]
        for feed in list(member.clock()):
            size = await self.size(engine, feed)
            while size < member.clock().size(feed):
                held = next(one for one in load_feeds(member.conn) if one.feed_id == feed)
                found = read_range(member.conn, held, size)
                assert found is not None
                (outcome,) = (await engine.writer.ingest(engine.tenant, [found]))[:1]
                if not isinstance(outcome, int):  # it does not go on from what is held
                    raise Forked
                size = outcome
        for ref in sorted(engine.store.feeds.values()):
            while (at := member.clock().size(ref.feed_id)) < await self.size(engine, ref.feed_id):
                found = await engine.store.read(read_range, ref, at)
                assert found is not None
                if member.codes(found)[0] == at:
                    break
        for keys in MEMBERS if self.trusts_any else [MEMBERS[number]]:
            await engine.writer.vouch(engine.tenant, keys.public)

    async def size(self, engine: Engine, feed: FeedId) -> int:
        records = await engine.store.read(all_records)
        return sum(1 for record in records if engine.store.feeds[record.feed].feed_id == feed)

    async def note(self, engine: Engine) -> None:
        for record in await engine.store.read(all_records):
            feed = engine.store.feeds[record.feed].feed_id
            leaf = leaf_of(record, feed)
            if self.signed.setdefault((feed, record.seq), leaf) != leaf:
                raise Forked


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_node_that_is_set_back_signs_no_place_twice(tmp_path: Path, seed: int) -> None:
    await Restores(tmp_path, seed, lambda continuity: continuity, trusts_any=False).play()


@pytest.mark.parametrize(
    ("judge", "trusts_any"),
    [
        pytest.param(lambda _continuity: "plain", False, id="goes on without continuity"),
        pytest.param(
            lambda continuity: "restarted" if continuity == "moved" else continuity, True, id="trusts any member"
        ),
    ],
)
async def test_a_node_that_goes_on_where_it_may_not_is_caught(tmp_path: Path, judge: Judge, trusts_any: bool) -> None:  # noqa: FBT001
    caught = False
    for seed in range(SEEDS):
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            await Restores(folder, seed, judge, trusts_any=trusts_any).play()
        except* Forked:
            caught = True
        if caught:
            return
    pytest.fail("nothing was signed twice")
