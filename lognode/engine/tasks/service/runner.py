"""Runs tasks when they are due: takes them, carries them out, and says in their rows how it went.

What a task writes and the row that says so are one commit, so a killed daemon loses none and doubles none; whoever is
told something may be told twice. Invariants: a task is under way once, and only in a process that runs; whatever a row
could not be told ends this subsystem, which starts again from the rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial

import structlog
import trio
import trio.lowlevel

from lognode.core.draft import Draft
from lognode.core.errors import CallerError, LognodeError, NodeFault
from lognode.core.ids import LogLine, SpanId, b32encode
from lognode.core.limits import (
    RUNS_DUE_MAX,
    TASKS_DRAIN_S_MAX,
    TASKS_ENDED_MAX,
    TASKS_KEPT_S,
    TASKS_LOOK_S,
    TASKS_RUNNING_MAX,
    TASKS_STOP_S_MAX,
    TASKS_SWEEP_S,
    WEBHOOK_RUNNING_EACH_MAX,
)
from lognode.core.world import World
from lognode.engine.receipt import AppendStopped, Receipt
from lognode.engine.service.meters import TaskMeters
from lognode.engine.service.writer import Writer
from lognode.engine.service.writing.mailbox import Beside
from lognode.engine.tasks.fairness import Candidate, Chosen, Running, choose
from lognode.engine.tasks.schedule import Due, Schedule, due_runs
from lognode.engine.tasks.service.webhooks import Webhooks
from lognode.engine.tasks.store import (
    change_task,
    claim,
    count_tasks,
    load_pauses,
    make_runs,
    next_ready,
    next_run,
    recover,
    save_pause,
    sweep,
    task_rows,
)
from lognode.engine.tasks.task import Failure, Task, claimed, expired, failed, is_expired, lost, succeeded
from lognode.engine.tasks.work import EMIT, KINDS_MAX, WEBHOOK, emitted, message, obituary, read_notice
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store

_SWEEP_STEP = 1000  # rows of one transaction
_JOURNAL_CHARS_MAX = 4096  # of a notice's data in the log
_log = structlog.get_logger(__name__)


class Tasks:
    """The tasks of a node, of all its tenants."""

    def __init__(
        self, store: Store, writer: Writer, world: World, meters: TaskMeters, node: LogLine, webhooks: Webhooks
    ) -> None:
        self.webhooks = webhooks
        self._store = store
        self._writer = writer
        self._world = world
        self._meters = meters
        self._node = node
        self._running: dict[tuple[int, bytes], Running] = {}
        self._last = -1  # the tenant that was served last
        self._paused: dict[int, int] = {}
        self._damaged: set[bytes] = set()
        self._poked = trio.Event()
        self._ended = trio.Event()
        self._measured_s = 0.0
        meters.running.set_function(lambda: len(self._running))

    def poke(self) -> None:
        """Have it look at once: there is something new, or something ended."""
        self._poked.set()

    async def run(self, stopping: trio.Event) -> None:
        """Run tasks until `stopping` is set and what was under way has ended, or had its time."""
        self._running.clear()
        # By the writing connection, behind or before what `pause` does meanwhile.
        self._paused = await self._store.write(load_pauses)
        count = await self._store.write(recover, lambda task: lost(task, self._world.now_ms()))
        if count:
            _log.info("tasks_recovered", tasks=count)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heed, stopping)
            nursery.start_soon(self._sweep)
            while not stopping.is_set():
                self._poked = trio.Event()
                next_ms = await self._begin(nursery)
                await self._measure()
                with trio.move_on_after(self._pause_s(next_ms)):
                    await self._poked.wait()
            with trio.move_on_after(TASKS_STOP_S_MAX):
                await self._wait_ended(None)
            nursery.cancel_scope.cancel()

    def paused_ms(self, tenant: TenantRef) -> int | None:
        """Since when the tasks of a tenant are paused; None where they are not."""
        return self._paused.get(tenant.number)

    async def pause(self, tenant: TenantRef) -> None:
        """Begin no task of a tenant, nor make any by its schedules, until it is resumed; also after a restart."""
        paused_ms = self._paused.get(tenant.number, self._world.now_ms())
        await self._store.write(save_pause, tenant.number, paused_ms)
        self._paused[tenant.number] = paused_ms

    async def resume(self, tenant: TenantRef) -> None:
        """Have the tasks of a tenant run again."""
        await self._store.write(save_pause, tenant.number, None)
        self._paused.pop(tenant.number, None)
        self.poke()

    async def drain(self, tenant: TenantRef) -> int:
        """Pause a tenant and wait for what is under way, within bounds; how many still are."""
        await self.pause(tenant)
        with trio.move_on_after(TASKS_DRAIN_S_MAX):
            await self._wait_ended(tenant.number)
        return self._count_running(tenant.number)

    async def _heed(self, stopping: trio.Event) -> None:
        await stopping.wait()
        self.poke()

    async def _wait_ended(self, tenant: int | None) -> None:
        while self._count_running(tenant):
            self._ended = trio.Event()
            await self._ended.wait()

    def _count_running(self, tenant: int | None) -> int:
        return sum(tenant in (None, task.tenant) for task in self._running.values())

    def _tenants(self) -> dict[int, TenantRef]:
        """The tenants whose tasks run."""
        tenants = {tenant.number: tenant for tenant in self._store.tenants.values()}
        return {number: tenant for number, tenant in tenants.items() if number not in self._paused}

    async def _begin(self, nursery: trio.Nursery) -> int | None:
        """Begin what is due; when something else comes due."""
        tenants, now_ms = self._tenants(), self._world.now_ms()
        known_damage = len(self._damaged)
        runs = await self._store.write(make_runs, list(tenants), now_ms, self._damaged, partial(_due, now_ms=now_ms))
        self._meters.runs.inc(runs)
        free = TASKS_RUNNING_MAX - len(self._running)
        running = list(self._running.values())
        rooms = {what: min(free, most - sum(task.what == what for task in running)) for what, most in KINDS_MAX.items()}
        by_target = Counter(task.target for task in running if task.target)
        full = [target for target, count in by_target.items() if count >= WEBHOOK_RUNNING_EACH_MAX]
        begun = await self._store.write(
            claim, list(tenants), now_ms, rooms, full, self._damaged, partial(self._choose, running), claimed
        )
        for task in begun:
            self._running[task.tenant, task.id] = Running(task.tenant, task.what, task.target)
            nursery.start_soon(self._carry_out, task, tenants[task.tenant])
        if len(self._damaged) > known_damage:
            _log.error("task_damaged", hint="'lognode verify' names the rows", rows=len(self._damaged))
            self.poke()  # in the place of those, others may begin
        ready_ms = await self._store.read(next_ready, list(tenants), now_ms)
        return min(filter(None, (ready_ms, await self._store.read(next_run, list(tenants), now_ms))), default=None)

    def _choose(self, running: Sequence[Running], due: Mapping[int, Sequence[Candidate]]) -> list[Chosen]:
        chosen = choose(due, running, KINDS_MAX, self._last)
        if chosen:
            self._last = chosen[-1].tenant
        return chosen

    def _pause_s(self, next_ms: int | None) -> float:
        if next_ms is None:
            return TASKS_LOOK_S
        return min(TASKS_LOOK_S, max(0.0, (next_ms - self._world.now_ms()) / 1000))

    async def _carry_out(self, task: Task, tenant: TenantRef) -> None:
        """Try a task, and have its row say how that went."""
        try:
            await self._attempt(task, tenant)
        except NodeFault as fault:
            if fault.code != "node.stopping":
                raise
        finally:
            self._running.pop((task.tenant, task.id), None)
            self._ended.set()
            self.poke()

    async def _attempt(self, task: Task, tenant: TenantRef) -> None:
        now_ms = self._world.now_ms()
        if is_expired(task, now_ms):
            await self._bury(expired(task, now_ms), tenant)
            return
        left_s = float("inf") if task.deadline_ms is None else (task.deadline_ms - now_ms) / 1000
        try:
            with trio.move_on_after(left_s) as scope:
                await self._do(task, tenant)
            if scope.cancelled_caught:
                raise CallerError("task.late", "its deadline passed during an attempt")
        except LognodeError as error:
            if error.code == "node.stopping":
                raise
            await self._record_failure(task, tenant, Failure.of(error))
        else:
            self._meters.ended.labels(task.what, "done").inc()

    async def _do(self, task: Task, tenant: TenantRef) -> None:
        """Do what a task is for, and have its row say so. Raises LognodeError."""
        if task.what == EMIT:
            draft = emitted(task, tenant.tenant_id, self._node)
            with trio.CancelScope(shield=True):  # a commit that has begun finishes; its deadline was kept by then
                await self._append(tenant, [draft], partial(self._done_rows, task))
            return
        if task.what == WEBHOOK:
            notice = read_notice(task.payload)
            await self.webhooks.call(notice.to, task.text, message(task, tenant.tenant_id))
        else:
            _write_journal(task, tenant)
        with trio.CancelScope(shield=True):
            await self._save(succeeded(task, self._world.now_ms()))

    def _done_rows(self, task: Task, receipts: Sequence[Receipt]) -> dict[str, list[object]]:
        return task_rows([succeeded(task, self._world.now_ms(), receipts[0].id)])

    async def _record_failure(self, task: Task, tenant: TenantRef, failure: Failure) -> None:
        chance = int.from_bytes(self._world.random_bytes(2)) / 0x1_0000
        later = failed(task, failure, self._world.now_ms(), chance)
        _log.warning("task_failed", task=task.text, what=task.what, code=failure.code, state=later.state)
        if later.state == "dead":
            await self._bury(later, tenant)
        else:
            self._meters.ended.labels(task.what, "retried").inc()
            await self._save(later)

    async def _bury(self, task: Task, tenant: TenantRef) -> None:
        """Have a task be dead, and the timeline tell of it where this node may write to that."""
        self._meters.ended.labels(task.what, "dead").inc()
        try:
            draft = obituary(task, tenant.tenant_id, self._node)
            await self._append(tenant, [draft], lambda _receipts: task_rows([task]))
        except CallerError:
            await self._save(task)

    async def _append(self, tenant: TenantRef, drafts: Sequence[Draft], beside: Beside) -> None:
        try:
            await self._writer.append(tenant, drafts, beside=beside, wait=True)
        except AppendStopped as stopped:
            raise stopped.error from stopped

    async def _save(self, task: Task) -> None:
        await self._store.write(change_task, task.tenant, task.id, lambda _held: task)

    async def _measure(self, *, is_due: bool = False) -> None:
        """Have the metrics say what there is, now and then, or because it is due."""
        now_s = self._world.monotonic_s()
        if now_s - self._measured_s < TASKS_LOOK_S and not is_due:
            return
        self._measured_s = now_s
        now_ms = self._world.now_ms()
        tenants = {tenant.number for tenant in self._store.tenants.values()}
        counts = await self._store.read(count_tasks, list(tenants), now_ms)
        lag_s = 0.0 if counts.oldest_ms is None else (now_ms - counts.oldest_ms) / 1000
        self._meters.show(counts.states["waiting"], counts.due, counts.states["dead"], lag_s)

    async def _sweep(self) -> None:
        """Let go of tasks that ended long ago."""
        while True:
            before_ms = self._world.now_ms() - TASKS_KEPT_S * 1000
            for tenant in {tenant.number for tenant in self._store.tenants.values()}:
                while await self._store.write(sweep, tenant, before_ms, TASKS_ENDED_MAX, _SWEEP_STEP) == _SWEEP_STEP:
                    await trio.lowlevel.checkpoint()
            await trio.sleep(TASKS_SWEEP_S)


def _due(schedule: Schedule, room: int, *, now_ms: int) -> Due:
    return due_runs(schedule, now_ms, min(room, RUNS_DUE_MAX))


def _write_journal(task: Task, tenant: TenantRef) -> None:
    notice = read_notice(task.payload)
    _log.info(
        "notification",
        text=notice.text,
        data=f"{notice.data}"[:_JOURNAL_CHARS_MAX] if notice.data is not None else None,
        task=task.text,
        tenant=b32encode(tenant.tenant_id),
        span=None if task.cause is None else b32encode(SpanId(task.cause)),
    )
