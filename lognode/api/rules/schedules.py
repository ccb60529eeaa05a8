""".../schedules: what is due again and again in a tenant; making, pausing, resuming and deleting."""

from collections.abc import Callable
from typing import Final

import msgspec
from quart import Response

from lognode.api.app import ApiApp, Caller, Docs, current
from lognode.api.federation.requests import json_answer, refuse_parameters
from lognode.api.rules.work import (
    JSON_MEDIA,
    NewScheduleJson,
    ScheduleJson,
    parse_id,
    patience_ms_of,
    read_work,
    schedule_json,
    time_of,
    work_of,
)
from lognode.core.access import Action
from lognode.core.errors import CallerError
from lognode.core.limits import INTERVAL_S_MAX
from lognode.engine.tasks.schedule import Schedule, Timing, new_schedule, paused, resumed, schedule_id
from lognode.engine.tasks.store import change_schedule, delete_schedule, insert_schedule, list_schedules, load_schedule

_SCHEDULES: Final = "/v1/tenants/<tenant>/schedules"


class SchedulesJson(msgspec.Struct, frozen=True):
    """The schedules of this node in a tenant, by name."""

    schedules: list[ScheduleJson]


def register(app: ApiApp) -> None:
    """Add the routes about schedules."""
    docs = Docs(answers={200: {JSON_MEDIA: SchedulesJson}})
    app.register_route(_SCHEDULES, show_schedules, action=Action.TASK_READ, docs=docs)
    docs = Docs(body={JSON_MEDIA: NewScheduleJson}, answers={201: {JSON_MEDIA: ScheduleJson}})
    app.register_route(_SCHEDULES, make_schedule, methods=("POST",), action=Action.TASK_CHANGE, docs=docs)
    docs = Docs(answers={200: {JSON_MEDIA: ScheduleJson}})
    rule = f"{_SCHEDULES}/<schedule>"
    app.register_route(rule, show_schedule, action=Action.TASK_READ, docs=docs)
    app.register_route(rule, remove_schedule, methods=("DELETE",), action=Action.TASK_CHANGE, docs=docs)
    for word, handler in (("pause", pause_schedule), ("resume", resume_schedule)):
        app.register_route(f"{rule}/{word}", handler, methods=("POST",), action=Action.TASK_CHANGE, docs=docs)


async def show_schedules() -> Response:
    """List the schedules of this node in a tenant."""
    refuse_parameters()
    caller = current()
    found = await caller.services.store.read(list_schedules, caller.tenant.number)
    return json_answer(SchedulesJson([schedule_json(schedule) for schedule in found]))


async def make_schedule() -> Response:
    """Have this node do something again and again."""
    refuse_parameters()
    caller, asked = current(), await read_work(NewScheduleJson)
    if asked.every_s is not None and not 0 < asked.every_s <= INTERVAL_S_MAX:
        raise CallerError("schedule.invalid", f"an interval is 1 to {INTERVAL_S_MAX:,} seconds long", place="every_s")
    timing = Timing(
        cron=asked.cron,
        interval_ms=None if asked.every_s is None else round(1000 * asked.every_s),
        from_ms=None if asked.from_ is None else time_of(asked.from_, "from"),
        missed=asked.missed,
        patience_ms=None if asked.within_s is None else patience_ms_of(asked.within_s),
    )
    schedule = new_schedule(
        caller.tenant.number,
        schedule_id(caller.tenant.tenant_id, asked.name),
        asked.name,
        work_of(caller, asked),
        timing,
        now_ms=caller.services.world.now_ms(),
    )
    await caller.services.store.write(insert_schedule, schedule)
    caller.services.tasks.poke()
    return json_answer(schedule_json(schedule, is_whole=True), 201)


async def show_schedule(schedule: str) -> Response:
    """Show a schedule, by its id or `name:` and its name, with what its runs do."""
    refuse_parameters()
    caller = current()
    found = await caller.services.store.read(load_schedule, caller.tenant.number, _id_of(caller, schedule))
    return json_answer(schedule_json(found, is_whole=True))


async def remove_schedule(schedule: str) -> Response:
    """Delete a schedule. Runs that it made and that wait stay: cancel them besides, if they shall not be."""
    refuse_parameters()
    caller = current()
    found = await caller.services.store.write(delete_schedule, caller.tenant.number, _id_of(caller, schedule))
    return json_answer(schedule_json(found))


async def pause_schedule(schedule: str) -> Response:
    """Have a schedule make no runs until it is resumed."""
    return await _change(schedule, paused)


async def resume_schedule(schedule: str) -> Response:
    """Have a schedule make runs again, from the next time on."""
    now_ms = current().services.world.now_ms()
    return await _change(schedule, lambda held: resumed(held, now_ms))


async def _change(text: str, change: Callable[[Schedule], Schedule]) -> Response:
    refuse_parameters()
    caller = current()
    found = await caller.services.store.write(change_schedule, caller.tenant.number, _id_of(caller, text), change)
    caller.services.tasks.poke()
    return json_answer(schedule_json(found))


def _id_of(caller: Caller, text: str) -> bytes:
    name = text.removeprefix("name:")
    return parse_id(text, "schedule.unknown") if name == text else schedule_id(caller.tenant.tenant_id, name)
