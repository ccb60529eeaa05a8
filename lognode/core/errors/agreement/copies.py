"""What happens to copies of a node, as its owner is told: rows of errors that no request is answered with."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "identity.copied",
        "node",
        409,
        False,
        "This node is a copy from another time",
        "Nothing, if you restored or moved it: it goes on in new feeds. If the original runs too, stop one of the two.",
    ),
    (
        "feed.restored",
        "node",
        409,
        False,
        "Spans of a feed that ended were recorded again",
        "Nothing: old ids lead to the copies. Find out what ran twice with this key if the feed forked.",
    ),
)
