""".../members: who is one, changing levels, removing, and approving those who wait."""

from typing import Final, Literal

import msgspec
from quart import Response

from lognode.api.app import ApiApp, Caller, Docs, current
from lognode.api.federation.requests import (
    JSON_MEDIA,
    json_answer,
    level_name,
    node_name,
    parse_node,
    read_json,
    refuse_parameters,
)
from lognode.api.spans.wire import ReceiptJson, receipt_json
from lognode.core.access import Action, Level
from lognode.core.clock import time_text
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.core.limits import TEXT_BYTES_MAX
from lognode.federation.invites.messages import decode_request
from lognode.federation.invites.words import words_of
from lognode.timeline.members import Member

MEMBERS: Final = "/v1/tenants/<tenant>/members"
AnyLevel = Literal["blocked", "observer", "trusted", "root"]


class VotesJson(msgspec.Struct, frozen=True):
    """Open votes to remove a member: who voted, who may, and how many it takes in all."""

    voted: list[str]
    entitled: list[str]
    needed: int


class MemberJson(msgspec.Struct, frozen=True):
    """A node of the tenant. `admission` is the span that made it a member, `words` what both ends showed then.

    `removal_votes` is null where there are none that wait for others.
    """

    node: str
    level: AnyLevel
    self: bool
    removed: bool
    admission: str
    admitted_by: str | None
    words: str | None
    removal_votes: VotesJson | None


class MembersJson(msgspec.Struct, frozen=True):
    """The members of a tenant as this node knows them, removed ones last."""

    members: list[MemberJson]


class WaitingJson(msgspec.Struct, frozen=True):
    """A node that waits for approval. Its `words` have to be those that it shows itself."""

    node: str
    words: str
    level: AnyLevel
    invite: str
    first_at: str
    newest_at: str


class WaitingsJson(msgspec.Struct, frozen=True):
    """The nodes that wait at this node for approval, the oldest first."""

    pending: list[WaitingJson]


class LevelJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The level that a member shall have."""

    level: AnyLevel


class RemovalJson(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a member is removed, for whoever reads the timeline."""

    reason: str = ""


class ChangedJson(msgspec.Struct, frozen=True):
    """A change that was recorded, and how the member stands now.

    `receipt` is null where there was nothing to change. `effective` says whether it counts: a removal by a node that
    may not decide alone is a vote, and counts once enough others made it too; `removal_votes` then says how many.
    """

    node: str
    level: AnyLevel
    removed: bool
    effective: bool
    receipt: ReceiptJson | None
    removal_votes: VotesJson | None


class ApprovedJson(msgspec.Struct, frozen=True):
    """That a node is a member now, by the span `admission`."""

    node: str
    admission: str


def register(app: ApiApp) -> None:
    """Add the routes about members."""
    for rule, method, handler, action, body, shape in (
        (MEMBERS, "GET", list_members, Action.MEMBER_READ, None, MembersJson),
        (f"{MEMBERS}/pending", "GET", list_pending, Action.MEMBER_READ, None, WaitingsJson),
        (f"{MEMBERS}/pending/<node>", "POST", approve_member, Action.MEMBER_CHANGE, None, ApprovedJson),
        (f"{MEMBERS}/<node>", "PATCH", change_level, Action.MEMBER_CHANGE, LevelJson, ChangedJson),
        (f"{MEMBERS}/<node>", "DELETE", remove_member, Action.MEMBER_CHANGE, RemovalJson, ChangedJson),
    ):
        docs = Docs(body={JSON_MEDIA: body} if body else {}, answers={200: {JSON_MEDIA: shape}})
        app.register_route(rule, handler, methods=(method,), action=action, docs=docs)


async def list_members() -> Response:
    """List the members of the tenant as this node knows them, removed ones last."""
    refuse_parameters()
    caller = current()
    members = caller.services.desk.ground.membership(caller.tenant).members.values()
    shown = [_member_json(caller, member) for member in sorted(members, key=lambda each: (each.removed, -each.level))]
    return json_answer(MembersJson(shown))


