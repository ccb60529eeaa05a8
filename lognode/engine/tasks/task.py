"""A task: something that a node does once, at a time of its own, however often it has to try.

Owns its states and what leads from one to the next. Knows neither the database nor what a task does. Invariants: a task
that ended has a time at which it did; what is done is never tried again.
"""

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from lognode.core.errors import CallerError, LognodeError
from lognode.core.ids import b32encode
from lognode.core.limits import TASK_ATTEMPTS_MAX
from lognode.engine.tasks.pace import wait_ms

ID_BYTES: Final = 16
DETAIL_CHARS_MAX: Final = 500  # of what is kept of a failure
PRIORITIES: Final = range(10)  # the lowest first
PRIORITY_DEFAULT: Final = 5

State = Literal["waiting", "running", "done", "dead", "cancelled"]
Event = Literal["claim", "succeed", "fail", "give_up", "lose", "cancel", "retry"]
STATES: Final[tuple[State, ...]] = ("waiting", "running", "done", "dead", "cancelled")
# What may happen to a task in which state, and the state that follows. Whatever is running cannot be called back.
TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        ("waiting", "claim"): "running",
        ("waiting", "give_up"): "dead",  # its deadline passed first
        ("waiting", "cancel"): "cancelled",
        ("running", "succeed"): "done",
        ("running", "fail"): "waiting",
        ("running", "give_up"): "dead",
        ("running", "lose"): "waiting",  # the daemon ended meanwhile
        ("dead", "retry"): "waiting",
        ("dead", "cancel"): "cancelled",
    }
)
ENDS: Final[frozenset[State]] = frozenset({"done", "dead", "cancelled"})


class Task(NamedTuple):
    """A task as it is stored, column by column; times are Unix ms.

    `payload` is what `what` says how to read. `due_ms` is when it was to run, `ready_ms` when it may be tried next.
    `attempts` counts those that began since it was queued last; `run` how often it was queued. `schedule` is the id of
    the schedule that it is a run of, `cause` the span that it follows from, `span` the one that it made; `error` and
    `detail` are of the last attempt that failed; `target` is the webhook that it calls, "" where it calls none.
    """

    tenant: int
    id: bytes
    what: str
    payload: bytes
    state: State
    priority: int
    created_ms: int
    due_ms: int
    ready_ms: int
    deadline_ms: int | None = None
    attempts: int = 0
    run: int = 1
    ended_ms: int | None = None
    schedule: bytes | None = None
    name: str | None = None
    cause: bytes | None = None
    span: bytes | None = None
    error: str | None = None
    detail: str | None = None
    target: str = ""

    @property
    def text(self) -> str:
        """The id as the API shows it."""
        return b32encode(self.id)


class Failure(NamedTuple):
    """Why an attempt failed; `retry_after_s` is what whoever was asked wants to be left in peace for."""

    code: str
    detail: str
    is_final: bool
    retry_after_s: int | None = None

    @classmethod
    def of(cls, error: LognodeError) -> "Failure":
        """What an error says: a caller's mistake stays one however often it is made."""
        is_final = isinstance(error, CallerError) and not error.spec.retryable
        return cls(error.code, error.detail or error.spec.title, is_final, error.retry_after_s)


class Work(NamedTuple):
    """What is to be done: `payload` is what `what` says how to read; `cause` is the span that it follows from."""

    what: str
    payload: bytes
    priority: int = PRIORITY_DEFAULT
    cause: bytes | None = None


def run_id(schedule: bytes, due_ms: int) -> bytes:
    """The id of a schedule's run at a time: whoever makes it again makes the same task."""
    return sha256(b"lognode run v1" + schedule + due_ms.to_bytes(8, "big")).digest()[:ID_BYTES]


def after(state: State, event: Event) -> State:
    """The state that follows. Raises CallerError task.running, task.ended or task.not_dead where none does."""
    following = TRANSITIONS.get((state, event))
    if following is not None:
        return following
    if event == "retry":
        raise CallerError("task.not_dead", f"it is {state}")
    if state == "running":
        raise CallerError("task.running", "it has begun, and ends within seconds")
    raise CallerError("task.ended", f"it is {state}")


def claimed(task: Task) -> Task:
    """The task with an attempt that begins."""
    return task._replace(state=after(task.state, "claim"), attempts=task.attempts + 1)


def succeeded(task: Task, now_ms: int, span: bytes | None = None) -> Task:
    """The task once it is done; `span` is what it made."""
    return task._replace(state=after(task.state, "succeed"), ended_ms=now_ms, span=span, error=None, detail=None)


def failed(task: Task, failure: Failure, now_ms: int, chance: float) -> Task:
    """The task after an attempt that failed: it waits for the next one, or is dead. `chance` is in [0, 1)."""
    ready_ms = now_ms + wait_ms(task.attempts, chance, failure.retry_after_s)
    is_late = task.deadline_ms is not None and ready_ms >= task.deadline_ms
    if failure.is_final or is_late or task.attempts >= TASK_ATTEMPTS_MAX:
        return _dead(task, failure.code, failure.detail, now_ms)
    return task._replace(
        state=after(task.state, "fail"), ready_ms=ready_ms, error=failure.code, detail=_short(failure.detail)
    )


def expired(task: Task, now_ms: int) -> Task:
    """The task once its deadline passed before an attempt could begin; what failed before stays in its detail."""
    before = f"; before, {task.error}: {task.detail}" if task.error else ""
    return _dead(task, "task.late", f"its deadline passed before it could be tried{before}", now_ms)


def is_expired(task: Task, now_ms: int) -> bool:
    """Whether it is too late to begin."""
    return task.deadline_ms is not None and now_ms >= task.deadline_ms


def lost(task: Task, now_ms: int) -> Task:
    """The task whose attempt nobody knows the end of: it is tried again, unless that was the last attempt."""
    if task.attempts >= TASK_ATTEMPTS_MAX:
        return _dead(task, "task.lost", "the daemon ended during its last attempt", now_ms)
    return task._replace(state=after(task.state, "lose"), ready_ms=min(task.ready_ms, now_ms))


def cancelled(task: Task, now_ms: int) -> Task:
    """The task once somebody called it off. Raises CallerError task.running or task.ended."""
    return task._replace(state=after(task.state, "cancel"), ended_ms=now_ms)


def requeued(task: Task, now_ms: int) -> Task:
    """A dead task that is tried again from now on, as often as a new one, without deadline.

    Raises CallerError("task.not_dead").
    """
    state = after(task.state, "retry")
    return task._replace(state=state, ready_ms=now_ms, deadline_ms=None, attempts=0, run=task.run + 1, ended_ms=None)


def _dead(task: Task, code: str, detail: str, now_ms: int) -> Task:
    return task._replace(state=after(task.state, "give_up"), ended_ms=now_ms, error=code, detail=_short(detail))


def _short(detail: str) -> str:
    return detail[:DETAIL_CHARS_MAX]
