"""Drafts that wait for approval: kept with the firing that tells of them, and written, or not, exactly once."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as Folder
from typing import NamedTuple

import pytest

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.draft import Draft, idem_key
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import HELD_JSON_BYTES_MAX
from lognode.core.span import PRIVATE, decode_body, decode_header
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.engine.service.ruling.approvals import ending
from lognode.engine.service.ruling.approvals.answering import Answering, Request
from lognode.engine.service.ruling.approvals.ending import Waiting
from lognode.rules.document import Action, GreaterThan, Path, Reject, RequireApproval, Rule, RuleSet
from lognode.rules.evaluation.program import compile_rules
from lognode.timeline.agreement.rules.annotations import rules_in
from lognode.timeline.record import Record, TenantRef
from lognode.timeline.store.rules.held import HeldDraft, find_held, held_rows, read_waiting
from tests.engine.nodes import Engine, Wall, all_records, assert_sound, run_engine
from tests.engine.pairs import admit, hand_over, two_nodes

AMOUNT = Path(("data", "amount"))
DAY_MS = 86_400_000


def asking(of: int = 1, within_ms: int = DAY_MS) -> RequireApproval:
    return RequireApproval("root", of, within_ms, "much money")


def enforce(engine: Engine, monkeypatch: pytest.MonkeyPatch, *actions: Action) -> None:
    """Have one rule be in force about large payments, whatever was published."""
    rule = Rule("large", gate=True, actions=actions, condition=GreaterThan(AMOUNT, 100), line=1, kinds=("payment",))
    program = compile_rules([RuleSet("limit", (rule,), {}, b"", bytes(32))])
    monkeypatch.setattr(engine.writer.programs, "program", lambda *_: program)
    monkeypatch.setattr(engine.writer.programs, "are_there", lambda *_: True)


def payment(amount: int, **said: object) -> Draft:
    return Draft(kind="payment", data=encode({"amount": amount}), **said)  # type: ignore[arg-type]


def key_of(engine: Engine, key: str) -> bytes:
    return idem_key(engine.tenant.tenant_id, bytes(33), key)


class Desk(NamedTuple):
    """What a node does about approvals."""

    answering: Answering
    waiting: Waiting
    tenant: TenantRef

    async def grant(self, firing: SpanId, note: str = "") -> Request:
        return (await self.answering.answer(self.tenant, firing, note, is_denial=False))[0]

    async def deny(self, firing: SpanId, note: str = "") -> Request:
        return (await self.answering.answer(self.tenant, firing, note, is_denial=True))[0]

    async def find(self, firing: SpanId) -> Request:
        return await self.answering.find(self.tenant, firing)

    async def look(self) -> None:
        await self.waiting.look(self.tenant)


def desk(engine: Engine, tenant: TenantRef, wall: Wall) -> Desk:
    world, key = wall.world(), engine.keys.public
    answering = Answering(engine.store, engine.writer, world, key)
    return Desk(answering, Waiting(engine.store, engine.writer, engine.heads, engine.standings, world, key), tenant)


async def hold(engine: Engine, draft: Draft) -> Receipt:
    (receipt,) = await engine.writer.append(engine.tenant, [draft])
    assert receipt.held
    return receipt


async def payments(engine: Engine) -> list[Record]:
    return [one for one in await assert_sound(engine) if decode_header(one.header).kind == "payment"]


async def waiting(engine: Engine) -> list[HeldDraft]:
    return await engine.store.read(read_waiting, engine.tenant, set())


@asynccontextmanager
async def federation(
    folder: Folder, wall: Wall, level: Level = Level.ROOT
) -> AsyncIterator[tuple[Engine, Engine, TenantRef]]:
    """A founder, and another node that is a member."""
    async with two_nodes(folder, wall) as (one, other, theirs):
        await admit(one, other, level)
        await hand_over(one, other, one.tenant, theirs)
        yield one, other, theirs


async def test_a_draft_waits_beside_others_that_are_written_and_a_repeat_waits_no_second_time(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(engine, monkeypatch, asking())
        key = key_of(engine, "large")
        call = [payment(1), payment(900, idem=key), payment(2), payment(900, idem=key)]
        receipts = await engine.writer.append(engine.tenant, call)
        assert [one.held for one in receipts] == [False, True, False, True]
        assert [one.duplicate for one in receipts] == [False, False, False, True]
        assert len({one.id for one in receipts}) == 3
        assert len(await payments(engine)) == 2
        again = await hold(engine, payment(900, idem=key))
        assert (again.id, again.duplicate, again.checkpoint_size) == (receipts[1].id, True, receipts[1].checkpoint_size)
        with pytest.raises(AppendStopped) as stopped:
            await engine.writer.append(engine.tenant, [payment(901, idem=key)])
        assert stopped.value.error.code == "idempotency.mismatch"
        (held,) = await waiting(engine)
        assert (held.span, held.rule_set, held.rule, held.role, held.needed) == (again.id, "limit", "large", "root", 1)


async def test_what_one_node_wants_and_another_approves_is_written_with_who_approved(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking())
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        draft = payment(900, title="bribe", tags=("own",), idem=key_of(one, "bribe"))
        firing = (await hold(one, draft)).id
        await hand_over(one, other, one.tenant, theirs)
        asked = await their.find(firing)
        assert (asked.state, asked.node_key) == ("waiting", one.keys.public)
        assert asked.fired.held is not None
        assert asked.fired.held.draft == (
            '{"kind":"payment","title":"bribe","data":{"amount":900},"tags":["own"],'
            '"visibility":"organization","status":"executed"}'
        )
        (page,) = (await their.answering.page(theirs, None, 10)).requests
        assert page == asked
        await their.grant(firing, "go on")
        await ours.look()
        assert await waiting(one)
        await hand_over(other, one, theirs, one.tenant)
        await ours.look()
        (written,) = await payments(one)
        assert written.body is not None
        body = decode_body(written.body)
        assert (body.title, body.tags, body.idem) == ("bribe", ["own"], draft.idem)
        said = rules_in(body.annotations)["approval"]
        (answer,) = (await ours.find(firing)).answers
        assert said == {"of": b32encode(firing), "by": [b32encode(answer.span)], "roles": ["root"]}
        assert (answer.node_key, answer.note) == (other.keys.public, "go on")
        await hand_over(one, other, one.tenant, theirs)
        for found in (await ours.find(firing), await their.find(firing)):
            assert found.state == "written"
            assert found.counted == {answer.span}
            assert found.span is not None
        assert await waiting(one) == []
        (repeated,) = await one.writer.append(one.tenant, [draft])
        assert (repeated.duplicate, repeated.held, repeated.position) == (True, False, written.position)
        for _ in range(2):
            await ours.look()
        assert len(await payments(one)) == 1


async def test_a_denial_ends_the_waiting_and_so_does_the_node_that_wanted_it(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking(2))
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        first, second = [(await hold(one, payment(amount))).id for amount in (900, 901)]
        with pytest.raises(CallerError) as refused:
            await ours.grant(first)
        assert refused.value.code == "approval.own"
        await hand_over(one, other, one.tenant, theirs)
        await their.grant(first)
        await their.deny(first, "second thoughts")
        await ours.deny(second, "no more")
        await hand_over(other, one, theirs, one.tenant)
        await ours.look()
        assert [(await ours.find(one)).state for one in (first, second)] == ["denied", "denied"]
        assert await payments(one) == []
        await hand_over(one, other, one.tenant, theirs)
        with pytest.raises(CallerError) as refused:
            await their.grant(second)
        assert refused.value.code == "approval.decided"


async def test_what_nobody_approves_in_time_expires_and_late_approvals_do_nothing(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking(1, within_ms=60_000))
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        firing = (await hold(one, payment(900))).id
        await hand_over(one, other, one.tenant, theirs)
        await ours.look()
        await their.grant(firing)
        wall.ms += 60_000
        await hand_over(other, one, theirs, one.tenant)
        await ours.look()
        assert (await ours.find(firing)).state == "expired"
        assert (await their.find(firing)).state == "expired"
        assert await payments(one) == []
        held = await one.store.read(find_held, one.tenant, firing)
        assert held is not None
        assert (held.state, held.ended_ms, held.draft) == ("expired", wall.ms, b"")
        with pytest.raises(CallerError) as refused:
            await their.deny(firing)
        assert refused.value.code == "approval.decided"


async def test_only_root_members_approve_and_one_that_is_root_no_more_does_not_count(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    async with federation(tmp_path, wall, Level.TRUSTED) as (one, other, theirs):
        enforce(one, monkeypatch, asking(1))
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        firing = (await hold(one, payment(900))).id
        await hand_over(one, other, one.tenant, theirs)
        for answer in (their.grant, their.deny):
            with pytest.raises(CallerError) as refused:
                await answer(firing)
            assert refused.value.code == "member.not_root"
        await other.writer.append(theirs, [Draft(kind="rule.approve", caused_by=firing)])
        await hand_over(other, one, theirs, one.tenant)
        await ours.look()
        assert (await ours.find(firing)).counted == frozenset()
        assert await payments(one) == []
        await ours.grant(firing)  # one is enough, and this node is root
        await ours.look()
        assert len(await payments(one)) == 1


async def test_rules_of_the_day_of_approval_decide(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = Wall()
    async with federation(tmp_path, wall) as (one, other, theirs):
        enforce(one, monkeypatch, asking(1))
        ours, their = desk(one, one.tenant, wall), desk(other, theirs, wall)
        first, second = [(await hold(one, payment(amount))).id for amount in (900, 901)]
        await hand_over(one, other, one.tenant, theirs)
        await their.grant(first)
        await hand_over(other, one, theirs, one.tenant)
        enforce(one, monkeypatch, asking(2))
        await ours.look()
        assert {held.span: held.needed for held in await waiting(one)} == {first: 2, second: 1}
        enforce(one, monkeypatch, Reject("no money left"))
        await their.grant(second)
        await hand_over(other, one, theirs, one.tenant)
        await ours.look()
        assert (await ours.find(second)).state == "rejected"
        assert await payments(one) == []


@pytest.mark.parametrize("commits", [True, False])
async def test_a_commit_whose_end_is_unknown_writes_an_approved_draft_once(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch, *, commits: bool
) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        enforce(engine, monkeypatch, asking(1))
        ours = desk(engine, engine.tenant, wall)
        firing = (await hold(engine, payment(900))).id
        await ours.grant(firing)
        apply = engine.writer._commit

        async def die(steps: object) -> None:
            if commits:
                await apply(steps)  # type: ignore[arg-type]
            raise NodeFault("writer.failed", "killed")

        monkeypatch.setattr(engine.writer, "_commit", die)
        with pytest.raises(NodeFault):
            await ours.look()
    async with run_engine(tmp_path, wall) as engine:
        enforce(engine, monkeypatch, asking(1))
        ours = desk(engine, engine.tenant, wall)
        for _ in range(2):
            await ours.look()
        assert len(await payments(engine)) == 1
        assert (await ours.find(firing)).state == "written"


async def test_an_older_database_writes_nothing_twice(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        enforce(engine, monkeypatch, asking(1))
        ours = desk(engine, engine.tenant, wall)
        firing = (await hold(engine, payment(900))).id
        (row,) = await waiting(engine)
        await ours.grant(firing)
        await ours.look()
        assert len(await payments(engine)) == 1

        def forget(conn: sqlite3.Connection) -> None:
            marks = ", ".join("?" * 12)
            conn.execute(f"INSERT OR REPLACE INTO held VALUES ({marks})", held_rows([row])["held"])

        await engine.store.write(forget)
        fresh = desk(engine, engine.tenant, wall)
        await fresh.look()
        assert len(await payments(engine)) == 1
        assert await waiting(engine) == []


async def test_what_is_too_large_to_be_shown_is_refused_and_private_drafts_wait_in_private(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(engine, monkeypatch, asking(1))
        data = encode({"amount": 900, "why": "x" * HELD_JSON_BYTES_MAX})
        with pytest.raises(AppendStopped) as stopped:
            await engine.writer.append(engine.tenant, [Draft(kind="payment", data=data)])
        assert stopped.value.error.code == "draft.too_large"
        receipt = await hold(engine, payment(900, visibility=PRIVATE))
        records = await engine.store.read(all_records)
        assert records[receipt.position - 1].visibility == PRIVATE


async def test_no_more_drafts_wait_than_people_can_look_at(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(engine, monkeypatch, asking(1))
        monkeypatch.setattr("lognode.engine.service.ruling.gate.HELD_WAITING_MAX", 3)
        assert all(one.held for one in await engine.writer.append(engine.tenant, [payment(900)] * 2))
        with pytest.raises(AppendStopped) as stopped:
            await engine.writer.append(engine.tenant, [payment(1), payment(900), payment(900)])
        assert stopped.value.error.code == "approval.too_many"
        assert [one.held for one in stopped.value.receipts] == [False, True]
        assert len(await waiting(engine)) == 3


async def test_a_damaged_row_stops_no_other_draft(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one is left where it is, for people to look at; it is reported once."""
    async with run_engine(tmp_path, wall := Wall()) as engine:
        enforce(engine, monkeypatch, asking())
        one = desk(engine, engine.tenant, wall)
        damaged, sound, lost = [await hold(engine, payment(amount)) for amount in (700, 800, 900)]
        flip = "UPDATE held SET expires_ms = expires_ms - 1 WHERE span = ?"
        await engine.store.write(lambda conn: conn.execute(flip, (damaged.id,)).close())
        await engine.store.write(lambda conn: conn.execute("DROP TRIGGER bodies_are_never_changed").close())
        gone = "UPDATE bodies SET body = zeroblob(9) WHERE row = (SELECT row FROM spans WHERE hlc = ?)"
        hlc = int.from_bytes(lost.id[:8], "big")
        await engine.store.write(lambda conn: conn.execute(gone, (hlc,)).close())
        reported = list[str]()
        monkeypatch.setattr(ending._log, "error", lambda event, **_: reported.append(event))
        await one.grant(sound.id)
        await one.look()
        await one.look()
        assert len([one for one in await engine.store.read(all_records) if kind_of(one) == "payment"]) == 1
        assert reported == ["approval_damaged"]
        wall.ms += 2 * DAY_MS
        await one.look()  # neither has its deadline looked at again and again
        assert one.waiting._seen[engine.tenant.number].deadline_ms == float("inf")


def kind_of(record: Record) -> str:
    return decode_header(record.header).kind
