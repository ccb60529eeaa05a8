"""All ties of this node, as the memberships of its tenants have them now.

Invariant: who is no member at this moment has no tie that `admit` gives, whatever was open before.
"""

from collections.abc import Sequence

from lognode.core.access import Level
from lognode.core.errors import LognodeError, PeerError
from lognode.core.ids import TenantId, b32encode
from lognode.federation.sync.instances import Instances
from lognode.federation.sync.service.outside import Outside
from lognode.federation.sync.service.state.tie import Tie
from lognode.timeline.record import TenantRef


class Ties:
    """Ties by peer and tenant."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside
        self._ties: dict[tuple[int, bytes], Tie] = {}
        self._instances = Instances()
        self._told: dict[bytes, Sequence[str]] = {}

    def admit(self, node_key: bytes, tenant_id: TenantId) -> Tie | None:
        """The tie with a node, if it is a member of the tenant now; None alike where the tenant is unknown."""
        tenant = self._outside.store.tenants.get(b32encode(tenant_id))
        return self.tie(node_key, tenant) if tenant is not None and self.is_member(node_key, tenant) else None

    def is_member(self, node_key: bytes, tenant: TenantRef) -> bool:
        """Whether another node may read the tenant now."""
        level = self._outside.standings.of(tenant.number).level(node_key)
        return node_key != self._outside.own_key and level >= Level.OBSERVER

    def tie(self, node_key: bytes, tenant: TenantRef) -> Tie:
        """The tie with a node in a tenant, new where there was none."""
        place = (tenant.number, node_key)
        if place not in self._ties:
            outside = self._outside
            self._ties[place] = Tie(node_key, tenant, outside.world, outside.notices, outside.meters)
        return self._ties[place]

    def of(self, tenant: TenantRef) -> list[Tie]:
        """The ties of a tenant, by the peer's key."""
        return [tie for (number, _), tie in sorted(self._ties.items(), key=_place) if number == tenant.number]

    def drop(self, tie: Tie) -> None:
        """Forget a tie whose peer is no member any longer."""
        self._ties.pop((tie.tenant.number, tie.node_key), None)
        if not any(node_key == tie.node_key for _, node_key in self._ties):
            self._instances.forget(tie.node_key)
            self._told.pop(tie.node_key, None)
            self._outside.directory.forget(tie.node_key)

    def told(self, node_key: bytes) -> Sequence[str]:
        """The addresses that a node told of itself last."""
        return self._told.get(node_key, ())

    def hear(self, node_key: bytes, instance: bytes, addresses: Sequence[str] | None = None) -> None:
        """That a process of a node says this name, and where the node listens, where that is new.

        A sign of two copies is shown at all its ties.
        """
        if addresses is not None and addresses != self.told(node_key):
            self._told[node_key] = addresses
            self._outside.directory.note(node_key, addresses, "member")
        if self._instances.hear(node_key, instance, self._outside.world.monotonic_s()):
            self.fail(node_key, PeerError("identity.cloned", "two processes speak with this key"))

    def is_to_be_told(self, node_key: bytes, instance: bytes) -> bool:
        """Whether a process of a node is to be told that there is another: once, because both are heard after that."""
        return self._instances.is_to_be_told(node_key, instance, self._outside.world.monotonic_s())

    def fail(self, node_key: bytes, error: LognodeError) -> None:
        """Something went wrong with a node, in no tenant alone."""
        for (_, key), tie in self._ties.items():
            if key == node_key:
                tie.fail(error)


def _place(item: tuple[tuple[int, bytes], Tie]) -> tuple[int, bytes]:
    return item[0]
