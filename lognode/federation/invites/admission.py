"""Whether a joiner is let in, as a function of the membership and of what it says.

Owns the order of the checks: before the invite's own key is seen to have signed, nothing is told but `invite.refused`;
before the joiner's keys are, nothing of members. Must not know of connections or the store. Invariants: who cannot sign
with the key of an invite of this tenant learns nothing from an answer, not even that the tenant exists; who can, but is
not whom it says, learns nothing of who is a member.
Source: docs/protocol.md, Joining.
"""

from collections.abc import Sequence
from contextlib import suppress

from lognode.core.access import Level
from lognode.core.errors import CallerError
from lognode.core.ids import SpanId
from lognode.federation.invites.messages import JoinRequest
from lognode.timeline.control.members import (
    MemberAdmit,
    check_invite_signature,
    check_member_admit,
    member_admit_data,
    parse_member_admit,
)
from lognode.timeline.members import Invite, Member, Membership


def find_invite(membership: Membership, request: JoinRequest) -> Invite:
    """The invite whose key signed a request. Raises CallerError("invite.refused") where none did."""
    invite = membership.invites.get(request.statement.invite_id or b"")
    if invite is not None:
        with suppress(CallerError):
            check_invite_signature(request.tenant, admit_of(request), invite.invite_key)
            return invite
    raise CallerError("invite.refused")


def check_statement(request: JoinRequest, own_key: bytes) -> None:
    """Pass if the joiner is whom it says, and says so to this node.

    Raises CallerError invite.unsigned or invite.server.
    """
    try:
        check_member_admit(request.tenant, admit_of(request))
    except CallerError as error:
        raise CallerError("invite.unsigned", error.detail) from error
    if request.statement.server_key != own_key:
        raise CallerError("invite.server")


def find_joiner(membership: Membership, request: JoinRequest) -> Member | None:
    """The member that the joiner is already; None where it is none. Its statement was checked.

    Raises CallerError("member.removed") for one that is blocked, or was removed and comes with an invite that it used.
    """
    node_key = request.statement.node_key
    member = membership.members.get(node_key)
    if member is None or member.level > Level.BLOCKED:
        return member
    if not member.removed:
        raise CallerError("member.removed", "it is blocked")
    invite = membership.invites.get(request.statement.invite_id or b"")
    if invite is not None and node_key in invite.joiners:
        raise CallerError("member.removed", "it needs a new invite")
    return None


def check_request(membership: Membership, request: JoinRequest, own_key: bytes, now_ms: int) -> None:
    """Pass if this root may admit the joiner now, whose statement was checked.

    Raises CallerError invite.not_root, invite.level, invite.revoked, invite.expired or invite.used_up.
    """
    invite, stated = find_invite(membership, request), request.statement
    if membership.level(own_key) != Level.ROOT:
        raise CallerError("invite.not_root")
    if stated.level != invite.level:
        raise CallerError("invite.level")
    if invite.revoked:
        raise CallerError("invite.revoked")
    if now_ms > invite.expires_ms:
        raise CallerError("invite.expired")
    if stated.node_key not in invite.joiners and invite.uses_left < 1:
        raise CallerError("invite.used_up")


def admit_of(request: JoinRequest, after: Sequence[SpanId] = ()) -> MemberAdmit:
    """The data of the `member.admit` that a request asks for."""
    return parse_member_admit(member_admit_data(after, request.statement, request.signatures))
