"""Laws of schedules: which times come due, and what becomes of those that passed unseen."""

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.core.limits import RUN_GRACE_S
from lognode.engine.tasks.schedule import (
    Missed,
    Schedule,
    Timing,
    due_runs,
    new_schedule,
    newest_time,
    paused,
    resumed,
    schedule_id,
    times_after,
)
from lognode.engine.tasks.task import Work, run_id

NAME = schedule_id(TenantId(bytes(20)), "nightly")
START_MS = 1_760_000_000_000
MINUTE_MS, DAY_MS = 60_000, 86_400_000
CRONS = ("* * * * *", "*/7 3 * * *", "0 3 * * *", "30 2 29 2 *", "0 0 L * *", "5 4 1-7 * MON", "0 12 * * MON#2")


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def schedule(now_ms: int = START_MS, **timing: Any) -> Schedule:
    given = Timing(**timing)
    return new_schedule(0, NAME, "nightly", Work("emit", b""), given, now_ms=now_ms)


def passed_times(found: Schedule, start_ms: int, stop_ms: int) -> list[int]:
    """The times of a schedule behind one and up to another, one by one."""
    return list(takewhile(lambda time: time <= stop_ms, times_after(found, start_ms)))


timings = st.one_of(
    st.sampled_from(CRONS).map(lambda cron: {"cron": cron}),
    st.integers(MINUTE_MS, 10 * DAY_MS).map(lambda interval_ms: {"interval_ms": interval_ms}),
)


