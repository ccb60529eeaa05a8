"""Commands about tasks and schedules: task list, show, cancel, retry, pause, resume; schedule list, pause, resume."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, validators

from lognode.cli.options import HERE, Flag, Target
from lognode.cli.output import print_json, print_rows, print_table, print_text, say
from lognode.cli.view.nodes import choose

if TYPE_CHECKING:
    from lognode.client import Client
    from lognode.client.answers.tasks import Schedule, Task, TasksState

LIMIT = 50
AnyState = Literal["waiting", "running", "done", "dead", "cancelled"]
AnyWork = Literal["emit", "webhook", "journal"]
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]


def task_list(
    *, state: AnyState | None = None, what: AnyWork | None = None, limit: Count = LIMIT, target: Target = HERE
) -> None:
    """List what the node does later, the latest due first.

    Tasks that ended stay for 30 days.

    Parameters
    ----------
    state
        Only tasks that are so.
    what
        Only tasks that do this: write a span, call a webhook, write to the node's log.
    limit
        How many at most.

    Examples
    --------
    $ lognode task list
    $ lognode task list --state dead
    """
    with target.client() as client:
        found = list(islice(client.tasks(state=state, what=what), limit + 1))
    shown = found[:limit]
    if target.json:
        print_json({"tasks": shown})
        return
    if not shown:
        print_text("No task." if state is None else f"No task is {state}.")
        return
    columns = ("task", "state", "does", "due", "tried", "name", "error")
    print_table(columns, [_row(task) for task in shown])
    if len(found) > limit:
        say(f"There are more; --limit {limit * 10} shows them.")
    if any(task["state"] == "dead" for task in shown):
        say("'lognode task show TASK' says why a task is dead, 'lognode task retry TASK' tries it again.")


def task_show(task: str, /, *, target: Target = HERE) -> None:
    """Show a task: how it went, and what it does.

    Parameters
    ----------
    task
        The task's id, or its beginning.

    Examples
    --------
    $ lognode task show 04zyz3
    """
    with target.client() as client:
        found = client.task(_choose_task(client, task))
    if target.json:
        print_json(found)
        return
    rows: dict[str, Any] = {
        "Task": found["id"],
        "Name": found["name"],
        "State": found["state"],
        "Does": found["what"],
        "Due": found["due_at"],
        "Next attempt": found["next_at"],
        "Not after": found["until"],
        "Attempts": found["attempts"],
        "Queued again": found["run"] - 1 or None,
        "Ended": found["ended_at"],
        "Schedule": found["schedule"],
        "Caused by": found["cause"],
        "Wrote": found["span"],
        "Error": found["error"] and f"{found['error']}: {found['detail']}",
    }
    print_rows({name: f"{value}" for name, value in rows.items() if value is not None})
    print_json(found.get("emit") or found.get("notify"))


def task_cancel(task: str, /, *, target: Target = HERE) -> None:
    """Call a task off that waits or is dead.

    What is under way cannot be called back; it ends, or waits again, within a minute.

    Parameters
    ----------
    task
        The task's id, or its beginning.

    Examples
    --------
    $ lognode task cancel 04zyz3
    """
    with target.client() as client:
        found = client.cancel_task(_choose_task(client, task))
    _print_task(found, target, "cancelled")


def task_retry(task: str, /, *, target: Target = HERE) -> None:
    """Queue a dead task again.

    It is tried from now on as often as a new one, without deadline.

    Parameters
    ----------
    task
        The task's id, or its beginning.

    Examples
    --------
    $ lognode task retry 04zyz3
    """
    with target.client() as client:
        found = client.retry_task(_choose_task(client, task))
    _print_task(found, target, "queued again")


def task_pause(*, drain: Flag = False, target: Target = HERE) -> None:
    """Begin no more tasks of the tenant until they are resumed.

    That holds after a restart too. Schedules make no runs meanwhile, and then deal with what they missed.

    Parameters
    ----------
    drain
        Wait until no task is under way any more, half a minute at most.

    Examples
    --------
    $ lognode task pause --drain
    """
    with target.client() as client:
        state = client.drain_tasks() if drain else client.pause_tasks()
    _print_state(state, target)


def task_resume(*, target: Target = HERE) -> None:
    """Have the tasks of the tenant run again.

    Examples
    --------
    $ lognode task resume
    """
    with target.client() as client:
        state = client.resume_tasks()
    _print_state(state, target)


def schedule_list(*, target: Target = HERE) -> None:
    """List what is due again and again.

    Times of cron expressions are in UTC.

    Examples
    --------
    $ lognode schedule list
    """
    with target.client() as client:
        found = client.schedules()
    if target.json:
        print_json({"schedules": found})
        return
    if not found:
        print_text("No schedule.")
        return
    rows = [
        (each["name"], _timing(each), each["what"], each["missed"], _next(each), f"{each['runs']}") for each in found
    ]
    print_table(("name", "due", "does", "missed", "next", "runs"), rows)


def schedule_pause(name: str, /, *, target: Target = HERE) -> None:
    """Have a schedule make no runs until it is resumed.

    Parameters
    ----------
    name
        The schedule's name.

    Examples
    --------
    $ lognode schedule pause nightly
    """
    with target.client() as client:
        found = client.pause_schedule(name)
    print_schedule(found, target)


def schedule_resume(name: str, /, *, target: Target = HERE) -> None:
    """Have a schedule make runs again, from its next time on.

    Parameters
    ----------
    name
        The schedule's name.

    Examples
    --------
    $ lognode schedule resume nightly
    """
    with target.client() as client:
        found = client.resume_schedule(name)
    print_schedule(found, target)


def schedule_delete(name: str, /, *, target: Target = HERE) -> None:
    """Delete a schedule.

    Runs that it made and that wait stay.

    Parameters
    ----------
    name
        The schedule's name.

    Examples
    --------
    $ lognode schedule delete nightly
    """
    with target.client() as client:
        found = client.delete_schedule(name)
    if target.json:
        print_json(found)
    else:
        print_text(f"Deleted the schedule {found['name']}.")


def _choose_task(client: "Client", text: str) -> str:
    """The id of the task that an id, or the beginning of one, names; whatever else is left to the node."""
    if len(text) >= ID_CHARS:
        return text
    return choose(text, [task["id"] for task in client.tasks()], "task.unknown")


ID_CHARS = 26


def _row(task: "Task") -> tuple[str, ...]:
    due = task["next_at"] or task["due_at"]
    return (
        task["id"], task["state"], task["what"], due, f"{task['attempts']}", task["name"] or "", task["error"] or "",
    )  # fmt: skip


def _print_task(task: "Task", target: Target, became: str) -> None:
    if target.json:
        print_json(task)
    else:
        print_text(f"Task {task['id']} is {became}.")


def _print_state(state: "TasksState", target: Target) -> None:
    if target.json:
        print_json(state)
        return
    paused = f"paused since {state['paused_at']}" if state["paused_at"] else "running"
    print_rows({"Tasks": paused, "Waiting": f"{state['waiting']}, {state['due']} of them due",
                "Under way": f"{state['running']}", "Dead": f"{state['dead']}"})  # fmt: skip


def print_schedule(schedule: "Schedule", target: Target) -> None:
    """Say when a schedule is due next."""
    if target.json:
        print_json(schedule)
    else:
        print_text(
            f"The schedule {schedule['name']} is {'paused' if schedule['paused'] else 'next due ' + _next(schedule)}."
        )


def _timing(schedule: "Schedule") -> str:
    return schedule["cron"] or f"every {schedule['every_s']:g} s"


def _next(schedule: "Schedule") -> str:
    return "paused" if schedule["paused"] else schedule["next_at"] or "never"
