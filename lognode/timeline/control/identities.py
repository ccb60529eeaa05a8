"""Control spans about a node's identity: what their data holds, and who signed it.

Owns `identity.rotate`, `identity.recovery` and `identity.revoke`. Must not know which recovery key counts. Invariant:
a rotation names its new keys with their consent: the new node, TLS and witness key have signed it.
Source: docs/protocol.md, Control spans.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import KEY_BYTES, FeedId, SpanId, TenantId
from lognode.core.span import SIGNATURE_BYTES
from lognode.identity.certificate import certificate_key, tls_certificate
from lognode.identity.keys import KeyPair, NodeKeys, verify_signature
from lognode.timeline.control.shape import (
    elements,
    fault_of_after,
    fault_of_bytes,
    fault_of_cuts,
    fault_of_optional,
)

Sign = Callable[[bytes], bytes]
Cuts = Sequence[tuple[FeedId, int, bytes]]


class IdentityRotate(NamedTuple):
    """The data of `identity.rotate`, in the order of its encoding. `signature` is the old key's or a recovery key's."""

    after: list[SpanId]
    old_key: bytes
    new_key: bytes
    certificate: bytes
    witness_key: bytes
    cuts: list[tuple[FeedId, int, bytes]]
    signature: bytes
    tls_signature: bytes
    witness_signature: bytes
    new_signature: bytes


class IdentityRecovery(NamedTuple):
    """The data of `identity.recovery`, in the order of its encoding."""

    after: list[SpanId]
    node_key: bytes
    recovery_key: bytes
    node_signature: bytes
    former_signature: bytes | None


class IdentityRevoke(NamedTuple):
    """The data of `identity.revoke`, in the order of its encoding."""

    after: list[SpanId]
    node_key: bytes
    cuts: list[tuple[FeedId, int, bytes]]
    signature: bytes


def identity_rotate_data(
    old_key: bytes,
    sign: Sign,
    new_keys: NodeKeys,
    tenant: TenantId,
    carrier: bytes,
    after: Sequence[SpanId],
    cuts: Cuts,
) -> bytes:
    """The data of the `identity.rotate` that puts new keys in the place of `old_key`.

    `sign` signs with the old key or with its recovery key. `carrier` is the node key of the feed that will hold it;
    `cuts` say where the feeds of the old key end.
    """
    certificate = tls_certificate(new_keys.tls_seed())
    witness = new_keys.witness_key(tenant)
    bound = [sorted(set(after)), old_key, new_keys.public, certificate, witness.public, sorted(map(list, cuts))]
    message = _rotate_message(tenant, carrier, bound)
    signatures = [sign(message), KeyPair(new_keys.tls_seed()).sign(message), witness.sign(message)]
    return encode([*bound, *signatures, new_keys.sign_binding(message)])


def parse_identity_rotate(data: bytes) -> IdentityRotate:
    """The parts of `identity.rotate`, no binding checked. Raises CallerError("body.malformed")."""
    rotation = IdentityRotate(*elements("identity.rotate", data, len(IdentityRotate._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(rotation.after)
        or fault_of_bytes("old key", rotation.old_key, KEY_BYTES)
        or fault_of_bytes("new key", rotation.new_key, KEY_BYTES)
        or (None if rotation.certificate.__class__ is bytes else "certificate")
        or fault_of_bytes("witness key", rotation.witness_key, KEY_BYTES)
        or fault_of_cuts(rotation.cuts)
        or fault_of_bytes("signature", rotation.signature, SIGNATURE_BYTES)
        or fault_of_bytes("TLS key's signature", rotation.tls_signature, SIGNATURE_BYTES)
        or fault_of_bytes("witness key's signature", rotation.witness_signature, SIGNATURE_BYTES)
        or fault_of_bytes("new key's signature", rotation.new_signature, SIGNATURE_BYTES)
        or ("new key is the old one" if rotation.new_key == rotation.old_key else None)
    )
    _refuse("identity.rotate", fault)
    return rotation


def check_identity_rotate(tenant: TenantId, carrier: bytes, rotation: IdentityRotate) -> None:
    """Pass if the new keys consent. Raises CallerError("binding.invalid")."""
    message = _rotate_message(tenant, carrier, list(rotation[:6]))
    signed = (
        ("new node", rotation.new_key, rotation.new_signature),
        ("TLS", certificate_key(rotation.certificate), rotation.tls_signature),
        ("witness", rotation.witness_key, rotation.witness_signature),
    )
    for name, key, signature in signed:
        if not verify_signature(key, message, signature):
            raise CallerError("binding.invalid", f"the {name} key did not sign this identity.rotate")


def is_rotated_by(tenant: TenantId, carrier: bytes, rotation: IdentityRotate, key: bytes) -> bool:
    """Whether `key`, the old one or a recovery key, gives up the old key."""
    return verify_signature(key, _rotate_message(tenant, carrier, list(rotation[:6])), rotation.signature)


def identity_recovery_data(
    node_keys: NodeKeys, recovery_key: bytes, former: KeyPair | None, tenant: TenantId, after: Sequence[SpanId]
) -> bytes:
    """The data of the `identity.recovery` that declares a recovery key, in the place of `former` where there is one."""
    bound = [sorted(set(after)), node_keys.public, recovery_key]
    message = _recovery_message(tenant, bound)
    return encode([*bound, node_keys.sign_binding(message), former.sign(message) if former else None])


def parse_identity_recovery(data: bytes) -> IdentityRecovery:
    """The parts of `identity.recovery`, no binding checked. Raises CallerError("body.malformed")."""
    declared = IdentityRecovery(*elements("identity.recovery", data, len(IdentityRecovery._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(declared.after)
        or fault_of_bytes("node key", declared.node_key, KEY_BYTES)
        or fault_of_bytes("recovery key", declared.recovery_key, KEY_BYTES)
        or fault_of_bytes("node key's signature", declared.node_signature, SIGNATURE_BYTES)
        or fault_of_optional("former recovery key's signature", declared.former_signature, SIGNATURE_BYTES)
    )
    _refuse("identity.recovery", fault)
    return declared


def check_identity_recovery(tenant: TenantId, declared: IdentityRecovery, former_key: bytes | None) -> None:
    """Pass if the node key, and the recovery key before it, signed. Raises CallerError("binding.invalid")."""
    message = _recovery_message(tenant, list(declared[:3]))
    if not verify_signature(declared.node_key, message, declared.node_signature):
        raise CallerError("binding.invalid", "the node key did not sign this identity.recovery")
    if former_key is not None and not verify_signature(former_key, message, declared.former_signature or b""):
        raise CallerError("binding.invalid", "the recovery key before it did not sign this identity.recovery")


def identity_revoke_data(
    node_key: bytes, recovery: KeyPair, tenant: TenantId, carrier: bytes, after: Sequence[SpanId], cuts: Cuts
) -> bytes:
    """The data of the `identity.revoke` by which a node's recovery key removes it; `carrier` as for a rotation."""
    bound = [sorted(set(after)), node_key, sorted(map(list, cuts))]
    return encode([*bound, recovery.sign(_revoke_message(tenant, carrier, bound))])


