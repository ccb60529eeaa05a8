"""How long rules may hold the writer: their drafts are parted, and histories are read beside it."""

import os
from itertools import groupby
from math import inf
from pathlib import Path as Folder
from typing import Any

import pytest
import trio
import trio.lowlevel

from lognode.core.codec import encode
from lognode.core.draft import Draft, idem_key
from lognode.core.errors import NodeFault
from lognode.core.limits import GATE_S_MAX
from lognode.core.world import World
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.engine.service.ruling import gate as gating
from lognode.engine.service.writing import windows as filling
from lognode.rules.document import Equals, GreaterThan, Path, Reject, Window
from lognode.timeline.record import TenantRef
from lognode.timeline.store.write import newest_position
from tests.engine.nodes import Engine, Wall, assert_sound, run_engine
from tests.ruling.test_gate import CLIENT, enforce, login, rule

TRIES = Window("tries", 300_000, CLIENT, ("login",), "count")
TOO_MANY = rule("many", GreaterThan(Path(("windows", "tries")), 100), Reject("enough"), windows=(TRIES,))
NO_BOB = rule("no-bob", Equals(CLIENT, "bob"), Reject("go away"))


class SlowWall(Wall):
    """A clock by which whoever looks at it has taken 30 ms."""

    def world(self) -> World:
        now_s = 0.0

        def later() -> float:
            nonlocal now_s
            now_s += 0.03
            return now_s

        return World(lambda: self.ms, later, os.urandom)


async def stored(engine: Engine, tenant: TenantRef) -> int:
    return await engine.store.read(newest_position, tenant.number)


@pytest.mark.parametrize("bound_s", [GATE_S_MAX, inf])
async def test_rules_that_take_long_for_one_tenant_do_not_hold_up_another(
    bound_s: float, tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gating, "GATE_S_MAX", bound_s)
    is_bounded = bound_s < inf
    async with run_engine(tmp_path, SlowWall(), ("default", "other")) as engine:
        enforce(engine, NO_BOB, monkeypatch=monkeypatch)
        other, receipts = engine.store.tenants["other"], list[Receipt]()
        before, found = await stored(engine, engine.tenant), -1

        async def append_many() -> None:
            receipts.extend(await engine.writer.append(engine.tenant, [login(str(n)) for n in range(300)]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append_many)
            await trio.lowlevel.checkpoint()
            await engine.writer.append(other, [login("ann")])
            found = await stored(engine, engine.tenant) - before
        assert (found < 300) is is_bounded
        assert [one.position for one in receipts] == list(range(before + 1, before + 301))
        sizes = {one.checkpoint_size for one in receipts}
        assert (len(sizes) > 50) is is_bounded


async def test_calls_that_are_parted_come_in_their_order_and_say_what_was_refused(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_engine(tmp_path, SlowWall()) as engine:
        enforce(engine, NO_BOB, monkeypatch=monkeypatch)
        calls: dict[str, list[Receipt]] = {}
        refused: list[tuple[str, str]] = []

        async def append(name: str, *clients: str) -> None:
            drafts = [login(client, title=name) for client in clients]
            try:
                calls[name] = await engine.writer.append(engine.tenant, drafts)
            except AppendStopped as stopped:
                calls[name] = stopped.receipts
                refused.append((name, stopped.error.code))

        async with trio.open_nursery() as nursery:
            for name in ("a", "b", "c"):
                nursery.start_soon(append, name, *([*["ann"] * 10, *["bob"] * (name == "b"), *["eve"] * 9]))
        assert refused == [("b", "rule.rejected")]
        assert {name: len(receipts) for name, receipts in calls.items()} == {"a": 19, "b": 10, "c": 19}
        for receipts in calls.values():
            assert receipts == sorted(receipts, key=lambda one: one.position)
        places = sorted((one.position, name) for name, receipts in calls.items() for one in receipts)
        assert len({position for position, _ in places}) == 48
        assert len(list(groupby(name for _, name in places))) == 3  # none of a call stands among those of another
        await assert_sound(engine)


async def test_keys_mean_the_same_in_calls_that_are_parted(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_engine(tmp_path, SlowWall()) as engine:
        enforce(engine, NO_BOB, monkeypatch=monkeypatch)
        keys = [idem_key(engine.tenant.tenant_id, bytes(32), str(number % 15)) for number in range(30)]
        drafts = [login(str(number % 15), idem=key) for number, key in enumerate(keys)]
        for is_again in (False, True):
            receipts = await engine.writer.append(engine.tenant, drafts)
            assert [one.id for one in receipts[:15]] == [one.id for one in receipts[15:]]
            assert [one.duplicate for one in receipts] == [is_again] * 15 + [True] * 15


async def test_a_call_with_rows_beside_it_is_never_parted(tmp_path: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    async with run_engine(tmp_path, SlowWall()) as engine:
        enforce(engine, NO_BOB, monkeypatch=monkeypatch)
        asked: list[int] = []

        def beside(receipts: Any) -> dict[str, list[Any]]:
            asked.append(len(receipts))
            return {}

        async def append_many() -> None:
            await engine.writer.append(engine.tenant, [login("ann")] * 20)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(append_many)
            await trio.lowlevel.checkpoint()
            receipts = await engine.writer.append(engine.tenant, [login("eve")] * 20, beside=beside)
        assert asked == [20]
        assert len({one.checkpoint_size for one in receipts}) == 1


async def test_a_window_over_a_long_history_is_filled_beside_the_writer_and_counts_all_of_it(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "WINDOW_TURN_SPANS", 10)
    monkeypatch.setattr(filling, "WINDOW_SLICE_SPANS", 10)
    async with run_engine(tmp_path) as engine:
        enforce(engine, NO_BOB, monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann")] * 100)
        enforce(engine, TOO_MANY, monkeypatch=monkeypatch)
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [login("ann")])
        with pytest.raises(AppendStopped):
            await engine.writer.append(engine.tenant, [login("eve")] * 101)
        assert await engine.writer.rehearse(engine.tenant, [login("eve")])


async def test_who_waits_too_long_for_a_window_is_told_to_come_again_and_the_reading_goes_on(
    tmp_path: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "WINDOW_TURN_SPANS", 10)
    monkeypatch.setattr(filling, "WINDOW_SLICE_SPANS", 10)
    monkeypatch.setattr(gating, "WINDOW_WAIT_S_MAX", -1)
    async with run_engine(tmp_path, tenants=("default", "other")) as engine:
        enforce(engine, NO_BOB, monkeypatch=monkeypatch)
        await engine.writer.append(engine.tenant, [login("ann")] * 100)
        enforce(engine, TOO_MANY, monkeypatch=monkeypatch)
        codes: list[str] = []
        while codes[-1:] != ["rule.rejected"] and len(codes) < 100:
            try:
                await engine.writer.append(engine.tenant, [login("ann")])
            except NodeFault as fault:
                codes.append(fault.code)
                assert fault.retry_after_s  # noqa: PT017 - it is refused more than once
                # What asks for no window is not concerned.
                await engine.writer.append(engine.tenant, [Draft("note", data=encode({}))])
            except AppendStopped as stopped:
                codes.append(stopped.error.code)
        assert len(codes) > 3
        assert set(codes[:-1]) == {"rule.not_ready"}
