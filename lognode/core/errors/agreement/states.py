"""Errors of state, reverts and conflicts."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "subject.unknown",
        "caller",
        404,
        False,
        "No such subject",
        "Check it, letter by letter; 'lognode subject' without one lists what there is.",
    ),
    (
        "revert.refused",
        "caller",
        422,
        False,
        "Not to be taken back",
        "Undo it by what it was done by, such as another level, a new invite or a policy.",
    ),
    (
        "revert.done",
        "caller",
        409,
        False,
        "Taken back already",
        "To have it hold again, take the revert back that the detail names.",
    ),
    ("conflict.none", "caller", 409, False, "No conflict", "'lognode conflict list' shows those that there are."),
    (
        "conflict.unknown_head",
        "caller",
        422,
        False,
        "Not among what contradicts",
        "Choose one of the spans that 'lognode subject' shows under the conflict.",
    ),
)
