"""A rule set on trial beside others: what it would decide once it is in force with them."""

from contextlib import suppress
from pathlib import Path

from lognode.core.codec import encode
from lognode.core.draft import Draft
from lognode.core.ids import b32encode
from lognode.engine.receipt import AppendStopped
from tests.engine.nodes import Engine, run_engine
from tests.ruling.published import publish
from tests.ruling.trials import try_rules

MARKS = """
rules: marks
do:
  - id: mark
    on: draft
    kinds: [payment]
    priority: 1
    if: {greater_than: {data.amount: 50}}
    then: [{add_tag: large}]
  - id: never
    on: draft
    kinds: [payment]
    priority: 2
    if: {greater_than: {data.amount: 100}}
    then: [{reject: "far too much"}]
  - id: tell
    on: commit
    kinds: [payment]
    then: [{emit: {kind: seen}}, {notify: {to: journal, text: seen}}]
"""
GUARD = """
rules: guard
do:
  - id: no-large
    on: draft
    kinds: [payment]
    if: {contains_tag: large}
    then: [{reject: "too large"}]
  - id: count
    on: commit
    kinds: [seen]
    then: [{emit: {kind: counted}}]
"""
AMOUNTS = (10, 60, 110, 20, 70, 120)


async def pay(engine: Engine, amount: int) -> str | None:
    """The id of a payment; None where it is rejected."""
    with suppress(AppendStopped):
        (receipt,) = await engine.writer.append(engine.tenant, [Draft(kind="payment", data=encode({"amount": amount}))])
        return b32encode(receipt.id)
    return None


async def test_a_set_is_tried_beside_others_as_it_then_decides_with_them(tmp_path: Path) -> None:
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    async with run_engine(tmp_path / "before") as engine:
        ids = [await pay(engine, amount) for amount in AMOUNTS]
        alone, _ = await try_rules(engine, GUARD)
        report, outcomes = await try_rules(engine, GUARD, beside=[MARKS])
    assert (alone.beside, alone.verdicts, alone.rules[0].fired) == ([], {"allow": 6}, 0)
    async with run_engine(tmp_path / "after") as engine:
        await publish(engine, MARKS)
        await publish(engine, GUARD)
        rejected = [id_ for id_, amount in zip(ids, AMOUNTS, strict=True) if await pay(engine, amount) is None]
    assert [one.span for one in outcomes if "no-large" in one.fired] == [ids[1], ids[4]]
    assert report.beside == ["marks"]
    assert report.verdicts == {"allow": 2, "reject": len(rejected)}
    assert [(one.rule, one.fired) for one in report.rules] == [("no-large", 2), ("count", 2)]
    assert (report.emits, report.later) == ({"counted": 2}, 0)  # what others emit and schedule is not its own


async def test_what_others_decide_anyway_is_no_change(tmp_path: Path) -> None:
    looser = GUARD.replace("contains_tag: large", "greater_than: {data.amount: 100}")
    async with run_engine(tmp_path) as engine:
        for amount in AMOUNTS:
            await pay(engine, amount)
        alone, _ = await try_rules(engine, looser, published=GUARD)
        beside, _ = await try_rules(engine, looser, published=GUARD, beside=[MARKS])
    assert {one.change: one.count for one in alone.changes}["verdict: allow -> reject"] == 2
    changes = {one.change: one.count for one in beside.changes}
    assert changes == {
        "verdict: reject -> allow": 2,
        "no-large: fires no more": 2,
        "count: fires now": 2,
        "emits otherwise": 2,
    }
