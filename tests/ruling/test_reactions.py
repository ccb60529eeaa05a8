"""Reactions: what committed spans set off, once, whatever happens meanwhile."""

from collections import Counter
from pathlib import Path as Folder
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from lognode.core.codec import decode_value, encode
from lognode.core.draft import Draft
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId
from lognode.core.limits import LAST_TRIED_MAX, REACTION_LACK_S_MAX
from lognode.core.span import PRIVATE, SIMULATED, decode_body, decode_header
from lognode.core.world import World
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.engine.service.ruling import reactions as service
from lognode.engine.service.ruling.reactions import Patience, Reactions
from lognode.engine.tasks import store
from lognode.engine.tasks.work import read_emit
from lognode.rules.document import (
    Always,
    Condition,
    Emit,
    Equals,
    Last,
    Notify,
    Path,
    Reject,
    Rule,
    RuleSet,
    Schedule,
    Template,
    Window,
)
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.records import FIRED, parse_fired
from lognode.timeline.agreement.rules.annotations import rules_in
from lognode.timeline.record import FeedRef, Record, TenantRef
from tests.engine.nodes import Engine, Wall, assert_sound, run_engine

CLIENT = Path(("data", "client"))


def rule(name: str, *actions: Any, condition: Condition | None = None, **said: Any) -> Rule:
    said = {"kinds": ("login",), **said}
    return Rule(name, gate=False, actions=actions, condition=condition or Always(), line=1, **said)


def reactions(engine: Engine, *rules: Rule, monkeypatch: pytest.MonkeyPatch) -> Reactions:
    """Reactions by these rules, whatever was published, from the first span on."""
    held = RuleSet("watch", rules, {}, b"", bytes(32))
    program = compile_rules([held])
    monkeypatch.setattr(engine.writer.programs, "program", lambda *_: program)
    monkeypatch.setattr(engine.writer.programs, "are_there", lambda *_: True)
    monkeypatch.setattr(service, "read_cursor", lambda *_: 0)
    return Reactions(engine.store, engine.writer, engine.heads, engine.standings, Wall().world(), engine.keys.public)


async def settle(engine: Engine, made: Reactions) -> list[Record]:
    """All spans once nothing follows any more."""
    position = -1
    while position != engine.heads.position(engine.tenant.number):
        position = engine.heads.position(engine.tenant.number)
        while await made.react(engine.tenant):
            pass
    return await assert_sound(engine)


def login(client: str, **said: Any) -> Draft:
    return Draft(kind="login", data=encode({"client": client}), **said)


def kinds(records: list[Record]) -> Counter[str]:
    return Counter(decode_header(record.header).kind for record in records)


