"""What a node answers about drafts that wait for approval."""

from typing import Any, TypedDict

from lognode.client.answers.node import Receipt


class Answer(TypedDict):
    """What a node `says`: "approve" or "deny"; `counts` is false for an approval of one that may not approve now."""

    span: str
    node: str
    at: str
    says: str
    note: str
    counts: bool


class Approval(TypedDict):
    """A draft that waits, or waited, for approval: `of` who have the `role`, before `until`.

    `state` is "waiting", "written", "denied", "expired" or "rejected"; `span` is what was written in the end.
    `sound` is false where `draft` is not what its node says it will write, or wrote: it cannot be approved.
    """

    id: str
    at: str
    node: str
    set: str
    rule: str
    text: str
    role: str
    of: int
    until: str
    state: str
    draft: Any
    sound: bool
    answers: list[Answer]
    span: str | None


class Approvals(TypedDict):
    """A page of approvals, the newest first; `next` goes on behind it."""

    approvals: list[Approval]
    next: str | None


class Answered(TypedDict):
    """What the node said, and the approval as it is then."""

    approval: Approval
    receipt: Receipt
