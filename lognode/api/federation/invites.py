""".../invites: making, listing and revoking them. The text of an invite stands in one answer, and nowhere else."""

from typing import Final, Literal

import msgspec
from quart import Response

from lognode.api.app import ApiApp, Docs, current
from lognode.api.federation.requests import JSON_MEDIA, json_answer, level_name, node_name, read_json, refuse_parameters
from lognode.api.spans.wire import ReceiptJson, receipt_json
from lognode.core.access import Action, Level
from lognode.core.clock import time_text
from lognode.core.errors import CallerError
from lognode.core.ids import b32decode, b32encode
from lognode.core.limits import INVITE_S_DEFAULT, INVITE_S_MAX, INVITE_USES_MAX
from lognode.federation.invites.invitation import format_invitation
from lognode.federation.invites.service.issuing import Terms
from lognode.timeline.control.invites import INVITE_ID_BYTES
from lognode.timeline.members import Invite

INVITES: Final = "/v1/tenants/<tenant>/invites"
InviteLevel = Literal["observer", "trusted", "root"]


class TermsJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an invite is for: `uses` nodes may join at `level` within `expires_s` seconds, each `approve`d or not."""

    level: InviteLevel = "trusted"
    uses: int = 1
    expires_s: int = INVITE_S_DEFAULT
    approve: bool = False


class ServerJson(msgspec.Struct, frozen=True):
    """A root that an invite names, and where it can be joined."""

    node: str
    addresses: list[str]


class IssuedJson(msgspec.Struct, frozen=True):
    """A new invite. `invite` is a secret: who holds it can join. `listening`: a joiner can reach this node now."""

    id: str
    invite: str
    level: InviteLevel
    uses: int
    expires_at: str
    approve: bool
    servers: list[ServerJson]
    listening: bool


class InviteJson(msgspec.Struct, frozen=True):
    """An invite without its secret. `joined` are the nodes that came by it."""

    id: str
    state: Literal["open", "expired", "revoked", "used_up"]
    level: InviteLevel
    uses: int
    joined: list[str]
    expires_at: str
    approve: bool
    created_by: str


class InvitesJson(msgspec.Struct, frozen=True):
    """The invites of a tenant, the one that expires last first."""

    invites: list[InviteJson]


class RevokedJson(msgspec.Struct, frozen=True):
    """That an invite lets nobody in; `receipt` is null where it was revoked before."""

    id: str
    receipt: ReceiptJson | None


def register(app: ApiApp) -> None:
    """Add the routes about invites."""
    for rule, method, handler, action, docs in (
        (
            INVITES,
            "POST",
            create_invite,
            Action.INVITE_CHANGE,
            Docs(body={JSON_MEDIA: TermsJson}, answers={201: {JSON_MEDIA: IssuedJson}}),
        ),
        (INVITES, "GET", list_invites, Action.INVITE_READ, Docs(answers={200: {JSON_MEDIA: InvitesJson}})),
        (
            f"{INVITES}/<invite>",
            "DELETE",
            revoke_invite,
            Action.INVITE_CHANGE,
            Docs(answers={200: {JSON_MEDIA: RevokedJson}}),
        ),
    ):
        app.register_route(rule, handler, methods=(method,), action=action, docs=docs)


async def create_invite() -> Response:
    """Make an invite, by which other nodes join the tenant.

    Only a root member can, and not where federation is switched off. The text of the invite stands in this answer
    alone, and is kept nowhere.
    """
    refuse_parameters()
    caller, terms = current(), await read_json(TermsJson)
    if not caller.services.settings.federation:
        raise CallerError("federation.off")
    if not 1 <= terms.uses <= INVITE_USES_MAX:
        raise CallerError("invite.terms", f"uses are 1 to {INVITE_USES_MAX}")
    if not 1 <= terms.expires_s <= INVITE_S_MAX:
        raise CallerError("invite.terms", f"it expires after 1 to {INVITE_S_MAX} seconds")
    expires_ms = caller.services.world.now_ms() + terms.expires_s * 1000
    asked = Terms(Level[terms.level.upper()], terms.uses, expires_ms, terms.approve)
    issued = await caller.services.desk.invites.create(caller.tenant, asked)
    answer = IssuedJson(
        id=b32encode(issued.id),
        invite=format_invitation(issued.invitation),
        level=terms.level,
        uses=terms.uses,
        expires_at=time_text(expires_ms),
        approve=terms.approve,
        servers=[
            ServerJson(node_name(server.node_key), list(server.addresses)) for server in issued.invitation.servers
        ],
        listening=issued.is_listening,
    )
    return json_answer(answer, 201)


async def list_invites() -> Response:
    """List the invites of the tenant, without their secrets, the one that expires last first."""
    refuse_parameters()
    caller = current()
    invites = caller.services.desk.invites
    found = sorted(invites.all(caller.tenant).items(), key=lambda item: -item[1].expires_ms)
    return json_answer(InvitesJson([_invite_json(id_, invite, invites.state(invite)) for id_, invite in found]))


async def revoke_invite(invite: str) -> Response:
    """Revoke an invite: from now on nobody joins by it. Who has joined stays a member."""
    refuse_parameters()
    caller = current()
    receipt = await caller.services.desk.invites.revoke(caller.tenant, b32decode(invite, INVITE_ID_BYTES))
    return json_answer(RevokedJson(invite, receipt_json(receipt) if receipt else None))


def _invite_json(id_: bytes, invite: Invite, state: Literal["open", "expired", "revoked", "used_up"]) -> InviteJson:
    return InviteJson(
        id=b32encode(id_),
        state=state,
        level=level_name(invite.level),  # type: ignore[arg-type]
        uses=invite.uses,
        joined=sorted(map(node_name, invite.joiners)),
        expires_at=time_text(invite.expires_ms),
        approve=invite.approve,
        created_by=node_name(invite.creator),
    )
