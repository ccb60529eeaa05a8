"""What a node does later, as methods of the client: tasks and schedules."""

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Literal, cast
from urllib.parse import quote

import msgspec

from lognode.client.aio.session import AsyncSession
from lognode.client.answers import parse_answer
from lognode.client.answers.tasks import Schedule, Task, TasksState
from lognode.client.draft import Draft

_KEY_BYTES: Final = 18


class AsyncTasks:
    """The part of a client that is about tasks."""

    _session: AsyncSession
    _base: str

    async def emit_later(
        self,
        draft: Draft,
        *,
        at: str | None = None,
        after_s: float | None = None,
        until: str | None = None,
        name: str | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """The task by which the node writes this span `at` a time (RFC 3339), or `after_s` seconds; not `until` a time.

        Raises CallerError("task.invalid"), and what `append` does for drafts.
        """
        work = {"emit": msgspec.Raw(draft.line())}
        return await self._make_task(work, at, after_s, until, name, priority, idempotency_key)

    async def notify_later(
        self,
        notice: Mapping[str, Any],
        *,
        at: str | None = None,
        after_s: float | None = None,
        until: str | None = None,
        name: str | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
    ) -> Task:
        """The task by which the node tells a notice: a map of `to`, a webhook's name or "journal", `text` and `data`.

        Raises CallerError task.invalid or webhook.unknown.
        """
        work = {"notify": dict(notice)}
        return await self._make_task(work, at, after_s, until, name, priority, idempotency_key)

    def tasks(
        self, *, state: str | None = None, what: str | None = None, schedule: str | None = None
    ) -> AsyncIterator[Task]:
        """The tasks of the tenant that are so, the latest due first, read page by page as they are iterated."""
        wanted = {"state": state, "what": what, "schedule": schedule}
        return self._task_pages([(name, value) for name, value in wanted.items() if value is not None])

    async def task(self, task_id: str) -> Task:
        """A task, with what it does. Raises CallerError("task.unknown")."""
        return cast("Task", await self._ask_tasks("GET", f"tasks/{quote(task_id, safe='')}"))

    async def cancel_task(self, task_id: str) -> Task:
        """Call a task off. Raises CallerError task.unknown, task.running or task.ended."""
        return cast("Task", await self._ask_tasks("POST", f"tasks/{quote(task_id, safe='')}/cancel"))

    async def retry_task(self, task_id: str) -> Task:
        """Queue a dead task again. Raises CallerError task.unknown or task.not_dead."""
        return cast("Task", await self._ask_tasks("POST", f"tasks/{quote(task_id, safe='')}/retry"))

    async def pause_tasks(self) -> TasksState:
        """Have no more tasks of the tenant begin until they are resumed."""
        return cast("TasksState", await self._ask_tasks("POST", "tasks/pause"))

    async def resume_tasks(self) -> TasksState:
        """Have the tenant's tasks run again."""
        return cast("TasksState", await self._ask_tasks("POST", "tasks/resume"))

    async def drain_tasks(self) -> TasksState:
        """Pause the tenant's tasks; returns once none is under way, or after half a minute."""
        return cast("TasksState", await self._ask_tasks("POST", "tasks/drain"))

    async def schedules(self) -> list[Schedule]:
        """The schedules of the tenant, by name."""
        return cast("list[Schedule]", (await self._ask_tasks("GET", "schedules"))["schedules"])

    async def schedule(
        self,
        name: str,
        work: Draft | Mapping[str, Any],
        *,
        cron: str | None = None,
        every_s: float | None = None,
        missed: Literal["skip", "once", "all"] = "once",
        priority: int | None = None,
    ) -> Schedule:
        """Have a draft written, or a notice ({to, text, data}) told, by cron in UTC or every so many seconds.

        Raises CallerError schedule.invalid, schedule.exists or schedule.too_many, and what `emit_later` does.
        """
        does = {"emit": msgspec.Raw(work.line())} if isinstance(work, Draft) else {"notify": dict(work)}
        asked = {"name": name, "missed": missed, "cron": cron, "every_s": every_s, "priority": priority, **does}
        return cast("Schedule", await self._ask_tasks("POST", "schedules", asked))

    async def pause_schedule(self, name: str) -> Schedule:
        """Have a schedule make no runs until it is resumed. Raises CallerError("schedule.unknown")."""
        return cast("Schedule", await self._ask_tasks("POST", f"{_place(name)}/pause"))

    async def resume_schedule(self, name: str) -> Schedule:
        """Have a schedule make runs again. Raises CallerError("schedule.unknown")."""
        return cast("Schedule", await self._ask_tasks("POST", f"{_place(name)}/resume"))

    async def delete_schedule(self, name: str) -> Schedule:
        """The schedule that is no more. Raises CallerError("schedule.unknown")."""
        return cast("Schedule", await self._ask_tasks("DELETE", _place(name)))

    async def _make_task(
        self,
        work: Mapping[str, Any],
        at: str | None,
        after_s: float | None,
        until: str | None,
        name: str | None,
        priority: int | None,
        key: str | None,
    ) -> Task:
        asked = {**work, "at": at, "after_s": after_s, "until": until, "name": name, "priority": priority}
        key = key or secrets.token_urlsafe(_KEY_BYTES)
        return cast("Task", await self._ask_tasks("POST", "tasks", asked, key))

    async def _task_pages(self, params: list[tuple[str, str]]) -> AsyncIterator[Task]:
        after: list[tuple[str, str]] = []
        while True:
            raw = await self._session.request("GET", f"{self._base}/tasks", params=[*params, *after])
            page = parse_answer(raw)
            for task in page["tasks"]:
                yield cast("Task", task)
            if page["next"] is None:
                return
            after = [("after", page["next"])]

    async def _ask_tasks(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None
    ) -> dict[str, Any]:
        headers = [("Idempotency-Key", key)] if key else []
        content = b""
        if body is not None:
            headers.append(("Content-Type", "application/json"))
            content = msgspec.json.encode({name: value for name, value in body.items() if value is not None})
        # What has a key, and what only reads, may be sent again.
        patient = method == "GET" or key is not None
        return parse_answer(
            await self._session.request(
                method, f"{self._base}/{path}", content=content, headers=headers, patient=patient
            )
        )


def _place(name: str) -> str:
    """The path of the schedule of this name."""
    return f"schedules/{quote(f'name:{name}', safe='')}"
