"""Cosignatures: what a witness signs about a checkpoint of somebody else's log, in the text of C2SP.

Owns messages, lines and verifier keys of tlog-cosignature/v1 with Ed25519. Must not know of merges or of the store.
Invariant: what is signed is the text of a checkpoint with three lines and a time, so a cosignature can be taken
for nothing else.
Source: C2SP tlog-cosignature; docs/protocol.md, Cosignatures.
"""

from typing import Final, NamedTuple

from lognode.core.ids import FeedId, TenantId, b32encode
from lognode.core.limits import TIME_S_MAX
from lognode.core.span import SIGNATURE_BYTES
from lognode.identity.keys import KeyPair, verify_signature
from lognode.timeline.proof.checkpoint import (
    COSIGNER,
    Signature,
    encode_base64,
    head_text,
    key_id,
    origin,
    typed_vkey,
)

_TIME_BYTES: Final = 8


class Cosignature(NamedTuple):
    """Who says so, when, and the 64 bytes that show it."""

    name: str
    public: bytes
    time_s: int
    signature: bytes


def witness_name(tenant: TenantId, node_key: bytes) -> str:
    """The name of a node's witness key in a tenant."""
    return f"lognode.v1/{b32encode(tenant)}/witness/{b32encode(node_key)}"


def witness_vkey(name: str, public: bytes) -> str:
    """The verifier key of a witness, in the text that a policy holds."""
    return typed_vkey(name, COSIGNER, public)


def cosign(key: KeyPair, tenant: TenantId, feed: FeedId, size: int, root: bytes, time_s: int) -> bytes:
    """The 64-byte signature by which a witness says that it knew this tree of a feed at a Unix time."""
    return key.sign(_message(head_text(origin(tenant, feed), size, root), time_s))


def is_cosigned(text: str, cosignature: Cosignature) -> bool:
    """Whether the witness signed the checkpoint with this text, which ends in a line feed, at that time."""
    if not 0 <= cosignature.time_s <= TIME_S_MAX:
        return False
    return verify_signature(cosignature.public, _message(text, cosignature.time_s), cosignature.signature)


def cosignature_line(cosignature: Cosignature) -> bytes:
    """The line of a note that holds a cosignature."""
    name, public, time_s, signature = cosignature
    raw = key_id(name, COSIGNER, public) + time_s.to_bytes(_TIME_BYTES, "big") + signature
    return f"— {name} {encode_base64(raw)}\n".encode()


def read_cosignature(line: Signature, name: str, public: bytes) -> Cosignature | None:
    """The cosignature of this witness in a signature line, not verified; None for a line of anybody else."""
    if line.name != name or line.key_id != key_id(name, COSIGNER, public):
        return None
    if len(line.signature) != _TIME_BYTES + SIGNATURE_BYTES:
        return None
    time_s = int.from_bytes(line.signature[:_TIME_BYTES], "big")
    return Cosignature(name, public, time_s, line.signature[_TIME_BYTES:])


def _message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
