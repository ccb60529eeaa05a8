"""Nodes that hold the same: whole ones in one process, linked over TLS."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio.testing

from lognode.core.access import Level
from lognode.core.ids import FeedId
from lognode.core.span import Range
from lognode.federation.sync.known import Known
from lognode.federation.sync.service.notices import Notice
from lognode.federation.sync.service.state.tie import Tie
from tests.federation.linked import LinkedNode, open_node, wait_calm, wait_equal, wait_live, wait_until


async def link(one: LinkedNode, two: LinkedNode, level: Level = Level.ROOT) -> None:
    """Have `one` admit `two`, which dials it."""
    await one.admit(two, level)
    two.meet(one)
    await wait_equal(one, two)


async def test_what_one_node_holds_the_other_comes_to_hold(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await one.append(*["a.b"] * 5000)
        await link(one, two)
        await two.append("b.c")
        await one.append("a.c")
        await wait_equal(one, two)

        assert len(await one.clock()) == 2


async def test_a_live_link_tells_of_each_commit_at_once(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        await wait_live(two, one, "out")
        await wait_live(one, two, "in")
        await two.append("first.of.its.feed")
        await wait_equal(one, two)
        await wait_calm(two, one)
        rounds = two.status(one).rounds
        for number in range(20):
            await (one if number % 2 else two).append(f"live.{number}")
            await wait_equal(one, two)

        assert two.status(one).rounds == rounds, "a comparison brought it, not the link"
        assert one.status(two).sent_spans >= 10
        assert (two.status(one).lag_spans, two.status(one).lag_s) == (0, 0.0)


@pytest.mark.parametrize("serving", [1, 2])
async def test_it_is_enough_that_one_of_two_can_be_dialled(tmp_path: Path, serving: int) -> None:
    async with open_node(tmp_path, 1, serves=serving == 1) as one, open_node(tmp_path, 2, serves=serving == 2) as two:
        await one.admit(two)
        await two.learn_from(one)
        (two.meet(one) if serving == 1 else one.meet(two))
        await wait_live(one, two, "in" if serving == 1 else "out")
        await one.append("a.b")
        await two.append("a.b")
        await wait_equal(one, two)


async def test_two_nodes_that_can_dial_each_other_keep_one_link(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await link(one, two)
        one.meet(two)
        first, second = sorted((one, two), key=lambda node: node.key)
        one.links.ask(one.tenant)
        two.links.ask(two.tenant)
        ties = [node.ties.of(node.tenant)[0] for node in (first, second)]

        async def is_one() -> bool:
            return [(tie.is_outbound, tie.inbound) for tie in ties] in (
                [(True, 0), (False, 1)],
                [(False, 1), (True, 0)],
            )

        await wait_until(is_one)
        await wait_calm(first, second)
        assert await is_one()


async def pass_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[FeedId]:
    """The feeds that the middle of three nodes sent back to their authors, when it had passed all on."""
    sent: list[tuple[bytes, FeedId]] = []
    count_sent = Tie.count_sent

    def count(self: Tie, ranges: Sequence[Range]) -> None:
        sent.extend((self.node_key, part.feed) for part in ranges)
        count_sent(self, ranges)

    monkeypatch.setattr(Tie, "count_sent", count)
    async with AsyncExitStack() as stack:
        one, two, three = [await stack.enter_async_context(open_node(folder, number)) for number in (1, 2, 3)]
        await link(one, two)
        await link(two, three)
        await wait_equal(one, two, three)
        for number in range(5):
            await one.append(f"from.one.{number}")
            await three.append(f"from.three.{number}")
            await wait_equal(one, two, three)
        authors = {feed.feed_id: feed.node_key for feed in two.store.feeds.values()}
        assert three.key in {authors[feed] for node_key, feed in sent if node_key == one.key}
        return [feed for node_key, feed in sent if authors[feed] == node_key]


async def test_a_node_in_the_middle_passes_on_what_it_took_and_nothing_goes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned = await pass_on(tmp_path, monkeypatch)

    assert returned == []


async def test_a_node_that_forgets_whom_it_took_from_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Known, "note_ranges", lambda _self, _ranges: None)
    returned = await pass_on(tmp_path, monkeypatch)

    assert returned != []


async def test_a_line_goes_on_when_its_middle_was_away(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 3) as three:
        async with open_node(tmp_path, 2) as two:
            await link(one, two)
            await link(two, three)
            await wait_equal(one, two, three)
        await one.append("while.away")
        await three.append("while.away")
        async with open_node(tmp_path, 2) as two:
            two.meet(one)
            three.meet(two)
            await wait_equal(one, two, three)


async def test_what_happens_is_told_to_who_listens(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one:
        with one.outside.notices.listen(one.tenant.number) as listener:
            async with open_node(tmp_path, 2) as two:
                await link(one, two)
                await wait_live(one, two)
                heard = listener.take()
            told: list[Notice] = []

            async def is_told() -> bool:
                told.extend(listener.take())
                return any(notice.name == "peer.down" for notice in told)

            await wait_until(is_told)
        names = [notice.name for notice in heard]
        assert names.index("member.admitted") < names.index("peer.up")
        assert "sync.progress" in names


async def test_an_observer_reads_and_is_told_everything(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        await one.append("a.b")
        await link(one, two, Level.OBSERVER)
        await wait_live(two, one)
        await one.append("a.c")
        await wait_equal(one, two)


async def test_who_is_introduced_later_is_dialled_though_the_tenant_was_there_before(tmp_path: Path) -> None:
    async with open_node(tmp_path, 1) as one, open_node(tmp_path, 2) as two:
        tenant = await two.writer.adopt_tenant(one.tenant.tenant_id, "shared")
        two.links.attend(tenant)  # as after a kill in the middle of joining
        await trio.testing.wait_all_tasks_blocked()
        await one.admit(two)
        await wait_equal(one, two)


async def test_who_comes_back_is_dialled_by_one_that_became_a_member_while_it_was_out(tmp_path: Path) -> None:
    async with open_node(tmp_path, 2) as two, open_node(tmp_path, 3) as three:
        async with open_node(tmp_path, 1) as one:
            await link(one, two)
            await one.remove(two)
            await link(one, three)
        await three.admit(two)
        await wait_equal(two, three)
        await wait_live(two, three, "out")
