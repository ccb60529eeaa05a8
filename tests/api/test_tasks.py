"""Tasks and schedules over HTTP: making, listing, cancelling, queueing again, pausing; and what is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import trio

from lognode.api.services import Services
from lognode.core.errors import CallerError
from lognode.engine.tasks.store import change_task
from lognode.engine.tasks.task import Failure, claimed, failed
from tests.api.serving import TENANT, code_of, http_client, serve

TASKS = f"{TENANT}/tasks"
SCHEDULES = f"{TENANT}/schedules"
EMIT = {"emit": {"kind": "later", "title": "hello", "data": {"n": 1}}}


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API whose tasks run."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(services.tasks.run, services.stopping)
        async with serve(services) as url, http_client(services, url) as client:
            yield client


async def ended(http: httpx.AsyncClient, task: dict[str, Any]) -> dict[str, Any]:
    """A task once it has ended."""
    with trio.fail_after(20):
        while (found := (await http.get(f"{TASKS}/{task['id']}")).json())["ended_at"] is None:  # noqa: ASYNC110
            await trio.sleep(0.02)
    return dict(found)


async def test_a_task_writes_its_span_and_says_which(http: httpx.AsyncClient) -> None:
    answer = await http.post(TASKS, json={**EMIT, "name": "greeting", "priority": 2})
    assert answer.status_code == 201
    task = answer.json()
    assert (task["what"], task["name"], task["priority"]) == ("emit", "greeting", 2)
    assert task["emit"] == {**EMIT["emit"], "visibility": "organization", "status": "executed"}
    done = await ended(http, task)
    assert (done["state"], done["attempts"]) == ("done", 1)
    span = (await http.get(f"{TENANT}/spans/{done['span']}")).json()
    assert (span["kind"], span["title"]) == ("later", "hello")
    assert span["annotations"] == {"task": {"id": task["id"], "due": task["due_at"]}}


async def test_one_key_makes_one_task(http: httpx.AsyncClient) -> None:
    body, key = {**EMIT, "after_s": 3600}, {"Idempotency-Key": "k"}
    first, again = [await http.post(TASKS, json=body, headers=key) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    other = await http.post(TASKS, json={"emit": {"kind": "other"}}, headers=key)
    assert code_of(other) == "idempotency.mismatch"
    assert len((await http.get(TASKS)).json()["tasks"]) == 1


async def test_a_list_is_read_page_by_page_and_filtered(http: httpx.AsyncClient) -> None:
    at = datetime.now(UTC) + timedelta(days=1)
    made = [
        (await http.post(TASKS, json={**EMIT, "at": (at + timedelta(hours=n)).isoformat()})).json()["id"]
        for n in range(7)
    ]
    await http.post(f"{TASKS}/{made[0]}/cancel")
    found: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        params = {"limit": "3", **({"after": page["next"]} if page["next"] else {})}
        page = (await http.get(TASKS, params=params)).json()
        found += [task["id"] for task in page["tasks"]]
        assert page["paused_at"] is None
    assert found == made[::-1]
    waiting = (await http.get(TASKS, params={"state": "waiting", "what": "emit"})).json()["tasks"]
    assert [task["id"] for task in waiting] == made[:0:-1]
    assert "emit" not in waiting[0]
    assert (await http.get(TASKS, params={"what": "webhook"})).json()["tasks"] == []


async def test_a_task_is_cancelled_once_and_never_runs(http: httpx.AsyncClient) -> None:
    task = (await http.post(TASKS, json={**EMIT, "after_s": 3600})).json()
    cancelled = await http.post(f"{TASKS}/{task['id']}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    assert code_of(await http.post(f"{TASKS}/{task['id']}/cancel")) == "task.ended"
    assert code_of(await http.post(f"{TASKS}/{task['id']}/retry")) == "task.not_dead"


async def test_a_dead_task_says_why_and_is_queued_again(services: Services, http: httpx.AsyncClient) -> None:
    await http.post(f"{TASKS}/pause")
    task = (await http.post(TASKS, json=EMIT)).json()
    raw = services.store.tenants["default"].number
    fault = Failure.of(CallerError("webhook.refused", "somebody answered 404"))
    (row,) = await services.store.read(lambda conn: conn.execute("SELECT task FROM tasks").fetchall())
    await services.store.write(change_task, raw, row[0], claimed)
    await services.store.write(change_task, raw, row[0], lambda held: failed(held, fault, 5, 0.0))
    dead = (await http.get(TASKS, params={"state": "dead"})).json()["tasks"][0]
    assert (dead["id"], dead["error"], dead["detail"]) == (task["id"], "webhook.refused", "somebody answered 404")
    assert (await http.post(f"{TASKS}/{task['id']}/retry")).json()["state"] == "waiting"
    assert (await http.post(f"{TASKS}/resume")).json()["paused_at"] is None
    assert (await ended(http, task))["state"] == "done"


async def test_a_paused_tenant_begins_nothing_until_it_is_resumed(http: httpx.AsyncClient) -> None:
    drained = (await http.post(f"{TASKS}/drain")).json()
    assert drained["paused_at"]
    assert drained["running"] == 0
    task = (await http.post(TASKS, json=EMIT)).json()
    state = (await http.post(f"{TASKS}/pause")).json()
    assert (state["paused_at"], state["due"]) == (drained["paused_at"], 1)
    assert (await http.get(TASKS)).json()["paused_at"] == drained["paused_at"]
    await http.post(f"{TASKS}/resume")
    assert (await ended(http, task))["state"] == "done"


async def test_a_deadline_that_passed_is_told(http: httpx.AsyncClient) -> None:
    await http.post(f"{TASKS}/pause")
    task = (await http.post(TASKS, json={**EMIT, "within_s": 0.05})).json()
    await trio.sleep(0.1)
    await http.post(f"{TASKS}/resume")
    late = await ended(http, task)
    assert (late["state"], late["error"]) == ("dead", "task.late")
    (told,) = (await http.get(f"{TENANT}/spans", params={"kind": "task.dead"})).json()["spans"]
    assert told["data"]["task"] == task["id"]


async def test_a_schedule_is_made_listed_paused_resumed_and_deleted(http: httpx.AsyncClient) -> None:
    body = {"name": "night ly", "cron": "0 3 * * *", "missed": "skip", "within_s": 60, **EMIT}
    made = await http.post(SCHEDULES, json=body)
    assert made.status_code == 201
    schedule = made.json()
    assert schedule["next_at"].endswith("T03:00:00.000Z")
    assert schedule["emit"]["title"] == "hello"
    assert code_of(await http.post(SCHEDULES, json=body)) == "schedule.exists"
    for place in (schedule["id"], "name:night%20ly"):
        assert (await http.get(f"{SCHEDULES}/{place}")).json()["id"] == schedule["id"]
        paused = (await http.post(f"{SCHEDULES}/{place}/pause")).json()
        assert (paused["paused"], paused["next_at"]) == (True, None)
        assert (await http.post(f"{SCHEDULES}/{place}/resume")).json()["next_at"] == schedule["next_at"]
    (listed,) = (await http.get(SCHEDULES)).json()["schedules"]
    assert "emit" not in listed
    assert (await http.delete(f"{SCHEDULES}/{schedule['id']}")).status_code == 200
    assert (await http.get(SCHEDULES)).json()["schedules"] == []
    assert code_of(await http.get(f"{SCHEDULES}/{schedule['id']}")) == "schedule.unknown"


async def test_an_interval_makes_runs(http: httpx.AsyncClient) -> None:
    schedule = (await http.post(SCHEDULES, json={"name": "tick", "every_s": 1, "missed": "all", **EMIT})).json()
    with trio.fail_after(20):
        runs: list[dict[str, Any]] = []
        while len(runs) < 2:
            runs = (await http.get(TASKS, params={"schedule": schedule["id"], "state": "done"})).json()["tasks"]
            await trio.sleep(0.05)
    assert {run["name"] for run in runs} == {"tick"}
    assert len({run["due_at"] for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("body", "code", "place"),
    [
        ({}, "task.invalid", "emit"),
        ({**EMIT, "notify": {"to": "journal"}}, "task.invalid", "emit"),
        ({"emit": {}}, "request.malformed", None),
        ({"emit": {"kind": "Bad Kind"}}, "kind.invalid", "kind"),
        ({"emit": {"kind": "task.dead"}}, "kind.reserved", "kind"),
        ({"emit": {"kind": "a", "idempotency_key": "k"}}, "task.invalid", "emit.idempotency_key"),
        ({"emit": {"kind": "a", "data": {"x": "y" * 300_000}}}, "task.invalid", None),
        ({**EMIT, "priority": 10}, "task.invalid", "priority"),
        ({**EMIT, "priority": -1}, "task.invalid", "priority"),
        ({**EMIT, "at": "tomorrow"}, "task.invalid", "at"),
        ({**EMIT, "at": "2026-01-01T00:00:00Z", "after_s": 1}, "task.invalid", "at"),
        ({**EMIT, "after_s": 1e12}, "task.invalid", "after_s"),
        ({**EMIT, "after_s": -1e12}, "task.invalid", "after_s"),
        ({**EMIT, "until": "2020-01-01T00:00:00Z"}, "task.invalid", "until"),
        ({**EMIT, "within_s": 0}, "task.invalid", "within_s"),
        ({**EMIT, "within_s": 1, "until": "2020-01-01T00:00:00Z"}, "task.invalid", "until"),
        ({**EMIT, "name": ""}, "task.invalid", "name"),
        ({**EMIT, "name": "x\n"}, "task.invalid", "name"),
        ({**EMIT, "colour": "red"}, "request.malformed", None),
        ({"notify": {"to": "nobody"}}, "webhook.unknown", None),
        ({"notify": {"to": "journal", "text": "x" * 5000}}, "task.invalid", "notify.text"),
        ([], "request.malformed", None),
    ],
)
async def test_what_no_task_can_be_is_refused(http: httpx.AsyncClient, body: Any, code: str, place: str | None) -> None:
    answer = await http.post(TASKS, json=body)
    assert code_of(answer) == code
    assert answer.json().get("place") == place
    assert (await http.get(TASKS)).json()["tasks"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "x", **EMIT}, "schedule.invalid"),
        ({"name": "x", "cron": "* * * *", **EMIT}, "schedule.invalid"),
        ({"name": "x", "cron": "* * * * *", "every_s": 5, **EMIT}, "schedule.invalid"),
        ({"name": "x", "every_s": 0.5, **EMIT}, "schedule.invalid"),
        ({"name": "x", "every_s": -1, **EMIT}, "schedule.invalid"),
        ({"name": "x", "every_s": 1e300, **EMIT}, "schedule.invalid"),
        ({"name": "", "cron": "* * * * *", **EMIT}, "schedule.invalid"),
        ({"name": "x", "cron": "* * * * *", "missed": "never", **EMIT}, "request.malformed"),
        ({"name": "x", "cron": "* * * * *"}, "task.invalid"),
        ({"cron": "* * * * *", **EMIT}, "request.malformed"),
    ],
)
async def test_what_no_schedule_can_be_is_refused(http: httpx.AsyncClient, body: Any, code: str) -> None:
    assert code_of(await http.post(SCHEDULES, json=body)) == code


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"state": "asleep"}, "filter.invalid"),
        ({"what": "dance"}, "filter.invalid"),
        ({"limit": "0"}, "filter.invalid"),
        ({"limit": "101"}, "filter.invalid"),
        ({"colour": "red"}, "filter.invalid"),
        ({"after": "x"}, "cursor.invalid"),
        ({"schedule": "x"}, "schedule.unknown"),
    ],
)
async def test_what_no_list_can_be_of_is_refused(http: httpx.AsyncClient, params: dict[str, str], code: str) -> None:
    assert code_of(await http.get(TASKS, params=params)) == code


async def test_a_task_of_nobody_is_not_found(http: httpx.AsyncClient) -> None:
    for place in ("x", "0" * 26, "%2e%2e"):
        assert code_of(await http.get(f"{TASKS}/{place}")) in ("task.unknown", "route.unknown")
    assert code_of(await http.post(f"{TASKS}/{'0' * 26}/cancel")) == "task.unknown"
    assert code_of(await http.post(f"{SCHEDULES}/name:x/pause")) == "schedule.unknown"
