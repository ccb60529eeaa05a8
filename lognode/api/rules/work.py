"""Tasks and schedules in JSON: what requests ask for, and what answers show."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from quart import request

from lognode.api.app import Caller
from lognode.api.spans.admission import Admission
from lognode.core.access import Action
from lognode.core.clock import time_text
from lognode.core.codec import decode_value, parse_json
from lognode.core.draft import Draft, JsonDraft, parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.ids import b32decode, b32encode, format_logline
from lognode.core.limits import TASK_DELAY_S_MAX, TASK_REQUEST_BYTES_MAX
from lognode.core.span import STATUSES, VISIBILITIES
from lognode.engine.tasks.schedule import Schedule
from lognode.engine.tasks.task import ID_BYTES, PRIORITIES, PRIORITY_DEFAULT, Task, Work
from lognode.engine.tasks.work import EMIT, JOURNAL, Notice, emit_payload, notice_payload, read_emit, read_notice
from lognode.timeline.query import parse_time

JSON_MEDIA: Final = "application/json"
_NAME_CHARS_MAX: Final = 100
T = TypeVar("T")


class NoticeJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to be told: to the webhook of this name, or to "journal", the node's log."""

    to: str
    text: str = ""
    data: Any = None


class WorkJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be done later: `emit`, a draft to write, or `notify`. Low `priority` goes first, 0 to 9."""

    emit: JsonDraft | UnsetType = UNSET
    notify: NoticeJson | UnsetType = UNSET
    priority: int = PRIORITY_DEFAULT


class NewTaskJson(WorkJson, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A task: due `at` a time (RFC 3339) or `after_s` seconds; not tried `until` a time or `within_s` of being due."""

    name: str | None = None
    at: str | None = None
    after_s: float | None = None
    until: str | None = None
    within_s: float | None = None


