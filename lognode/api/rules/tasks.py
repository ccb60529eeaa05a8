""".../tasks: what this node does later in a tenant; making, cancelling and queueing again; pausing all of it."""

from collections.abc import Callable
from typing import Final

import msgspec
from quart import Response, request

from lognode.api.app import ApiApp, Docs, Parameter, current
from lognode.api.federation.requests import json_answer, refuse_parameters
from lognode.api.rules.work import (
    JSON_MEDIA,
    NewTaskJson,
    TaskJson,
    check_name,
    deadline_ms_of,
    due_ms_of,
    parse_id,
    read_work,
    task_id_of,
    task_json,
    work_of,
)
from lognode.api.spans.admission import check_key
from lognode.api.spans.filters import url_parameters
from lognode.core.access import Action
from lognode.core.clock import time_text
from lognode.core.errors import CallerError
from lognode.core.ids import b32decode, b32encode
from lognode.core.limits import TASKS_PAGE_MAX
from lognode.engine.tasks.store import Selection, change_task, count_tasks, insert_task, list_tasks, load_task
from lognode.engine.tasks.task import ID_BYTES, STATES, Task, cancelled, requeued
from lognode.engine.tasks.work import KINDS_MAX, new_task

_TASKS: Final = "/v1/tenants/<tenant>/tasks"
_TIME_BYTES: Final = 8
_FILTERS: Final = (
    Parameter("state", f"Only tasks that are so: {', '.join(STATES)}"),
    Parameter("what", f"Only tasks that do this: {', '.join(KINDS_MAX)}"),
    Parameter("schedule", "Only runs of the schedule with this id"),
    Parameter("after", "Begin behind this place; `next` of the page before"),
    Parameter("limit", f"How many at most, up to {TASKS_PAGE_MAX}", int),
)


class TasksJson(msgspec.Struct, frozen=True):
    """A page of tasks from the latest due on; `next` is null behind the last one. `paused_at`: none begins since."""

    tasks: list[TaskJson]
    next: str | None
    paused_at: str | None


class TasksStateJson(msgspec.Struct, frozen=True):
    """How it goes with the tasks of a tenant: how many there are in each state, how many are due, since when."""

    paused_at: str | None
    waiting: int
    running: int
    done: int
    dead: int
    cancelled: int
    due: int
    due_since: str | None


def register(app: ApiApp) -> None:
    """Add the routes about tasks."""
    docs = Docs(query=_FILTERS, answers={200: {JSON_MEDIA: TasksJson}})
    app.register_route(_TASKS, show_tasks, action=Action.TASK_READ, docs=docs)
    key = Parameter("Idempotency-Key", "Sending again with the same key makes no second task")
    answers = {200: {JSON_MEDIA: TaskJson}, 201: {JSON_MEDIA: TaskJson}}
    docs = Docs(headers=[key], body={JSON_MEDIA: NewTaskJson}, answers=answers)
    app.register_route(_TASKS, make_task, methods=("POST",), action=Action.SPAN_APPEND, docs=docs)
    docs = Docs(answers={200: {JSON_MEDIA: TaskJson}})
    app.register_route(f"{_TASKS}/<task>", show_task, action=Action.TASK_READ, docs=docs)
    for word, handler in (("cancel", cancel_task), ("retry", retry_task)):
        rule = f"{_TASKS}/<task>/{word}"
        app.register_route(rule, handler, methods=("POST",), action=Action.TASK_CHANGE, docs=docs)
    docs = Docs(answers={200: {JSON_MEDIA: TasksStateJson}})
    for word, all_of in (("pause", pause_tasks), ("resume", resume_tasks), ("drain", drain_tasks)):
        rule = f"{_TASKS}/{word}"
        app.register_route(rule, all_of, methods=("POST",), action=Action.TASK_CHANGE, docs=docs)


async def show_tasks() -> Response:
    """List the tasks of this node in a tenant, those that ended lately too."""
    caller = current()
    which, after, limit = _paging()
    found = await caller.services.store.read(list_tasks, caller.tenant.number, which, after, limit)
    following = _place(found[-1]) if len(found) == limit else None
    return json_answer(TasksJson([task_json(task) for task in found], following, _paused_at()))


