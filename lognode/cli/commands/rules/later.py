"""Commands that have a node do something later, or again and again: task create, schedule create."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter, validators

from lognode.cli.commands.rules.tasks import print_schedule
from lognode.cli.commands.spans.write import Details
from lognode.cli.options import HERE, Duration, Target, duration
from lognode.cli.output import print_json, print_text
from lognode.core.errors import CallerError

if TYPE_CHECKING:
    from lognode.client import Draft

Period = Annotated[Duration | None, Parameter(converter=duration)]
Priority = Annotated[int | None, Parameter(validator=validators.Number(gte=0, lte=9))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Doing(Details):
    """What is to be done: a span to write, or somebody to tell, as options."""

    kind: str | None = None
    """Write a span of this kind: words joined by dots, such as order.paid."""
    notify: str | None = None
    """In place of a span, tell this webhook of the settings, or journal: the node's log."""
    text: str | None = None
    """What it is told, with --notify; --data goes with it."""

    def work(self) -> "Draft | Mapping[str, Any]":
        """The client's draft or notice. Raises CallerError usage.invalid, or as `draft_of` does."""
        if (self.kind is None) == (self.notify is None):
            raise CallerError("usage.invalid", "it takes --kind, or --notify", place="--kind")
        draft = self.draft_of(self.kind or "")
        if self.notify is None:
            if self.text is not None:
                raise CallerError("usage.invalid", "it goes with --notify", place="--text")
            return draft
        fields = {name: getattr(draft, name) for name in draft.__struct_fields__ if name != "data"}
        if any(fields.values()):
            raise CallerError("usage.invalid", "with --notify go --text and --data alone", place="--notify")
        said = {"to": self.notify, "text": self.text, "data": draft.data}
        return {name: value for name, value in said.items() if value is not None}


NOTHING: Final = Doing()


def task_create(
    *,
    doing: Doing = NOTHING,
    after: Period = None,
    at: str | None = None,
    until: str | None = None,
    name: str | None = None,
    priority: Priority = None,
    idempotency_key: str | None = None,
    target: Target = HERE,
) -> None:
    """Have the node write a span or tell somebody, later.

    It prints the task's id. Without --after and --at it is due at once.

    Parameters
    ----------
    after
        How long from now, such as 90s, 2h or 3d.
    at
        When, as an RFC 3339 time.
    until
        From when on it is not tried any more, as an RFC 3339 time.
    name
        What people see of it in lists.
    priority
        0 to 9; of what is due, the lowest goes first.
    idempotency_key
        Sending it again with the same key makes no second task.

    Examples
    --------
    $ lognode task create --kind order.overdue --subject order:17 --after 2d
    $ lognode task create --notify ops --text Hello --at 2026-02-01T09:00:00Z

    Notes
    -----
    Exit code 2 for what no task can do, 5 for a key that stands for another task.
    """
    work = doing.work()
    options: dict[str, Any] = {
        "after_s": None if after is None else after.total_seconds(),
        "at": at,
        "until": until,
        "name": name,
        "priority": priority,
        "idempotency_key": idempotency_key,
    }
    with target.client() as client:
        task = client.notify_later(work, **options) if isinstance(work, Mapping) else client.emit_later(work, **options)
    print_json(task) if target.json else print_text(task["id"])


def schedule_create(
    name: str,
    /,
    *,
    doing: Doing = NOTHING,
    cron: str | None = None,
    every: Period = None,
    missed: Literal["skip", "once", "all"] = "once",
    priority: Priority = None,
    target: Target = HERE,
) -> None:
    """Have the node write a span or tell somebody, again and again.

    Parameters
    ----------
    name
        Its name, which no other schedule of the tenant has.
    cron
        When: minute, hour, day of the month, month, day of the week, in UTC.
    every
        In place of --cron, how long from one run to the next, such as 90s, 2h or 1d.
    missed
        What becomes of times at which the node did not run: left out, made up for once, or each of them.
    priority
        0 to 9; of what is due, the lowest goes first.

    Examples
    --------
    $ lognode schedule create nightly --cron "0 3 * * *" --kind report.due
    $ lognode schedule create tick --every 1h --notify journal --text "still here"

    Notes
    -----
    Exit code 2 for what is no schedule, 5 where there is one of this name.
    """
    every_s = None if every is None else every.total_seconds()
    work = doing.work()
    with target.client() as client:
        schedule = client.schedule(name, work, cron=cron, every_s=every_s, missed=missed, priority=priority)
    print_schedule(schedule, target)
