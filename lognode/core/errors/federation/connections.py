"""Errors of connections between nodes."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "peer.unreachable",
        "peer",
        503,
        True,
        "Peer not reachable",
        "Check that it runs, and that a firewall lets its peer port through; it is tried again by itself.",
    ),
    (
        "peer.untrusted",
        "peer",
        502,
        True,
        "Not the node that was called",
        "Another program or node answers at this address; check the address, and who runs there.",
    ),
    (
        "peer.refused",
        "peer",
        403,
        True,
        "Refused by the peer",
        "To it this node is no member, or not any more: 'lognode member list' there tells. Then join by a new invite.",
    ),
    ("peer.slow", "peer", 504, True, "Peer too slow", "Check the network between the nodes; it is tried again."),
    ("peer.busy", "peer", 429, True, "Peer is busy", "Nothing: it is tried again by itself, more slowly."),
)