async def make_task() -> Response:
    """Have this node write a span, or tell somebody, later. 201, or 200 where the key stands for a task already."""
    refuse_parameters()
    caller, asked = current(), await read_work(NewTaskJson)
    services, key = caller.services, check_key(request.headers.get("Idempotency-Key"))
    now_ms = services.world.now_ms()
    work, due_ms = work_of(caller, asked), due_ms_of(asked, now_ms)
    task = new_task(
        caller.tenant.number,
        task_id_of(caller, key, services.world.random_bytes),
        work,
        now_ms=now_ms,
        due_ms=due_ms,
        deadline_ms=deadline_ms_of(asked, now_ms, due_ms),
        name=check_name(asked.name),
    )
    held = await services.store.write(insert_task, task)
    if (held.what, held.payload) != (task.what, task.payload):
        raise CallerError("idempotency.mismatch", "this key stands for a task that does something else")
    services.tasks.poke()
    return json_answer(task_json(held, is_whole=True), 201 if held == task else 200)


async def show_task(task: str) -> Response:
    """Show a task, with what it does."""
    refuse_parameters()
    caller = current()
    found = await caller.services.store.read(load_task, caller.tenant.number, parse_id(task, "task.unknown"))
    return json_answer(task_json(found, is_whole=True))


async def cancel_task(task: str) -> Response:
    """Call a task off that waits or is dead. What is under way cannot be called back."""
    refuse_parameters()
    now_ms = current().services.world.now_ms()
    return await _change(task, lambda held: cancelled(held, now_ms))


async def retry_task(task: str) -> Response:
    """Queue a dead task again: it is tried from now on, as often as a new one, without deadline."""
    refuse_parameters()
    now_ms = current().services.world.now_ms()
    return await _change(task, lambda held: requeued(held, now_ms))


async def pause_tasks() -> Response:
    """Begin no more tasks of the tenant, nor make any by its schedules, until resumed; also after a restart."""
    refuse_parameters()
    caller = current()
    await caller.services.tasks.pause(caller.tenant)
    return await _state()


async def resume_tasks() -> Response:
    """Have the tenant's tasks run again; what its schedules missed is dealt with as they say."""
    refuse_parameters()
    caller = current()
    await caller.services.tasks.resume(caller.tenant)
    return await _state()


async def drain_tasks() -> Response:
    """Pause the tenant's tasks, and answer once none is under way any more, or after half a minute."""
    refuse_parameters()
    caller = current()
    await caller.services.tasks.drain(caller.tenant)
    return await _state()


async def _change(text: str, change: Callable[[Task], Task]) -> Response:
    caller, task_id = current(), parse_id(text, "task.unknown")
    found = await caller.services.store.write(change_task, caller.tenant.number, task_id, change)
    caller.services.tasks.poke()
    return json_answer(task_json(found))


async def _state() -> Response:
    caller = current()
    now_ms = caller.services.world.now_ms()
    counts = await caller.services.store.read(count_tasks, (caller.tenant.number,), now_ms)
    since = None if counts.oldest_ms is None else time_text(counts.oldest_ms)
    return json_answer(TasksStateJson(_paused_at(), **counts.states, due=counts.due, due_since=since))


def _paused_at() -> str | None:
    caller = current()
    paused_ms = caller.services.tasks.paused_ms(caller.tenant)
    return None if paused_ms is None else time_text(paused_ms)


def _paging() -> tuple[Selection, tuple[int, bytes] | None, int]:
    """Which tasks a list is about, behind which, and how many at most. Raises CallerError("filter.invalid")."""
    given: dict[str, str] = {}
    known = {parameter.name for parameter in _FILTERS}
    for name, values in url_parameters().items():
        if name not in known or len(values) > 1:
            detail = f"no such parameter here, or too often: {name!r:.80}"
            raise CallerError("filter.invalid", detail, place=f"{name:.80}")
        given[name] = values[0]
    for name, words in (("state", STATES), ("what", tuple(KINDS_MAX))):
        if given.get(name, words[0]) not in words:
            raise CallerError("filter.invalid", f"{given[name]!r:.80} is none of {', '.join(words)}", place=name)
    text = given.get("limit", str(TASKS_PAGE_MAX))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= limit <= TASKS_PAGE_MAX:
        raise CallerError("filter.invalid", f"{text!r:.80} is no number from 1 to {TASKS_PAGE_MAX}", place="limit")
    schedule = parse_id(given["schedule"], "schedule.unknown") if "schedule" in given else None
    after = _read_place(given["after"]) if "after" in given else None
    return Selection(given.get("state"), given.get("what"), schedule), after, limit


def _place(task: Task) -> str:
    """The place of a task in a list, as text."""
    return b32encode(task.due_ms.to_bytes(_TIME_BYTES, "big", signed=True) + task.id)


def _read_place(text: str) -> tuple[int, bytes]:
    try:
        raw = b32decode(text, _TIME_BYTES + ID_BYTES)
    except CallerError:
        raise CallerError("cursor.invalid", f"{text!r:.80}", place="after") from None
    return int.from_bytes(raw[:_TIME_BYTES], "big", signed=True), raw[_TIME_BYTES:]
