"""What a root member does with joiners: bytes in, bytes out, and `member.admit` in between.

Owns the answers of the join listener and the joiners that a person has to approve. Any root of a tenant admits. The
checks that decide run in the writer, with the newest membership: of any number of redemptions at once, exactly as many
joiners get in as the invite has uses. Invariant: who holds no invite gets the same bytes, whatever it asks.
"""

import sqlite3
from collections.abc import Callable, Sequence

import structlog

from lognode.core.access import Level
from lognode.core.errors import CallerError, LognodeError, NodeFault, PeerError
from lognode.core.ids import SpanId, b32encode
from lognode.core.limits import BUSY_RETRY_S, JOIN_RETRY_S
from lognode.federation.invites.admission import check_request, check_statement, find_invite, find_joiner
from lognode.federation.invites.messages import (
    Admitted,
    Answer,
    JoinRequest,
    Peer,
    Refused,
    Waiting,
    decode_request,
    encode_answer,
    encode_request,
)
from lognode.federation.invites.service.ground import Ground
from lognode.federation.invites.store import Petition, drop_petition, load_petitions, save_petition
from lognode.federation.invites.words import words_of
from lognode.timeline.control.members import member_admit_data
from lognode.timeline.members import Invite, Member, Membership
from lognode.timeline.record import TenantRef
from lognode.timeline.store.database import is_full

REFUSED = encode_answer(Refused("invite.refused"))
_log = structlog.get_logger(__name__)


class _AlreadyIn(CallerError):
    """Found in the writer: the joiner is a member already."""

    def __init__(self, member: Member) -> None:
        super().__init__("member.exists")
        self.member = member


class Admissions:
    """Joiners of the tenants of this node."""

    def __init__(
        self,
        ground: Ground,
        peers: Callable[[TenantRef], Sequence[Peer]],
        note: Callable[[bytes, Sequence[str]], None],
    ) -> None:
        """`peers` tells whom a new member of a tenant can sync with; `note` is told where a new member may answer."""
        self._ground = ground
        self._peers = peers
        self._note = note

    async def answer(self, body: bytes) -> bytes:
        """The answer to what a joiner sent."""
        try:
            request = decode_request(body)
            tenant = self._ground.store.tenants[b32encode(request.tenant)]
            find_invite(self._ground.membership(tenant), request)
        except (KeyError, PeerError, CallerError):
            return REFUSED
        try:
            return encode_answer(await self._answer_holder(tenant, request))
        except LognodeError as error:
            return encode_answer(Refused(error.code))

    async def _answer_holder(self, tenant: TenantRef, request: JoinRequest) -> Answer:
        """The answer to one who holds an invite."""
        membership, now_ms = self._ground.membership(tenant), self._ground.world.now_ms()
        check_statement(request, self._ground.own_key)
        member = find_joiner(membership, request)
        if member is None:
            check_request(membership, request, self._ground.own_key, now_ms)
            if find_invite(membership, request).approve:
                await self._keep(tenant, membership, request)
                return Waiting(JOIN_RETRY_S)
            admission, level = await self._admit(tenant, request)
        else:
            admission, level = member.admission, member.level
        self._note(request.statement.node_key, request.addresses)
        return Admitted(admission, level, tuple(self._peers(tenant)))

    async def _admit(self, tenant: TenantRef, request: JoinRequest) -> tuple[SpanId, Level]:
        """The admission of a joiner, made now unless there is one."""

        def build(membership: Membership, after: list[SpanId]) -> bytes:
            member = find_joiner(membership, request)
            if member is not None:
                raise _AlreadyIn(member)
            check_request(membership, request, self._ground.own_key, self._ground.world.now_ms())
            return member_admit_data(after, request.statement, request.signatures)

        try:
            receipt = await self._ground.writer.append_control(tenant, "member.admit", build)
        except _AlreadyIn as found:
            return found.member.admission, found.member.level
        _log.info("member_admitted", tenant=b32encode(tenant.tenant_id), node=b32encode(request.statement.node_key))
        return receipt.id, Level(request.statement.level)

    async def _keep(self, tenant: TenantRef, membership: Membership, request: JoinRequest) -> None:
        now_ms = self._ground.world.now_ms()
        live = [invite_id for invite_id, invite in membership.invites.items() if _is_live(invite, now_ms)]
        stated = request.statement
        assert stated.invite_id is not None
        petition = Petition(stated.node_key, stated.invite_id, encode_request(request), now_ms, now_ms)
        known = {held.node_key for held in await self._ground.store.read(load_petitions, tenant.number)}
        try:
            has_room = await self._ground.store.write(save_petition, tenant.number, petition, live)
        except sqlite3.Error as error:
            if is_full(error):
                raise NodeFault("disk.full", retry_after_s=BUSY_RETRY_S) from error
            raise
        if not has_room:
            raise NodeFault("invite.crowded", retry_after_s=BUSY_RETRY_S)
        if stated.node_key not in known:  # it asks again and again
            words = words_of(tenant.tenant_id, stated.node_key, self._ground.own_key)
            _log.info(
                "joiner_waits", tenant=b32encode(tenant.tenant_id), node=b32encode(stated.node_key), words=words,
                hint="lognode member pending",
            )  # fmt: skip

    async def petitions(self, tenant: TenantRef) -> list[Petition]:
        """The joiners that a person may approve now, the oldest first."""
        invites, now_ms = self._ground.membership(tenant).invites, self._ground.world.now_ms()
        return [
            petition
            for petition in await self._ground.store.read(load_petitions, tenant.number)
            if (invite := invites.get(petition.invite_id)) and _is_live(invite, now_ms) and invite.uses_left
        ]

    async def approve(self, tenant: TenantRef, node_key: bytes) -> SpanId:
        """The admission of a joiner that waits. Raises CallerError member.not_waiting, invite.* or member.removed."""
        for petition in await self._ground.store.read(load_petitions, tenant.number):
            if petition.node_key == node_key:
                admission, _ = await self._admit(tenant, decode_request(petition.request))
                await self._ground.store.write(drop_petition, tenant.number, node_key)
                return admission
        raise CallerError("member.not_waiting")


def _is_live(invite: Invite, now_ms: int) -> bool:
    """Whether a person may still approve who comes by this invite."""
    return invite.approve and not invite.revoked and now_ms <= invite.expires_ms
