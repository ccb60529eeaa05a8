"""What follows from a decision about a committed span: spans to write, and things to do later.

Pure. Invariant: what follows has keys and ids that follow from span, rule and action alone, so that it is there once
however often the span is looked at.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from lognode.core.draft import Draft, parse_json_draft
from lognode.core.errors import CallerError
from lognode.core.ids import IDEM_BYTES, SpanId, TenantId
from lognode.core.limits import SCHEDULES_MAX
from lognode.core.span import PRIVATE, VISIBILITIES
from lognode.engine.ruling.telling import firing_of, is_told
from lognode.engine.tasks.schedule import Schedule, Timing, new_schedule, schedule_id
from lognode.engine.tasks.task import ID_BYTES, Task, Work
from lognode.engine.tasks.work import EMIT, JOURNAL, Notice, emit_payload, new_task, notice_payload
from lognode.rules.document import Emit, Notify
from lognode.rules.evaluation.decision import Decision, Effect, Scheduled
from lognode.rules.records import FIRED, Fired, fired_data
from lognode.timeline.agreement.rules.annotations import with_rules

_FIRED_PLACE: Final = 1 << 16  # behind the places of actions


class Subject(NamedTuple):
    """The span that was looked at, and by whom: effects of `run: each` are each node's own."""

    tenant: int
    tenant_id: TenantId
    span: SpanId
    visibility: int
    node_key: bytes
    original: SpanId | None = None  # whose place the span takes: what that set off is not set off again


class Following(NamedTuple):
    """What follows. Of `drafts` each stands for itself; the firing, if any, is the last."""

    drafts: list[Draft]
    tasks: list[Task]
    schedules: list[Schedule]


# Whether there is room for a schedule, by its id; one that is there is replaced.
Schedulable = Callable[[bytes], bool]


def follow(
    subject: Subject,
    decision: Decision,
    hashes: Mapping[str, bytes],
    now_ms: int,
    has_room: Schedulable = lambda _: True,
) -> Following:
    """What follows from a decision; what cannot be done is told in the firing."""
    following = Following([], [], [])
    if not is_told(decision):
        return following
    faults: dict[tuple[str, str], str] = {}
    for effect in decision.effects:
        try:
            _do(subject, effect, decision, now_ms, following, has_room)
        except CallerError as error:
            faults[effect.set, effect.rule] = f"action {effect.place + 1}: {error}"
    fired = _with_faults(firing_of(decision, hashes, is_gate=False), faults)
    idem = _id(subject, "", "", _FIRED_PLACE)
    following.drafts.append(
        Draft(FIRED, data=fired_data(fired), visibility=subject.visibility, caused_by=subject.span, idem=idem)
    )
    return following


def _do(
    subject: Subject,
    effect: Effect,
    decision: Decision,
    now_ms: int,
    following: Following,
    has_room: Schedulable,
) -> None:
    key = _id(subject, effect.set, effect.rule, effect.place)
    deed = effect.deed
    if isinstance(deed, Emit):
        draft = _emitted(subject, deed, effect, decision.hops)
        following.drafts.append(msgspec.structs.replace(draft, idem=key))
    elif isinstance(deed, Notify):
        work = _notice(subject, deed)
        following.tasks.append(new_task(subject.tenant, key[:ID_BYTES], work, now_ms=now_ms, due_ms=now_ms))
    elif isinstance(deed, Scheduled):
        if isinstance(deed.what, Emit):
            draft = _emitted(subject, deed.what, effect, decision.hops)
            work = Work(EMIT, emit_payload(draft), cause=subject.span)
        else:
            work = _notice(subject, deed.what)
        if deed.cron is None:
            assert deed.due_ms is not None, "what is scheduled has one time or many"
            task = new_task(
                subject.tenant, key[:ID_BYTES], work, now_ms=now_ms, due_ms=deed.due_ms, name=deed.name or None
            )
            following.tasks.append(task)
        else:
            timing = Timing(cron=deed.cron, missed=deed.missed)
            named = schedule_id(subject.tenant_id, deed.name)
            if not has_room(named):
                raise CallerError("schedule.too_many", f"there are {SCHEDULES_MAX:,}")
            following.schedules.append(new_schedule(subject.tenant, named, deed.name, work, timing, now_ms=now_ms))


def _emitted(subject: Subject, deed: Emit, effect: Effect, hops: int) -> Draft:
    """The draft that a rule makes. Raises CallerError where no span can be so."""
    said: dict[str, Any] = {name: value for name, value in msgspec.to_builtins(deed).items() if value not in (None, ())}
    said.setdefault("visibility", VISIBILITIES[subject.visibility])
    if subject.visibility == PRIVATE:
        # Rules come from other nodes' roots too, who shall not have what never leaves this node.
        said["visibility"] = VISIBILITIES[PRIVATE]
    draft, _ = parse_json_draft(msgspec.json.encode(said))
    noted = with_rules(b"", {"by": [effect.set, effect.rule], "hops": hops})
    return msgspec.structs.replace(draft, caused_by=subject.span, annotations=noted)


def _notice(subject: Subject, deed: Notify) -> Work:
    notice = Notice(deed.webhook or JOURNAL, str(deed.text), deed.data)
    return Work(notice.what, notice_payload(notice, is_private=subject.visibility == PRIVATE), cause=subject.span)


def _with_faults(fired: Fired, faults: Mapping[tuple[str, str], str]) -> Fired:
    rules = tuple(
        msgspec.structs.replace(rule, error="; ".join(filter(None, (rule.error, faults.get((rule.set, rule.rule))))))
        for rule in fired.rules
    )
    return msgspec.structs.replace(fired, rules=rules)


def _id(subject: Subject, rule_set: str, rule: str, place: int) -> bytes:
    said = f"{rule_set}\n{rule}\n{place}".encode()
    return sha256(b"lognode reaction v1" + subject.node_key + (subject.original or subject.span) + said).digest()[
        :IDEM_BYTES
    ]
