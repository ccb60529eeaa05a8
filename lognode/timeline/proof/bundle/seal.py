"""The seal of a bundle: a signed note over all that precedes it, by a feed's log key.

Owns the note's text. Invariant: no seal reads as a checkpoint, nor a checkpoint as a seal: their first lines begin
otherwise, and a seal has no line with a tree size.
Source: C2SP signed-note; docs/protocol.md, Bundles.
"""

from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId, b32encode
from lognode.identity.keys import KeyPair
from lognode.timeline.proof.checkpoint import encode_base64, origin, sign_note, verify_note, vkey


def seal_text(tenant: TenantId, items: int, digest: bytes) -> str:
    """The text that is signed: `items` come before the seal, and `digest` is the SHA-256 of their bytes."""
    return f"lognode.bundle.v1/{b32encode(tenant)}\nitems {items}\nsha256 {encode_base64(digest)}\n"


def sign_seal(log_key: KeyPair, tenant: TenantId, feed: FeedId, items: int, digest: bytes) -> bytes:
    """The seal by the log key of a feed of the bundling node."""
    return sign_note(log_key, origin(tenant, feed), seal_text(tenant, items, digest))


def check_seal(note: bytes, log_key: bytes, tenant: TenantId, feed: FeedId, items: int, digest: bytes) -> None:
    """Pass if the feed's log key sealed exactly these bytes. Raises CallerError("bundle.invalid")."""
    try:
        sealed = verify_note(note, vkey(origin(tenant, feed), log_key))
    except CallerError as error:
        raise CallerError("bundle.invalid", f"seal: {error.detail}") from error
    if sealed.text != seal_text(tenant, items, digest):
        raise CallerError("bundle.invalid", "seal: it is of other bytes than these")
    if len(sealed.signatures) != 1:
        raise CallerError("bundle.invalid", "seal: a key signed it that has no part in it")
