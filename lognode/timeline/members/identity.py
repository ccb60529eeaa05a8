"""Rules of rotation, recovery and revocation: what the keys of a node may do to it.

Each rule gives the reason why an act is void, or None when it counts and what it does is entered.
Source: docs/protocol.md, Membership.
"""

from functools import lru_cache

from lognode.core.errors import CallerError
from lognode.core.ids import TenantId
from lognode.timeline.control.identities import (
    check_identity_recovery,
    is_revoked_by,
    is_rotated_by,
    parse_identity_recovery,
    parse_identity_revoke,
    parse_identity_rotate,
)
from lognode.timeline.members.history import Act, Control
from lognode.timeline.members.ruling import Rotation, Ruling
from lognode.timeline.members.standing import Grant, depth, union


def rotate(ruling: Ruling, act: Act) -> str | None:
    """New keys in the place of old ones, with their level and seniority.

    The old key says so in a feed of its own. A recovery key may do it in any feed, also when the old key was given up
    already: whoever stole that cannot get away by a rotation.
    """
    rotation, standing, past = act.data, ruling.standing, act.past
    old_key, new_key = rotation.old_key, rotation.new_key
    is_recovery = not _rotates(ruling.tenant, act.control, old_key)
    if is_recovery:
        keys = [key for key in standing.recovery_keys(old_key, past) if _rotates(ruling.tenant, act.control, key)]
        if not keys and not ruling.is_settled(act):
            return "binding.invalid"
        ruling.recoveries += [(act, standing.origin(old_key), key) for key in keys]
        past &= ~union(1 << held.act.number for held in ruling.rotations.get(old_key, ()) if not held.is_recovery)
    elif act.control.author != old_key:
        return "binding.invalid"
    level, grants = standing.level(old_key, past), standing.grants_in_force(old_key, past)
    if level is None or not grants:
        return "member.unknown"
    if standing.grants(new_key, act.past):
        return "member.exists"
    grant = Grant(
        act, new_key, rotation.certificate, rotation.witness_key, grants[-1].admitted_by,
        union(grant.lines for grant in grants), union(grant.parents for grant in grants),
        union(grant.above for grant in grants), depth(grants),
    )  # fmt: skip
    standing.succeed(old_key, new_key)
    standing.end(act, old_key)
    standing.grant(grant, level)
    ruling.rotations[old_key].append(Rotation(act, is_recovery))
    ruling.add_cutter(act, old_key, "identity.rotated", is_recovery=is_recovery)
    return None


def declare_recovery(ruling: Ruling, act: Act) -> str | None:
    """A recovery key, declared by the node itself; where there is one, that one must agree."""
    declared, standing = act.data, ruling.standing
    if declared.node_key != act.control.author:
        return "binding.invalid"
    former_keys = standing.recovery_keys(declared.node_key, act.past)
    given_up = [former for former in former_keys if _agrees(ruling.tenant, act.control, former)]
    if former_keys and not given_up:
        return "identity.declared"
    for former in given_up:
        ruling.replaced[standing.origin(declared.node_key), former].append(act)
    standing.declare(act, declared.node_key)
    return None


def revoke(ruling: Ruling, act: Act) -> str | None:
    """A node's removal by its recovery key, in anybody's feed."""
    target = act.data.node_key
    if not ruling.standing.grants(target, act.past):
        return "member.unknown"
    keys = ruling.standing.recovery_keys(target, act.past)
    keys = [key for key in keys if _revokes(ruling.tenant, act.control, key)]
    # Its own cut may end the feed that holds the declaration.
    if not keys and not ruling.is_settled(act):
        return "binding.invalid"
    ruling.recoveries += [(act, ruling.standing.origin(target), key) for key in keys]
    ruling.add_cutter(act, target, "identity.revoked", is_recovery=True)
    ruling.standing.end(act, target)
    return None


# Acts are judged again and again; a signature costs more than all else about them.
@lru_cache(maxsize=65_536)
def _rotates(tenant: TenantId, control: Control, key: bytes) -> bool:
    return is_rotated_by(tenant, control.author, parse_identity_rotate(control.data), key)


@lru_cache(maxsize=65_536)
def _revokes(tenant: TenantId, control: Control, key: bytes) -> bool:
    return is_revoked_by(tenant, control.author, parse_identity_revoke(control.data), key)


@lru_cache(maxsize=65_536)
def _agrees(tenant: TenantId, control: Control, former: bytes) -> bool:
    try:
        check_identity_recovery(tenant, parse_identity_recovery(control.data), former)
    except CallerError:
        return False
    return True
