"""Conflicts in a running engine: noticed, told, resolved, and listed no longer than they last."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import CLOCK_AHEAD_MS_MAX, SIZE_MAX
from lognode.core.span import PRIVATE
from lognode.engine.service.agreement.conflicts import Conflicts
from lognode.timeline.members import Membership
from lognode.timeline.store.agreement.disputes import next_disputes
from lognode.timeline.store.agreement.subjects import Registers, State
from lognode.timeline.store.audit import audit
from tests.engine.nodes import Engine, Wall, run_engine
from tests.engine.receivers import keys_of
from tests.timeline.pens import START_HLC, Pen, admitted


class Watched:
    """An engine with another member, whose spans are taken in, and what the task told."""

    def __init__(self, engine: Engine, pen: Pen, wall: Wall) -> None:
        self.wall = wall
        self.engine = engine
        self.pen = pen
        self.told: list[tuple[str, Mapping[str, object]]] = []
        self.task = Conflicts(engine.store, engine.heads, engine.standings, self._tell)

    def _tell(self, _tenant: int, name: str, content: Mapping[str, object]) -> None:
        self.told.append((name, content))

    async def say(self, subject: str, value: object) -> SpanId:
        draft = Draft(kind="tap.set", subject=subject, data=encode(value))
        (receipt,) = await self.engine.writer.append(self.engine.tenant, [draft])
        return receipt.id

    async def hear(self, *subjects: str) -> list[SpanId]:
        start = len(self.pen.entries)
        spans = [self.pen.write("tap.set", encode("theirs"), subject=subject) for subject in subjects]
        await self.engine.writer.ingest(self.engine.tenant, [self.pen.range(start if start > 1 else 0)])
        return spans

    async def look(self) -> list[tuple[str, Mapping[str, object]]]:
        """What is told now."""
        await self.task.look(self.engine.tenant)
        told, self.told = self.told, []
        return told

    async def disputed(self) -> list[str]:
        return await self.engine.store.read(next_disputes, self.engine.tenant, None, 100)

    async def read(self, subject: str) -> State:
        engine = self.engine

        def read(conn: Any) -> State:
            policies = engine.standings.of(engine.tenant.number).policies
            return Registers(conn, engine.tenant, engine.store.feeds, policies).read(subject)

        return await engine.store.read(read)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    wall = Wall((START_HLC >> 16) + 60_000)
    async with run_engine(tmp_path, wall) as engine:
        keys = keys_of(2)

        def build(_members: Membership, after: list[SpanId]) -> bytes:
            return admitted(keys, engine.keys, engine.tenant.tenant_id, after, Level.TRUSTED)

        receipt = await engine.writer.append_control(engine.tenant, "member.admit", build)
        yield Watched(engine, Pen(keys, engine.tenant.tenant_id, [receipt.id]), wall)


async def test_a_conflict_is_told_when_it_opens_and_when_a_later_span_ends_it(watched: Watched) -> None:
    assert await watched.look() == []
    ours = await watched.say("tap", 1)
    (theirs,) = await watched.hear("tap")
    assert await watched.disputed() == ["tap"]
    greater = max(ours, theirs)
    heads = [b32encode(span) for span in sorted([ours, theirs], reverse=True)]
    opened = {"subject": "tap", "heads": heads, "holds": b32encode(greater)}
    assert await watched.look() == [("conflict.opened", opened)]
    assert await watched.look() == []

    later = await watched.say("tap", 2)  # behind a merge, which says that theirs is known
    state = await watched.read("tap")
    assert [head.span.id for head in state.fold.heads] == [later]
    assert await watched.look() == [("conflict.resolved", {"subject": "tap", "holds": b32encode(later)})]
    assert await watched.disputed() == []


async def test_who_writes_on_knowing_what_was_written_contradicts_nobody(watched: Watched) -> None:
    await watched.look()
    await watched.hear("tap", "other")
    await watched.say("tap", 1)
    assert await watched.disputed() == ["tap"]  # a hint, since two feeds have spans about it
    assert await watched.look() == []
    assert await watched.disputed() == []


async def test_a_revert_opens_again_what_a_later_span_had_ended(watched: Watched) -> None:
    await watched.say("tap", 1)
    await watched.hear("tap")
    later = await watched.say("tap", 2)
    await watched.look()
    assert await watched.disputed() == []
    revert = Draft(kind="span.revert", subject="tap", caused_by=later)
    await watched.engine.writer.append(watched.engine.tenant, [revert])
    assert [name for name, _ in await watched.look()] == ["conflict.opened"]


async def test_what_is_in_conflict_at_start_is_not_told_and_its_end_is(watched: Watched) -> None:
    names = [f"tap {number:03}" for number in range(70)]  # more than one read looks at
    for name in names:
        await watched.say(name, 1)
    await watched.hear(*names)
    assert await watched.look() == []
    assert await watched.disputed() == names
    await watched.say(names[66], 2)
    assert [content["subject"] for _, content in await watched.look()] == [names[66]]


async def test_verify_names_a_conflict_that_is_not_listed(watched: Watched) -> None:
    await watched.say("tap", 1)
    await watched.hear("tap", "other")
    await watched.say("other", 1)
    await watched.look()
    assert await watched.engine.store.read(audit) == []
    await watched.engine.store.write(lambda conn: conn.execute("DELETE FROM disputes"))
    found = [(finding.code, finding.place) for finding in await watched.engine.store.read(audit)]
    assert found == [("dispute.wrong", "disputes tenant 0 subject tap")]


async def test_private_spans_of_the_node_itself_change_nothing_of_what_all_see(watched: Watched) -> None:
    shared = await watched.say("tap", 1)
    before = (await watched.read("tap")).fold
    private = [
        Draft(kind="tap.set", subject="tap", visibility=PRIVATE),
        Draft(kind="span.revert", subject="tap", caused_by=shared, visibility=PRIVATE),
        Draft(kind="conflict.resolve", subject="tap", caused_by=shared, visibility=PRIVATE),
    ]
    await watched.engine.writer.append(watched.engine.tenant, private)
    state = await watched.read("tap")
    assert state.fold == before
    assert state.local is not None
    assert await watched.disputed() == []


async def test_a_conflict_that_a_lie_hid_is_told_when_the_lie_comes_out(watched: Watched) -> None:
    await watched.look()
    await watched.say("tap", 1)
    (feed,) = watched.engine.store.feeds.values()
    watched.pen.merge((feed.feed_id, SIZE_MAX, bytes(32)))
    watched.pen.write("tap.set", encode("theirs"), subject="tap")
    await watched.engine.writer.ingest(watched.engine.tenant, [watched.pen.range()])
    assert await watched.look() == []  # it may know more than is here
    assert await watched.disputed() == ["tap"]
    watched.wall.ms += 2 * CLOCK_AHEAD_MS_MAX
    await watched.say("other", 1)
    assert [name for name, _ in await watched.look()] == ["conflict.opened"]
