"""Decisions that are recomputed: an honest node's come out the same everywhere, a liar's are found and named."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lognode.core.access import Level
from lognode.core.clock import Clock
from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.ids import b32encode
from lognode.core.span import SIMULATED, decode_body, decode_header
from lognode.engine.receipt import AppendStopped
from lognode.engine.ruling import judging, reacting, telling
from lognode.engine.ruling.gating import Judged
from lognode.engine.ruling.hindsight.reasons import HELD_LESS, NOT_WHOLE, UNTOLD
from lognode.engine.service.ruling import gate
from lognode.timeline.agreement.rules.annotations import rules_in
from lognode.timeline.control.members import member_level_data
from lognode.timeline.record import Record
from tests.engine.nodes import Engine, Wall, run_engine
from tests.engine.pairs import admit, hand_over, ranges_of, two_nodes
from tests.ruling.published import find, publish, recheck_all, rechecking, settle

RULES = """
rules: guard
do:
  - id: mark
    on: draft
    kinds: [login]
    windows: {tries: {over: 5m, by: data.client}}
    last: {account: {subject: data.client, kinds: [account]}}
    if:
      any:
        - greater_than: {windows.tries: 2}
        - equals: {last.account.data.state: odd}
    then:
      - add_tag: often
      - set_metadata: {tries: "{windows.tries}"}
  - id: trial
    on: draft
    kinds: [login]
    depends_on: [mark]
    if: {equals: {data.client: eve}}
    then: [{simulate: "only a trial"}]
  - id: never
    on: draft
    kinds: [login]
    if: {equals: {data.client: mallory}}
    then: [{reject: "not you"}]
  - id: alarm
    on: commit
    kinds: [login]
    if: {contains_tag: often}
    then: [{emit: {kind: alarm, title: "{data.client} again", data: {tries: "{windows.seen}"}}}]
    windows: {seen: {over: 5m, by: data.client}}
