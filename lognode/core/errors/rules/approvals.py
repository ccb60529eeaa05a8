"""Errors of drafts that wait for approval."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "approval.unknown",
        "caller",
        404,
        False,
        "Nothing waits under this id",
        "'lognode approval list' shows what waits; another member's may not have arrived yet.",
    ),
    (
        "approval.decided",
        "caller",
        409,
        False,
        "Nothing waits here any more",
        "'lognode approval show ID' says what became of it; who still wants it sends it again.",
    ),
    (
        "approval.altered",
        "caller",
        409,
        False,
        "It shows something else than would be written",
        "Deny it, and ask whoever runs its node: what is shown is not what that node says that it will write.",
    ),
    (
        "approval.own",
        "caller",
        403,
        False,
        "Others have to approve",
        "Approve it on another root member: of several who approve, none is the node that wants it.",
    ),
    (
        "approval.too_many",
        "caller",
        409,
        True,
        "No room for more that waits for approval",
        "'lognode approval list' shows what waits: grant or deny some of it.",
    ),
)
