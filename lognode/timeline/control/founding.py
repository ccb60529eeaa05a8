"""Control spans that open a feed and a tenant: what their data holds, and whether its keys are bound.

Owns `feed.open` and `tenant.create`. Must not know of the spans around them or of the store. Invariant: a
binding that passes its check could be made by the holder of the node key alone, for this feed and this tenant.
Source: docs/protocol.md, Control spans.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from lognode.core.codec import encode
from lognode.core.errors import CallerError
from lognode.core.ids import (
    FEED_ID_BYTES,
    KEY_BYTES,
    NONCE_BYTES,
    TENANT_ID_BYTES,
    FeedId,
    SpanId,
    TenantId,
)
from lognode.core.limits import FORMAT_VERSION, SIZE_MAX
from lognode.core.span import SIGNATURE_BYTES, is_kind
from lognode.identity.certificate import certificate_key, tls_certificate
from lognode.identity.keys import NodeKeys, verify_signature
from lognode.timeline.control.shape import elements, fault_of_after, fault_of_bytes
from lognode.timeline.proof.tree import HASH_BYTES


class FeedOpen(NamedTuple):
    """The data of `feed.open`, in the order of its encoding."""

    after: list[SpanId]
    node_key: bytes
    nonce: bytes
    log_key: bytes
    parent_feed: FeedId | None
    parent_size: int | None
    parent_root: bytes | None
    reason: str
    signature: bytes


class TenantCreate(NamedTuple):
    """The data of `tenant.create`, in the order of its encoding."""

    after: list[SpanId]
    version: int
    nonce: bytes
    node_key: bytes
    certificate: bytes
    witness_key: bytes
    signature: bytes


def tenant_id(node_public: bytes, nonce: bytes) -> TenantId:
    """The id of the tenant that a founder makes with a 16-byte nonce."""
    return TenantId(sha256(b"lognode tenant v1" + node_public + nonce).digest()[:TENANT_ID_BYTES])


def feed_id(tenant: TenantId, node_public: bytes, nonce: bytes) -> FeedId:
    """The id of the feed that a node opens in a tenant with a 16-byte nonce."""
    return FeedId(sha256(b"lognode feed v1" + tenant + node_public + nonce).digest()[:FEED_ID_BYTES])


def feed_open_data(
    node_keys: NodeKeys,
    tenant: TenantId,
    feed: FeedId,
    nonce: bytes,
    after: Sequence[SpanId],
    parent: tuple[FeedId, int, bytes] | None,
    reason: str,
) -> bytes:
    """The data of the `feed.open` that binds the feed's log key to the node key.

    `parent` is the node's feed before this one with its last size and root; `reason`, a word as in kinds, says why
    the node did not go on there.
    """
    log_key = node_keys.log_key(feed).public
    bound = [sorted(set(after)), node_keys.public, nonce, log_key, *(parent or (None, None, None)), reason]
    signature = node_keys.sign_binding(_feed_message(tenant, feed, bound))
    return encode([*bound, signature])


def parse_feed_open(data: bytes) -> FeedOpen:
    """The parts of `feed.open`, no binding checked. Raises CallerError("body.malformed")."""
    opened = FeedOpen(*elements("feed.open", data, len(FeedOpen._fields)))  # type: ignore[arg-type]
    parent = opened[4:7]
    fault = (
        fault_of_after(opened.after)
        or fault_of_bytes("node key", opened.node_key, KEY_BYTES)
        or fault_of_bytes("nonce", opened.nonce, NONCE_BYTES)
        or fault_of_bytes("log key", opened.log_key, KEY_BYTES)
        or (None if parent == (None, None, None) else _fault_of_parent(*parent))
        or (None if opened.reason.__class__ is str and is_kind(opened.reason) else "reason")
        or fault_of_bytes("signature", opened.signature, SIGNATURE_BYTES)
    )
    if fault:
        raise CallerError("body.malformed", f"feed.open: {fault}")
    return opened


def check_feed_open(tenant: TenantId, feed: FeedId, opened: FeedOpen) -> None:
    """Pass if `opened` opens this feed of this tenant. Raises CallerError("binding.invalid")."""
    if feed_id(tenant, opened.node_key, opened.nonce) != feed:
        raise CallerError("binding.invalid", "the feed id does not follow from tenant, node key and nonce")
    if opened.parent_feed == feed:
        raise CallerError("binding.invalid", "the feed is its own parent")
    if not verify_signature(opened.node_key, _feed_message(tenant, feed, list(opened[:-1])), opened.signature):
        raise CallerError("binding.invalid", "the node key did not sign this feed.open")


def tenant_create_data(node_keys: NodeKeys, tenant: TenantId, nonce: bytes, after: Sequence[SpanId]) -> bytes:
    """The data of the `tenant.create` that binds the founder's TLS and witness keys to its node key."""
    certificate = tls_certificate(node_keys.tls_seed())
    witness_key = node_keys.witness_key(tenant).public
    bound = [sorted(set(after)), FORMAT_VERSION, nonce, node_keys.public, certificate, witness_key]
    signature = node_keys.sign_binding(_founder_message(tenant, bound))
    return encode([*bound, signature])


def parse_tenant_create(data: bytes) -> TenantCreate:
    """The parts of `tenant.create`, no binding checked. Raises CallerError("body.malformed")."""
    created = TenantCreate(*elements("tenant.create", data, len(TenantCreate._fields)))  # type: ignore[arg-type]
    fault = (
        fault_of_after(created.after)
        or (None if created.version.__class__ is int else "version")
        or fault_of_bytes("nonce", created.nonce, NONCE_BYTES)
        or fault_of_bytes("node key", created.node_key, KEY_BYTES)
        or (None if created.certificate.__class__ is bytes else "certificate")
        or fault_of_bytes("witness key", created.witness_key, KEY_BYTES)
        or fault_of_bytes("signature", created.signature, SIGNATURE_BYTES)
    )
    if fault:
        raise CallerError("body.malformed", f"tenant.create: {fault}")
    return created


def check_tenant_create(tenant: TenantId, created: TenantCreate) -> None:
    """Pass if `created` founds this tenant. Raises CallerError("binding.invalid")."""
    if created.version != FORMAT_VERSION:
        raise CallerError("binding.invalid", f"format version {created.version} is not {FORMAT_VERSION}")
    if tenant_id(created.node_key, created.nonce) != tenant:
        raise CallerError("binding.invalid", "the tenant id does not follow from node key and nonce")
    certificate_key(created.certificate)
    if not verify_signature(created.node_key, _founder_message(tenant, list(created[:-1])), created.signature):
        raise CallerError("binding.invalid", "the node key did not sign this tenant.create")


def _feed_message(tenant: TenantId, feed: FeedId, bound: list[object]) -> bytes:
    return b"lognode feed open v1" + tenant + feed + encode(bound)


def _founder_message(tenant: TenantId, bound: list[object]) -> bytes:
    return b"lognode founder v1" + tenant + encode(bound)


def _fault_of_parent(feed: object, size: object, root: object) -> str | None:
    if type(size) is not int or not 0 < size <= SIZE_MAX:
        return "parent size"
    return fault_of_bytes("parent feed", feed, FEED_ID_BYTES) or fault_of_bytes("parent root", root, HASH_BYTES)
