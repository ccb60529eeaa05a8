"""Copies of a node's own spans that a fork, or an invite used too often, left without effect; and what they prove.

Builds the draft of a copy from a stranded span, and builds the span again from its copy. Pure. Invariant: a copy says
what its original said, under the same kind, actor and signature, and holds all that it takes to show that its node
wrote the original.
Source: docs/protocol.md, Restoring.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, NamedTuple

import cbor2
import msgspec

from lognode.core.clock import hlc_ms, time_text
from lognode.core.codec import decode_any_array, decode_value, encode
from lognode.core.draft import Draft, Origin, annotations_of, read_origin
from lognode.core.errors import CallerError
from lognode.core.ids import (
    FeedId,
    LogLineKind,
    SpanId,
    TenantId,
    b32encode,
    format_logline,
    logline,
    parse_feed_id,
    parse_span_id,
)
from lognode.core.limits import BODY_BYTES_MAX, NOTE_BYTES_MAX, SIZE_MAX
from lognode.core.span import (
    Body,
    Header,
    decode_body,
    decode_header,
    encode_body,
    encode_header,
    entry_bytes,
    is_control,
    leaf_hash,
    span_id,
)
from lognode.timeline.proof.checkpoint import decode_base64, encode_base64, origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import HASH_BYTES, verify_inclusion

# Why own feeds count no further, where what lies beyond is to be restored.
STRANDING: Final = frozenset({"feed.forked", "member.unknown"})
# What a copy would say of another feed, or what its keys signed together with what was known then.
_LEFT_OUT: Final = frozenset({"tenant.create", "timeline.merge"})
_LEFT_OUT_WORDS: Final = frozenset({"feed", "identity"})
_KEY: Final = "restored"


class Stranded(NamedTuple):
    """A stored span of an own feed that has no effect, its audit path, and the checkpoint that this leads to."""

    feed: FeedId
    node_key: bytes
    seq: int
    hlc: int
    visibility: int
    header: bytes
    body: bytes
    path: Sequence[bytes]
    note: bytes

    @property
    def id(self) -> SpanId:
        """Its id."""
        return span_id(self.hlc, leaf_hash(entry_bytes(self.feed, self.seq, self.hlc, self.visibility, self.header)))


class Restored(NamedTuple):
    """What a copy holds of the span that it restores, besides what both say; `after` is of control spans alone."""

    id: SpanId
    feed: FeedId
    seq: int
    nonce: bytes
    annotations: bytes
    path: Sequence[bytes]
    checkpoint: bytes
    after: list[bytes] | None


def is_restorable(kind: str) -> bool:
    """Whether spans of a kind are restored: those that say something of the world, or of the tenant as a whole."""
    return kind not in _LEFT_OUT and kind.partition(".")[0] not in _LEFT_OUT_WORDS


def restored_draft(tenant: TenantId, stranded: Stranded) -> Draft | None:
    """The draft of a span's copy; None for a span that is not restored, or that nobody can decode."""
    try:
        header, body = decode_header(stranded.header), decode_body(stranded.body)
        if not is_restorable(header.kind):
            return None
        said = _annotations(body.annotations)
        after = _after(header.kind, body.data)
    except CallerError:
        return None
    origin_said = _origin(tenant, stranded, header, body)
    proof = said.get(_KEY) or _proof(stranded, body, after)
    own = {**said, **_annotations(annotations_of(origin_said)), _KEY: proof}
    draft = Draft(
        header.kind, body.title, body.data, tuple(body.tags), body.subject, body.contract_id, body.workflow_id,
        body.flow_id, tuple(body.related), body.metadata, stranded.visibility, header.status, header.caused_by,
        header.actor, body.actor_signature, body.idem, origin_said, cbor2.dumps(own),
    )  # fmt: skip
    if len(stranded.body) + len(draft.annotations) > BODY_BYTES_MAX:  # an earlier version left less room
        del own[_KEY]
        draft = msgspec.structs.replace(draft, annotations=cbor2.dumps(own))
    return draft


def renewed_data(data: bytes, after: Sequence[SpanId]) -> bytes:
    """The data of a control span, as one who knows the control spans `after` says it."""
    return encode([sorted(set(after)), *decode_any_array(data)[1:]])


