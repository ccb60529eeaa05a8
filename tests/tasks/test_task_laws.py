"""Laws of tasks: where their states lead, how long they wait, and who is served when all want to be."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lognode.core.errors import CallerError
from lognode.core.limits import (
    TASK_ATTEMPTS_MAX,
    TASK_BACKOFF_S_MAX,
    TASK_BACKOFF_S_MIN,
    TASK_RETRY_AFTER_S_MAX,
)
from lognode.engine.tasks.fairness import Candidate, Running, choose
from lognode.engine.tasks.pace import wait_ms
from lognode.engine.tasks.task import (
    ENDS,
    STATES,
    TRANSITIONS,
    Failure,
    Task,
    Work,
    cancelled,
    claimed,
    expired,
    failed,
    is_expired,
    lost,
    requeued,
    succeeded,
)
from lognode.engine.tasks.work import new_task

PASSING = Failure("webhook.failed", "it answered 503", is_final=False)
FINAL = Failure("webhook.refused", "it answered 404", is_final=True)
EVENTS = ("claim", "succeed", "fail", "fail for good", "lose", "cancel", "retry", "expire")


def a_task(**changes: Any) -> Task:
    task = new_task(0, bytes(16), Work("webhook", b"x"), now_ms=1000, due_ms=5000)
    return task._replace(**changes)


def step(task: Task, event: str, now_ms: int) -> Task:
    match event:
        case "claim":
            return claimed(task)
        case "succeed":
            return succeeded(task, now_ms)
        case "fail":
            return failed(task, PASSING, now_ms, 0.5)
        case "fail for good":
            return failed(task, FINAL, now_ms, 0.5)
        case "lose":
            return lost(task, now_ms)
        case "cancel":
            return cancelled(task, now_ms)
        case "retry":
            return requeued(task, now_ms)
        case _:
            return expired(task, now_ms)


@given(st.lists(st.sampled_from(EVENTS), max_size=80), st.none() | st.integers(5000, 10**7))
def test_whatever_happens_a_task_is_in_one_state_that_its_other_columns_agree_with(
    events: list[str], deadline_ms: int | None
) -> None:
    task, now_ms, done = a_task(deadline_ms=deadline_ms), 5000, 0
    codes = set[str]()
    for event in events:
        now_ms += 700
        try:
            task = step(task, event, now_ms)
        except CallerError as refused:
            codes.add(refused.code)
            continue
        done += task.state == "done"
        assert task.state in STATES
        assert (task.ended_ms is not None) == (task.state in ENDS)
        assert task.attempts <= TASK_ATTEMPTS_MAX
        assert task.state != "dead" or task.error
        if task.state == "waiting" and event == "fail":
            assert now_ms < task.ready_ms
            assert deadline_ms is None or task.run > 1 or task.ready_ms < deadline_ms
    assert done <= 1
    assert codes <= {"task.running", "task.ended", "task.not_dead"}


def test_nothing_leads_away_from_what_is_done_or_cancelled() -> None:
    assert {state for state, _ in TRANSITIONS} == {"waiting", "running", "dead"}


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        ("running", "cancel", "task.running"),
        ("done", "cancel", "task.ended"),
        ("cancelled", "cancel", "task.ended"),
        ("done", "retry", "task.not_dead"),
        ("waiting", "retry", "task.not_dead"),
    ],
)
def test_what_cannot_be_says_why(state: Any, event: str, code: str) -> None:
    with pytest.raises(CallerError) as refused:
        step(a_task(state=state), event, 0)
    assert refused.value.code == code


def test_a_task_is_given_up_after_its_last_attempt_and_begins_anew_when_it_is_queued_again() -> None:
    task = a_task()
    while task.state != "dead":
        task = failed(claimed(task), PASSING, task.ready_ms, 0.0)
    assert (task.attempts, task.error, task.detail) == (TASK_ATTEMPTS_MAX, PASSING.code, PASSING.detail)
    again = requeued(task, 10**9)
    assert (again.state, again.attempts, again.run, again.ready_ms, again.id) == ("waiting", 0, 2, 10**9, task.id)


def test_a_mistake_that_stays_one_is_not_tried_again() -> None:
    assert failed(claimed(a_task()), FINAL, 5000, 0.0).state == "dead"


def test_a_task_that_can_only_be_tried_behind_its_deadline_is_dead() -> None:
    task = a_task(deadline_ms=5500)
    assert failed(claimed(task), PASSING, 5000, 0.0).state == "dead"
    assert is_expired(task, 5500)
    assert not is_expired(task, 5499)
    assert expired(claimed(task), 6000).error == "task.late"


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True), st.none() | st.integers(-5, 10**12))
def test_a_pause_is_bounded_and_no_shorter_than_asked_for(attempts: int, chance: float, asked: int | None) -> None:
    found_s = wait_ms(attempts, chance, asked) / 1000
    assert TASK_BACKOFF_S_MIN / 2 <= found_s <= max(TASK_BACKOFF_S_MAX, TASK_RETRY_AFTER_S_MAX)
    assert asked is None or found_s >= min(asked, TASK_RETRY_AFTER_S_MAX)
    assert asked is not None or found_s <= TASK_BACKOFF_S_MAX


@given(st.integers(1, 40))
def test_pauses_never_get_shorter_for_the_same_chance(attempts: int) -> None:
    assert wait_ms(attempts, 0.3) <= wait_ms(attempts + 1, 0.3)


def candidates(kinds: list[str]) -> list[Candidate]:
    return [Candidate(5, at, bytes([at]), what) for at, what in enumerate(kinds)]


tenants = st.dictionaries(st.integers(0, 5), st.lists(st.sampled_from(["a", "b"]), max_size=12), max_size=6)
under_way = st.lists(st.builds(Running, st.integers(0, 5), st.sampled_from(["a", "b"]), st.just("")), max_size=10)


@given(
    tenants, under_way, st.integers(-1, 6), st.integers(1, 4), st.integers(1, 12), st.integers(0, 6), st.integers(1, 3)
)
def test_no_bound_is_passed_and_no_room_is_left_that_somebody_could_use(
    waiting: dict[int, list[str]],
    running: list[Running],
    last: int,
    each_max: int,
    total_max: int,
    a_max: int,
    shares: int,
) -> None:
    due = {tenant: candidates(kinds) for tenant, kinds in waiting.items()}
    kinds_max = {"a": a_max, "b": 5}
    chosen = choose(due, running, kinds_max, last, each_max=each_max, total_max=total_max, shares=shares)
    assert len(set(chosen)) == len(chosen)
    assert all(each.candidate in due[each.tenant] for each in chosen)
    of_tenant = Counter(task.tenant for task in running)
    of_kind = Counter(task.what for task in running)
    of_both = Counter(running)
    share = {what: max(1, most // shares) for what, most in kinds_max.items()}
    for each in chosen:
        of_tenant[each.tenant] += 1
        of_kind[each.candidate.what] += 1
        of_both[Running(each.tenant, each.candidate.what)] += 1
        assert of_both[Running(each.tenant, each.candidate.what)] <= share[each.candidate.what]
        assert of_tenant[each.tenant] <= each_max
        assert of_kind[each.candidate.what] <= kinds_max[each.candidate.what]
    assert len(running) + len(chosen) <= max(total_max, len(running))
    if len(running) + len(chosen) < total_max:
        taken = set(chosen)
        for tenant, queue in due.items():
            left = [each for each in queue if (tenant, each) not in taken]
            full = {
                what: of_kind[what] >= kinds_max[what] or of_both[Running(tenant, what)] >= share[what] for what in "ab"
            }
            assert of_tenant[tenant] >= each_max or all(full[each.what] for each in left)


@given(st.dictionaries(st.integers(0, 5), st.integers(1, 30), min_size=2), st.integers(-1, 6), st.integers(1, 20))
def test_tenants_that_want_the_same_get_the_same_but_for_one(wanted: dict[int, int], last: int, room: int) -> None:
    due = {tenant: candidates(["a"] * count) for tenant, count in wanted.items()}
    chosen = choose(due, [], {"a": 100}, last, each_max=100, total_max=room, shares=1)
    got = Counter(dict.fromkeys(wanted, 0))
    got.update(each.tenant for each in chosen)
    for tenant, count in got.items():
        if count < wanted[tenant]:
            assert all(count >= other - 1 for other in got.values())


def test_one_tenant_after_the_other_is_served_where_there_is_room_for_one() -> None:
    served, last = [], -1
    for _ in range(9):
        due = {tenant: candidates(["a"] * 50) for tenant in (1, 4, 7)}
        (chosen,) = choose(due, [], {"a": 9}, last, total_max=1)
        last = chosen.tenant
        served.append(last)
    assert served == [1, 4, 7] * 3


def test_within_a_tenant_the_lowest_priority_goes_first_then_what_was_ready_first() -> None:
    due = [Candidate(5, 10, b"c", "a"), Candidate(1, 90, b"a", "a"), Candidate(5, 9, b"b", "a")]
    chosen = choose({0: due}, [], {"a": 9}, -1)
    assert [each.candidate.id for each in chosen] == [b"a", b"b", b"c"]


def test_a_kind_without_room_holds_up_no_other() -> None:
    due = {0: candidates(["slow"] * 9 + ["quick"])}
    chosen = choose(due, [], {"slow": 4, "quick": 5}, -1)
    assert [each.candidate.what for each in chosen] == ["slow", "slow", "quick"]


@given(
    st.dictionaries(st.integers(0, 3), st.lists(st.sampled_from(["", "x", "y"]), max_size=20), max_size=4),
    st.lists(st.builds(Running, st.integers(0, 3), st.just("a"), st.sampled_from(["", "x", "y"])), max_size=8),
    st.integers(1, 5),
)
def test_no_target_has_more_under_way_than_it_may_and_others_go_on(
    waiting: dict[int, list[str]], running: list[Running], targets_max: int
) -> None:
    due = {
        tenant: [Candidate(5, at, bytes([at]), "a", target) for at, target in enumerate(targets)]
        for tenant, targets in waiting.items()
    }
    chosen = choose(due, running, {"a": 500}, -1, targets_max=targets_max, each_max=100, total_max=100, shares=1)
    before = Counter(task.target for task in running)
    begun = Counter(each.candidate.target for each in chosen)
    wanted = Counter(target for targets in waiting.values() for target in targets)
    assert begun[""] == wanted[""]
    for target in "xy":
        assert begun[target] == min(wanted[target], max(0, targets_max - before[target]))
