"""What people approve is what is written: they are shown of a draft that waits what its node says it will write."""

from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.codec import encode
from lognode.core.draft import Draft, parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.engine.receipt import AppendStopped
from lognode.engine.ruling.approvals import holding
from lognode.engine.ruling.approvals.holding import approved, shown
from lognode.engine.service.ruling.approvals import ending
from lognode.rules.evaluation.decision import Effect
from tests.engine.nodes import Wall, run_engine
from tests.engine.pairs import hand_over
from tests.ruling.test_approvals import asking, desk, enforce, federation, hold, payment, waiting


async def test_nobody_approves_what_is_shown_otherwise_than_its_node_says_that_it_writes_it(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking())
        their = desk(other, theirs, wall)
        with monkeypatch.context() as lying:
            lying.setattr(holding, "shown", lambda draft: shown(msgspec.structs.replace(draft, data=payment(1).data)))
            lying.setattr(holding, "is_as_shown", lambda _held: True)
            firing = (await hold(one, payment(900))).id
        await hand_over(one, other, one.tenant, theirs)
        asked = await their.find(firing)
        assert (asked.state, asked.is_sound) == ("waiting", False)
        with pytest.raises(CallerError) as refused:
            await their.grant(firing)
        assert refused.value.code == "approval.altered"
        assert (await their.deny(firing)).answers[0].is_denial


async def test_who_writes_something_else_than_was_approved_is_found_out(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking())
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        firings = [(await hold(one, payment(amount))).id for amount in (900, 901)]
        await hand_over(one, other, one.tenant, theirs)
        for firing in firings:
            assert (await their.grant(firing)).is_sound
        await hand_over(other, one, theirs, one.tenant)

        def approve(draft: Draft, firing: SpanId, by: Sequence[SpanId], role: str) -> Draft:
            found = approved(draft, firing, by, role)
            return found if firing == firings[0] else msgspec.structs.replace(found, data=payment(9001).data)

        with monkeypatch.context() as lying:
            lying.setattr(ending, "approved", approve)
            await ours.look()
        await hand_over(one, other, one.tenant, theirs)
        found = [await their.find(firing) for firing in firings]
        assert [(each.state, each.is_sound) for each in found] == [("written", True), ("written", False)]


async def test_what_json_cannot_say_does_not_wait(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(engine, monkeypatch, asking())
        with pytest.raises(AppendStopped) as refused:
            await engine.writer.append(engine.tenant, [payment(900, metadata=encode(None))])
        assert refused.value.error.code == "draft.invalid"
        assert await waiting(engine) == []


WORDS = st.sampled_from(["", "a", "\N{SNOWMAN}", '"', "\x00", "e\u0301"])
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([1.0, -0.0, 0.1, 1e300, 5e-324])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["data", "metadata", "title", "subject", "tags"]), JSON_VALUES, max_size=5))
def test_whatever_comes_as_json_is_shown_as_what_is_written(said: dict[str, Any]) -> None:
    try:
        draft, _ = parse_json_draft(msgspec.json.encode({"kind": "a.done", **said}))
    except CallerError:
        return
    effect = Effect("limit", "large", 0, asking())
    assert holding.is_as_shown(holding.held_of(draft, holding.Hold(effect, 1, 1)))