half_days = st.integers(-DAY_MS // 2, DAY_MS // 2)


@given(timings, st.integers(0, 400 * DAY_MS))
def test_times_rise_and_lie_behind_what_was_asked_for(timing: dict[str, Any], later_ms: int) -> None:
    times = list(islice(times_after(schedule(**timing), START_MS + later_ms), 5))
    assert times == sorted(set(times))
    assert times[0] > START_MS + later_ms


@given(
    timings, st.lists(st.integers(-DAY_MS // 2, DAY_MS // 2), min_size=1, max_size=8), st.sampled_from(["once", "skip"])
)
def test_of_the_times_that_passed_the_newest_counts(timing: dict[str, Any], steps: list[int], missed: Missed) -> None:
    found, now_ms = schedule(missed=missed, **timing), START_MS
    made: list[int] = []
    for step_ms in steps:  # also backwards, as a clock that is set
        now_ms = max(START_MS, now_ms + step_ms)
        tasks, later = due_runs(found, now_ms)
        passed = passed_times(found, found.handled_ms, now_ms)
        assert (newest_time(found, now_ms) or None) == (passed[-1] if passed else None)
        is_due = bool(passed) and (missed == "once" or now_ms - passed[-1] <= RUN_GRACE_S * 1000)
        assert [task.due_ms for task in tasks] == ([passed[-1]] if is_due else [])
        made += [task.due_ms for task in tasks]
        found = later
        assert found.next_ms is not None
        assert found.next_ms > max(now_ms, found.handled_ms) or not passed
    assert made == sorted(set(made))


@given(timings, st.integers(1, 40), st.integers(0, DAY_MS // 8))
def test_all_runs_each_time_once_however_few_at_once(timing: dict[str, Any], runs_max: int, passed_ms: int) -> None:
    found = schedule(missed="all", **timing)
    now_ms = START_MS + passed_ms
    wanted = passed_times(found, START_MS, now_ms)[:100]
    made: list[int] = []
    for _ in range(len(wanted) // runs_max + 1):
        tasks, found = due_runs(found, now_ms, runs_max)
        assert len(tasks) <= runs_max
        made += [task.due_ms for task in tasks]
    assert made[: len(wanted)] == wanted[: len(made)]
    assert len(made) >= len(wanted)


def test_cron_is_in_utc_all_year_whatever_clocks_do() -> None:
    found = schedule(at("2026-03-28"), cron="30 2 * * *")
    times = [datetime.fromtimestamp(ms / 1000, UTC) for ms in islice(times_after(found, at("2026-03-28")), 3)]
    assert [time.isoformat() for time in times] == [
        "2026-03-28T02:30:00+00:00",
        "2026-03-29T02:30:00+00:00",  # an hour that many countries do not have
        "2026-03-30T02:30:00+00:00",
    ]
    autumn = list(islice(times_after(found, at("2026-10-24T12:00")), 2))
    assert autumn[1] - autumn[0] == DAY_MS  # an hour that many countries have twice


def test_an_interval_counts_from_its_start_whenever_it_is_looked_at() -> None:
    found = schedule(interval_ms=7 * MINUTE_MS, from_ms=START_MS + 1000)
    assert found.next_ms == START_MS + 1000
    tasks, found = due_runs(found, START_MS + 20 * MINUTE_MS)
    assert [task.due_ms for task in tasks] == [START_MS + 1000 + 14 * MINUTE_MS]
    assert found.next_ms == START_MS + 1000 + 21 * MINUTE_MS


def test_the_run_of_a_time_is_one_task_whoever_makes_it() -> None:
    found = schedule(cron="* * * * *")
    one, other = (due_runs(found, START_MS + MINUTE_MS).tasks[0] for _ in range(2))
    assert one.id == other.id == run_id(NAME, one.due_ms)
    assert one.id != due_runs(found, START_MS + 2 * MINUTE_MS).tasks[0].id
    assert schedule_id(TenantId(bytes(20)), "nightly") != schedule_id(TenantId(bytes(19) + b"x"), "nightly")


def test_what_passes_while_a_schedule_is_paused_is_not_missed() -> None:
    found = paused(schedule(cron="0 * * * *", missed="all"))
    later_ms = START_MS + 10 * DAY_MS
    assert due_runs(found, later_ms) == ([], found)
    found = resumed(found, later_ms)
    assert due_runs(found, later_ms).tasks == []
    assert found.next_ms is not None
    assert later_ms < found.next_ms <= later_ms + 60 * MINUTE_MS
    assert resumed(found, later_ms + DAY_MS) == found


def test_a_run_has_its_deadline_behind_its_time() -> None:
    (task,) = due_runs(schedule(cron="* * * * *", patience_ms=5000), START_MS + 2 * MINUTE_MS).tasks
    assert task.deadline_ms == task.due_ms + 5000


@pytest.mark.parametrize(
    "timing",
    [
        {"cron": "* * * *"},
        {"cron": "* * * * * *"},
        {"cron": "61 * * * *"},
        {"cron": "a b c d e"},
        {"cron": "0 0 31 2 *"},
        {"cron": "0 0 30 2 *"},
        {"cron": "*/0 * * * *"},
        {"cron": ""},
        {"cron": "@daily"},
        {"cron": "1" * 90 + " * * * *"},
        {"cron": "1/" * 40 + "1 * * * *"},
        {"cron": "* * * * *", "interval_ms": 5000},
        {},
        {"interval_ms": 0},
        {"interval_ms": 999},
        {"interval_ms": 400 * DAY_MS},
    ],
)
def test_what_never_comes_due_or_all_the_time_is_refused(timing: dict[str, Any]) -> None:
    with pytest.raises(CallerError) as refused:
        schedule(**timing)
    assert refused.value.code == "schedule.invalid"


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb"])
def test_a_name_is_short_and_visible(name: str) -> None:
    with pytest.raises(CallerError):
        new_schedule(0, NAME, name, Work("emit", b""), Timing(cron="* * * * *"), now_ms=START_MS)


def test_a_clock_far_ahead_breaks_nothing() -> None:
    found = schedule(cron="0 0 1 1 *")
    tasks, found = due_runs(found, START_MS + int(timedelta(days=36_500) / timedelta(milliseconds=1)))
    assert len(tasks) == 1
    assert found.next_ms is not None
