"""Errors of invites and of joining."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "invite.malformed",
        "caller",
        400,
        False,
        "Not an invite",
        "Use the whole line that 'lognode invite create' printed; it begins with lognode-invite-.",
    ),
    (
        "invite.incomplete",
        "caller",
        400,
        False,
        "Invite not complete",
        "Copy the whole line; some programs cut long ones.",
    ),
    ("invite.altered", "caller", 400, False, "Invite altered", "Copy it again, from where it was made."),
    ("invite.newer", "caller", 409, False, "Invite of a newer lognode", "Upgrade lognode on this node, then join."),
    (
        "invite.refused",
        "caller",
        403,
        False,
        "Invite refused",
        "Ask for a new invite; who does not hold a valid one is told nothing.",
    ),
)
