"""Changes of members by a person: another level, removal.

Owns the cuts that a change names: what this node holds of the member's feeds. Invariant: what is not held when a member
is removed or lowered is beyond the cut, whenever it comes.
"""

import sqlite3
from collections.abc import Sequence

from lognode.core.access import Level
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, SpanId, b32encode
from lognode.core.limits import CUTS_MAX
from lognode.engine.receipt import Receipt
from lognode.federation.invites.service.ground import Ground
from lognode.federation.invites.service.issuing import check_root
from lognode.timeline.control.members import Cuts, member_level_data, member_remove_data
from lognode.timeline.members import Member, Membership
from lognode.timeline.record import FeedRef, TenantRef
from lognode.timeline.store.write import newest_checkpoint


class Changes:
    """The members of the tenants of this node, and what a root changes about them."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def change_level(self, tenant: TenantRef, node_key: bytes, level: Level) -> Receipt | None:
        """The receipt of `member.level`; None where the member has this level.

        Raises CallerError member.unknown, member.gone, member.not_root or member.last_root.
        """
        if _member(self._ground.membership(tenant), node_key).level == level:
            return None
        cuts = await self._cuts(tenant, node_key)

        def build(membership: Membership, after: list[SpanId]) -> bytes:
            check_root(membership, self._ground.own_key)
            is_lower = level < _member(membership, node_key).level
            if is_lower:
                _check_root_remains(membership, node_key)
            return member_level_data(after, node_key, level, cuts if is_lower else ())

        return await self._ground.writer.append_control(tenant, "member.level", build)

    async def remove(self, tenant: TenantRef, node_key: bytes, reason: str) -> Receipt | None:
        """The receipt of `member.remove`; None where the member was removed, or this node voted for it, before.

        Raises CallerError member.unknown, member.not_root or member.last_root.
        """
        membership = self._ground.membership(tenant)
        member, poll = membership.members.get(node_key), membership.polls.get(node_key)
        if (member is not None and member.removed) or (poll is not None and self._ground.own_key in poll.voters):
            return None
        cuts = await self._cuts(tenant, node_key)

        def build(membership: Membership, after: list[SpanId]) -> bytes:
            check_root(membership, self._ground.own_key)
            _member(membership, node_key)
            _check_root_remains(membership, node_key)
            return member_remove_data(after, node_key, cuts, reason)

        return await self._ground.writer.append_control(tenant, "member.remove", build)

    async def _cuts(self, tenant: TenantRef, node_key: bytes) -> Cuts:
        feeds = [
            feed
            for feed in self._ground.store.feeds.values()
            if feed.tenant == tenant.number and feed.node_key == node_key
        ]
        # Should there be more than fit, those that were here first: what is left out is cut off whole.
        return await self._ground.store.read(_heads, sorted(feeds, key=lambda feed: feed.number)[:CUTS_MAX])


def _member(membership: Membership, node_key: bytes) -> Member:
    member = membership.members.get(node_key)
    if member is None:
        raise CallerError("member.unknown")
    if member.removed:
        successor = member.successor
        raise CallerError("member.gone", f"its node goes on with the key {b32encode(successor)}" if successor else "")
    return member


def _check_root_remains(membership: Membership, node_key: bytes) -> None:
    """Pass if the tenant has a root without this member: else nobody could ever let anybody in again."""
    roots = {key for key, member in membership.members.items() if member.level == Level.ROOT}
    if roots <= {node_key}:
        raise CallerError("member.last_root")


def _heads(conn: sqlite3.Connection, feeds: Sequence[FeedRef]) -> list[tuple[FeedId, int, bytes]]:
    """Size and root that are held of each feed."""
    heads = [(feed.feed_id, newest_checkpoint(conn, feed)) for feed in feeds]
    return [(feed_id, head.size, head.root) for feed_id, head in heads if head is not None and head.size]
