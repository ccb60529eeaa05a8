"""The types of answers about state: JSON objects as the node sends them, with names for their fields."""

from typing import Any, NotRequired, TypedDict

from lognode.client.answers.node import Receipt


class Said(TypedDict):
    """What one span says of a subject; `resolution` is the span by which somebody chose it."""

    span: str
    kind: str
    at: str
    node: str
    actor: str | None
    title: str | None
    resolution: str | None
    value: NotRequired[Any]


class Conflict(TypedDict):
    """Spans that contradict each other; while it is `open`, none holds."""

    policy: str
    open: bool
    count: int
    heads: list[Said]


class Subject(TypedDict):
    """What the spans about a subject come to. `local` is what the node's own private spans say of it."""

    subject: str
    holds: Said | None
    settled: bool
    conflict: Conflict | None
    local: Said | None
    history: str


class Subjects(TypedDict):
    """A page of subjects; `next` is null behind the last one."""

    subjects: list[Subject]
    next: str | None


class Resolved(TypedDict):
    """A decision, and what the subject comes to by it."""

    receipt: Receipt
    subject: Subject


class Policies(TypedDict):
    """Kinds of spans with the policy by which their conflicts are settled; all others have `default`."""

    policies: dict[str, str]
    default: str


class Rebuilt(TypedDict):
    """What was made again from spans: for each table how many rows it has, and how many were wrong or missing."""

    tables: dict[str, "RebuiltTable"]


class RebuiltTable(TypedDict):
    """One table."""

    rows: int
    changed: int
