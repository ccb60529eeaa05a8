"""The gate in the writer: drafts are judged by what is in force, and what came of them is told."""

from collections.abc import Sequence
from pathlib import Path as Folder
from typing import Any

import pytest

from lognode.core.access import Level
from lognode.core.codec import encode
from lognode.core.draft import Draft, idem_key
from lognode.core.errors import CallerError
from lognode.core.limits import LAST_TRIED_MAX
from lognode.core.span import PRIVATE, SIMULATED, decode_body, decode_header
from lognode.engine.receipt import AppendStopped
from lognode.engine.ruling import strands
from lognode.engine.ruling.rejections import Rejecting
from lognode.engine.service.ruling import gate as gating
from lognode.engine.service.ruling import past
from lognode.engine.service.ruling.rejected import RejectionTeller
from lognode.engine.service.writing import windows
from lognode.engine.service.writing.rehearsal import Rehearsal
from lognode.rules.document import (
    Action,
    AddTag,
    Always,
    Condition,
    ContainsTag,
    Equals,
    GreaterThan,
    Last,
    Note,
    Path,
    Reject,
    Rule,
    RuleSet,
    SetMetadata,
    Simulate,
    Window,
)
from lognode.rules.evaluation import samples
from lognode.rules.evaluation.program import compile_rules
from lognode.rules.records import FIRED, Fired, parse_fired
from lognode.timeline.agreement.rules.annotations import rules_in
from lognode.timeline.query import Query
from lognode.timeline.record import Record, TenantRef
from lognode.timeline.store.read.pages import select_page
from lognode.timeline.store.write import load_tenant
from tests.engine.nodes import Engine, Wall, assert_sound, run_engine
from tests.engine.pairs import admit, hand_over, two_nodes
from tests.ruling.published import publish

CLIENT = Path(("data", "client"))
FAILED = Path(("data", "failed"))


def rule(name: str, condition: Condition, *actions: Action, kinds: tuple[str, ...] = ("login",), **said: Any) -> Rule:
    return Rule(name, gate=True, actions=actions, condition=condition, line=1, kinds=kinds, **said)


