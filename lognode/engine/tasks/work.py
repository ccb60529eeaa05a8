"""What tasks do, as bytes in their rows: write a span, or tell somebody.

Pure. Invariant: what a task writes has an idempotency key that follows from the task alone, so that it is there once
however often it is tried.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

import cbor2
import msgspec

from lognode.core.clock import time_text
from lognode.core.codec import decode_array, encode
from lognode.core.draft import Draft, idem_key, parse_cbor_draft, signed_array
from lognode.core.errors import CallerError
from lognode.core.ids import LogLine, SpanId, TenantId, b32encode
from lognode.core.limits import (
    EMITS_RUNNING_MAX,
    JOURNALS_RUNNING_MAX,
    TASK_PAYLOAD_BYTES_MAX,
    TEXT_BYTES_MAX,
    WEBHOOKS_RUNNING_MAX,
)
from lognode.core.span import ORGANIZATION, PRIVATE
from lognode.engine.tasks.task import ID_BYTES, PRIORITIES, Task, Work

What = Literal["emit", "webhook", "journal"]
EMIT: Final = "emit"  # write a span
WEBHOOK: Final = "webhook"  # call one of the settings
JOURNAL: Final = "journal"  # write a line of the node's log
KINDS_MAX: Final[Mapping[str, int]] = MappingProxyType(
    {EMIT: EMITS_RUNNING_MAX, WEBHOOK: WEBHOOKS_RUNNING_MAX, JOURNAL: JOURNALS_RUNNING_MAX}
)
DEAD_KIND: Final = "task.dead"
_SIGNED_FIELDS: Final = 14


class Notice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something to be told: to the webhook of this name, or to "journal"."""

    to: str
    text: str = ""
    data: Any = None

    @property
    def what(self) -> str:
        """The kind of the task that tells it."""
        return JOURNAL if self.to == JOURNAL else WEBHOOK


def new_task(
    tenant: int,
    task_id: bytes,
    work: Work,
    *,
    now_ms: int,
    due_ms: int,
    deadline_ms: int | None = None,
    schedule: bytes | None = None,
    name: str | None = None,
) -> Task:
    """A task that waits for its time."""
    assert len(task_id) == ID_BYTES
    assert work.priority in PRIORITIES
    return Task(
        tenant, task_id, work.what, work.payload, "waiting", work.priority, now_ms, due_ms, due_ms, deadline_ms,
        schedule=schedule, name=name, cause=work.cause, target=_target(work),
    )  # fmt: skip


def _target(work: Work) -> str:
    """The webhook that is called, by its name; "" where none is, or it cannot be told."""
    try:
        to = read_notice(work.payload).to if work.what == WEBHOOK else ""
    except CallerError:
        return ""
    return to if to.__class__ is str else ""


def emit_payload(draft: Draft) -> bytes:
    """What a task keeps of a span to be. Raises CallerError("task.invalid") for one that is too large or signed."""
    if draft.actor_signature is not None or draft.origin is not None:
        raise CallerError("task.invalid", "a signed draft, or a copy, is written now or never", place="emit")
    fields = decode_array(signed_array(draft), _SIGNED_FIELDS)
    return _bounded(encode([encode([*fields, None, None]), draft.annotations]))


def read_emit(payload: bytes) -> Draft:
    """The draft of a payload. Raises CallerError for what is none."""
    raw, annotations = decode_array(payload, 2)
    if raw.__class__ is not bytes or annotations.__class__ is not bytes:
        raise CallerError("cbor.malformed", "a payload is two byte strings")
    draft, _ = parse_cbor_draft(raw)
    return msgspec.structs.replace(draft, annotations=annotations)


def notice_payload(notice: Notice, *, is_private: bool = False) -> bytes:
    """What a task keeps of a notice, and of it alone where a private span is told of.

    Raises CallerError("task.invalid").
    """
    if len(notice.text.encode(errors="replace")) > TEXT_BYTES_MAX:
        raise CallerError("task.invalid", f"its text has at most {TEXT_BYTES_MAX} bytes", place="notify.text")
    try:
        return _bounded(cbor2.dumps([notice.to, notice.text, notice.data, *([True] if is_private else [])]))
    except UnicodeEncodeError:
        raise CallerError("task.invalid", "a lone surrogate", place="notify") from None


def read_notice(payload: bytes) -> Notice:
    """The notice of a payload. Raises CallerError("cbor.malformed") for what is none."""
    try:
        return Notice(*_notice_parts(payload)[:3])
    except (cbor2.CBORError, TypeError, ValueError) as error:
        raise CallerError("cbor.malformed", f"a payload is no notice: {error}") from None


def _notice_parts(payload: bytes) -> list[Any]:
    parts = cbor2.loads(payload)
    if not isinstance(parts, list):
        raise ValueError("a payload is an array")  # noqa: TRY004 - of what it was made of
    return parts


def emitted(task: Task, tenant: TenantId, node: LogLine) -> Draft:
    """The span that a task writes: annotated with the task, once for good. Raises CallerError for a broken payload."""
    draft = read_emit(task.payload)
    said: dict[str, Any] = {"id": task.text, "due": time_text(task.due_ms)}
    if task.schedule is not None:
        said["schedule"] = task.name
    held = cbor2.loads(draft.annotations) if draft.annotations else {}
    return msgspec.structs.replace(
        draft, annotations=cbor2.dumps({**held, "task": said}), idem=idem_key(tenant, node, f"task {task.text}")
    )


def obituary(task: Task, tenant: TenantId, node: LogLine) -> Draft:
    """The span that tells of a dead task: what it was and why, nothing of what it had to say."""
    visibility, to = _seen_by(task)
    said = {
        "task": task.text,
        "what": task.what,
        "name": task.name,
        "due": time_text(task.due_ms),
        "attempts": task.attempts,
        "error": task.error,
        **to,
    }
    return Draft(
        kind=DEAD_KIND,
        title=f"Gave up: {task.name or task.what}",
        data=cbor2.dumps(said),
        visibility=visibility,
        caused_by=None if task.cause is None else SpanId(task.cause),
        idem=idem_key(tenant, node, f"task {task.text} dead {task.run}"),
    )


def _seen_by(task: Task) -> tuple[int, dict[str, str]]:
    """How visible the end of a task is, and whom it called: no more than what it had to say."""
    try:
        if task.what == EMIT:
            return read_emit(task.payload).visibility, {}
        notice = read_notice(task.payload)
        is_private = len(_notice_parts(task.payload)) > len(notice.__struct_fields__)
        return PRIVATE if is_private else ORGANIZATION, {"to": notice.to}
    except CallerError:
        return PRIVATE, {}  # nobody knows what it was


def message(task: Task, tenant: TenantId) -> bytes:
    """The JSON that a webhook is sent."""
    notice = read_notice(task.payload)
    return msgspec.json.encode(
        {
            "id": task.text,
            "tenant": b32encode(tenant),
            "due": time_text(task.due_ms),
            "name": task.name,
            "span": None if task.cause is None else b32encode(task.cause),
            "text": notice.text,
            "data": notice.data,
        }
    )


def _bounded(payload: bytes) -> bytes:
    if len(payload) > TASK_PAYLOAD_BYTES_MAX:
        raise CallerError("task.invalid", f"{len(payload):,} bytes to keep, at most {TASK_PAYLOAD_BYTES_MAX:,}")
    return payload
