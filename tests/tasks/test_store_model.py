"""The rows of tasks against a model: whatever is done in whatever order, both say the same."""

import sqlite3
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from lognode.core.errors import CallerError
from lognode.engine.tasks.fairness import Chosen, choose
from lognode.engine.tasks.store import (
    Selection,
    change_task,
    claim,
    count_tasks,
    insert_task,
    list_tasks,
    load_task,
    next_ready,
    recover,
    sweep,
    task_rows,
)
from lognode.engine.tasks.task import (
    Failure,
    Task,
    Work,
    cancelled,
    claimed,
    failed,
    lost,
    requeued,
    succeeded,
)
from lognode.engine.tasks.work import new_task
from lognode.timeline.state import WritePlan
from lognode.timeline.store.opening.migrate import apply_migrations
from lognode.timeline.store.write import apply_write

TENANTS = (0, 1)
WHATS = ("emit", "webhook")
KINDS_MAX = {"emit": 3, "webhook": 2}
START_MS = 1_000_000


class TaskRows(RuleBasedStateMachine):
    """Tasks of two tenants: those that wait, and those that run, by id."""

    known = Bundle("known")
    running = Bundle("running")

    @initialize()
    def open(self) -> None:
        self.conn = sqlite3.connect(":memory:", isolation_level=None)
        apply_migrations(self.conn)
        for tenant in TENANTS:
            self.conn.execute("INSERT INTO tenants VALUES (?, ?)", (tenant, bytes([tenant]) * 20))
        self.model: dict[tuple[int, bytes], Task] = {}
        self.now_ms = START_MS
        self.last = -1

    def teardown(self) -> None:
        self.conn.close()

    @rule(
        target=known,
        number=st.integers(0, 40),
        tenant=st.sampled_from(TENANTS),
        what=st.sampled_from(WHATS),
        priority=st.integers(0, 9),
        delay_ms=st.integers(-5000, 5000),
    )
    def add(self, number: int, tenant: int, what: str, priority: int, delay_ms: int) -> tuple[int, bytes]:
        work = Work(what, b"payload", priority)
        task = new_task(tenant, bytes([number]) * 16, work, now_ms=self.now_ms, due_ms=self.now_ms + delay_ms)
        expected = self.model.setdefault((tenant, task.id), task)
        assert insert_task(self.conn, task) == expected
        return tenant, task.id

    @rule(ms=st.integers(1, 4000))
    def wait(self, ms: int) -> None:
        self.now_ms += ms

    @rule(target=running)
    def begin(self) -> object:
        under_way = [task for task in self.model.values() if task.state == "running"]
        rooms = {what: most - sum(task.what == what for task in under_way) for what, most in KINDS_MAX.items()}
        chosen: list[Chosen] = []

        def take(due: object) -> list[Chosen]:
            chosen.extend(choose(due, under_way, KINDS_MAX, self.last, shares=1))  # type: ignore[arg-type]
            return chosen

        begun = claim(self.conn, TENANTS, self.now_ms, rooms, (), set(), take, claimed)
        if chosen:
            self.last = chosen[-1].tenant
        able = Counter(
            task.what for task in self.model.values() if task.state == "waiting" and task.ready_ms <= self.now_ms
        )
        assert Counter(task.what for task in begun) == Counter(
            {what: min(able[what], rooms[what]) for what in WHATS if min(able[what], rooms[what])}
        )
        for task in begun:
            key = task.tenant, task.id
            assert task == claimed(self.model[key])
            held_back = [
                other
                for other in self.model.values()
                if (other.tenant, other.what, other.state) == (task.tenant, task.what, "waiting")
                and other.ready_ms <= self.now_ms
            ]
            begun_keys = {(other.tenant, other.id) for other in begun}
            left = [other for other in held_back if (other.tenant, other.id) not in begun_keys]
            assert all((task.priority, task.ready_ms) <= (other.priority, other.ready_ms) for other in left)
        for task in begun:
            self.model[task.tenant, task.id] = task
        return multiple(*[(task.tenant, task.id) for task in begun])

    @rule(key=consumes(running))
    def end_beside_a_commit(self, key: tuple[int, bytes]) -> None:
        if key in self.model and self.model[key].state == "running":
            self.model[key] = succeeded(self.model[key], self.now_ms, b"span")
            apply_write(self.conn, WritePlan(dict(task_rows([self.model[key]])), [], [], []))

    @rule(key=consumes(running), is_final=st.booleans())
    def fail(self, key: tuple[int, bytes], *, is_final: bool) -> None:
        if key in self.model and self.model[key].state == "running":
            later = failed(self.model[key], Failure("webhook.failed", "503", is_final), self.now_ms, 0.5)
            self.model[key] = change_task(self.conn, *key, lambda _: later)

    @rule(key=known)
    def cancel(self, key: tuple[int, bytes]) -> None:
        self._try(key, lambda task: cancelled(task, self.now_ms))

    @rule(key=known)
    def retry(self, key: tuple[int, bytes]) -> None:
        self._try(key, lambda task: requeued(task, self.now_ms))

    @rule(key=known)
    def write_a_new_one_of_its_id_beside_a_commit(self, key: tuple[int, bytes]) -> None:
        task = new_task(*key, Work("emit", b"other"), now_ms=self.now_ms, due_ms=self.now_ms)
        apply_write(self.conn, WritePlan(dict(task_rows([task])), [], [], []))
        self.model.setdefault(key, task)

    @rule()
    def restart(self) -> None:
        count = recover(self.conn, lambda task: lost(task, self.now_ms))
        assert count == sum(task.state == "running" for task in self.model.values())
        for key, task in self.model.items():
            if task.state == "running":
                self.model[key] = lost(task, self.now_ms)

    @rule(age_ms=st.integers(0, 20_000))
    def forget(self, age_ms: int) -> None:
        before_ms = self.now_ms - age_ms
        gone = [key for key, task in self.model.items() if task.ended_ms is not None and task.ended_ms < before_ms]
        assert sum(sweep(self.conn, tenant, before_ms, 1000, 1000) for tenant in TENANTS) == len(gone)
        for key in gone:
            del self.model[key]

    def _try(self, key: tuple[int, bytes], change: object) -> None:
        if key not in self.model:
            with pytest.raises(CallerError, match="No such task"):
                change_task(self.conn, *key, change)  # type: ignore[arg-type]
            return
        try:
            expected = change(self.model[key])  # type: ignore[operator]
        except CallerError as error:
            with pytest.raises(CallerError) as refused:
                change_task(self.conn, *key, change)  # type: ignore[arg-type]
            assert refused.value.code == error.code  # noqa: PT017 - of the model's
            return
        self.model[key] = change_task(self.conn, *key, change)  # type: ignore[arg-type]
        assert self.model[key] == expected

    @invariant()
    def rows_and_model_say_the_same(self) -> None:
        for tenant in TENANTS:
            expected = sorted(
                (task for task in self.model.values() if task.tenant == tenant),
                key=lambda task: (task.due_ms, task.id),
                reverse=True,
            )
            assert list_tasks(self.conn, tenant, Selection(), None, 1000) == expected
            pages, after = [], None
            while page := list_tasks(self.conn, tenant, Selection(state="waiting"), after, 3):
                pages += page
                after = page[-1].due_ms, page[-1].id
            assert pages == [task for task in expected if task.state == "waiting"]
        counts = count_tasks(self.conn, TENANTS, self.now_ms)
        assert Counter(task.state for task in self.model.values()) == Counter(dict(counts.states))
        waiting = [task.ready_ms for task in self.model.values() if task.state == "waiting"]
        assert counts.due == sum(ready_ms <= self.now_ms for ready_ms in waiting)
        assert counts.oldest_ms == min((ready_ms for ready_ms in waiting if ready_ms <= self.now_ms), default=None)
        later = [ready_ms for ready_ms in waiting if ready_ms > self.now_ms]
        assert next_ready(self.conn, TENANTS, self.now_ms) == min(later, default=None)
        for key, task in self.model.items():
            assert load_task(self.conn, *key) == task


TaskRows.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTheRows = TaskRows.TestCase