async def list_pending() -> Response:
    """List the nodes that wait at this node for a person's approval.

    They asked with an invite that wants it. Compare the four words with what the other node shows.
    """
    refuse_parameters()
    caller = current()
    own_key, tenant_id = caller.services.node_public, caller.tenant.tenant_id
    waiting = [
        WaitingJson(
            node=node_name(petition.node_key),
            words=words_of(tenant_id, petition.node_key, own_key),
            level=level_name(decode_request(petition.request).statement.level),  # type: ignore[arg-type]
            invite=b32encode(petition.invite_id),
            first_at=time_text(petition.first_ms),
            newest_at=time_text(petition.newest_ms),
        )
        for petition in await caller.services.desk.admissions.petitions(caller.tenant)
    ]
    return json_answer(WaitingsJson(waiting))


async def approve_member(node: str) -> Response:
    """Admit a node that waits for approval; it learns so when it asks again."""
    refuse_parameters()
    caller, node_key = current(), parse_node(node)
    admission = await caller.services.desk.admissions.approve(caller.tenant, node_key)
    return json_answer(ApprovedJson(node_name(node_key), b32encode(admission)))


async def change_level(node: str) -> Response:
    """Give a member another level.

    Where it is lower, what the member wrote that this node does not hold yet has no effect. A root changes its juniors
    alone.
    """
    refuse_parameters()
    caller, node_key, asked = current(), parse_node(node), await read_json(LevelJson)
    level = Level[asked.level.upper()]
    receipt = await caller.services.desk.changes.change_level(caller.tenant, node_key, level)
    member = _find(caller, node_key)
    is_effective = member is not None and member.level == level
    return json_answer(
        _changed(caller, node_key, member, receipt_json(receipt) if receipt else None, is_effective=is_effective)
    )


async def remove_member(node: str) -> Response:
    """Remove a member.

    What it wrote and this node holds stays as it is; what comes later has no effect, on no node. A root removes its
    juniors; for others this is a vote.
    """
    refuse_parameters()
    caller, node_key, asked = current(), parse_node(node), await read_json(RemovalJson)
    if len(asked.reason.encode()) > TEXT_BYTES_MAX:
        raise CallerError("request.malformed", f"a reason has at most {TEXT_BYTES_MAX} bytes")
    receipt = await caller.services.desk.changes.remove(caller.tenant, node_key, asked.reason)
    member = _find(caller, node_key)
    is_effective = member is None or member.removed
    return json_answer(
        _changed(caller, node_key, member, receipt_json(receipt) if receipt else None, is_effective=is_effective)
    )


def _find(caller: Caller, node_key: bytes) -> Member | None:
    return caller.services.desk.ground.membership(caller.tenant).members.get(node_key)


def _changed(
    caller: Caller, node_key: bytes, member: Member | None, receipt: ReceiptJson | None, *, is_effective: bool
) -> ChangedJson:
    is_removed = member is None or member.removed
    level = level_name(Level.BLOCKED if member is None else member.level)
    votes = _votes(caller, node_key)
    return ChangedJson(node_name(node_key), level, is_removed, is_effective, receipt, votes)  # type: ignore[arg-type]


def _votes(caller: Caller, node_key: bytes) -> VotesJson | None:
    poll = caller.services.desk.ground.membership(caller.tenant).polls.get(node_key)
    if poll is None:
        return None
    return VotesJson(list(map(node_name, poll.voters)), list(map(node_name, poll.electors)), poll.needed)


def _member_json(caller: Caller, member: Member) -> MemberJson:
    admitter = member.admitted_by
    return MemberJson(
        node=node_name(member.node_key),
        level=level_name(member.level),  # type: ignore[arg-type]
        self=member.node_key == caller.services.node_public,
        removed=member.removed,
        admission=b32encode(member.admission),
        admitted_by=node_name(admitter) if admitter else None,
        words=words_of(caller.tenant.tenant_id, member.node_key, admitter) if admitter else None,
        removal_votes=_votes(caller, member.node_key),
    )
