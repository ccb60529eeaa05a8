"""Tasks at work: each runs once when it is due, whatever ends meanwhile, and what fails for good is told."""

import sqlite3
from collections import Counter
from pathlib import Path

import cbor2
import pytest
import trio

from lognode.core.codec import decode_value
from lognode.core.draft import Draft
from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import b32encode
from lognode.core.limits import (
    TASK_ATTEMPTS_MAX,
    TASKS_RUNNING_EACH_MAX,
    WEBHOOK_RUNNING_EACH_MAX,
    WEBHOOKS_RUNNING_MAX,
)
from lognode.core.span import PRIVATE, decode_body, decode_header
from lognode.engine.receipt import AppendStopped
from lognode.engine.tasks.schedule import Timing, new_schedule, schedule_id
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.engine.tasks.store import change_task, insert_schedule, load_schedule
from lognode.engine.tasks.task import Work, claimed, requeued
from lognode.engine.tasks.work import EMIT, Notice, emit_payload, notice_payload
from lognode.timeline.record import id_of
from tests.engine.nodes import Engine, Wall, assert_sound
from tests.tasks.running import START_MS, emit_task, eventually, notice_task, run_workshop

MINUTE_MS = 60_000


class StubHooks(Webhooks):
    """Webhooks that answer what a test says, and remember who was called."""

    def __init__(self, wall: Wall, *answers: Exception | None) -> None:
        super().__init__(wall.world())
        self.answers = list(answers)
        self.calls: list[tuple[str, str, bytes]] = []
        self.gate = trio.Event()
        self.gate.set()

    async def call(self, name: str, message_id: str, body: bytes) -> None:
        self.calls.append((name, message_id, body))
        await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


async def test_a_due_task_writes_its_span_once_and_names_it(tmp_path: Path) -> None:
    async with run_workshop(tmp_path) as shop:
        await shop.add(emit_task(7), emit_task(8, due_ms=START_MS + 5 * MINUTE_MS))
        (task,) = await shop.wait_state("done", 1)
        (record,) = await shop.spans("later")
        assert task.span == id_of(record, shop.engine.store.feeds[record.feed].feed_id)
        said = decode_value(decode_body(record.body or b"").annotations)
        assert said == {"task": {"id": task.text, "due": "2025-10-09T08:53:20.000Z"}}
        shop.wall.ms += 10 * MINUTE_MS
        shop.tasks.poke()
        await shop.wait_state("done", 2)
        assert await shop.titles() == ["7", "8"]
        await assert_sound(shop.engine)


async def test_a_task_whose_row_was_lost_writes_no_second_span(tmp_path: Path) -> None:
    async with run_workshop(tmp_path) as shop:
        await shop.add(emit_task(7))
        await shop.wait_state("done", 1)
        # As after a restore of a database from before the run, with the span fetched back from others.
        await shop.engine.store.write(lambda conn: conn.execute("DELETE FROM tasks").rowcount)
        await shop.add(emit_task(7))
        await shop.wait_state("done", 1)
        assert await shop.titles() == ["7"]


