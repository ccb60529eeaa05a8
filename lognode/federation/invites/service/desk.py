"""All that a node does about invites and members, as one value made from its other parts."""

from collections.abc import Callable
from typing import NamedTuple, Self

from lognode.core.access import Level
from lognode.core.limits import ADDRESSES_MAX, JOIN_PEERS_MAX
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.whereabouts import Whereabouts
from lognode.federation.invites.messages import Peer
from lognode.federation.invites.service.admissions import Admissions
from lognode.federation.invites.service.changes import Changes
from lognode.federation.invites.service.ground import Ground
from lognode.federation.invites.service.issuing import Invites
from lognode.federation.invites.service.joining import Ask, Joins
from lognode.timeline.record import TenantRef


class Desk(NamedTuple):
    """Invites that this node makes, joiners that it admits, members that it changes, and what it joins itself."""

    ground: Ground
    invites: Invites
    admissions: Admissions
    changes: Changes
    joins: Joins

    @classmethod
    def of(
        cls,
        ground: Ground,
        directory: Directory,
        whereabouts: Whereabouts,
        *,
        ask: Ask,
        adopted: Callable[[TenantRef, tuple[Peer, ...]], None],
        is_refused: Callable[[TenantRef], bool] = lambda _tenant: False,
    ) -> Self:
        """The desk of a node; `ask` sends to a join listener.

        `adopted` is told of a tenant that is to be synced, and of members that have it, first the one that admitted;
        `is_refused` says whether these refuse this node.
        """
        own_key = ground.own_key

        def peers(tenant: TenantRef) -> list[Peer]:
            members = [member for member in ground.membership(tenant).members.values() if member.level > Level.BLOCKED]
            members.sort(key=lambda member: (member.node_key != own_key, -member.level))
            return [
                Peer(member.node_key, member.certificate, addresses(member.node_key))
                for member in members[:JOIN_PEERS_MAX]
            ]

        def addresses(node_key: bytes) -> tuple[str, ...]:
            if node_key == own_key:
                return whereabouts.addresses("peer")[:ADDRESSES_MAX]
            return tuple(str(entry.address) for entry in directory.known(node_key)[:ADDRESSES_MAX])

        def adopt(tenant: TenantRef, found: tuple[Peer, ...]) -> None:
            for peer in found:
                directory.note(peer.node_key, peer.addresses, "invite")
            adopted(tenant, found)

        return cls(
            ground,
            Invites(ground, directory, whereabouts),
            Admissions(ground, peers, lambda node_key, told: directory.note(node_key, told, "member")),
            Changes(ground),
            Joins(
                ground,
                ask=ask,
                addresses=directory,
                own_addresses=lambda: whereabouts.addresses("peer")[:ADDRESSES_MAX],
                adopted=adopt,
                is_refused=is_refused,
            ),
        )