def enforce(engine: Engine, *rules: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have these rules be in force whatever was published."""
    held = RuleSet("guard", rules, {}, b"", bytes(32))
    program = compile_rules([held])
    monkeypatch.setattr(engine.writer.programs, "program", lambda *_: program)


def login(client: str, **said: Any) -> Draft:
    return Draft(kind="login", data=encode({"client": client}), **said)


async def told(engine: Engine) -> list[tuple[Record, Fired]]:
    records = await assert_sound(engine)
    found = [(one, decode_header(one.header), one.body) for one in records]
    return [(one, parse_fired(decode_body(body).data)) for one, header, body in found if header.kind == FIRED and body]


def rules_noted(record: Record) -> Any:
    assert record.body is not None
    return rules_in(decode_body(record.body).annotations)


async def test_a_rejected_draft_ends_its_call_and_is_told_once_a_minute(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    wall.ms -= wall.ms % 60_000
    async with run_engine(tmp_path, wall) as engine:
        enforce(engine, rule("no-bob", Equals(CLIENT, "bob"), Reject("go away")), monkeypatch=monkeypatch)
        calls: list[Sequence[Draft]] = [[login("ann"), login("bob"), login("eve")], [login("bob")], [login("bob")]]
        for call in calls:
            with pytest.raises(AppendStopped) as stopped:
                await engine.writer.append(engine.tenant, call)
            assert (stopped.value.error.code, stopped.value.error.detail) == ("rule.rejected", "go away")
            assert stopped.value.error.place == "guard/no-bob"
            assert len(stopped.value.receipts) == len(call) // 2
        ((record, fired),) = await told(engine)
        assert decode_header(record.header).caused_by is None
        assert (fired.verdict, fired.on, fired.count) == ("reject", "draft", 1)
        assert fired.rules[0].inputs == {"data.client": "bob"}

        wall.ms += 60_000
        await engine.writer.append(engine.tenant, [login("ann")])
        await RejectionTeller(engine.writer, engine.store, wall.world()).tell()
        assert [one.count for _, one in await told(engine)] == [1, 2]


async def test_what_is_told_of_private_drafts_is_private_also_where_it_is_counted(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall()
    wall.ms -= wall.ms % 60_000
    async with run_engine(tmp_path, wall) as engine:
        enforce(engine, rule("no-bob", Equals(CLIENT, "bob"), Reject("go away")), monkeypatch=monkeypatch)
        for draft in [login("bob", visibility=PRIVATE)] * 3 + [login("bob")] * 2:
            with pytest.raises(AppendStopped):
                await engine.writer.append(engine.tenant, [draft])
        wall.ms += 60_000
        await RejectionTeller(engine.writer, engine.store, wall.world()).tell()
        firings = await told(engine)
        assert [(one.count, record.visibility == PRIVATE) for record, one in firings] == [
            (1, True),
            (1, False),
            (2, True),
            (1, False),
        ]


async def test_what_rules_add_stands_beside_what_the_author_said_and_finds_the_span(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(
            engine,
            rule("mark", Always(), AddTag(("seen",)), SetMetadata((("risk", 3),)), priority=1),
            rule("again", ContainsTag("seen"), Note("twice")),
            monkeypatch=monkeypatch,
        )
        receipts = await engine.writer.append(engine.tenant, [login("ann", tags=("own",))] * 2)
        page = await engine.store.read(select_page, engine.tenant, engine.store.feeds, Query(tags=("seen",)))
        assert [one.seq for one in page.records] == [receipt.seq for receipt in reversed(receipts)]
        noted = rules_noted(page.records[0])
        assert noted["tags"] == ["seen"]
        assert noted["metadata"] == {"risk": 3}
        assert noted["notes"] == ["twice"]
        assert noted["fired"] == [["guard", "mark"], ["guard", "again"]]
        firings = await told(engine)
        assert [decode_header(record.header).caused_by for record, _ in firings] == [one.id for one in receipts]


async def test_a_simulated_draft_keeps_its_key(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(engine, rule("try", Always(), Simulate("first a trial")), monkeypatch=monkeypatch)
        key = idem_key(engine.tenant.tenant_id, bytes(32), "key")
        (first,) = await engine.writer.append(engine.tenant, [login("ann", idem=key)])
        (again,) = await engine.writer.append(engine.tenant, [login("ann", idem=key)])
        assert again.duplicate
        assert again.id == first.id
        records = await assert_sound(engine)
        assert decode_header(records[first.position - 1].header).status == SIMULATED


async def test_a_trial_of_its_author_keeps_its_key_where_a_rule_wants_a_trial_too(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(engine, rule("try", Always(), Simulate("first a trial")), monkeypatch=monkeypatch)
        key = idem_key(engine.tenant.tenant_id, bytes(32), "key")
        draft = login("ann", idem=key, status=SIMULATED)
        (first,) = await engine.writer.append(engine.tenant, [draft])
        (again,) = await engine.writer.append(engine.tenant, [draft])
        assert again.duplicate
        assert again.id == first.id


async def test_windows_count_what_is_stored_and_what_stands_before_in_the_commit(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window("tries", 300_000, CLIENT, ("login",), "count")
    too_many = rule("many", GreaterThan(Path(("windows", "tries")), 3), Reject("enough"), windows=(window,))
    wall = Wall()
    async with run_engine(tmp_path, wall) as engine:
        enforce(engine, too_many, monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann"), login("bob")])
        await engine.writer.append(engine.tenant, [login("ann", visibility=PRIVATE)])
        with pytest.raises(AppendStopped) as stopped:
            await engine.writer.append(engine.tenant, [login("ann")] * 5)
        assert len(stopped.value.receipts) == 2
        wall.ms += 300_001
        await engine.writer.append(engine.tenant, [login("ann")])
    async with run_engine(tmp_path, wall) as engine:
        enforce(engine, too_many, monkeypatch=monkeypatch)
        with pytest.raises(AppendStopped) as stopped:
            await engine.writer.append(engine.tenant, [login("ann")] * 5)
        assert len(stopped.value.receipts) == 2


async def test_a_limit_holds_also_where_a_window_holds_more_than_is_looked_at(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strands, "WINDOW_COUNTED_MAX", 20)
    monkeypatch.setattr(strands, "WINDOW_MEASURED_MAX", 20)
    monkeypatch.setattr(windows, "WINDOW_MEASURED_MAX", 20)
    window = Window("tries", 300_000, CLIENT, ("try",), "count")
    too_many = rule("many", GreaterThan(Path(("windows", "tries")), 10), Reject("enough"), windows=(window,))
    async with run_engine(tmp_path) as engine:
        enforce(engine, too_many, monkeypatch=monkeypatch)
        tries = [Draft(kind="try", data=encode({"client": "ann"}))] * 30
        for _ in range(2):
            with pytest.raises(AppendStopped) as stopped:
                await engine.writer.append(engine.tenant, [*tries, login("ann")])
            assert len(stopped.value.receipts) == len(tries)
        await engine.writer.append(engine.tenant, [login("bob")])


async def test_what_a_node_writes_by_itself_counts_in_its_own_commit_as_it_does_later(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window("dead", 300_000, CLIENT, ("task.dead",), "count")
    too_many = rule("many", GreaterThan(Path(("windows", "dead")), 1), Reject("enough"), windows=(window,))
    async with run_engine(tmp_path) as engine:
        enforce(engine, too_many, monkeypatch=monkeypatch)
        dead = Draft(kind="task.dead", data=encode({"client": "ann"}))
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [dead, dead, login("ann")])


async def test_a_rehearsal_by_what_is_past_changes_nothing_of_what_the_gate_knows(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window("tries", 300_000, CLIENT, ("login",), "count")
    too_many = rule("many", GreaterThan(Path(("windows", "tries")), 2), Reject("enough"), windows=(window,))
    pasts: list[int] = []

    def named(_conn: Any, _feeds: Any, feed: int, _seq: int) -> dict[int, int]:
        pasts.append(len(pasts))
        return {feed: 0, 99: len(pasts)}

    async with run_engine(tmp_path) as engine:
        enforce(engine, too_many, monkeypatch=monkeypatch)
        monkeypatch.setattr(gating, "named_past", named)
        wall, gate = Wall(), engine.writer.gate
        before = await engine.store.write(load_tenant, engine.tenant)
        with monkeypatch.context() as patch:
            patch.setattr(engine.writer.programs, "are_there", lambda *_: False)
            await engine.writer.append(engine.tenant, [login("ann"), login("ann")])
        assert await gate.rehearse(before, [login("bob")], Level.ROOT, wall.ms) == ([False], None)
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [login("ann")])
        assert len(pasts) == 2


async def test_the_newest_span_of_a_subject_may_stand_in_the_same_commit(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = Last("account", CLIENT, ("account",))
    state = Path(("last", "account", "data", "state"))
    shut = rule("shut", Equals(state, "shut"), Reject("shut"), last=(last,))

    def account(state: str) -> Draft:
        return Draft(kind="account", subject="ann", data=encode({"state": state}))

    async with run_engine(tmp_path) as engine:
        enforce(engine, shut, monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann"), account("shut"), login("bob")])
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [login("ann")])
        trial = Draft(kind="account", subject="ann", data=encode({"state": "open"}), status=SIMULATED)
        await engine.writer.append(engine.tenant, [trial])
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [login("ann")])
        await engine.writer.append(engine.tenant, [account("open"), login("ann")])


async def test_what_is_no_part_of_the_past_hides_no_span_of_a_subject_from_those_who_reject(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = """
rules: guard
do:
  - id: shut
    on: draft
    kinds: [login]
    last: {account: {subject: data.client, kinds: [account]}}
    if: {equals: {last.account.data.state: shut}}
    then: [{reject: shut}]
"""

    def account(state: str) -> Draft:
        return Draft(kind="account", subject="ann", data=encode({"state": state}))

    async def unmerged(_: TenantRef) -> None:
        """Nothing, as where a feed was cut before all that is held of it."""

    async with two_nodes(tmp_path) as (one, other, theirs):
        await admit(one, other)
        await publish(one, rules)
        await one.writer.append(one.tenant, [account("shut")])
        await hand_over(one, other, one.tenant, theirs)
        await other.writer.append(theirs, [account("open")] * LAST_TRIED_MAX)
        monkeypatch.setattr(one.writer.news, "merge", unmerged)
        await hand_over(other, one, theirs, one.tenant)
        with pytest.raises(AppendStopped) as stopped:
            await one.writer.append(one.tenant, [login("ann")])
        assert stopped.value.error.code == "rule.rejected"
        await one.writer.append(one.tenant, [login("bob"), account("open"), login("ann")])


async def test_windows_that_no_rule_asks_for_take_no_time(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def extract(*said: Any) -> Any:
        nonlocal looks
        looks += 1
        return samples.extract(*said)

    monkeypatch.setattr(past, "extract", extract)
    many = tuple(Window(f"w{n}", 1000 + n, CLIENT, ("login",), "count") for n in range(50))
    async with run_engine(tmp_path) as engine:
        enforce(engine, rule("other", Always(), Reject("no"), kinds=("other",), windows=many), monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann")] * 20)
    assert looks == 0


async def test_a_node_that_may_not_tell_of_one_rejection_tells_of_the_others(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        rejections, append, asked = engine.writer.gate.rejections, engine.writer.append, 0
        for name in ("a", "b"):
            for _ in range(2):
                by = Rejecting(engine.tenant.number, "guard", name, None)
                rejections.tell(by, 0, Fired({}, "draft", "reject", ()))

        async def refuse(*said: Any, **options: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise AppendStopped([], CallerError("member.observer"))
            return await append(*said, **options)

        monkeypatch.setattr(engine.writer, "append", refuse)
        await RejectionTeller(engine.writer, engine.store, Wall().world()).tell()
        assert len(await told(engine)) == 1


async def test_plain_allows_and_kinds_without_rules_leave_no_trace(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path) as engine:
        enforce(engine, rule("no-bob", Equals(CLIENT, "bob"), Reject("no")), monkeypatch=monkeypatch)
        receipts = await engine.writer.append(engine.tenant, [login("ann"), Draft(kind="other")])
        records = await assert_sound(engine)
        assert len(records) == 2 + len(receipts)
        assert all(decode_body(record.body).annotations == b"" for record in records[2:] if record.body)


async def test_a_rehearsal_foretells_what_rules_refuse_and_tells_nobody(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = Window("tries", 300_000, CLIENT, ("login",), "count")
    too_many = rule("many", GreaterThan(Path(("windows", "tries")), 3), Reject("enough"), windows=(window,))
    async with run_engine(tmp_path) as engine:
        enforce(engine, too_many, monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann")])
        before = await assert_sound(engine)
        found, refused = await Rehearsal(engine.store, engine.writer, engine.tenant).append([login("ann")] * 5)
        assert (len(found), refused and refused.code) == (2, "rule.rejected")
        assert await assert_sound(engine) == before
        with pytest.raises(AppendStopped) as stopped:
            await engine.writer.append(engine.tenant, [login("ann")] * 5)
        assert len(stopped.value.receipts) == len(found)