class NewScheduleJson(WorkJson, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A schedule: by `cron`, five fields in UTC, or `every_s` seconds `from` a time on.

    `missed` says what becomes of times that passed unseen; a run may begin `within_s` of its time, if that is given.
    """

    name: str
    cron: str | None = None
    every_s: float | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    missed: Literal["skip", "once", "all"] = "once"
    within_s: float | None = None


class TaskJson(msgspec.Struct, frozen=True):
    """A task. `next_at` is when it is tried next, `error` of the last attempt that failed.

    `emit` and `notify` say what it does, in answers about one task alone.
    """

    id: str
    what: str
    state: str
    name: str | None
    priority: int
    created_at: str
    due_at: str
    next_at: str | None
    until: str | None
    attempts: int
    run: int
    ended_at: str | None
    schedule: str | None
    cause: str | None
    span: str | None
    error: str | None
    detail: str | None
    emit: dict[str, Any] | UnsetType = UNSET
    notify: NoticeJson | UnsetType = UNSET


class ScheduleJson(msgspec.Struct, frozen=True):
    """A schedule. `next_at` is null where it is paused or no time comes any more."""

    id: str
    name: str
    what: str
    cron: str | None
    every_s: float | None
    missed: Literal["skip", "once", "all"]
    priority: int
    within_s: float | None
    paused: bool
    created_at: str
    next_at: str | None
    runs: int
    cause: str | None
    emit: dict[str, Any] | UnsetType = UNSET
    notify: NoticeJson | UnsetType = UNSET


async def read_work(type_: type[T]) -> T:
    """The request's body as a value of this type. Raises as read_json does; place names the field."""
    media = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media != JSON_MEDIA:
        raise CallerError("media.unsupported", f"Content-Type {media!r:.80}")
    body: Any = request.body
    try:
        return msgspec.convert(parse_json(await body.read(TASK_REQUEST_BYTES_MAX)), type_)
    except msgspec.ValidationError as error:
        raise CallerError("request.malformed", str(error)) from None


def work_of(caller: Caller, asked: WorkJson) -> Work:
    """What is asked for, admitted as if it were done now. Raises CallerError."""
    if (asked.emit is UNSET) == (asked.notify is UNSET):
        raise CallerError("task.invalid", "it takes emit or notify", place="emit")
    if asked.priority not in PRIORITIES:
        raise CallerError("task.invalid", f"0 to {PRIORITIES[-1]}", place="priority")
    if isinstance(asked.emit, JsonDraft):
        draft, key = parse_json_draft(msgspec.json.encode(asked.emit))
        if key is not None:
            raise CallerError("task.invalid", "a task has a key of its own", place="emit.idempotency_key")
        draft = Admission(caller).admit(draft, None)
        return Work(EMIT, emit_payload(draft), asked.priority, draft.caused_by)
    assert isinstance(asked.notify, NoticeJson)
    if not caller.may(Action.TASK_CHANGE):
        raise CallerError("role.insufficient", "only an administrator has others told", place="notify")
    notice = Notice(asked.notify.to, asked.notify.text, asked.notify.data)
    if notice.what != JOURNAL:
        caller.services.tasks.webhooks.check_name(notice.to)
    return Work(notice.what, notice_payload(notice), asked.priority)


def time_of(text: str, place: str) -> int:
    """Unix ms of a time in a request. Raises CallerError("task.invalid")."""
    try:
        return parse_time(text)
    except CallerError as error:
        raise CallerError("task.invalid", error.detail, place=place) from None


def due_ms_of(asked: NewTaskJson, now_ms: int) -> int:
    """When a task is due. Raises CallerError("task.invalid")."""
    if asked.at is not None and asked.after_s is not None:
        raise CallerError("task.invalid", "it takes at or after_s", place="at")
    if asked.at is not None:
        return _within(now_ms, time_of(asked.at, "at"), "at")
    return _within(now_ms, now_ms + round(1000 * (asked.after_s or 0)), "after_s")


def deadline_ms_of(asked: NewTaskJson, now_ms: int, due_ms: int) -> int | None:
    """From when on a task is not tried. Raises CallerError("task.invalid")."""
    if asked.until is not None and asked.within_s is not None:
        raise CallerError("task.invalid", "it takes until or within_s", place="until")
    if asked.until is None and asked.within_s is None:
        return None
    place = "within_s" if asked.until is None else "until"
    at_ms = due_ms + patience_ms_of(asked.within_s or 0) if asked.until is None else time_of(asked.until, "until")
    if at_ms <= max(now_ms, due_ms):
        raise CallerError("task.invalid", "it would never begin", place=place)
    return at_ms


def patience_ms_of(within_s: float) -> int:
    """Milliseconds of a patience. Raises CallerError("task.invalid")."""
    if not 0 < within_s <= TASK_DELAY_S_MAX:
        raise CallerError("task.invalid", f"more than 0 and at most {TASK_DELAY_S_MAX:,} seconds", place="within_s")
    return max(1, round(1000 * within_s))


def check_name(name: str | None) -> str | None:
    """A task's name, if it is one. Raises CallerError("task.invalid")."""
    if name is not None and not (0 < len(name) <= _NAME_CHARS_MAX and name.isprintable()):
        raise CallerError("task.invalid", f"1 to {_NAME_CHARS_MAX} visible characters", place="name")
    return name


def task_id_of(caller: Caller, key: str | None, random_bytes: Callable[[int], bytes]) -> bytes:
    """The id of a new task: the same whenever the same caller sends the same key."""
    if key is None:
        return random_bytes(ID_BYTES)
    said = b"lognode task v1" + caller.tenant.tenant_id + caller.principal.id + key.encode()
    return sha256(said).digest()[:ID_BYTES]


def parse_id(text: str, code: Literal["task.unknown", "schedule.unknown"]) -> bytes:
    """The 16 bytes of an id. Raises CallerError with this code where there can be nothing of this name."""
    try:
        return b32decode(text, ID_BYTES)
    except CallerError:
        raise CallerError(code, f"{text!r:.80}") from None


def task_json(task: Task, *, is_whole: bool = False) -> TaskJson:
    """A task; if it is whole, with what it does."""
    emit, notify = _shown(task.what, task.payload) if is_whole else (UNSET, UNSET)
    return TaskJson(
        id=task.text,
        what=task.what,
        state=task.state,
        name=task.name,
        priority=task.priority,
        created_at=time_text(task.created_ms),
        due_at=time_text(task.due_ms),
        next_at=time_text(task.ready_ms) if task.state == "waiting" else None,
        until=_text(task.deadline_ms),
        attempts=task.attempts,
        run=task.run,
        ended_at=_text(task.ended_ms),
        schedule=None if task.schedule is None else b32encode(task.schedule),
        cause=None if task.cause is None else b32encode(task.cause),
        span=None if task.span is None else b32encode(task.span),
        error=task.error,
        detail=task.detail,
        emit=emit,
        notify=notify,
    )


def schedule_json(schedule: Schedule, *, is_whole: bool = False) -> ScheduleJson:
    """A schedule; if it is whole, with what its tasks do."""
    emit, notify = _shown(schedule.what, schedule.payload) if is_whole else (UNSET, UNSET)
    return ScheduleJson(
        id=schedule.text,
        name=schedule.name,
        what=schedule.what,
        cron=schedule.cron,
        every_s=None if schedule.interval_ms is None else schedule.interval_ms / 1000,
        missed=schedule.missed,
        priority=schedule.priority,
        within_s=None if schedule.patience_ms is None else schedule.patience_ms / 1000,
        paused=bool(schedule.paused),
        created_at=time_text(schedule.created_ms),
        next_at=None if schedule.paused else _text(schedule.next_ms),
        runs=schedule.runs,
        cause=None if schedule.cause is None else b32encode(schedule.cause),
        emit=emit,
        notify=notify,
    )


def _within(now_ms: int, at_ms: int, place: str) -> int:
    if not now_ms - 1000 * TASK_DELAY_S_MAX <= at_ms <= now_ms + 1000 * TASK_DELAY_S_MAX:
        raise CallerError("task.invalid", f"within {TASK_DELAY_S_MAX:,} seconds of now", place=place)
    return at_ms


def _text(ms: int | None) -> str | None:
    return None if ms is None else time_text(ms)


def _shown(what: str, payload: bytes) -> tuple[dict[str, Any] | UnsetType, NoticeJson | UnsetType]:
    if what == EMIT:
        return _draft_json(read_emit(payload)), UNSET
    notice = read_notice(payload)
    return UNSET, NoticeJson(notice.to, notice.text, notice.data)


def _draft_json(draft: Draft) -> dict[str, Any]:
    """A draft as a caller writes it, without what it leaves out."""
    fields = {
        "kind": draft.kind,
        "title": draft.title,
        "data": decode_value(draft.data),
        "tags": list(draft.tags),
        "subject": draft.subject,
        "contract_id": draft.contract_id,
        "workflow_id": draft.workflow_id,
        "flow_id": draft.flow_id,
        "related": [b32encode(span) for span in draft.related],
        "metadata": decode_value(draft.metadata),
        "visibility": VISIBILITIES[draft.visibility],
        "status": STATUSES[draft.status],
        "caused_by": None if draft.caused_by is None else b32encode(draft.caused_by),
        "actor": None if draft.actor is None else format_logline(draft.actor),
    }
    return {name: value for name, value in fields.items() if value not in (None, [])}
