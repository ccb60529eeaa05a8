"""Making, listing and revoking invites.

Owns what an invite names besides its key: the roots that can admit, and where. Invariant: the seed of an invite's key
is in its text alone: not in the database, not in a log.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import trio

from lognode.core.access import Level
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.core.limits import ADDRESSES_MAX, INVITE_SERVERS_MAX, LISTEN_S_MAX
from lognode.engine.receipt import Receipt
from lognode.federation.addresses.address import PORT_MAX, Address
from lognode.federation.discovery.directory import Directory
from lognode.federation.discovery.whereabouts import Whereabouts
from lognode.federation.invites.invitation import Invitation, Server
from lognode.federation.invites.service.ground import Ground
from lognode.identity.certificate import certificate_key
from lognode.identity.keys import SEED_BYTES, KeyPair
from lognode.timeline.control.invites import invite_create_data, invite_id, invite_revoke_data
from lognode.timeline.members import Invite, Membership
from lognode.timeline.record import TenantRef

State = Literal["open", "expired", "revoked", "used_up"]


class Terms(NamedTuple):
    """What an invite lets how many nodes do, until when."""

    level: Level
    uses: int
    expires_ms: int
    approve: bool


class Issued(NamedTuple):
    """An invite as it was made. Its text is a secret."""

    id: bytes
    invitation: Invitation
    is_listening: bool  # a joiner can come here now


class Invites:
    """The invites of the tenants of this node."""

    def __init__(self, ground: Ground, directory: Directory, whereabouts: Whereabouts) -> None:
        self._ground = ground
        self._directory = directory
        self._whereabouts = whereabouts

    async def create(self, tenant: TenantRef, terms: Terms) -> Issued:
        """A new invite. Raises CallerError("member.not_root") where this node is no root of the tenant."""
        seed = self._ground.world.random_bytes(SEED_BYTES)
        key = KeyPair(seed).public

        def build(membership: Membership, after: list[SpanId]) -> bytes:
            check_root(membership, self._ground.own_key)
            return invite_create_data(after, key, terms.level, terms.uses, terms.expires_ms, approve=terms.approve)

        await self._ground.writer.append_control(tenant, "invite.create", build)
        is_listening = await self._wait_listening()
        servers = self._servers(self._ground.membership(tenant))
        invitation = Invitation(
            tenant.tenant_id, terms.level, terms.uses, terms.expires_ms, terms.approve, seed, servers
        )
        return Issued(invite_id(tenant.tenant_id, key), invitation, is_listening)

    def all(self, tenant: TenantRef) -> dict[bytes, Invite]:
        """The invites of a tenant by id."""
        return dict(self._ground.membership(tenant).invites)

    def state(self, invite: Invite) -> State:
        """Whether an invite lets anybody in now, and why not."""
        if invite.revoked:
            return "revoked"
        if self._ground.world.now_ms() > invite.expires_ms:
            return "expired"
        return "open" if invite.uses_left else "used_up"

    async def revoke(self, tenant: TenantRef, revoked: bytes) -> Receipt | None:
        """The receipt of `invite.revoke`; None where it was revoked before.

        Raises CallerError invite.unknown or member.not_root.
        """
        if (invite := self._ground.membership(tenant).invites.get(revoked)) is not None and invite.revoked:
            return None

        def build(membership: Membership, after: list[SpanId]) -> bytes:
            check_root(membership, self._ground.own_key)
            if revoked not in membership.invites:
                raise CallerError("invite.unknown")
            return invite_revoke_data(after, revoked)

        return await self._ground.writer.append_control(tenant, "invite.revoke", build)

    async def _wait_listening(self) -> bool:
        """Whether the join listener is up: it begins to listen once there is an invite."""
        with trio.move_on_after(LISTEN_S_MAX):
            while True:
                seen = self._directory.version
                if self._whereabouts.listening("join") is not None:
                    return True
                await self._directory.wait_change(seen)
        return False

    def _servers(self, membership: Membership) -> tuple[Server, ...]:
        """The roots that an invite names: this node, then those that answered last."""
        own = self._server(membership, self._ground.own_key, self._whereabouts.addresses("join"))
        others = [
            self._server(membership, member.node_key, self._join_addresses(member.node_key))
            for member in membership.members.values()
            if member.level == Level.ROOT and not member.removed and member.node_key != self._ground.own_key
        ]
        others.sort(key=lambda server: not server.addresses)
        return (own, *others[: INVITE_SERVERS_MAX - 1])

    def _server(self, membership: Membership, node_key: bytes, addresses: Sequence[str]) -> Server:
        tls_key = certificate_key(membership.members[node_key].certificate)
        return Server(node_key, tls_key, tuple(addresses[:ADDRESSES_MAX]))

    def _join_addresses(self, node_key: bytes) -> list[str]:
        """Where another root may listen for joiners: as it announces, else one port above where members reach it."""
        announced = [place for heard in self._directory.announced(node_key) for place in heard.join_addresses]
        known = [entry.address for entry in self._directory.known(node_key)]
        guessed = [Address(place.host, place.port + 1) for place in known if place.port < PORT_MAX]
        return [str(place) for place in dict.fromkeys([*announced, *guessed])]


def check_root(membership: Membership, own_key: bytes) -> None:
    """Pass if this node is a root of the tenant. Raises CallerError("member.not_root")."""
    if membership.level(own_key) != Level.ROOT:
        raise CallerError("member.not_root")
