"""Errors of what a node does to its own identity."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "recovery.malformed",
        "caller",
        422,
        False,
        "Recovery words not valid",
        "Compare each word with what you wrote down; all 24 in their order.",
    ),
    (
        "recovery.declared",
        "caller",
        409,
        False,
        "Another recovery key is in force",
        "Add --former FILE with the words of that one.",
    ),
    (
        "recovery.unknown",
        "caller",
        403,
        False,
        "Not the recovery key in force",
        "Use the words that were declared last, or leave --recovery out to sign with the node's key.",
    ),
    (
        "rotation.refused",
        "caller",
        409,
        False,
        "The node would lose a membership",
        "Have a root give it another level there, or remove it, then rotate again.",
    ),
    (
        "rotation.unfinished",
        "node",
        409,
        False,
        "A rotation of the node's key has begun",
        "Run 'lognode id rotate' again: it goes on where it stopped.",
    ),
)
