"""Rules of invites and admissions: who may let whom in.

Each rule gives the reason why an act is void, or None when it counts and what it does is entered.
Source: docs/protocol.md, Membership.
"""

from collections.abc import Collection
from functools import lru_cache

from lognode.core.clock import hlc_ms
from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.core.limits import ADMISSION_DEPTH_MAX
from lognode.timeline.control.invites import invite_id
from lognode.timeline.control.members import check_invite_signature, parse_member_admit
from lognode.timeline.members.history import Act, Control
from lognode.timeline.members.ruling import Invitation, Ruling
from lognode.timeline.members.standing import Grant, depth, union


def create_invite(ruling: Ruling, act: Act) -> str | None:
    """An invite, if its author is root."""
    if not ruling.is_root(act):
        return "member.not_root"
    held = ruling.invites[invite_id(ruling.tenant, act.data.invite_key)]
    if any(act.past >> invitation.act.number & 1 for invitation in held):
        return "invite.exists"
    held.append(Invitation(act, ruling.standing.grants_in_force(act.control.author, act.past), []))
    return None


def revoke_invite(ruling: Ruling, act: Act) -> str | None:
    """An invite's end, if its author is root."""
    if not ruling.is_root(act):
        return "member.not_root"
    ruling.revoked[act.data.invite_id] |= 1 << act.number
    return None


def admit(ruling: Ruling, act: Act) -> str | None:
    """A member, if its author is root and the server that it joined through, and its invite holds."""
    admitted, author, standing = act.data, act.control.author, ruling.standing
    if not ruling.is_root(act):
        return "member.not_root"
    if admitted.server_key != author:
        return "binding.invalid"
    if standing.level(admitted.node_key, act.past) is not None:
        return "member.exists"
    ends = standing.ends(admitted.node_key, act.past)
    if any(end.control.kind == "identity.rotate" for end in ends):
        return "identity.rotated"
    above, invitation = standing.grants_in_force(author, act.past), None
    if admitted.invite_id is not None:
        invitation = _find_invite(ruling, act)
        reason = _refuse_invite(ruling, act, invitation, ends) if invitation else "invite.unknown"
        if reason or not invitation:
            return reason
        above = [*above, *invitation.grants]
    if depth(above) >= ADMISSION_DEPTH_MAX:
        return "member.too_deep"
    parents = union(grant.lines for grant in above)
    higher = parents | union(grant.above for grant in above)
    keys = admitted.node_key, admitted.certificate, admitted.witness_key
    standing.grant(Grant(act, *keys, author, 1 << act.number, parents, higher, depth(above) + 1), admitted.level)
    if invitation:
        invitation.joined.append(act)
    return None


def _find_invite(ruling: Ruling, act: Act) -> Invitation | None:
    """The invite of an admission, from its past; of two with one key the one by whoever stands higher."""
    held = [known for known in ruling.invites[act.data.invite_id] if act.past >> known.act.number & 1]
    return min(held, key=lambda known: (depth(known.grants), known.act.number), default=None)


def _refuse_invite(ruling: Ruling, act: Act, invitation: Invitation, ends: Collection[Act]) -> str | None:
    """Why an invite does not let this joiner in; `ends` are its earlier removals."""
    admitted, invite = act.data, invitation.act.data
    if not _invites(ruling.tenant, act.control, invite.invite_key):
        return "binding.invalid"
    others = {joined.data.node_key for joined in invitation.joined if act.past >> joined.number & 1}
    if admitted.level > invite.level:
        return "invite.level"
    if act.past & ruling.revoked[admitted.invite_id]:
        return "invite.revoked"
    if hlc_ms(act.control.hlc) > invite.expires_ms:
        return "invite.expired"
    if len(others - {admitted.node_key}) >= invite.uses:
        return "invite.used"
    # Whoever was removed still has the invite; it takes one that was made in knowledge of the removal.
    return None if all(invitation.act.past >> end.number & 1 for end in ends) else "member.removed"


# Acts are judged again and again; a signature costs more than all else about them.
@lru_cache(maxsize=65_536)
def _invites(tenant: TenantId, control: Control, invite_key: bytes) -> bool:
    try:
        check_invite_signature(tenant, parse_member_admit(control.data), invite_key)
    except CallerError:
        return False
    return True