async def test_a_reaction_emits_a_span_that_names_its_cause_and_its_rule(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = Emit("alarm", title=Template(("failed for ", CLIENT)), data={"who": Template((CLIENT,))}, tags=("hot",))
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", emit), monkeypatch=monkeypatch)
        (receipt,) = await engine.writer.append(engine.tenant, [login("ann")])
        records = await settle(engine, made)
        alarm, fired = records[-2:]
        assert decode_header(alarm.header).caused_by == receipt.id == decode_header(fired.header).caused_by
        assert alarm.body is not None
        body = decode_body(alarm.body)
        assert (body.title, decode_value(body.data), body.tags) == ("failed for ann", {"who": "ann"}, ["hot"])
        assert rules_in(body.annotations) == {"by": ["watch", "tell"], "hops": 1}
        assert fired.body is not None
        told = parse_fired(decode_body(fired.body).data)
        assert [(one.set, one.rule, one.outcome) for one in told.rules] == [("watch", "tell", "fired")]


async def test_each_span_is_reacted_to_once_also_by_whoever_forgot_how_far_it_was(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    records: list[Record] = []
    async with run_engine(tmp_path) as engine:
        for _ in range(3):
            made = reactions(engine, rule("tell", Emit("alarm")), monkeypatch=monkeypatch)
            await engine.writer.append(engine.tenant, [login(str(number)) for number in range(300)])
            records = await settle(engine, made)
        assert kinds(records)["alarm"] == kinds(records)[FIRED] == kinds(records)["login"] == 900
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", Emit("alarm")), monkeypatch=monkeypatch)
        assert len(await settle(engine, made)) == len(records)


async def test_spans_that_set_each_other_off_come_to_an_end_that_is_told(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("again", Emit("login")), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann")])
        records = await settle(engine, made)
        assert 1 < kinds(records)["login"] < 20
        last = [record for record in records if decode_header(record.header).kind == FIRED][-1]
        assert last.body is not None
        assert "in a row" in parse_fired(decode_body(last.body).data).rules[0].error


async def test_a_reaction_counts_what_its_span_knew_and_not_what_came_later(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window("tries", 300_000, CLIENT, ("login",), "count")
    third = Equals(Path(("windows", "tries")), 3)
    async with run_engine(tmp_path) as engine:
        made = reactions(
            engine, rule("third", Emit("alarm"), condition=third, windows=(window,)), monkeypatch=monkeypatch
        )
        receipts = await engine.writer.append(engine.tenant, [login("ann"), login("bob")] * 5)
        records = await settle(engine, made)
        causes = [
            decode_header(record.header).caused_by for record in records if decode_header(record.header).kind == "alarm"
        ]
        assert causes == [receipts[4].id, receipts[5].id]


async def test_what_is_notified_or_scheduled_is_a_task_in_the_same_transaction(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = Schedule("later", Emit("alarm"), after_ms=60_000)
    nightly = Schedule("nightly", Notify(None, "good night"), cron="0 3 * * *")
    async with run_engine(tmp_path) as engine:
        made = reactions(
            engine, rule("tell", Notify("pager", Template(("hey ", CLIENT))), later, nightly), monkeypatch=monkeypatch
        )
        (receipt,) = await engine.writer.append(engine.tenant, [login("ann")])
        await settle(engine, made)
        sql = "SELECT what, cause FROM tasks ORDER BY what"
        tasks = await engine.store.read(lambda conn: conn.execute(sql).fetchall())
        assert tasks == [("emit", receipt.id), ("webhook", receipt.id)]
        found = await engine.store.read(lambda conn: conn.execute("SELECT name, what FROM schedules").fetchall())
        assert found == [("nightly", "journal")]


async def test_trials_set_nothing_off(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", Emit("alarm")), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann", status=SIMULATED)])
        records = await settle(engine, made)
        assert kinds(records)["alarm"] == 0


async def test_a_span_that_a_gate_rule_refuses_is_told_and_the_others_come(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        made = reactions(
            engine,
            rule("tell", Emit("bad"), Emit("good")),
            Rule("no-bad", gate=True, actions=(Reject("no"),), condition=Always(), line=1, kinds=("bad",)),
            monkeypatch=monkeypatch,
        )
        await engine.writer.append(engine.tenant, [login("ann"), login("bob")])
        records = await settle(engine, made)
        assert (kinds(records)["bad"], kinds(records)["good"]) == (0, 2)
        assert kinds(records)[FIRED] == 3  # two of the reaction; of two refusals in one minute the first
        assert not await made.react(engine.tenant)


async def test_a_node_that_may_not_write_looks_again_later_and_loses_nothing(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", Emit("alarm")), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann")])
        tries = 0

        async def refuse(*_: Any, **__: Any) -> list[Receipt]:
            nonlocal tries
            tries += 1
            assert tries < 5, "it asks without end"
            raise AppendStopped([], CallerError("member.observer"))

        with monkeypatch.context() as patch:
            patch.setattr(engine.writer, "append", refuse)
            assert not await made.react(engine.tenant)
        records = await settle(engine, made)
        assert kinds(records)["alarm"] == kinds(records)[FIRED] == 1


async def test_large_effects_of_many_spans_are_written_in_parts(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit = Emit("copy", data={"all": Template((CLIENT,))})
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("copy", emit), monkeypatch=monkeypatch)
        for _ in range(4):
            await engine.writer.append(engine.tenant, [login("x" * 60_000) for _ in range(40)])
        assert kinds(await settle(engine, made))["copy"] == 160


async def test_what_follows_from_a_private_span_is_private_whatever_a_rule_says(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        later = Schedule("later", Emit("leak", visibility="public"), after_ms=60_000)
        made = reactions(engine, rule("tell", Emit("leak", visibility="organization"), later), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann", visibility=PRIVATE)])
        records = await settle(engine, made)
        assert kinds(records)["leak"] == 1
        assert all(record.visibility == PRIVATE for record in records[2:])
        (payload,) = await engine.store.read(lambda conn: conn.execute("SELECT payload FROM tasks").fetchone())
        assert read_emit(payload).visibility == PRIVATE


def test_a_member_that_names_what_never_comes_is_waited_for_once() -> None:
    now_s = 0.0
    patience = Patience(World(lambda: 0, lambda: now_s, bytes))
    liar, line, honest, elsewhere = (
        FeedRef(number, tenant, FeedId(bytes(20)), key * 32, bytes(32), own=False)
        for number, tenant, key in ((1, 1, b"l"), (2, 1, b"l"), (3, 1, b"h"), (4, 2, b"l"))
    )
    assert not patience.is_over(liar)
    now_s += REACTION_LACK_S_MAX
    assert patience.is_over(liar)
    assert patience.is_over(liar)  # of its next span as well
    patience.note_whole(line)
    assert patience.is_over(line)  # of all its feeds, though another of them lacks nothing
    assert not patience.is_over(elsewhere)
    assert not patience.is_over(honest)
    patience.note_whole(liar)
    assert not patience.is_over(liar)


async def test_what_is_waited_for_is_looked_at_again_though_nothing_arrives(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", Emit("alarm")), monkeypatch=monkeypatch)
        looks = 0

        async def react(_tenant: TenantRef) -> bool:
            nonlocal looks
            looks += 1
            made.is_waiting = True
            return False

        monkeypatch.setattr(made, "react", react)
        with trio.move_on_after(60):
            await made.run()
        assert looks > 3


async def test_the_newest_span_of_a_subject_is_found_also_once_many_follow(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = Last("account", CLIENT, ("account",))
    is_open = Equals(Path(("last", "account", "data", "state")), "open")

    def account(state: str) -> Draft:
        return Draft(kind="account", subject="ann", data=encode({"state": state}))

    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", Emit("alarm"), condition=is_open, last=(last,)), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [account("open"), login("ann")])
        await engine.writer.append(engine.tenant, [account("shut")] * (LAST_TRIED_MAX + 1))
        assert kinds(await settle(engine, made))["alarm"] == 1


async def test_where_too_many_tasks_wait_spans_wait_to_be_reacted_to(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "TASKS_WAITING_MAX", 5)
    monkeypatch.setattr(service, "REACTION_DRAFTS", 5)
    later = Schedule("later", Emit("alarm"), after_ms=60_000)
    count = "SELECT count(*) FROM tasks"
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", later), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann")] * 20)
        await settle(engine, made)
        assert made.is_waiting
        assert 5 <= await engine.store.read(lambda conn: conn.execute(count).fetchone()[0]) < 10
        for _ in range(5):
            await engine.store.write(lambda conn: conn.execute("UPDATE tasks SET state = 'done', ended_ms = 1"))
            await settle(engine, made)
        assert await engine.store.read(lambda conn: conn.execute(count).fetchone()[0]) == 20


async def test_rules_make_no_more_schedules_than_a_tenant_may_have_and_what_lacks_room_is_told(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SCHEDULES_MAX", 3)
    nightly = Schedule(Template(("of ", CLIENT)), Notify(None, "good night"), cron="0 3 * * *")
    names = "SELECT name FROM schedules ORDER BY name"
    async with run_engine(tmp_path) as engine:
        made = reactions(engine, rule("tell", nightly), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login(name) for name in "ab"])
        await settle(engine, made)
        await engine.writer.append(engine.tenant, [login(name) for name in "abcde"])
        records = await settle(engine, made)
        held = await engine.store.read(lambda conn: [name for (name,) in conn.execute(names)])
        assert held == ["of a", "of b", "of c"]
        told = [parse_fired(decode_body(one.body or b"").data) for one in records[-5:]]
        assert [bool(one.rules[0].error) for one in told] == [False, False, False, True, True]
        assert "Too many schedules" in told[-1].rules[0].error