def parse_identity_revoke(data: bytes) -> IdentityRevoke:
    """The parts of `identity.revoke`, no binding checked. Raises CallerError("body.malformed")."""
    revoked = IdentityRevoke(*elements("identity.revoke", data, len(IdentityRevoke._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(revoked.after)
        or fault_of_bytes("node key", revoked.node_key, KEY_BYTES)
        or fault_of_cuts(revoked.cuts)
        or fault_of_bytes("signature", revoked.signature, SIGNATURE_BYTES)
    )
    _refuse("identity.revoke", fault)
    return revoked


def is_revoked_by(tenant: TenantId, carrier: bytes, revoked: IdentityRevoke, key: bytes) -> bool:
    """Whether `key`, a recovery key, removes the node."""
    return verify_signature(key, _revoke_message(tenant, carrier, list(revoked[:3])), revoked.signature)


def _rotate_message(tenant: TenantId, carrier: bytes, bound: Sequence[object]) -> bytes:
    """The carrier stands in it so that nobody else can say it again, at another place."""
    return b"lognode rotate v1" + tenant + carrier + encode(bound)


def _recovery_message(tenant: TenantId, bound: Sequence[object]) -> bytes:
    return b"lognode recovery v1" + tenant + encode(bound)


def _revoke_message(tenant: TenantId, carrier: bytes, bound: Sequence[object]) -> bytes:
    return b"lognode revoke v1" + tenant + carrier + encode(bound)


def _refuse(kind: str, fault: str | None) -> None:
    if fault:
        raise CallerError("body.malformed", f"{kind}: {fault}")
