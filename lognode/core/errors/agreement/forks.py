"""Errors of feeds with two histories, and of proofs of it."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "fork.invalid",
        "caller",
        422,
        False,
        "Fork proof not valid",
        "It accuses nobody. Get the proof again, from a node that says it has one ('lognode fork export').",
    ),
    (
        "fork.unknown",
        "caller",
        404,
        False,
        "Fork unknown",
        "'lognode fork list' shows the feeds that fork, 'lognode fork show FEED' the histories of one.",
    ),
)
