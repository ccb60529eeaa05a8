"""Live events of approvals: who listens hears of each once, on each node, and nobody of what was before."""

from collections.abc import Mapping
from pathlib import Path as Folder
from typing import Any

import pytest

from lognode.core.draft import Draft
from lognode.core.ids import b32encode, format_logline
from lognode.engine.service.ruling.approvals.announcing import Announcing, EventName
from lognode.timeline.record import TenantRef
from tests.engine.nodes import Engine, Wall
from tests.engine.pairs import hand_over
from tests.ruling.test_approvals import asking, desk, enforce, federation, hold, payment


class Heard:
    """Somebody who listens to one tenant of a node, and who may not."""

    def __init__(self, engine: Engine, tenant: TenantRef, wall: Wall) -> None:
        self.is_there = True
        self._tenant = tenant
        self._events: list[tuple[str, dict[str, Any]]] = []
        self._task = Announcing(
            engine.store, engine.heads, engine.standings, wall.world(), lambda _: self.is_there, self._hear
        )

    def _hear(self, tenant: int, name: EventName, content: Mapping[str, object]) -> None:
        assert tenant == self._tenant.number
        self._events.append((name, dict(content)))

    async def look(self) -> list[tuple[str, dict[str, Any]]]:
        """What is told by one look."""
        self._events = []
        await self._task.look(self._tenant)
        return self._events


async def test_a_draft_that_waits_is_told_with_what_was_said_and_what_became_of_it_on_both_nodes(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking())
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        here, there = Heard(one, one.tenant, wall), Heard(other, theirs, wall)
        assert await here.look() == await there.look() == []

        firing = (await hold(one, payment(900))).id
        ((name, asked),) = await here.look()
        me = format_logline(one.keys.logline)
        assert (name, asked["id"], asked["node"]) == ("approval.asked", b32encode(firing), me)
        assert (asked["set"], asked["rule"], asked["text"]) == ("limit", "large", "much money")
        await hand_over(one, other, one.tenant, theirs)
        assert await there.look() == [("approval.asked", asked)]

        await their.grant(firing, "go on")
        ((name, said),) = await there.look()
        assert (name, said["id"], said["says"], said["note"], said["counts"]) == (
            "approval.answered", asked["id"], "approve", "go on", True,
        )  # fmt: skip
        await hand_over(other, one, theirs, one.tenant)
        await ours.look()
        written = (await ours.find(firing)).span
        decided = ("approval.decided", {"id": asked["id"], "state": "written", "span": written})
        assert await here.look() == [("approval.answered", said), decided]
        await hand_over(one, other, one.tenant, theirs)
        assert await there.look() == [decided]
        assert await here.look() == await there.look() == []


async def test_what_is_denied_and_what_expires_is_told_and_nothing_that_nobody_listened_to(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking(1, within_ms=60_000))
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        first, second = [(await hold(one, payment(amount))).id for amount in (900, 901)]
        here = Heard(one, one.tenant, wall)
        assert await here.look() == []  # what was before is in the list
        await hand_over(one, other, one.tenant, theirs)
        await their.deny(first)
        await hand_over(other, one, theirs, one.tenant)
        await ours.look()
        assert [(name, said["id"]) for name, said in await here.look()] == [
            ("approval.answered", b32encode(first)),
            ("approval.decided", b32encode(first)),
        ]
        here.is_there = False
        await hold(one, payment(902))
        assert await here.look() == []
        here.is_there = True
        wall.ms += 61_000
        await ours.look()
        assert {(name, said["id"], said["state"]) for name, said in await here.look()} >= {
            ("approval.decided", b32encode(second), "expired")
        }


async def test_ordinary_spans_and_what_others_say_about_no_draft_are_not_told(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, _, _theirs):
        enforce(one, monkeypatch, asking())
        here = Heard(one, one.tenant, wall)
        await here.look()
        await one.writer.append(one.tenant, [Draft(kind="note.made"), payment(1)])
        assert await here.look() == []