"""


def login(client: str, **said: Any) -> Draft:
    return Draft(kind="login", data=encode({"client": client}), **said)


def account(client: str, state: str) -> Draft:
    return Draft(kind="account", subject=client, data=encode({"state": state}))


def is_noted(record: Record, name: str) -> bool:
    return record.body is not None and bool(rules_in(decode_body(record.body).annotations).get(name))


async def test_what_a_node_decided_comes_out_the_same_again(tmp_path: Path) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        await engine.writer.append(engine.tenant, [login("ann")])
        await publish(engine, RULES)
        for client in ("ann", "bob", "eve", "ann", "eve"):
            await engine.writer.append(engine.tenant, [login(client), login(client), account("bob", "odd")])
            await settle(engine)
        wall.ms += 300_000
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [login("bob"), login("mallory")])
        await settle(engine)
        found = await recheck_all(engine)
        assert Counter(one.answer for one in found.values()) == {"same": len(found)}
        tagged = await find(engine, lambda one: is_noted(one, "tags"))
        trials = await find(engine, lambda one: decode_header(one.header).status == SIMULATED)
        alarms = await find(engine, lambda one: decode_header(one.header).kind == "alarm")
        assert (len(tagged), len(trials), len(alarms)) == (8, 2, 6)


async def test_trials_are_nothing_that_later_spans_read_of_a_subject_in_one_commit_or_in_two(tmp_path: Path) -> None:
    async with run_engine(tmp_path) as engine:
        await publish(engine, RULES)
        trial = msgspec.structs.replace(account("ann", "odd"), status=SIMULATED)
        one, other = await engine.writer.append(engine.tenant, [trial, login("ann")])
        (later,) = await engine.writer.append(engine.tenant, [login("ann")])
        found = await recheck_all(engine)
        assert [found[b32encode(receipt.id)].answer for receipt in (one, other, later)] == ["same"] * 3
        tagged = await find(engine, lambda record: is_noted(record, "tags"))
        assert tagged == []


async def swap(one: Engine, other: Engine, theirs: Any) -> None:
    await hand_over(one, other, one.tenant, theirs)
    await hand_over(other, one, theirs, one.tenant)


@pytest.mark.parametrize("lie", ["hides a tag", "adds a tag", "counts otherwise", "judges nothing", "hides its firing"])
async def test_a_node_that_lies_about_its_gate_is_found_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    async with two_nodes(tmp_path) as (one, other, theirs):
        await admit(one, other)
        await publish(one, RULES)
        await one.writer.append(one.tenant, [login("ann"), login("ann"), account("bob", "odd")])
        await swap(one, other, theirs)
        (honest,) = await other.writer.append(theirs, [login("ann")])
        with monkeypatch.context() as patch:
            _lie(patch, lie)
            (told,) = await other.writer.append(theirs, [login("bob" if lie != "judges nothing" else "mallory")])
        await swap(one, other, theirs)
        for engine, tenant in ((one, one.tenant), (other, theirs)):
            found = await engine.store.read(rechecking(engine).recheck, tenant, told.id)
            assert found.answer == "altered"
            assert set(found.altered) == {other.keys.public}
            assert all(difference.said != difference.due for difference in found.altered[other.keys.public])
            found = await engine.store.read(rechecking(engine).recheck, tenant, honest.id)
            assert (found.answer, found.lacks) == ("withheld", (UNTOLD,))
        await settle(other, theirs)
        await swap(one, other, theirs)
        found = await one.store.read(rechecking(one).recheck, one.tenant, honest.id)
        assert found.answer == "same"


def _lie(patch: pytest.MonkeyPatch, lie: str) -> None:
    """Have the gate of every node note something else than its rules said."""
    said = telling.annotations_said

    def otherwise(*args: Any) -> dict[str, Any]:
        noted = said(*args)
        if lie == "hides a tag":
            noted.pop("tags")
        elif lie == "adds a tag":
            noted["tags"] = [*noted["tags"], "vip"]
        elif lie == "counts otherwise":
            noted["metadata"] = {"tries": 99}
        return noted

    patch.setattr(judging, "annotations_said", otherwise)
    if lie == "judges nothing":
        patch.setattr(judging.Judging, "judge", lambda _self, draft, _before: Judged(draft, None, None))
    if lie == "hides its firing":
        patch.setattr(judging, "is_told", lambda _decision: False)


async def test_a_node_that_lies_about_its_reactions_is_found_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_nodes(tmp_path) as (one, other, theirs):
        await admit(one, other)
        await publish(one, RULES)
        await swap(one, other, theirs)
        receipts = await other.writer.append(theirs, [login("ann")] * 4)
        emitted = reacting._emitted
        with monkeypatch.context() as patch:

            def otherwise(*args: Any) -> Draft:
                draft = emitted(*args)
                return msgspec.structs.replace(draft, title="all is well")

            patch.setattr(reacting, "_emitted", otherwise)
            await settle(other, theirs)
        await swap(one, other, theirs)
        answers = [await one.store.read(rechecking(one).recheck, one.tenant, receipt.id) for receipt in receipts]
        assert [found.answer for found in answers] == ["same", "same", "altered", "altered"]
        ((key, differences),) = answers[-1].altered.items()
        assert key == other.keys.public
        assert [one.said for one in differences] == ["another content"]


async def test_who_reacts_to_spans_of_others_is_not_accused_since_it_may_have_held_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = (
        "rules: all\ndo:\n  - id: each\n    on: commit\n    run: each\n    kinds: [login]\n    then: [{note: seen}]\n"
    )
    async with two_nodes(tmp_path) as (one, other, theirs):
        await admit(one, other)
        await publish(one, rules)
        await swap(one, other, theirs)
        (receipt,) = await other.writer.append(theirs, [login("ann")])
        await settle(other, theirs)
        await swap(one, other, theirs)
        with monkeypatch.context() as patch:
            told = telling.firing_of
            patch.setattr(
                reacting, "firing_of", lambda *a, **s: msgspec.structs.replace(told(*a, **s), verdict="reject")
            )
            await settle(one)
        found = await one.store.read(rechecking(one).recheck, one.tenant, receipt.id)
        assert (found.answer, found.lacks, found.altered) == ("withheld", (HELD_LESS,), {})


async def test_levels_are_those_that_a_node_had_named_and_who_reads_another_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = (
        "rules: levels\ndo:\n  - id: trusted\n    on: draft\n    kinds: [login]\n"
        "    if: {equals: {level: trusted}}\n    then: [{add_tag: by-trusted}]\n"
    )
    async with two_nodes(tmp_path) as (one, other, theirs):
        await admit(one, other)
        await publish(one, rules)
        await swap(one, other, theirs)
        (before,) = await other.writer.append(theirs, [login("ann")])
        key = other.keys.public
        await one.writer.append_control(
            one.tenant, "member.level", lambda _, after: member_level_data(after, key, Level.ROOT, [])
        )
        await swap(one, other, theirs)
        (after,) = await other.writer.append(theirs, [login("ann")])
        with monkeypatch.context() as patch:
            patch.setattr(gate, "level_named", lambda *_: Level.TRUSTED)
            (lie,) = await other.writer.append(theirs, [login("ann")])
        await swap(one, other, theirs)
        tagged = await find(one, lambda record: is_noted(record, "tags"))
        assert set(tagged) == {before.id, lie.id}
        for engine, tenant in ((one, one.tenant), (other, theirs)):
            again = rechecking(engine).recheck
            found = [await engine.store.read(again, tenant, receipt.id) for receipt in (before, after, lie)]
            assert [span.answer for span in found] == ["same", "same", "altered"]
            assert set(found[-1].altered) == {key}


async def test_nobody_is_accused_by_who_does_not_hold_all_that_was_read(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, other, theirs):
        await admit(one, other)
        await publish(one, RULES)
        await swap(one, other, theirs)
        early = await ranges_of(one, one.tenant, Clock({}))
        await one.writer.append(one.tenant, [login("ann"), login("ann")])
        await swap(one, other, theirs)
        (receipt,) = await other.writer.append(theirs, [login("ann")])
        (folder := tmp_path / "c").mkdir()
        async with run_engine(folder, seed=bytes(range(2, 34))) as third:
            ours = await third.writer.adopt_tenant(one.tenant.tenant_id, "theirs")
            ranges = [part for part in await ranges_of(other, theirs, Clock({})) if part.feed == receipt.feed]
            await third.writer.ingest(ours, [*early, *ranges])
            found = await third.store.read(rechecking(third).recheck, ours, receipt.id)
            assert (found.answer, found.lacks) == ("withheld", (NOT_WHOLE,))
            await hand_over(one, third, one.tenant, ours)
            await settle(other, theirs)
            await hand_over(other, third, theirs, ours)
            found = await third.store.read(rechecking(third).recheck, ours, receipt.id)
            assert found.answer == "same"
