"""The parts of a node that invites and members work on, as one value."""

from typing import NamedTuple

from lognode.core.world import World
from lognode.engine.service.standings import Standings
from lognode.engine.service.writer import Writer
from lognode.identity.keys import NodeKeys
from lognode.timeline.members import Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import Store


class Ground(NamedTuple):
    """Store, writer, memberships, world and keys of one node."""

    store: Store
    writer: Writer
    standings: Standings
    world: World
    keys: NodeKeys

    @property
    def own_key(self) -> bytes:
        """The node key's public half."""
        return self.keys.public

    def membership(self, tenant: TenantRef) -> Membership:
        """The members of a tenant as this node knows them."""
        return self.standings.of(tenant.number)
