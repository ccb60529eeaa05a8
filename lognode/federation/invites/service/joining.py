"""How this node joins a tenant: asks the roots that an invite names, adopts the tenant, and waits for the proof.

Owns the order of the steps, each of which may be done again: a node that died in the middle, or asks twice, ends where
it would have. Must not know how a connection is made. Invariant: nobody is sent anything before the TLS key that the
invite names was proven; and the text of an invite goes nowhere.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Literal, NamedTuple, Protocol

import structlog
import trio

from lognode.core.access import Level
from lognode.core.clock import time_text
from lognode.core.errors import CallerError, NodeFault, PeerError
from lognode.core.ids import NONCE_BYTES, SpanId, TenantId, b32encode
from lognode.core.limits import JOIN_PROOF_S_MAX, JOIN_S_MAX, JOIN_SEARCH_S_MAX
from lognode.engine.control.opening import alias_seal
from lognode.federation.invites.invitation import Invitation, Server, parse_invitation
from lognode.federation.invites.messages import (
    Admitted,
    Answer,
    Peer,
    Refused,
    Waiting,
    decode_answer,
    encode_request,
    sign_request,
)
from lognode.federation.invites.service.ground import Ground
from lognode.federation.invites.store import holds_only_control, load_introductions, move_alias, save_introductions
from lognode.federation.invites.words import words_of
from lognode.timeline.control.invites import invite_id
from lognode.timeline.record import TenantRef

State = Literal["member", "syncing", "pending"]
# What one root says, another may see otherwise: it may lack the invite, or be no root any more.
_ASK_ANOTHER: Final = frozenset({"invite.refused", "invite.server", "invite.not_root"})
DEFAULT: Final = "default"
ALIAS_CHARS: Final = 8  # of a tenant's id, as its name here: enough to tell some tenants apart
_log = structlog.get_logger(__name__)


class Joined(NamedTuple):
    """What joining came to: a member with proof, one whose proof is on its way, or one that waits for approval."""

    tenant: TenantId
    state: State
    level: Level
    server_key: bytes | None  # of the root that answered; None where nobody had to be asked
    words: str | None
    retry_s: int | None
    alias: str | None  # this node's name for the tenant


class Addresses(Protocol):
    """What joining needs of the directory of addresses."""

    async def wait_join(self, node_keys: list[bytes], tried: set[str]) -> tuple[bytes, str]: ...

    async def save(self) -> None: ...

    def wanting(self, *node_keys: bytes) -> AbstractContextManager[None]: ...


# Sends bytes to the join listener at an address, if it proves this TLS key, and gives its answer. Raises PeerError.
Ask = Callable[[str, bytes, bytes], Awaitable[bytes]]


class Joins:
    """Joining tenants of others."""

    def __init__(
        self,
        ground: Ground,
        *,
        ask: Ask,
        addresses: Addresses,
        own_addresses: Callable[[], tuple[str, ...]],
        adopted: Callable[[TenantRef, tuple[Peer, ...]], None],
        is_refused: Callable[[TenantRef], bool] = lambda _tenant: False,
    ) -> None:
        """`adopted` is told of a tenant that is to be synced, and with whom.

        `is_refused` says whether the members of a tenant refuse this node, whatever it believes to be.
        """
        self._ground = ground
        self._ask = ask
        self._addresses = addresses
        self._own_addresses = own_addresses
        self._adopted = adopted
        self._is_refused = is_refused
        self._one_by_one = trio.Lock()
        self._heeding: Callable[[], Awaitable[None]] | None = None

    @contextmanager
    def telling(self, heed: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """While inside, `heed` is called when there is another tenant, or one has another name."""
        self._heeding = heed
        try:
            yield
        finally:
            self._heeding = None

    async def join(self, text: str) -> Joined:
        """Join by the text of an invite; at most about a minute.

        Raises CallerError invite.* for a text that is none, and for what a root answers; NodeFault invite.unanswered.
        """
        invitation = parse_invitation(text)
        async with self._one_by_one:
            held = self._member_level(invitation.tenant)
            if held is not None and self._is_settled(invitation):
                before = self._tenant(invitation.tenant)
                alias = await self._name(before)
                if alias != before.alias:
                    await self._tell()
                return Joined(invitation.tenant, "member", held, None, None, None, alias)
            server_key, answer = await self._knock(invitation)
            words = words_of(invitation.tenant, self._ground.own_key, server_key)
            if isinstance(answer, Waiting):
                level, retry_s = invitation.level, answer.retry_s
                return Joined(invitation.tenant, "pending", level, server_key, words, retry_s, None)
            return await self._take_up(invitation.tenant, server_key, words, answer)

    def _is_settled(self, invitation: Invitation) -> bool:
        """Whether nobody need be asked: this invite is our own, or let us in.

        Else a root has to say so, also where we think that we are a member: who was removed, or whose admission did not
        stand, is not told of it.
        """
        own_key, tenant = self._ground.own_key, self._tenant(invitation.tenant)
        if any(server.node_key == own_key for server in invitation.servers):
            return True
        if self._is_refused(tenant):
            return False
        invites = self._ground.membership(tenant).invites
        invite = invites.get(invite_id(invitation.tenant, invitation.key.public))
        return invite is not None and own_key in invite.joiners

    async def _take_up(self, tenant_id: TenantId, server_key: bytes, words: str, admitted: Admitted) -> Joined:
        """Have the tenant here, and wait for the spans that prove the admission."""
        tenant = await self._ground.writer.adopt_tenant(tenant_id, b32encode(tenant_id)[:ALIAS_CHARS])
        await self._ground.store.write(save_introductions, tenant.number, admitted.peers)
        self._adopted(tenant, admitted.peers)
        is_proven = await self._is_proven(tenant, admitted.admission)
        if is_proven:
            await self._part(tenant.number)
        alias = await self._name(tenant) if is_proven else tenant.alias
        await self._tell()
        state: State = "member" if is_proven else "syncing"
        _log.info("tenant_joined", tenant=b32encode(tenant_id), state=state)
        return Joined(tenant_id, state, admitted.level, server_key, words, None, alias)

    async def resume(self) -> None:
        """Go on with tenants whose first spans had not come when the node ended."""
        tenants = {tenant.number: tenant for tenant in self._ground.store.tenants.values()}
        for number, peers in (await self._ground.store.read(load_introductions)).items():
            self._adopted(tenants[number], tuple(peers))
            if self._member_level(tenants[number].tenant_id) is not None:
                await self._part(number)

    async def _part(self, number: int) -> None:
        """Forget who introduced this node to a tenant, once it is written where they are: nobody else may know."""
        await self._addresses.save()
        await self._ground.store.write(save_introductions, number, ())

    async def _tell(self) -> None:
        if self._heeding is not None:
            await self._heeding()

    def _tenant(self, tenant_id: TenantId) -> TenantRef:
        return self._ground.store.tenants[b32encode(tenant_id)]

    async def _name(self, tenant: TenantRef) -> str | None:
        """This node's name for a tenant from now on: `default`, where nothing was recorded in the one that is."""
        store, default = self._ground.store, self._ground.store.tenants.get(DEFAULT)
        if default is not None and default.number != tenant.number and await self._is_blank(default):
            await store.write(move_alias, DEFAULT, tenant.number, alias_seal(tenant, DEFAULT))
            await store.refresh()
        return self._tenant(tenant.tenant_id).alias

    async def _is_blank(self, tenant: TenantRef) -> bool:
        """Whether a tenant is this node's alone, and nothing was recorded in it but its own making."""
        is_alone = self._ground.membership(tenant).members.keys() <= {self._ground.own_key}
        return is_alone and await self._ground.store.read(holds_only_control, tenant.number)

    def _member_level(self, tenant_id: TenantId) -> Level | None:
        """As what this node is a member of a tenant, as far as it knows; None where it is none."""
        tenant = self._ground.store.tenants.get(b32encode(tenant_id))
        if tenant is None:
            return None
        level = self._ground.membership(tenant).level(self._ground.keys.public)
        return level if level > Level.BLOCKED else None

    async def _is_proven(self, tenant: TenantRef, admission: SpanId) -> bool:
        """Whether the span that makes this node a member came in time, with those that it rests on."""
        with trio.move_on_after(JOIN_PROOF_S_MAX):
            seen = -1
            while not self._is_admitted(tenant, admission):
                seen = await self._ground.standings.wait_change(tenant.number, seen)
            return True
        return False

    def _is_admitted(self, tenant: TenantRef, admission: SpanId) -> bool:
        member = self._ground.membership(tenant).members.get(self._ground.own_key)
        return member is not None and member.level > Level.BLOCKED and member.admission == admission

    async def _knock(self, invitation: Invitation) -> tuple[bytes, Admitted | Waiting]:
        """Who answers at the first address that leads to one of the invite's roots, and what.

        Raises CallerError of the last refusal where all that answered refused; where none did,
        CallerError("invite.expired") for an invite that has, else NodeFault("invite.unanswered").
        """
        # Who was let in before may still have the answer again: an expired invite is tried, and not searched for.
        is_expired = self._ground.world.now_ms() > invitation.expires_ms
        servers = {server.node_key: server for server in invitation.servers}
        places = [(server, address) for server in invitation.servers for address in server.addresses]
        tried = {address for _, address in places}
        refusal: CallerError | None = None
        failure: PeerError | None = None
        with self._addresses.wanting(*servers), trio.move_on_after(JOIN_S_MAX):
            while places or not is_expired:
                place = places.pop(0) if places else await self._announced(servers, tried)
                if place is None:
                    break
                server, address = place
                try:
                    answer = await self._try(invitation, server, address)
                except PeerError as error:
                    _log.info("join_try_failed", address=address, code=error.code, detail=error.detail)
                    failure = error
                    continue
                if not isinstance(answer, Refused):
                    return server.node_key, answer
                refusal = CallerError(answer.code)
                if answer.code not in _ASK_ANOTHER and not refusal.spec.retryable:
                    break
        if refusal is not None:
            raise refusal
        if is_expired:
            raise CallerError("invite.expired", f"at {time_text(invitation.expires_ms)}, by the clock here")
        why = f"{failure.spec.title}: {failure.detail}" if failure else "no address is known"
        raise NodeFault("invite.unanswered", why)

    async def _announced(self, servers: Mapping[bytes, Server], tried: set[str]) -> tuple[Server, str] | None:
        """An address at which one of these roots says that it can be joined; None when none comes in time."""
        with trio.move_on_after(JOIN_SEARCH_S_MAX):
            node_key, address = await self._addresses.wait_join(list(servers), tried)
            return servers[node_key], address
        return None

    async def _try(self, invitation: Invitation, server: Server, address: str) -> Answer:
        nonce = self._ground.world.random_bytes(NONCE_BYTES)
        request = sign_request(self._ground.keys, invitation, server.node_key, nonce, self._own_addresses())
        return decode_answer(await self._ask(address, server.tls_key, encode_request(request)))
