"""Control spans about invites: what their data holds.

Owns `invite.create` and `invite.revoke`, and the id of an invite. Must not know the invite's secret. Invariant: an
invite's id follows from its public key and its tenant, so an invite of one tenant says nothing in another.
Source: docs/protocol.md, Control spans.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from lognode.core.access import Level
from lognode.core.clock import COUNTER_BITS, HLC_MAX
from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, SpanId, TenantId
from lognode.core.limits import INVITE_USES_MAX
from lognode.timeline.control.shape import elements, fault_of_after, fault_of_bytes, fault_of_integer

INVITE_ID_BYTES: Final = 16


class InviteCreate(NamedTuple):
    """The data of `invite.create`, in the order of its encoding. `approve` is 1 where a person says yes to each use."""

    after: list[SpanId]
    invite_key: bytes
    level: int
    uses: int
    expires_ms: int
    approve: int


class InviteRevoke(NamedTuple):
    """The data of `invite.revoke`, in the order of its encoding."""

    after: list[SpanId]
    invite_id: bytes


def invite_id(tenant: TenantId, invite_key: bytes) -> bytes:
    """The 16-byte id of the invite with this public key in a tenant."""
    return sha256(b"lognode invite v1" + tenant + invite_key).digest()[:INVITE_ID_BYTES]


def invite_create_data(
    after: Sequence[SpanId], invite_key: bytes, level: Level, uses: int, expires_ms: int, *, approve: bool
) -> bytes:
    """The data of the `invite.create` by which nodes may join until `expires_ms`, in Unix milliseconds."""
    return encode([sorted(set(after)), invite_key, int(level), uses, expires_ms, int(approve)])


def parse_invite_create(data: bytes) -> InviteCreate:
    """The parts of `invite.create`. Raises CallerError("body.malformed")."""
    created = InviteCreate(*elements("invite.create", data, len(InviteCreate._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(created.after)
        or fault_of_bytes("invite key", created.invite_key, KEY_BYTES)
        or fault_of_integer("level", created.level, Level.OBSERVER, Level.ROOT)
        or fault_of_integer("uses", created.uses, 1, INVITE_USES_MAX)
        or fault_of_integer("expiry", created.expires_ms, 0, HLC_MAX >> COUNTER_BITS)
        or fault_of_integer("approve", created.approve, 0, 1)
    )
    if fault:
        raise CallerError("body.malformed", f"invite.create: {fault}")
    return created


def invite_revoke_data(after: Sequence[SpanId], revoked: bytes) -> bytes:
    """The data of the `invite.revoke` behind which nobody joins by the invite with this id."""
    return encode([sorted(set(after)), revoked])


def parse_invite_revoke(data: bytes) -> InviteRevoke:
    """The parts of `invite.revoke`. Raises CallerError("body.malformed")."""
    revoked = InviteRevoke(*elements("invite.revoke", data, len(InviteRevoke._fields)))  # type: ignore[arg-type]
    fault = fault_of_after(revoked.after) or fault_of_bytes("invite id", revoked.invite_id, INVITE_ID_BYTES)
    if fault:
        raise CallerError("body.malformed", f"invite.revoke: {fault}")
    return revoked
