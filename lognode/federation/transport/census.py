"""Who may connect to this node, as the memberships of its tenants say.

Pure. Invariant: a node is let in while it is a member of at least one tenant that this node is a member of, and never
longer.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lognode.core.access import Level
from lognode.timeline.members import Membership


class Census(NamedTuple):
    """The certificates of other members with their node keys, and until when strangers may ask to join."""

    peers: Mapping[bytes, bytes]
    joinable_until_ms: int  # 0 where there is no invite

    def is_joinable(self, now_ms: int) -> bool:
        """Whether somebody may still come with an invite."""
        return now_ms < self.joinable_until_ms


def take_census(memberships: Iterable[Membership], own_key: bytes) -> Census:
    """Who may connect.

    An invite counts until it expires or is revoked, also when it is used up: whoever used it may not have heard the
    answer, and whoever comes late should hear why it is too late.
    """
    peers: dict[bytes, bytes] = {}
    until_ms = 0
    for members in memberships:
        level = members.level(own_key)
        if level == Level.BLOCKED:
            continue
        peers |= {shown: node for shown, node in members.certificates.items() if node != own_key}
        if level == Level.ROOT:
            until_ms = max([until_ms, *(one.expires_ms for one in members.invites.values() if not one.revoked)])
    return Census(peers, until_ms)