def read_restored(annotations: bytes) -> Restored | None:
    """What the annotations of a copy hold of the span that it restores; None where there is nothing of this form."""
    try:
        said = _annotations(annotations).get(_KEY)
        if not isinstance(said, dict):
            return None
        after = said.get("after")
        path = _bytes(said["path"], SIZE_MAX.bit_length() * HASH_BYTES)
        checkpoint = said["checkpoint"].encode()
        seq = said["seq"]
        if len(checkpoint) > NOTE_BYTES_MAX or not isinstance(seq, int) or not 0 <= seq <= SIZE_MAX:
            return None
        return Restored(
            parse_span_id(said["id"]),
            parse_feed_id(said["feed"]),
            seq,
            _bytes(said["nonce"], BODY_BYTES_MAX),
            _bytes(said["annotations"], BODY_BYTES_MAX),
            [path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)],
            checkpoint,
            None if after is None else [parse_span_id(text) for text in after],
        )
    except (CallerError, KeyError, TypeError, AttributeError, ValueError):
        return None


def check_restored(
    tenant: TenantId, restored: Restored, header: Header, body: Body, visibility: int, log_key: bytes
) -> None:
    """Pass if a copy is of a span that its feed's log key signed: built again, it has its id and its place in the tree.

    Raises CallerError("proof.invalid").
    """
    data = body.data if restored.after is None else encode([restored.after, *decode_any_array(body.data)[1:]])
    raw = encode_body(body._replace(nonce=restored.nonce, data=data, annotations=restored.annotations))
    head = encode_header((*header[:5], sha256(raw).digest(), len(raw)))
    hlc = int.from_bytes(restored.id[:8])
    leaf = leaf_hash(entry_bytes(restored.feed, restored.seq, hlc, visibility, head))
    if span_id(hlc, leaf) != restored.id:
        raise CallerError("proof.invalid", "it says something else than the span that it restores")
    name = vkey(origin(tenant, restored.feed), log_key)
    try:
        checkpoint = verify_checkpoint(restored.checkpoint, name)
    except CallerError as error:
        raise CallerError("proof.invalid", f"checkpoint: {error.detail}") from error
    if not verify_inclusion(leaf, restored.seq, checkpoint.size, restored.path, checkpoint.root):
        raise CallerError("proof.invalid", "the hashes do not lead from the entry to the checkpoint's root")


def _origin(tenant: TenantId, stranded: Stranded, header: Header, body: Body) -> Origin:
    """The origin of a copy: the span that was recorded first, by way of the stranded one."""
    own_id = b32encode(stranded.id)
    said = read_origin(body.annotations)
    if said is not None:
        return said.passed_on(own_id, "restore")
    is_signed = header.actor is not None and body.actor_signature is not None
    at, node = time_text(hlc_ms(stranded.hlc)), format_logline(logline(LogLineKind.NODE, stranded.node_key))
    feed = b32encode(stranded.feed)
    return Origin(own_id, at, b32encode(tenant), node, feed, stranded.seq, is_signed, "restore")


def _proof(stranded: Stranded, body: Body, after: list[Any] | None) -> dict[str, Any]:
    found = {
        "id": b32encode(stranded.id),
        "feed": b32encode(stranded.feed),
        "seq": stranded.seq,
        "nonce": encode_base64(body.nonce),
        "annotations": encode_base64(body.annotations),
        "path": encode_base64(b"".join(stranded.path)),
        "checkpoint": stranded.note.decode(),
    }
    return found if after is None else {**found, "after": [b32encode(item) for item in after]}


def _after(kind: str, data: bytes) -> list[Any] | None:
    """What a control span names as known, which its copy cannot; None for other spans. Raises CallerError."""
    if not is_control(kind):
        return None
    parts = decode_any_array(data)
    if not parts or not isinstance(parts[0], list) or not all(isinstance(item, bytes) for item in parts[0]):
        raise CallerError("body.malformed", f"{kind}: after")
    return parts[0]


def _annotations(raw: bytes) -> dict[str, Any]:
    said = decode_value(raw)
    return said if isinstance(said, dict) else {}


def _bytes(text: str, bytes_max: int) -> bytes:
    found = decode_base64(text)
    if found is None or len(found) > bytes_max:
        raise ValueError(text[:80])
    return found
