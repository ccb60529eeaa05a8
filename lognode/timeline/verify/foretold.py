"""Control spans ahead of their ranges: whether each is proven by a checkpoint of its feed.

Knows no SQL. Invariant: what passes is what the feed's log key signed, and that key is bound to a node key by the
feed's own `feed.open`.
"""

from hashlib import sha256
from typing import NamedTuple

from lognode.core.clock import HLC_MAX
from lognode.core.errors import CallerError
from lognode.core.ids import FeedId, TenantId
from lognode.core.limits import SIZE_MAX
from lognode.core.span import PUBLIC, decode_body, decode_header, is_control, leaf_hash, span_id, stub_entry
from lognode.timeline.control.founding import check_feed_open, parse_feed_open
from lognode.timeline.members import Control
from lognode.timeline.proof.checkpoint import origin, verify_checkpoint, vkey
from lognode.timeline.proof.tree import HASH_BYTES, verify_inclusion
from lognode.timeline.verify.history import data_of


class ForetoldRow(NamedTuple):
    """A row as it was read; damage may have put anything into it."""

    seq: int
    hlc: int
    visibility: int
    header: bytes
    body: bytes
    note: bytes
    path: bytes


class Keys(NamedTuple):
    """Whose feed it is, and what its checkpoints are signed with."""

    node_key: bytes
    log_key: bytes


def read_keys(tenant: TenantId, feed: FeedId, opening: ForetoldRow) -> Keys:
    """The keys that a feed's first entry binds. Raises CallerError."""
    if opening.seq:
        raise CallerError("proof.invalid", "the feed.open is missing that would prove its key")
    opened = parse_feed_open(decode_body(opening.body).data)
    check_feed_open(tenant, feed, opened)
    return Keys(opened.node_key, opened.log_key)


def read_foretelling(tenant: TenantId, feed: FeedId, keys: Keys, row: ForetoldRow) -> Control:
    """The control span that a row proves. Raises CallerError where it does not."""
    seq, hlc, visibility, raw, body, note, path = row
    head = verify_checkpoint(note, vkey(origin(tenant, feed), keys.log_key))
    if not 0 <= seq <= SIZE_MAX or not 0 <= hlc <= HLC_MAX or not 0 <= visibility <= PUBLIC:
        raise CallerError("proof.invalid", "its stub is none")
    leaf = leaf_hash(stub_entry(feed, seq, hlc, visibility, sha256(raw).digest()))
    hashes = [path[at : at + HASH_BYTES] for at in range(0, len(path), HASH_BYTES)]
    if not verify_inclusion(leaf, seq, head.size, hashes, head.root):
        raise CallerError("proof.invalid", f"it does not lead to its checkpoint at {head.size}")
    header = decode_header(raw)
    if (header.body_sha256, header.body_len) != (sha256(body).digest(), len(body)):
        raise CallerError("proof.invalid", "its body is not the one that the header names")
    if not is_control(header.kind):
        raise CallerError("proof.invalid", f"{header.kind} is no control span")
    return Control(span_id(hlc, leaf), feed, seq, hlc, keys.node_key, header.kind, data_of(body))
