"""Reads `feed.open` and `tenant.create`, from docs/protocol.md, Control spans."""

from dataclasses import dataclass

from tests.independent.protocol.cbor import Refused, Unbound, need, read_array, write
from tests.independent.protocol.fields import (
    INT63,
    as_bytes,
    as_int,
    as_kind,
    as_list,
    as_rising,
    certificate_key,
    sha256,
    signed_by,
)


@dataclass(frozen=True)
class Opening:
    after: list[bytes]
    node_key: bytes
    log_key: bytes
    parent: tuple[bytes, int, bytes] | None
    reason: str


@dataclass(frozen=True)
class Founding:
    after: list[bytes]
    node_key: bytes
    certificate: bytes
    witness_key: bytes


def read_after(value: object) -> list[bytes]:
    return as_rising([as_bytes(one, 24) for one in as_list(value)])


def bound(holds: object, why: str) -> None:
    if not holds:
        raise Unbound(why)


def read_opening(data: bytes, tenant: bytes, feed: bytes) -> Opening:
    """The opening of this feed. Raises Unbound where ids or signature do not fit."""
    elements = read_array(data, 9)
    after, node_key, nonce, log_key, *parent, reason, signature = elements
    need(parent.count(None) in (0, 3), "a parent in part")
    opening = Opening(
        read_after(after),
        as_bytes(node_key, 32),
        as_bytes(log_key, 32),
        (as_bytes(parent[0], 16), as_int(parent[1], 1, INT63), as_bytes(parent[2], 32)) if parent[0] else None,
        as_kind(reason),
    )
    nonce, signature = as_bytes(nonce, 16), as_bytes(signature, 64)
    bound(sha256(b"lognode feed v1", tenant, opening.node_key, nonce)[:16] == feed, "another feed id")
    bound(not opening.parent or opening.parent[0] != feed, "its own parent")
    message = b"lognode feed open v1" + tenant + feed + write(elements[:8])
    bound(signed_by(opening.node_key, message, signature), "not signed by the node key")
    return opening


def read_founding(data: bytes, tenant: bytes) -> Founding:
    """The founding of this tenant. Raises Unbound where ids, certificate or signature do not fit."""
    elements = read_array(data, 7)
    after, version, nonce, node_key, certificate, witness, signature = elements
    founding = Founding(read_after(after), as_bytes(node_key, 32), as_bytes(certificate), as_bytes(witness, 32))
    version, nonce, signature = as_int(version, -(2**64), 2**64), as_bytes(nonce, 16), as_bytes(signature, 64)
    bound(version == 1, "another version")
    bound(sha256(b"lognode tenant v1", founding.node_key, nonce)[:20] == tenant, "another tenant id")
    check_certificate(founding.certificate)
    message = b"lognode founder v1" + tenant + write(elements[:6])
    bound(signed_by(founding.node_key, message, signature), "not signed by the node key")
    return founding


def check_certificate(certificate: bytes) -> bytes:
    """Its key. Raises Unbound where it has not the one form."""
    try:
        return certificate_key(certificate)
    except Refused as error:
        raise Unbound(str(error)) from error
