"""The types of answers about tasks and schedules: JSON objects as the node sends them, with names for their fields."""

from typing import Any, NotRequired, TypedDict


class Notice(TypedDict):
    """Something to be told: to the webhook of this name, or to "journal"."""

    to: str
    text: NotRequired[str]
    data: NotRequired[Any]


class Task(TypedDict):
    """A task. `emit` or `notify` say what it does, in answers about one task alone."""

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
    emit: NotRequired[dict[str, Any]]
    notify: NotRequired[Notice]


class Tasks(TypedDict):
    """A page of tasks, the latest due first; `next` is null behind the last one."""

    tasks: list[Task]
    next: str | None
    paused_at: str | None


class TasksState(TypedDict):
    """How it goes with the tasks of a tenant."""

    paused_at: str | None
    waiting: int
    running: int
    done: int
    dead: int
    cancelled: int
    due: int
    due_since: str | None


class Schedule(TypedDict):
    """What is due again and again. `emit` or `notify` say what its runs do, in answers about one schedule alone."""

    id: str
    name: str
    what: str
    cron: str | None
    every_s: float | None
    missed: str
    priority: int
    within_s: float | None
    paused: bool
    created_at: str
    next_at: str | None
    runs: int
    cause: str | None
    emit: NotRequired[dict[str, Any]]
    notify: NotRequired[Notice]


class Schedules(TypedDict):
    """The schedules of a tenant by name."""

    schedules: list[Schedule]