async def test_due_tasks_across_a_restart_all_run_once(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    async with run_workshop(tmp_path, wall, is_idle=True) as shop:
        await shop.add(*[emit_task(number, due_ms=START_MS + number) for number in range(100)])
        # Some were under way when the daemon ended.
        for number in range(0, 100, 7):
            await shop.engine.store.write(change_task, 0, number.to_bytes(16, "big"), claimed)
    wall.ms += MINUTE_MS
    async with run_workshop(tmp_path, wall) as shop:
        done = await shop.wait_state("done", 100)
        assert sorted(await shop.titles()) == sorted(f"{number}" for number in range(100))
        assert {task.attempts for task in done} == {1, 2}
        await assert_sound(shop.engine)


async def test_a_commit_that_fails_leaves_the_task_to_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_workshop(tmp_path) as shop:
        appended = shop.engine.writer.append
        faults = [NodeFault("writer.failed", "the disk is full"), NodeFault("writer.busy", retry_after_s=1)]

        async def append(*args: object, **options: object) -> object:
            if faults:
                raise faults.pop()
            return await appended(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(shop.engine.writer, "append", append)
        await shop.add(emit_task(1))
        for _ in range(2):
            (task,) = await shop.wait_state("waiting", 1)
            while not task.error:
                (task,) = await shop.wait_state("waiting", 1)
            shop.wall.ms = task.ready_ms
            shop.tasks.poke()
            await trio.sleep(0.02)
        await shop.wait_state("done", 1)
        assert await shop.titles() == ["1"]


async def test_a_draft_that_is_refused_is_dead_at_once_and_told(tmp_path: Path) -> None:
    async with run_workshop(tmp_path) as shop:
        (cause,) = await shop.engine.writer.append(shop.engine.tenant, [Draft(kind="cause")])
        task = emit_task(1)._replace(payload=cbor2.dumps([b"no draft", b""]), cause=cause.id)
        await shop.add(task)
        (dead,) = await shop.wait_state("dead", 1)
        assert dead.error == "cbor.malformed"
        (record,) = await shop.spans("task.dead")
        header, body = decode_header(record.header), decode_body(record.body or b"")
        assert header.caused_by == cause.id
        assert decode_value(body.data) == {
            "task": dead.text, "what": "emit", "name": None, "due": "2025-10-09T08:53:20.000Z", "attempts": 1,
            "error": "cbor.malformed",
        }  # fmt: skip


async def test_a_node_that_may_not_write_gives_up_without_telling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_workshop(tmp_path) as shop:

        async def append(*_args: object, **_options: object) -> None:
            raise AppendStopped([], CallerError("member.observer"))

        monkeypatch.setattr(shop.engine.writer, "append", append)
        await shop.add(emit_task(1))
        (dead,) = await shop.wait_state("dead", 1)
        assert dead.error == "member.observer"
        assert await shop.spans("task.dead") == []


async def test_what_cannot_be_noted_ends_the_runner_and_is_done_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = Wall(START_MS)
    hooks = StubHooks(wall, NodeFault("webhook.failed", "503"))
    async with run_workshop(tmp_path, wall, hooks, is_idle=True) as shop:
        await shop.add(notice_task(1, Notice("ops")), emit_task(2))

        async def save(*_args: object) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        with monkeypatch.context() as patch:
            patch.setattr(shop.tasks, "_save", save)
            with pytest.raises(ExceptionGroup):
                await shop.tasks.run(trio.Event())
        assert len(await shop.all("running")) >= 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shop.tasks.run, shop.stopping)
            await shop.wait_state("done", 2)
            shop.stopping.set()
        assert await shop.titles() == ["2"]


async def test_what_was_private_stays_so_when_it_dies(tmp_path: Path) -> None:
    async with run_workshop(tmp_path) as shop:
        task = emit_task(1, draft=Draft(kind="later", visibility=PRIVATE))
        await shop.add(task._replace(deadline_ms=START_MS))
        (dead,) = await shop.wait_state("dead", 1)
        assert dead.error == "task.late"
        assert [record.visibility for record in await shop.spans("task.dead")] == [PRIVATE]


async def test_a_notice_of_a_private_span_dies_in_private(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    hooks = StubHooks(wall, CallerError("webhook.refused", "404"))
    async with run_workshop(tmp_path, wall, hooks) as shop:
        notice = Notice("ops", "it burns")
        task = notice_task(1, notice)._replace(name="remind-ann", payload=notice_payload(notice, is_private=True))
        await shop.add(task)
        await shop.wait_state("dead", 1)
        assert [record.visibility for record in await shop.spans("task.dead")] == [PRIVATE]
        assert b"it burns" in hooks.calls[0][2]


async def test_a_webhook_is_tried_until_it_answers_and_no_longer(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    hooks = StubHooks(wall, NodeFault("webhook.failed", "503", retry_after_s=100), NodeFault("webhook.unreachable"))
    async with run_workshop(tmp_path, wall, hooks) as shop:
        await shop.add(notice_task(1, Notice("ops", "it burns", {"n": 1})))
        for wait_ms in (100_000, 1):
            (task,) = await shop.wait_state("waiting", 1)
            while not task.error or task.ready_ms <= wall.ms:
                (task,) = await shop.wait_state("waiting", 1)
            assert task.ready_ms >= wall.ms + wait_ms
            wall.ms = task.ready_ms
            shop.tasks.poke()
            await trio.sleep(0.02)
        (done,) = await shop.wait_state("done", 1)
        assert done.attempts == 3
        assert len({call for call in hooks.calls}) == 1  # noqa: C416 - one message, thrice
        name, message_id, body = hooks.calls[0]
        assert (name, message_id) == ("ops", done.text)
        assert b'"text":"it burns","data":{"n":1}' in body


async def test_a_dead_webhook_keeps_its_payload_and_can_be_queued_again(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    hooks = StubHooks(wall, CallerError("webhook.refused", "404"))
    async with run_workshop(tmp_path, wall, hooks) as shop:
        task = notice_task(1, Notice("ops", "secret words"))
        await shop.add(task)
        (dead,) = await shop.wait_state("dead", 1)
        assert dead.payload == task.payload
        (told,) = await shop.spans("task.dead")
        assert b"secret words" not in (told.body or b"")
        await shop.engine.store.write(change_task, 0, dead.id, lambda held: requeued(held, wall.ms))
        shop.tasks.poke()
        (done,) = await shop.wait_state("done", 1)
        assert (done.run, done.error) == (2, None)


async def test_a_task_that_is_given_up_twice_is_told_twice(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    hooks = StubHooks(wall, *[CallerError("webhook.refused", "404")] * 2)
    async with run_workshop(tmp_path, wall, hooks) as shop:
        await shop.add(notice_task(1, Notice("ops")))
        (dead,) = await shop.wait_state("dead", 1)
        await shop.engine.store.write(change_task, 0, dead.id, lambda held: requeued(held, wall.ms))
        shop.tasks.poke()
        await eventually(lambda: shop.spans("task.dead"), 2)


async def test_a_crash_loop_gives_a_task_up_in_the_end(tmp_path: Path) -> None:
    async with run_workshop(tmp_path, is_idle=True) as shop:
        task = emit_task(1)._replace(attempts=TASK_ATTEMPTS_MAX - 1)
        await shop.add(task)
        await shop.engine.store.write(change_task, 0, task.id, claimed)
    async with run_workshop(tmp_path) as shop:
        (dead,) = await shop.wait_state("dead", 1)
        assert dead.error == "task.lost"


async def test_a_slow_webhook_holds_up_nothing_else_and_ends_at_its_deadline(tmp_path: Path) -> None:
    hooks = StubHooks(wall := Wall(START_MS))
    hooks.gate = trio.Event()
    async with run_workshop(tmp_path, wall, hooks) as shop:
        await shop.add(*[notice_task(number, Notice("ops")) for number in range(100, 200)])
        await shop.add(notice_task(1, Notice("ops"))._replace(priority=0, deadline_ms=START_MS + 200))
        await shop.add(emit_task(2))
        await shop.wait_state("done", 1)
        assert len(await shop.all("running")) <= TASKS_RUNNING_EACH_MAX
        (late,) = await shop.wait_state("dead", 1)
        assert (late.id, late.error) == ((1).to_bytes(16, "big"), "task.late")
        hooks.gate.set()
        await shop.wait_state("done", 101)


async def test_a_tenant_whose_webhooks_hang_leaves_room_to_others(tmp_path: Path) -> None:
    hooks = StubHooks(wall := Wall(START_MS))
    hooks.gate = trio.Event()
    async with run_workshop(tmp_path, wall, hooks, ("default", "other")) as shop:
        await shop.add(*[notice_task(number, Notice(f"slow{number % 4}")) for number in range(100)])
        await shop.wait_state("running", WEBHOOKS_RUNNING_MAX // 2)
        await shop.add(notice_task(500, Notice("ops"))._replace(tenant=1))
        await shop.wait_state("running", 1, tenant=1)
        hooks.gate.set()
        await shop.wait_state("done", 1, tenant=1)
        await shop.wait_state("done", 100)


async def test_one_webhook_that_hangs_leaves_room_to_others_of_its_tenant(tmp_path: Path) -> None:
    hooks = StubHooks(wall := Wall(START_MS))
    hooks.gate = trio.Event()
    async with run_workshop(tmp_path, wall, hooks) as shop:
        await shop.add(*[notice_task(number, Notice("slow")) for number in range(100)])
        await shop.add(*[notice_task(number, Notice("ops")) for number in range(100, 103)])
        await shop.wait_state("running", WEBHOOK_RUNNING_EACH_MAX + 3)
        assert Counter(name for name, *_ in hooks.calls) == {"slow": WEBHOOK_RUNNING_EACH_MAX, "ops": 3}
        hooks.gate.set()
        await shop.wait_state("done", 103)


async def test_a_paused_tenant_begins_nothing_also_after_a_restart_and_others_go_on(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    async with run_workshop(tmp_path, wall, tenants=("default", "other")) as shop:
        await shop.tasks.pause(shop.engine.tenant)
        await shop.add(emit_task(1), emit_task(2, tenant=1))
        await shop.wait_state("done", 1, tenant=1)
    async with run_workshop(tmp_path, wall, tenants=("default", "other")) as shop:
        await shop.add(emit_task(3, tenant=1))
        await shop.wait_state("done", 2, tenant=1)
        assert [task.state for task in await shop.all()] == ["waiting"]
        assert shop.tasks.paused_ms(shop.engine.tenant) == START_MS
        await shop.tasks.resume(shop.engine.tenant)
        await shop.wait_state("done", 1)


async def test_draining_waits_for_what_is_under_way(tmp_path: Path) -> None:
    hooks = StubHooks(wall := Wall(START_MS))
    hooks.gate = trio.Event()
    async with run_workshop(tmp_path, wall, hooks) as shop, trio.open_nursery() as nursery:
        await shop.add(notice_task(1, Notice("ops")))
        await shop.wait_state("running", 1)
        left: list[int] = []
        drained = trio.Event()

        async def drain() -> None:
            left.append(await shop.tasks.drain(shop.engine.tenant))
            drained.set()

        nursery.start_soon(drain)
        await trio.sleep(0.05)
        await shop.add(notice_task(2, Notice("ops")))
        assert left == []
        hooks.gate.set()
        await shop.wait_state("done", 1)
        with trio.fail_after(20):
            await drained.wait()
        assert left == [0]
        assert len(await shop.all("waiting")) == 1


async def test_stopping_lets_what_is_under_way_end(tmp_path: Path) -> None:
    hooks = StubHooks(wall := Wall(START_MS))
    hooks.gate = trio.Event()
    async with run_workshop(tmp_path, wall, hooks) as shop:
        await shop.add(notice_task(1, Notice("ops")), notice_task(2, Notice("ops"), due_ms=START_MS + MINUTE_MS))
        await shop.wait_state("running", 1)
        shop.stopping.set()
        await trio.sleep(0.05)
        wall.ms += 2 * MINUTE_MS
        hooks.gate.set()
        await shop.wait_state("done", 1)
        assert len(await shop.all("waiting")) == 1


async def test_schedules_make_their_runs_and_none_is_made_twice(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    async with run_workshop(tmp_path, wall) as shop:
        await add_schedule(shop.engine, wall, "each minute", Timing(cron="* * * * *", missed="all"))
        for _ in range(3):
            wall.ms += 2 * MINUTE_MS
            shop.tasks.poke()
            await trio.sleep(0.05)
        done = await shop.wait_state("done", 6)
        assert len({task.due_ms for task in done}) == 6
        assert {task.name for task in done} == {"each minute"}
        assert await shop.titles() == ["tick"] * 6


async def test_of_a_schedule_that_was_missed_one_run_is_made_at_the_next_start(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    async with run_workshop(tmp_path, wall, is_idle=True) as shop:
        await add_schedule(shop.engine, wall, "once", Timing(cron="0 * * * *", missed="once"))
        await add_schedule(shop.engine, wall, "skip", Timing(cron="0 * * * *", missed="skip"))
        await add_schedule(shop.engine, wall, "all", Timing(cron="0 * * * *", missed="all"))
    wall.ms += 300 * MINUTE_MS
    async with run_workshop(tmp_path, wall) as shop:
        done = await shop.wait_state("done", 6)
        names = [task.name for task in done]
        assert (names.count("once"), names.count("skip"), names.count("all")) == (1, 0, 5)


async def test_a_notice_to_the_journal_is_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with run_workshop(tmp_path) as shop:
        await shop.add(notice_task(1, Notice("journal", "a thing happened", {"n": 1})))
        await shop.wait_state("done", 1)
    assert "a thing happened" in capsys.readouterr().out


async def test_metrics_say_what_is_due_and_what_came_of_it(tmp_path: Path) -> None:
    wall = Wall(START_MS)
    async with run_workshop(tmp_path, wall, StubHooks(wall, CallerError("webhook.refused", "404"))) as shop:
        value = shop.engine.meters.registry.get_sample_value
        await shop.add(emit_task(1), notice_task(2, Notice("ops")), emit_task(3, due_ms=START_MS + MINUTE_MS))
        await shop.wait_state("done", 1)
        await shop.wait_state("dead", 1)
        assert value("lognode_task_attempts_total", {"what": "emit", "outcome": "done"}) == 1
        assert value("lognode_task_attempts_total", {"what": "webhook", "outcome": "dead"}) == 1
        await shop.tasks.pause(shop.engine.tenant)
        wall.ms += 2 * MINUTE_MS
        await shop.tasks._measure(is_due=True)
        shown = [value(f"lognode_tasks_{name}") for name in ("waiting", "due", "running", "dead", "lag_seconds")]
        assert shown == [1, 1, 0, 1, 60]


async def add_schedule(engine: Engine, wall: Wall, name: str, timing: Timing) -> None:
    id_ = schedule_id(engine.tenant.tenant_id, name)
    work = Work(EMIT, emit_payload(Draft(kind="later", title="tick")))
    await engine.store.write(insert_schedule, new_schedule(0, id_, name, work, timing, now_ms=wall.ms))
    assert (await engine.store.read(load_schedule, 0, id_)).text == b32encode(id_)
