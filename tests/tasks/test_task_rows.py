"""Rows of tasks beside spans, when they are damaged, and when they are old."""

from pathlib import Path

import pytest

from lognode.core.draft import Draft
from lognode.core.limits import TASKS_ENDED_MAX
from lognode.engine.tasks.schedule import Schedule, Timing, new_schedule, paused, schedule_id
from lognode.engine.tasks.store import change_schedule, change_task, load_schedule, schedule_rows, sweep, task_rows
from lognode.engine.tasks.task import Work, cancelled, claimed, succeeded
from lognode.engine.tasks.work import JOURNAL, Notice, notice_payload
from lognode.timeline.store.audit import audit
from tests.engine.nodes import assert_sound
from tests.tasks.running import START_MS, emit_task, eventually, run_workshop


async def test_damaged_rows_hold_up_no_others_and_are_named_by_the_audit(tmp_path: Path) -> None:
    async with run_workshop(tmp_path, is_idle=True) as shop:
        await shop.add(*[emit_task(number) for number in range(10)])
        await shop.engine.store.write(
            lambda conn: (
                conn.execute("UPDATE tasks SET payload = x'00' WHERE task < ?", ((3).to_bytes(16, "big"),)).rowcount
            )
        )
    async with run_workshop(tmp_path) as shop:
        await eventually(shop.titles, 7)
        findings = await shop.engine.store.read(audit)
        assert [finding.code for finding in findings] == ["seal.wrong"] * 3
        assert findings[0].place == f"tasks tenant 0 task {bytes(16).hex()}"


async def test_a_schedule_beside_spans_takes_the_place_of_another_of_its_name_unless_that_is_paused(
    tmp_path: Path,
) -> None:
    async with run_workshop(tmp_path, is_idle=True) as shop:
        engine, now_ms = shop.engine, START_MS

        async def put(text: str, cron: str) -> Schedule:
            work = Work(JOURNAL, notice_payload(Notice(JOURNAL, text)))
            name = schedule_id(engine.tenant.tenant_id, "nightly")
            schedule = new_schedule(0, name, "nightly", work, Timing(cron=cron), now_ms=now_ms)
            await engine.writer.append(engine.tenant, [], beside=lambda _: schedule_rows([schedule]))
            return await engine.store.read(load_schedule, 0, name)

        first = await put("one", "0 3 * * *")
        now_ms += 1000
        assert await put("one", "0 3 * * *") == first
        other = await put("one", "0 4 * * *")
        assert (other.cron, other.created_ms) == ("0 4 * * *", now_ms)
        assert (await put("two", "0 4 * * *")).payload != other.payload
        held = await engine.store.write(change_schedule, 0, first.id, paused)
        assert await put("three", "0 5 * * *") == held


async def test_what_ended_long_ago_goes_and_the_newest_stay(tmp_path: Path) -> None:
    async with run_workshop(tmp_path, is_idle=True) as shop:
        for number in range(30):
            task = succeeded(claimed(emit_task(number)), START_MS + number)
            await shop.add(task)
        await shop.add(emit_task(99))
        store = shop.engine.store
        assert await store.write(sweep, 0, START_MS + 5, TASKS_ENDED_MAX, 100) == 5
        assert await store.write(sweep, 0, 0, 20, 3) == 3
        assert await store.write(sweep, 0, 0, 20, 100) == 2
        assert await store.write(sweep, 0, 0, 20, 100) == 0
        assert len(await shop.all("done")) == 20
        assert len(await shop.all("waiting")) == 1


async def test_rows_beside_spans_are_there_with_them_or_not_at_all(tmp_path: Path) -> None:
    async with run_workshop(tmp_path, is_idle=True) as shop:
        engine = shop.engine
        keyed = Draft(kind="a", idem=bytes(16))
        await engine.writer.append(engine.tenant, [keyed], beside=lambda _: task_rows([emit_task(1)]))
        assert len(await shop.all()) == 1
        with pytest.raises(Exception, match="Idempotency"):
            await engine.writer.append(
                engine.tenant, [Draft(kind="b", idem=bytes(16))], beside=lambda _: task_rows([emit_task(2)])
            )
        assert len(await shop.all()) == 1
        # Where nothing is new but the rows, and where there are rows alone.
        await engine.writer.append(engine.tenant, [keyed], beside=lambda _: task_rows([emit_task(3)]))
        assert await engine.writer.append(engine.tenant, [], beside=lambda _: task_rows([emit_task(4)])) == []
        assert len(await shop.all()) == 3
        # A row that is there already is left alone.
        await engine.store.write(change_task, 0, emit_task(4).id, lambda held: cancelled(held, START_MS))
        await engine.writer.append(engine.tenant, [], beside=lambda _: task_rows([emit_task(4)]))
        assert len(await shop.all("cancelled")) == 1
        await assert_sound(engine)
