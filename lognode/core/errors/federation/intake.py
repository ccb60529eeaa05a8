"""Errors of what is taken in from other nodes, and of who may write in a tenant of several."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "range.unproven",
        "peer",
        502,
        False,
        "Range of a peer not proven",
        "What it sent is not what the author signed; another peer may have it right. If all do so, remove the peer.",
    ),
    (
        "range.stubbed",
        "peer",
        502,
        False,
        "Range of a peer with spans withheld",
        "Only private spans may be withheld; another peer may give them. If this one goes on so, remove it.",
    ),
    (
        "range.gap",
        "peer",
        409,
        True,
        "Range of a peer behind a gap",
        "Nothing: what is missing before it is asked for.",
    ),
    (
        "control.unproven",
        "peer",
        502,
        False,
        "Control span of a peer not proven",
        "What it sent is not what the author signed; another peer may have it right. If all do so, remove the peer.",
    ),
    (
        "clock.ahead",
        "peer",
        409,
        True,
        "Spans ahead of now",
        "They are kept, and this node's time does not follow. Set the clock of who wrote them, or this one's.",
    ),
    (
        "identity.cloned",
        "peer",
        409,
        False,
        "Another copy of this node writes",
        "Stop one of the two for good; if it is to go on, as a new node with an invite. Do not give it a new key.",
    ),
    (
        "member.observer",
        "caller",
        403,
        False,
        "This node only observes",
        "Ask a root member to make it trusted ('lognode member level'), or write on another node.",
    ),
    (
        "member.removed",
        "caller",
        403,
        False,
        "This node is no member",
        "What it holds can still be read. Ask a root member for an invite, and join again ('lognode join').",
    ),
    (
        "control.void",
        "caller",
        403,
        False,
        "It would have no effect",
        "Nothing was written; 'lognode member list' shows who may do what here.",
    ),
    (
        "alias.taken",
        "caller",
        409,
        False,
        "Name of a tenant taken",
        "Choose another name for the tenant.",
    ),
)
