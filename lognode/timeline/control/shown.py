"""The data of control spans for people."""

from collections.abc import Mapping
from typing import Final

from lognode.core.access import Level
from lognode.timeline.control.forks import FeedFork
from lognode.timeline.control.founding import FeedOpen, TenantCreate
from lognode.timeline.control.identities import IdentityRecovery, IdentityRevoke, IdentityRotate
from lognode.timeline.control.invites import InviteCreate, InviteRevoke
from lognode.timeline.control.members import FeedAdopt, MemberAdmit, MemberLevel, MemberRemove
from lognode.timeline.control.policies import TenantPolicy
from lognode.timeline.control.shape import elements

FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "feed.open": FeedOpen._fields,
    "feed.adopt": FeedAdopt._fields,
    "feed.fork": FeedFork._fields,
    "tenant.create": TenantCreate._fields,
    "tenant.policy": TenantPolicy._fields,
    "member.admit": MemberAdmit._fields,
    "member.level": MemberLevel._fields,
    "member.remove": MemberRemove._fields,
    "invite.create": InviteCreate._fields,
    "invite.revoke": InviteRevoke._fields,
    "identity.rotate": IdentityRotate._fields,
    "identity.recovery": IdentityRecovery._fields,
    "identity.revoke": IdentityRevoke._fields,
}
_LEVELS: Final = {int(level): level.name.lower() for level in Level}


def control_json(kind: str, data: bytes) -> object:
    """The data of a control span for people, its byte strings in hex. Raises CallerError("body.malformed")."""
    if kind not in FIELDS:
        return data.hex()
    fields = FIELDS[kind]
    return {name: _shown(name, value) for name, value in zip(fields, elements(kind, data, len(fields)), strict=True)}


def _shown(name: str, value: object) -> object:
    if name == "level" and value.__class__ is int and value in _LEVELS:
        return _LEVELS[value]
    if isinstance(value, bytes):
        return value.hex()
    return [_shown("", item) for item in value] if isinstance(value, list) else value
