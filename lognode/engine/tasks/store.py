"""Rows of tasks and schedules.

Synchronous functions for the store's threads. They decide nothing: what becomes of a row says the engine. Invariant: a
row is changed in the transaction that read it, so that of two who change it at once the second sees what the first did.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Final, NamedTuple

from lognode.core.errors import CallerError, NodeFault
from lognode.core.ids import b32encode
from lognode.core.limits import SCHEDULES_MAX, TASKS_WAITING_MAX, WEBHOOKS_MAX
from lognode.engine.tasks.fairness import Candidate, Chosen
from lognode.engine.tasks.schedule import Due, Schedule
from lognode.engine.tasks.task import PRIORITIES, STATES, Task
from lognode.timeline.state import seal_of, sealed

TASKS: Final = "tasks"
SCHEDULES: Final = "schedules"
PAUSES: Final = "task_pauses"
_TASK_COLUMNS: Final = ", ".join(["tenant", "task", *Task._fields[2:], "seal"])
_SCHEDULE_COLUMNS: Final = ", ".join(["tenant", "schedule", *Schedule._fields[2:], "seal"])
_PUT: Final = {
    table: f"INSERT INTO {table} VALUES ({', '.join('?' * (count + 1))})"
    for table, count in ((TASKS, len(Task._fields)), (SCHEDULES, len(Schedule._fields)), (PAUSES, 2))
}
_WAITING: Final = "SELECT count(*) FROM tasks WHERE tenant = ? AND state = 'waiting'"


class Selection(NamedTuple):
    """Which tasks a list is about; None: whichever."""

    state: str | None = None
    what: str | None = None
    schedule: bytes | None = None


class Counts(NamedTuple):
    """How many tasks there are in each state, how many are due, and since when the one that waits longest."""

    states: Mapping[str, int]
    due: int
    oldest_ms: int | None


def task_rows(tasks: Sequence[Task]) -> dict[str, list[Any]]:
    """The rows of tasks, as a commit holds them beside its spans."""
    return {TASKS: list(chain.from_iterable(sealed(TASKS, task) for task in tasks))}


def schedule_rows(schedules: Sequence[Schedule]) -> dict[str, list[Any]]:
    """The rows of schedules, as a commit holds them beside its spans; they replace others of their names."""
    return {SCHEDULES: list(chain.from_iterable(sealed(SCHEDULES, schedule) for schedule in schedules))}


def insert_task(conn: sqlite3.Connection, task: Task) -> Task:
    """Store a task, unless it is there; what is there then. Raises CallerError("task.too_many")."""
    with _transaction(conn):
        held = _find_task(conn, task.tenant, task.id)
        if held is not None:
            return held
        if waiting_room(conn, task.tenant) <= 0:
            raise CallerError("task.too_many", f"{TASKS_WAITING_MAX:,} wait already")
        conn.execute(_PUT[TASKS], sealed(TASKS, task))
    return task


def load_task(conn: sqlite3.Connection, tenant: int, task_id: bytes) -> Task:
    """A task. Raises CallerError("task.unknown") or NodeFault("database.damaged")."""
    found = _find_task(conn, tenant, task_id)
    if found is None:
        raise CallerError("task.unknown", b32encode(task_id))
    return found


def change_task(conn: sqlite3.Connection, tenant: int, task_id: bytes, change: Callable[[Task], Task]) -> Task:
    """A task with a change made to it. Raises what `load_task` and `change` do."""
    with _transaction(conn):
        task = change(load_task(conn, tenant, task_id))
        _replace_task(conn, task)
    return task


def list_tasks(
    conn: sqlite3.Connection, tenant: int, which: Selection, after: tuple[int, bytes] | None, limit: int
) -> list[Task]:
    """Tasks of a tenant from the latest due on, behind the one with the time and id `after`."""
    wanted = [(name, value) for name, value in zip(which._fields, which, strict=True) if value is not None]
    filters = "".join(f" AND {name} = ?" for name, _ in wanted)
    behind = "" if after is None else " AND (due_ms, task) < (?, ?)"
    sql = f"SELECT {_TASK_COLUMNS} FROM tasks WHERE tenant = ?{filters}{behind} ORDER BY due_ms DESC, task DESC LIMIT ?"
    values = (tenant, *(value for _, value in wanted), *(after or ()), limit)
    return [_read_task(row) for row in conn.execute(sql, values)]


def claim(
    conn: sqlite3.Connection,
    tenants: Collection[int],
    now_ms: int,
    rooms: Mapping[str, int],
    full: Collection[str],
    damaged: set[bytes],
    choose: Callable[[Mapping[int, list[Candidate]]], list[Chosen]],
    begin: Callable[[Task], Task],
) -> list[Task]:
    """The tasks that `choose` takes of those that are due, as `begin` changes them.

    `rooms` says how many of each kind may begin at most; none does for a target that is `full`. Ids of rows that are
    damaged are added to `damaged`, and passed over from then on.
    """
    with _transaction(conn):
        due = {tenant: _candidates(conn, tenant, now_ms, rooms, full, damaged) for tenant in tenants}
        begun: list[Task] = []
        for tenant, candidate in choose(due):
            try:
                task = begin(load_task(conn, tenant, candidate.id))
            except NodeFault:
                damaged.add(candidate.id)
                continue
            _replace_task(conn, task)
            begun.append(task)
    return begun


def recover(conn: sqlite3.Connection, lose: Callable[[Task], Task]) -> int:
    """How many tasks were running when the daemon ended, and are no more."""
    count = 0
    with _transaction(conn):
        for row in conn.execute(f"SELECT {_TASK_COLUMNS} FROM tasks WHERE state = 'running'").fetchall():
            try:
                _replace_task(conn, lose(_read_task(row)))
            except NodeFault:
                continue  # it stays as it is, for the audit to name
            count += 1
    return count


def next_ready(conn: sqlite3.Connection, tenants: Collection[int], now_ms: int) -> int | None:
    """When the next task of these tenants may be tried that may not yet; None where none waits for its time."""
    sql = "SELECT min(ready_ms) FROM tasks WHERE state = 'waiting' AND tenant = ? AND ready_ms > ?"
    found = [conn.execute(sql, (tenant, now_ms)).fetchone()[0] for tenant in tenants]
    return min((ready_ms for ready_ms in found if ready_ms is not None), default=None)


def count_tasks(conn: sqlite3.Connection, tenants: Collection[int], now_ms: int) -> Counts:
    """How many there are of these tenants."""
    states: Counter[str] = Counter(dict.fromkeys(STATES, 0))
    due, oldest_ms = 0, None
    sql = "SELECT count(*), min(ready_ms) FROM tasks WHERE state = 'waiting' AND tenant = ? AND ready_ms <= ?"
    for tenant in tenants:
        states.update(
            dict(conn.execute("SELECT state, count(*) FROM tasks WHERE tenant = ? GROUP BY state", (tenant,)))
        )
        count, ready_ms = conn.execute(sql, (tenant, now_ms)).fetchone()
        if count:
            due, oldest_ms = due + count, ready_ms if oldest_ms is None else min(oldest_ms, ready_ms)
    return Counts(states, due, oldest_ms)


def sweep(conn: sqlite3.Connection, tenant: int, before_ms: int, kept_max: int, step: int) -> int:
    """How many tasks of a tenant went that ended before a time, or are more than are kept; at most `step` at once."""
    ended = "FROM tasks WHERE tenant = ? AND ended_ms IS NOT NULL"
    newest = f"SELECT ended_ms {ended} ORDER BY ended_ms DESC LIMIT 1 OFFSET ?"
    doomed = f"SELECT task {ended} AND (ended_ms < ? OR ended_ms <= ({newest})) ORDER BY ended_ms LIMIT ?"
    with _transaction(conn):
        values = (tenant, tenant, before_ms, tenant, kept_max, step)
        return conn.execute(f"DELETE FROM tasks WHERE tenant = ? AND task IN ({doomed})", values).rowcount


def insert_schedule(conn: sqlite3.Connection, schedule: Schedule) -> None:
    """Store a schedule. Raises CallerError schedule.exists or schedule.too_many."""
    with _transaction(conn):
        if _find_schedule(conn, schedule.tenant, schedule.id) is not None:
            raise CallerError("schedule.exists", f"{schedule.name!r}")
        count = conn.execute("SELECT count(*) FROM schedules WHERE tenant = ?", (schedule.tenant,)).fetchone()[0]
        if count >= SCHEDULES_MAX:
            raise CallerError("schedule.too_many", f"there are {SCHEDULES_MAX:,}")
        conn.execute(_PUT[SCHEDULES], sealed(SCHEDULES, schedule))


class ScheduleRoom:
    """Which more schedules a tenant may have, beside those that are there and those that were asked about."""

    def __init__(self, conn: sqlite3.Connection, tenant: int) -> None:
        self._conn = conn
        self._tenant = tenant
        self._ids: set[bytes] | None = None

    def has_room(self, schedule_id: bytes) -> bool:
        """Whether one with this id may be stored, which is counted then."""
        if self._ids is None:
            rows = self._conn.execute("SELECT schedule FROM schedules WHERE tenant = ?", (self._tenant,))
            self._ids = {row[0] for row in rows}
        if schedule_id not in self._ids and len(self._ids) >= SCHEDULES_MAX:
            return False
        self._ids.add(schedule_id)
        return True


def load_schedule(conn: sqlite3.Connection, tenant: int, schedule_id: bytes) -> Schedule:
    """A schedule. Raises CallerError("schedule.unknown") or NodeFault("database.damaged")."""
    found = _find_schedule(conn, tenant, schedule_id)
    if found is None:
        raise CallerError("schedule.unknown", b32encode(schedule_id))
    return found


def list_schedules(conn: sqlite3.Connection, tenant: int) -> list[Schedule]:
    """The schedules of a tenant by name; there are SCHEDULES_MAX at most."""
    sql = f"SELECT {_SCHEDULE_COLUMNS} FROM schedules WHERE tenant = ? ORDER BY name"
    return [_read_schedule(row) for row in conn.execute(sql, (tenant,))]


def change_schedule(
    conn: sqlite3.Connection, tenant: int, schedule_id: bytes, change: Callable[[Schedule], Schedule]
) -> Schedule:
    """A schedule with a change made to it. Raises as `load_schedule` does."""
    with _transaction(conn):
        schedule = change(load_schedule(conn, tenant, schedule_id))
        _replace_schedule(conn, schedule)
    return schedule


def delete_schedule(conn: sqlite3.Connection, tenant: int, schedule_id: bytes) -> Schedule:
    """The schedule that is no more; runs that wait stay. Raises as `load_schedule` does."""
    with _transaction(conn):
        schedule = load_schedule(conn, tenant, schedule_id)
        conn.execute("DELETE FROM schedules WHERE tenant = ? AND schedule = ?", (tenant, schedule_id))
    return schedule


def next_run(conn: sqlite3.Connection, tenants: Collection[int], now_ms: int) -> int | None:
    """When the next schedule of these tenants comes due that is not yet; None where none does."""
    marks = ", ".join("?" * len(tenants))
    sql = f"SELECT min(next_ms) FROM schedules WHERE paused = 0 AND next_ms > ? AND tenant IN ({marks})"
    found: int | None = conn.execute(sql, (now_ms, *tenants)).fetchone()[0]
    return found


def make_runs(
    conn: sqlite3.Connection,
    tenants: Collection[int],
    now_ms: int,
    damaged: set[bytes],
    due_runs: Callable[[Schedule, int], Due],
) -> int:
    """How many tasks the schedules of these tenants that are due made; a tenant with too many tasks makes none."""
    count = 0
    marks = ", ".join("?" * len(tenants))
    sql = (
        f"SELECT {_SCHEDULE_COLUMNS} FROM schedules WHERE paused = 0 AND next_ms <= ? AND tenant IN ({marks}) "
        "ORDER BY next_ms"
    )
    with _transaction(conn):
        rooms: dict[int, int] = {}
        for row in conn.execute(sql, (now_ms, *tenants)).fetchall():
            try:
                held = _read_schedule(row)
            except NodeFault:
                damaged.add(row[1])
                continue
            room = rooms[held.tenant] if held.tenant in rooms else waiting_room(conn, held.tenant)
            if held.id in damaged or room <= 0:
                continue
            tasks, schedule = due_runs(held, room)
            for task in tasks:
                if _find_task(conn, task.tenant, task.id) is None:
                    conn.execute(_PUT[TASKS], sealed(TASKS, task))
            _replace_schedule(conn, schedule)
            rooms[held.tenant] = room - len(tasks)
            count += len(tasks)
    return count


def load_pauses(conn: sqlite3.Connection) -> dict[int, int]:
    """Tenants whose tasks are paused, and since when. Raises NodeFault("database.damaged")."""
    found = conn.execute("SELECT tenant, paused_ms, seal FROM task_pauses").fetchall()
    for tenant, paused_ms, seal in found:
        if seal != seal_of(PAUSES, (tenant, paused_ms)):
            raise NodeFault("database.damaged", f"task_pauses tenant {tenant}")
    return {tenant: paused_ms for tenant, paused_ms, _ in found}


def save_pause(conn: sqlite3.Connection, tenant: int, paused_ms: int | None) -> None:
    """Have the tasks of a tenant paused since a time, or not."""
    with _transaction(conn):
        conn.execute("DELETE FROM task_pauses WHERE tenant = ?", (tenant,))
        if paused_ms is not None:
            conn.execute(_PUT[PAUSES], sealed(PAUSES, (tenant, paused_ms)))


def waiting_room(conn: sqlite3.Connection, tenant: int) -> int:
    """How many more tasks of a tenant may wait."""
    return TASKS_WAITING_MAX - int(conn.execute(_WAITING, (tenant,)).fetchone()[0])


def _candidates(
    conn: sqlite3.Connection,
    tenant: int,
    now_ms: int,
    rooms: Mapping[str, int],
    full: Collection[str],
    damaged: Collection[bytes],
) -> list[Candidate]:
    """Tasks of a tenant that are due, of each kind, target and priority as many as could begin."""
    found: list[Candidate] = []
    sql = (
        "SELECT ready_ms, task FROM tasks WHERE state = 'waiting' AND tenant = ? AND what = ? AND target = ? "
        "AND priority = ? AND ready_ms <= ? ORDER BY ready_ms, task LIMIT ?"
    )
    for what, room in rooms.items():
        for target in _targets(conn, tenant, what) if room else ():
            left = room if target not in full else 0
            for priority in PRIORITIES if left else ():
                values = (tenant, what, target, priority, now_ms, left + len(damaged))
                rows = [row for row in conn.execute(sql, values) if row[1] not in damaged][:left]
                found += [Candidate(priority, ready_ms, task_id, what, target) for ready_ms, task_id in rows]
                left -= len(rows)
                if not left:
                    break
    return found


def _targets(conn: sqlite3.Connection, tenant: int, what: str) -> list[str]:
    """The targets for which tasks of a kind wait; those that no settings name fail when they are tried, and go."""
    found: list[str] = []
    sql = "SELECT min(target) FROM tasks WHERE state = 'waiting' AND tenant = ? AND what = ? AND target > ?"
    sole = "SELECT EXISTS (SELECT 1 FROM tasks WHERE state = 'waiting' AND tenant = ? AND what = ? AND target = '')"
    if conn.execute(sole, (tenant, what)).fetchone()[0]:
        found.append("")
    while len(found) < 2 * WEBHOOKS_MAX:
        (target,) = conn.execute(sql, (tenant, what, found[-1] if found else "")).fetchone()
        if target is None:
            break
        found.append(target)
    return found


def _find_task(conn: sqlite3.Connection, tenant: int, task_id: bytes) -> Task | None:
    sql = f"SELECT {_TASK_COLUMNS} FROM tasks WHERE tenant = ? AND task = ?"
    row = conn.execute(sql, (tenant, task_id)).fetchone()
    return _read_task(row) if row else None


def _find_schedule(conn: sqlite3.Connection, tenant: int, schedule_id: bytes) -> Schedule | None:
    sql = f"SELECT {_SCHEDULE_COLUMNS} FROM schedules WHERE tenant = ? AND schedule = ?"
    row = conn.execute(sql, (tenant, schedule_id)).fetchone()
    return _read_schedule(row) if row else None


def _read_task(row: tuple[Any, ...]) -> Task:
    if row[-1] != seal_of(TASKS, row[:-1]):
        raise NodeFault("database.damaged", f"tasks task {row[1].hex()}")
    return Task(*row[:-1])


def _read_schedule(row: tuple[Any, ...]) -> Schedule:
    if row[-1] != seal_of(SCHEDULES, row[:-1]):
        raise NodeFault("database.damaged", f"schedules schedule {row[1].hex()}")
    return Schedule(*row[:-1])


def _replace_task(conn: sqlite3.Connection, task: Task) -> None:
    conn.execute(_PUT[TASKS].replace("INSERT", "REPLACE", 1), sealed(TASKS, task))


def _replace_schedule(conn: sqlite3.Connection, schedule: Schedule) -> None:
    conn.execute(_PUT[SCHEDULES].replace("INSERT", "REPLACE", 1), sealed(SCHEDULES, schedule))


@contextmanager
def _transaction(conn: sqlite3.Connection) -> Iterator[None]:
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
