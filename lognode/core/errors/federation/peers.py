"""Errors of other nodes: what they say, and what they hold."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "message.malformed",
        "peer",
        502,
        False,
        "Malformed message of a peer",
        "Its lognode may be damaged or of another maker; compare the versions of both nodes.",
    ),
    (
        "message.too_large",
        "peer",
        502,
        False,
        "Message of a peer too large",
        "Its lognode may be damaged or of another maker; compare the versions of both nodes.",
    ),
    (
        "version.unsupported",
        "peer",
        502,
        False,
        "No version in common with the peer",
        "Upgrade the older of the two nodes; neighbouring versions talk to each other.",
    ),
    (
        "range.too_large",
        "peer",
        413,
        False,
        "Range of a peer too large",
        "Its lognode may be damaged or of another maker; another peer may have the feed in smaller ranges.",
    ),
    (
        "range.withheld",
        "peer",
        502,
        True,
        "Range promised and not given",
        "The peer says that it holds more than it gives; another peer may give it.",
    ),
    (
        "feed.forked",
        "peer",
        409,
        False,
        "Feed has two histories",
        "'lognode fork list' says more. Two copies of its author are at work, or its key was stolen.",
    ),
    (
        "feed.unadmitted",
        "peer",
        403,
        True,
        "Author not admitted",
        "It is taken in once the span that admits its author is; see 'lognode member list'.",
    ),
)
