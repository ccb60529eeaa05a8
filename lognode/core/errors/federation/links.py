"""Errors of keeping linked with other nodes."""

from typing import Final

from lognode.core.errors.spec import Row

ROWS: Final[tuple[Row, ...]] = (
    (
        "peer.unaddressed",
        "peer",
        503,
        True,
        "No address of the peer is known",
        "Name one in peers = ['HOST:PORT'], or wait: it is found by multicast, through members, or dials itself.",
    ),
    (
        "peer.unknown",
        "caller",
        404,
        False,
        "Peer unknown",
        "'lognode sync status' names the other members of the tenant.",
    ),
    (
        "member.refused",
        "peer",
        403,
        True,
        "Other members refuse this node",
        (
            "It was removed, or lost its invite to another ('lognode join' with the invite tells): join by a new one. "
            "Or 'lognode id rotate' ran on a copy of it, which is the member now: stop this one, or join as a new node."
        ),
    ),
)
