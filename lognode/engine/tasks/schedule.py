"""A schedule: when something is due again and again.

By a cron expression of five fields, in UTC, or by an interval. UTC has no summer time, so no run is skipped or doubled
when clocks change; a schedule that is meant for an hour of some country is an hour off for half of the year. Pure.
Invariant: a time that was dealt with is not due again, whatever the clock does.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from typing import Final, Literal, NamedTuple

from cronsim import CronSim

from lognode.core.errors import CallerError
from lognode.core.ids import TenantId, b32encode
from lognode.core.limits import (
    CRON_CHARS_MAX,
    INTERVAL_S_MAX,
    INTERVAL_S_MIN,
    RUN_GRACE_S,
    RUNS_DUE_MAX,
    SCHEDULE_NAME_CHARS_MAX,
)
from lognode.engine.tasks.task import ID_BYTES, Task, Work, run_id
from lognode.engine.tasks.work import new_task
from lognode.rules.grammar.shapes.cron import cron_fault

Missed = Literal["skip", "once", "all"]
MISSED: Final[tuple[Missed, ...]] = ("skip", "once", "all")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


class Schedule(NamedTuple):
    """A schedule as it is stored, column by column; times are Unix ms.

    Either `cron` or `interval_ms` is given; an interval counts from `from_ms`. All times up to `handled_ms` were dealt
    with; `next_ms` is the next one, None where none comes. `patience_ms` is how long behind its time a run may begin.
    """

    tenant: int
    id: bytes
    name: str
    what: str
    payload: bytes
    cron: str | None
    interval_ms: int | None
    from_ms: int
    missed: Missed
    priority: int
    patience_ms: int | None
    paused: int  # 0 or 1
    created_ms: int
    handled_ms: int
    next_ms: int | None
    runs: int = 0
    cause: bytes | None = None

    @property
    def text(self) -> str:
        """The id as the API shows it."""
        return b32encode(self.id)


def schedule_id(tenant: TenantId, name: str) -> bytes:
    """The id of the schedule of this name in a tenant."""
    return sha256(b"lognode schedule v1" + tenant + name.encode()).digest()[:ID_BYTES]


class Timing(NamedTuple):
    """When a schedule is due, as its columns say."""

    cron: str | None = None
    interval_ms: int | None = None
    from_ms: int | None = None  # None: from now on
    missed: Missed = "once"
    patience_ms: int | None = None


def new_schedule(tenant: int, schedule_id: bytes, name: str, work: Work, timing: Timing, *, now_ms: int) -> Schedule:
    """A schedule whose first time is the next one. Raises CallerError("schedule.invalid")."""
    cron, interval_ms, from_ms, missed, patience_ms = timing
    if (cron is None) == (interval_ms is None):
        raise CallerError("schedule.invalid", "it takes a cron expression or an interval", place="cron")
    if not 0 < len(name) <= SCHEDULE_NAME_CHARS_MAX or not name.isprintable():
        raise CallerError("schedule.invalid", f"1 to {SCHEDULE_NAME_CHARS_MAX} visible characters", place="name")
    if cron is not None:
        check_cron(cron)
    if interval_ms is not None and not INTERVAL_S_MIN * 1000 <= interval_ms <= INTERVAL_S_MAX * 1000:
        detail = f"an interval is {INTERVAL_S_MIN} to {INTERVAL_S_MAX:,} seconds long"
        raise CallerError("schedule.invalid", detail, place="every_s")
    begin_ms = now_ms if from_ms is None else from_ms
    schedule = Schedule(
        tenant, schedule_id, name, work.what, work.payload, cron, interval_ms, begin_ms, missed, work.priority,
        patience_ms, 0, now_ms, max(now_ms, begin_ms - 1), None, 0, work.cause,
    )  # fmt: skip
    return _moved(schedule, schedule.handled_ms)


def check_cron(text: str) -> None:
    """Pass if `text` is a cron expression of five fields that comes due some time. Raises CallerError."""
    if len(text) > CRON_CHARS_MAX:
        raise CallerError("schedule.invalid", f"{len(text)} characters, at most {CRON_CHARS_MAX}", place="cron")
    if fault := cron_fault(text):
        detail, advice = fault
        raise CallerError("schedule.invalid", f"{detail}; {advice}", place="cron")


def times_after(schedule: Schedule, ms: int) -> Iterator[int]:
    """The times of a schedule that lie behind `ms`, in order."""
    if schedule.interval_ms is not None:
        count = (ms - schedule.from_ms) // schedule.interval_ms + 1
        at = schedule.from_ms + max(count, 0) * schedule.interval_ms
        while True:
            yield at
            at += schedule.interval_ms
    assert schedule.cron is not None
    # It counts in whole seconds, and gives what lies behind its start.
    for found in CronSim(schedule.cron, _moment(max(ms, schedule.from_ms - 1))):
        if (at := (found - _EPOCH) // _MS) > ms:
            yield at


def newest_time(schedule: Schedule, ms: int) -> int | None:
    """The last time of a schedule up to `ms`, behind what was dealt with."""
    if schedule.interval_ms is not None:
        at = ms - (ms - schedule.from_ms) % schedule.interval_ms
        return at if at > schedule.handled_ms and at >= schedule.from_ms else None
    assert schedule.cron is not None
    found = next(CronSim(schedule.cron, _moment(ms) + timedelta(seconds=1), reverse=True), None)
    at = (found - _EPOCH) // _MS if found else 0
    return at if max(schedule.handled_ms, schedule.from_ms - 1) < at <= ms else None


class Due(NamedTuple):
    """The tasks that a schedule makes now, and the schedule with their times dealt with."""

    tasks: list[Task]
    schedule: Schedule


def due_runs(schedule: Schedule, now_ms: int, runs_max: int = RUNS_DUE_MAX) -> Due:
    """The runs of a schedule that are due.

    Where several times passed, as while the node did not run: `all` runs each, at most `runs_max` at once; `once` runs
    the newest alone; `skip` runs that only where it is not more than RUN_GRACE_S old.
    """
    if schedule.next_ms is None or schedule.next_ms > now_ms or schedule.paused:
        return Due([], schedule)
    if schedule.missed == "all":
        coming = islice(times_after(schedule, schedule.handled_ms), runs_max)
        times = [at for at in coming if at <= now_ms]
        handled_ms = times[-1] if times else schedule.handled_ms
    else:
        newest = newest_time(schedule, now_ms)
        handled_ms = schedule.handled_ms if newest is None else newest
        is_due = newest is not None and (schedule.missed == "once" or now_ms - newest <= RUN_GRACE_S * 1000)
        times = [handled_ms] if is_due else []
    tasks = [_run(schedule, at, now_ms) for at in times]
    return Due(tasks, _moved(schedule._replace(runs=schedule.runs + len(tasks)), handled_ms))


def paused(schedule: Schedule) -> Schedule:
    """The schedule, not due until it is resumed."""
    return schedule._replace(paused=1)


def resumed(schedule: Schedule, now_ms: int) -> Schedule:
    """The schedule, due from now on: what passed while it was paused was meant to."""
    if not schedule.paused:
        return schedule
    return _moved(schedule._replace(paused=0), max(now_ms, schedule.handled_ms))


def _moved(schedule: Schedule, handled_ms: int) -> Schedule:
    return schedule._replace(handled_ms=handled_ms, next_ms=next(times_after(schedule, handled_ms), None))


def _run(schedule: Schedule, due_ms: int, now_ms: int) -> Task:
    deadline_ms = None if schedule.patience_ms is None else due_ms + schedule.patience_ms
    work = Work(schedule.what, schedule.payload, schedule.priority, schedule.cause)
    return new_task(
        schedule.tenant, run_id(schedule.id, due_ms), work, now_ms=now_ms, due_ms=due_ms, deadline_ms=deadline_ms,
        schedule=schedule.id, name=schedule.name,
    )  # fmt: skip


def _moment(ms: int) -> datetime:
    return _EPOCH + ms * _MS
